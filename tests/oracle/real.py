"""The world of dictionaries as keybound itself has it: a guard over a store in memory."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from keybound import Guard, Limits, Route
from keybound.buffering import with_models
from keybound.core.decision import Allowed, Denied
from keybound.core.effects import Commit, Put
from keybound.core.errors import StoreUnavailableError
from keybound.core.inquiry import NeedBody
from keybound.core.limits import Clause
from keybound.core.nodes import decode_node, encode_node
from keybound.core.reasons import Reason
from keybound.engine import Engine
from keybound.judge import Miss, Stranger
from keybound.settings import Settings
from keybound.stores.memory import MemoryStore
from keybound.testing.clock import FakeClock
from keybound.testing.records import a_group, a_key, commit, new, row_of
from tests.core.heads import FakeHead
from tests.oracle.steps import UNREADABLE

if TYPE_CHECKING:
    from keybound.core.facts import RequestFacts
    from keybound.core.nodes import StoredNode
    from keybound.judge import Settled
    from tests.oracle.evaluator import Node, Outcome, Request, World


@dataclass(frozen=True, slots=True)
class Below(Clause):
    """A site's own dimension: only paths with one start."""

    dimension = "below"

    start: str

    @classmethod
    def parse(cls, value: object, /) -> Below:
        """Read the start."""
        assert isinstance(value, str)
        return cls(value)

    def permits(self, facts: RequestFacts, _now: float, /) -> bool:
        """Say whether the path has it."""
        return facts.path.startswith(self.start)

    def covers(self, other: Clause, /) -> bool:
        """Say whether the other's paths all have it."""
        return isinstance(other, Below) and other.start.startswith(self.start)

    def reason(self, _facts: RequestFacts, _now: float, /) -> Reason:
        """Return a reason."""
        return Reason.LIMIT_INVALID

    def describe(self) -> str:
        """Return the start."""
        return self.start

    def dump(self) -> str:
        """Return the start."""
        return self.start


class Store(MemoryStore):
    """A store in memory that can be out of reach."""

    down = False

    def perform(self, effect: Any) -> Any:
        """Answer one effect; while it is out of reach, only what tests themselves write."""
        if self.down and not isinstance(effect, Commit):
            msg = "the store did not answer"
            raise StoreUnavailableError(msg)
        return super().perform(effect)


class SetClock(FakeClock):
    """A clock whose wall time an administrator sets, forwards or back."""

    behind = 0.0

    def wall(self) -> float:
        """Return POSIX time as it was set."""
        return super().wall() - self.behind


class Real:
    """A world as keybound has it; building it gives keys a ``secret`` that have none."""

    def __init__(self, world: World) -> None:
        """Build the nodes; nothing is cached yet."""
        settings = world["settings"]
        self.world = world
        self.clock = SetClock()
        self.store = Store()
        chosen = Settings(
            database="memory://",
            routes=tuple(Route(**route) for route in world["routes"]),
            **{name: as_setting(value) for name, value in settings.items()},
        )
        self.guard = self.new_guard(chosen)
        self.guard.open()
        world.setdefault("unknown", self._secret())
        for node in world["nodes"].values():
            if node["kind"] == "key":
                node.setdefault("secret", self._secret())
        self._commit(*(self._new(node) for node in world["nodes"].values()))
        self.store.down = bool(world.get("down"))

    def new_guard(self, settings: Settings | None = None) -> Guard:
        """Return a guard of a process of its own, which knows nothing yet."""
        chosen = settings or self.guard.settings
        return Guard(Engine(chosen, self.store, self.clock, background=False))

    def ask_anew(self, request: Request) -> Outcome:
        """Return what a process decides that knows nothing yet."""
        guard = self.new_guard()
        try:
            return settled(guard, request)
        finally:
            guard.close()

    def ask(self, request: Request) -> Outcome:
        """Return the decision on a request."""
        return settled(self.guard, request)

    def ask_warm(self, request: Request) -> Outcome | None:
        """Return what is decided from memory alone, if it is."""
        head = head_of(request)
        outcome = self.guard.decide(head.method, head.path, *self.guard.reader.read(head))
        return None if isinstance(outcome, Miss | NeedBody | Stranger) else in_words(outcome)

    def put(self, node: Node) -> None:
        """Let a node be another one from now on, as a change by this process does."""
        self.world["nodes"][node["id"]] = node
        row = row_of_up(self.store, node["id"])
        self._commit(Put(node=stored(node), expected=row.rev))

    def close(self) -> None:
        """Let everything go."""
        self.guard.close()

    def _secret(self) -> str:
        text: str = self.guard.engine.format.generate(os.urandom(32)).reveal()
        return text

    def _new(self, node: Node) -> Put:
        secret = node.get("secret")
        digest = None if secret is None else self.guard.engine.peppers.digest(secret)
        return new(stored(node), digest)

    def _commit(self, *puts: Put) -> None:
        head = commit(self.store, *puts)
        self.guard.engine.cache.raise_floors([put.node.id for put in puts], head)


def row_of_up(store: Store, node: str) -> Any:
    """Return a row of a store, whether it is out of reach or not."""
    down, store.down = store.down, False
    try:
        return row_of(store, node)
    finally:
        store.down = down


def as_setting(value: object) -> Any:
    """Return a value as the settings have it."""
    return tuple(value) if isinstance(value, list) else value


def head_of(request: Request) -> FakeHead:
    """Return the head of a request."""
    raw_path, headers = request["raw_path"], request["headers"]
    return FakeHead(
        headers=tuple((name, value.encode("latin-1")) for name, value in headers),
        query=request["query"].encode("latin-1"),
        peer=request["peer"],
        method=request["method"],
        path=request["path"],
        raw_path=None if raw_path is None else raw_path.encode("latin-1"),
    )


def settled(guard: Guard, request: Request) -> Outcome:
    """Return what a guard decides, which is given the body if it asks for that."""
    head = head_of(request)
    peer, raw, told, _ = guard.reader.read(head)
    outcome = guard.authorize(head.method, head.path, peer, raw, told, head)
    if isinstance(outcome, NeedBody):
        told = with_models(told, outcome.fields, head, request["body"].encode())
        outcome = guard.authorize(head.method, head.path, peer, raw, told, head)
    assert not isinstance(outcome, NeedBody)
    return in_words(outcome)


def in_words(outcome: Settled) -> Outcome:
    """Return an outcome in the words of the evaluator."""
    if isinstance(outcome, Denied):
        node = outcome.check.node if outcome.check else None
        return "denied", outcome.reason.value, node
    return "allowed" if isinstance(outcome, Allowed) else "open", None, None


def stored(node: Node) -> StoredNode:
    """Return a node as it comes out of a store: what limits hold is shared by all that have it."""
    members: dict[str, Any] = {
        "tenant": node["tenant"],
        "limits": limits_of(node),
        "enabled": not node.get("disabled"),
        "revoked_at": moment(0) if node.get("revoked") else None,
        "rights": ("report_only",) if node.get("report_only") else (),
    }
    if node["kind"] == "group":
        return decode_node(encode_node(a_group(node["id"], **members)))
    groups = tuple(node.get("groups", ()))
    key = a_key(node["id"], parent=node.get("parent"), groups=groups, **members)
    return decode_node(encode_node(key))


def limits_of(node: Node) -> Limits:
    """Return the limits of a node, those that cannot be read as the store would hold them."""
    limits = Limits()
    for layer in node["limits"]:
        written: dict[str, Any] = {}
        odd: dict[str, Any] = {}
        for name, value in layer.items():
            if value == UNREADABLE or name == "nonsense":
                odd[name] = [1]
            else:
                written[name] = moment(value) if name in {"not_before", "expires_at"} else value
        limits = limits.meet(Limits.read(written)).meet(Limits.load(odd))
    return limits


def moment(seconds: float) -> datetime:
    """Return an aware moment."""
    return datetime.fromtimestamp(seconds, UTC)
