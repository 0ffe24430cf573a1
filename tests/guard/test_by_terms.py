"""Packed keys that are decided on by their terms: no more is allowed than if they were compiled."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from keybound import Guard, Limits, Reason, Route
from keybound.by_terms import by_terms
from keybound.caches.local import LocalCache
from keybound.core.chain import Chain
from keybound.core.decision import Allowed, Denied
from keybound.core.effects import Change, LogHead, Moment, SyncAnswer
from keybound.core.fence import Applied
from keybound.core.terms import ChainPolicy
from keybound.engine import Engine
from keybound.settings import Settings
from keybound.stores import open_store
from keybound.testing.clock import FakeClock
from keybound.testing.records import a_key
from tests.simulation.reader import reading_between

if TYPE_CHECKING:
    from collections.abc import Iterator

    from keybound.core.identity import Identity
    from keybound.core.issuing import IssuedKey

BOUND = 5.0
ABOUT = "GET", "/", None, None
FILES = frozenset({"by_terms.py", "local.py", "shelf.py", "packed.py", "fence.py"})


@dataclass
class Hands:
    """A clock of which both hands stand where they are put."""

    at: float = 0.0
    ahead: float = 0.0

    def boot(self) -> float:
        """Return where one stands."""
        return self.at

    def wall(self) -> float:
        """Return where the other does."""
        return self.at + self.ahead

    def sleep(self, _seconds: float, /) -> None:
        """Return at once."""

    async def asleep(self, _seconds: float, /) -> None:
        """Return at once."""


class Small:
    """A cache with room for one compiled key, and who decides by terms over it."""

    def __init__(self) -> None:
        """See revision 1."""
        self.cache = LocalCache(bound=BOUND, size_max=10, compiled_max=1)
        self.clock = Hands()
        self.uses: list[tuple[str, float]] = []
        self.permitted: dict[Any, tuple[str | None]] = {}
        self.decide = by_terms(
            self.cache, self.permitted, self.clock, used=lambda *use: self.uses.append(use)
        )
        assert self.sync(1) is Applied.DONE

    def sync(self, rev: int, *nodes: str, at: float = 0.0, epoch: bytes = b"epoch") -> Applied:
        """Take in that a revision changed these nodes, as a sync was told that was sent then."""
        fence = self.cache.fence
        tags = {each: b"t%d" % each for each in range(rev + 1)}
        changes = tuple(Change(rev, node) for node in nodes)
        answer = SyncAnswer(head=LogHead(rev, tags[rev], epoch), changes=changes, tags=tags)
        since, hinted, sent_at = fence.since, fence.hinted, Moment(at, at)
        return self.cache.apply(answer, since=since, hinted=hinted, sent_at=sent_at)

    def keep(self, name: str, limits: Limits | None = None, *, rev: int = 1, **members) -> None:
        """Admit a key, and let it be packed by another one; its terms permit what is asked."""
        key = a_key(name, limits=limits or Limits(), **members)
        for each in (key, a_key("other")):
            chain = Chain(each, {}, ChainPolicy())
            head = LogHead(rev, b"t%d" % rev, b"epoch")
            heads = {each.id: head}
            assert self.cache.admit(each.id.encode(), chain, heads=heads, proof=None)
            self.permitted[chain.terms, *ABOUT] = (None,)

    def ask(self, name: str) -> Allowed | None:
        """Ask for it."""
        return self.decide(name.encode(), *ABOUT)


@pytest.fixture
def small() -> Small:
    """Return one."""
    return Small()


def test_a_packed_key_is_allowed_what_its_terms_permit(small):
    """By who it is, until its life ends; and it is counted."""
    small.keep("k", Limits(scopes=["a"], expires_at="2030-01-01T00:00:00Z"), owner="u")
    allowed = small.ask("k")
    identity = allowed.identity
    assert (allowed.begins, allowed.ends, allowed.reported) == (-inf, 1_893_456_000.0, ())
    assert (identity.key_id, identity.owner, identity.scopes) == ("k", "u", frozenset({"a"}))
    assert identity.expires_at.isoformat() == "2030-01-01T00:00:00+00:00"
    assert small.uses == [("k", 0.0)]
    assert small.cache.entries.keys() == {b"other"}


def test_a_key_that_comes_again_is_left_to_who_keeps_it(small):
    """As is one of which nothing is known, and what its terms were not found to permit."""
    small.keep("k")
    assert small.ask("nobody") is None
    assert small.decide(b"k", "POST", "/", None, None) is None
    assert small.ask("k") is not None
    assert small.ask("k") is None


@pytest.mark.parametrize(("at", "ahead"), [(5.001, 0), (5.001, -1), (4.001, 1)])
def test_nothing_is_allowed_without_a_lease(small, at, ahead):
    """It is over when the last sync is too long ago, by either clock."""
    small.keep("k")
    small.clock.at, small.clock.ahead = at, ahead
    assert small.ask("k") is None
    small.clock.at, small.clock.ahead = 5.0, 0
    small.keep("l")
    assert small.ask("l") is not None


def test_nothing_is_allowed_below_a_floor(small):
    """Whether a sync raised it, a message, or a change of this process's own."""
    small.keep("k")
    small.sync(2, "k")
    assert small.ask("k") is None
    for name, raises in {
        "l": lambda: small.cache.hint(["l"], 3, b"epoch"),
        "m": lambda: small.cache.raise_floors(["m"], LogHead(3, b"t3", b"epoch")),
    }.items():
        small.keep(name, rev=2)
        raises()
        assert small.ask(name) is None


def test_nothing_of_another_epoch_is_allowed(small):
    """Nor what was taken out before that, when its members are asked for: those stay readable."""
    small.keep("k")
    small.keep("l")
    identity = small.ask("l").identity
    small.sync(1, epoch=b"other")
    small.sync(1, epoch=b"other")
    assert small.ask("k") is None
    assert identity.name == a_key("l").name


def test_an_identity_is_the_same_be_its_key_packed_or_not(small):
    """And stays so when its members are looked at; its id is there without that."""
    small.keep("k", Limits(scopes=["a"]), metadata={"a": [1]})
    identity = small.ask("k").identity
    assert (identity.key_id, identity.identity, identity._of._key) == ("k", "k", None)  # noqa: SLF001
    compiled = small.cache.find(b"k").chain.identity(None)
    assert identity == compiled
    assert identity.metadata == {"a": (1,)}
    assert (identity == compiled, hash(identity) == hash(compiled)) == (True, True)
    assert copy.deepcopy(identity) is identity


def test_an_identity_keeps_no_cache_that_is_over(small):
    """A request may go on for days, and what was forgotten meanwhile is as large as memory."""
    small.keep("k")
    small.keep("l")
    identity = small.ask("l").identity
    keys = identity._of._unpack.__self__  # noqa: SLF001
    assert len(keys) > 1
    small.sync(1, epoch=b"other")
    small.sync(1, epoch=b"other")
    assert len(keys) == 0
    assert identity.name == a_key("l").name


LIVES = [
    {"limits": Limits(not_before="2026-01-01T00:00:00Z")},
    {"limits": Limits(expires_at="2026-01-01T00:00:00Z")},
    {"limits": Limits(hours=["mon-fri 08:00-18:00 UTC"])},
    {"enabled": False},
    {"revoked_at": a_key("k").created_at},
]


@pytest.mark.parametrize("members", LIVES, ids=str)
def test_what_does_not_hold_for_ever_is_decided_elsewhere(small, members):
    """A key that is dead, not alive yet, or not all the time."""
    small.clock.at = 1_770_000_000.0
    small.sync(1, at=small.clock.at)
    small.keep("k", **members)
    assert small.ask("k") is None


def test_what_stands_above_a_key_is_looked_at_elsewhere(small):
    """Each of those nodes has a floor of its own."""
    key, parent = a_key("k", parent="parent"), a_key("parent")
    chain = Chain(key, {"parent": parent}, ChainPolicy())
    heads = dict.fromkeys(("k", "parent"), LogHead(1, b"t1", b"epoch"))
    assert small.cache.admit(b"k", chain, heads=heads, proof=None)
    small.permitted[chain.terms, *ABOUT] = (None,)
    small.keep("l")
    assert small.cache.packed == 2
    assert small.ask("k") is None


def test_no_sync_between_two_lines_lets_anything_through():
    """Neither one that ends the key, nor one that forgets everything: both extend the lease."""
    lines = 0
    for epoch in (b"epoch", b"other"):
        for first in range(60):
            small, done = Small(), list[Applied]()
            small.keep("k")
            small.clock.at = 7.0

            def end(small=small, epoch=epoch, done=done) -> None:
                if not done:
                    done.append(small.sync(2, "k", at=6.0, epoch=epoch))
                    small.sync(2, at=6.0, epoch=epoch)

            with reading_between(end, every=60, first=first + 1, within=FILES):
                assert small.ask("k") is None
            lines += len(done)
    assert lines > 40


def test_nobody_reads_between_two_lines_of_a_sync():
    """What it ends is not allowed under the lease that it extends, nor what it forgets."""
    for epoch in (b"epoch", b"other"):
        small, answers = Small(), list[Allowed | None]()
        small.keep("k")
        small.clock.at = 7.0

        def ask(small=small, answers=answers) -> None:
            answers.append(small.ask("k"))

        with reading_between(ask, every=1, first=0):
            small.sync(2, "k", at=6.0, epoch=epoch)
            small.sync(2, at=6.0, epoch=epoch)
        assert len(answers) > 20
        assert not any(answers)


def test_nobody_reads_while_floors_are_forgotten():
    """The lease of before is still there then, and so is what had ended before."""
    small, answers = Small(), list[Allowed | None]()
    small.keep("k")
    small.sync(2, "k", at=1.0)
    small.clock.at = 3.0
    with reading_between(lambda: answers.append(small.ask("k")), every=1, first=0):
        small.sync(2, at=2.0, epoch=b"other")
    assert len(answers) > 20
    assert not any(answers)


def raw_of(issued: IssuedKey) -> bytes:
    """Return what is sent with it."""
    return b"Bearer " + issued.secret.reveal().encode()


@pytest.fixture
def guard() -> Iterator[Guard]:
    """Return one with room for a single compiled key."""
    settings = Settings(
        routes=(Route("/d/{tenant}/m", model="message"),),
        cache_size_max=100,
        cache_compiled_max=1,
    )
    guard = Guard(Engine(settings, open_store("memory://"), FakeClock(), background=False))
    yield guard
    guard.close()


def members(identity: Identity) -> dict[str, object]:
    """Return all that an application sees of it."""
    return dict(identity.__rich_repr__()) | {
        "auth": identity.auth,
        "limited_in_models": identity.limited_in_models,
        "may": [identity.permits(model=model) for model in ("message", "call")],
        "has": [identity.has_scope(name) for name in ("a", "b")],
    }


def test_every_key_of_many_is_decided_on_alike(guard):
    """The first of them are compiled, the others are not; requests that are refused always are."""
    limits = Limits(models={"message": "read"}, scopes=["a"], networks="10.0.0.0/8")
    issued = [
        guard.issue(
            name=f"key {number}",
            tenant=f"t{number % 2}",
            limits=limits,
            owner=f"u{number}",
            expires_in="90d",
            metadata={"number": [number]},
        )
        for number in range(10)
    ]
    for key in issued:  # so that all are packed but the last
        assert isinstance(guard.authorize("GET", "/free/of", "10.1.2.3", raw_of(key)), Denied)
    compiled = len(guard.engine.cache.entries)
    seen = {}
    for number, key in enumerate(issued):
        ask = f"/d/t{number % 2}/m", "10.1.2.3", raw_of(key)
        seen[key.id] = guard.decide("GET", *ask)
        assert guard.decide("POST", *ask).reason is Reason.MODEL_NOT_ALLOWED
        other = f"/d/t{1 - number % 2}/m", *ask[1:]
        assert guard.decide("GET", *other).reason is Reason.TENANT_MISMATCH
        assert guard.decide("GET", ask[0], "11.1.2.3", ask[2]).reason is Reason.NETWORK_NOT_ALLOWED
    assert len(guard.engine.cache.entries) <= compiled + 1
    kinds = {type(allowed.identity._of).__name__ for allowed in seen.values()}  # noqa: SLF001
    assert "PackedKey" in kinds
    for number, key in enumerate(issued):
        fresh = Chain(guard.show(key.id).node, {}, guard.engine.rules.worker.policy)
        assert members(seen[key.id].identity) == members(fresh.identity(f"t{number % 2}"))


def test_a_key_that_was_revoked_is_refused_at_once(guard):
    """By the process that did it."""
    issued = [guard.issue(name=name, tenant="acme") for name in "abcde"]

    def ask(key: IssuedKey) -> Any:
        return guard.authorize("GET", "/d/acme/m", None, raw_of(key))

    assert all(isinstance(ask(key), Allowed) for _ in range(2) for key in issued)
    guard.revoke(issued[2].id)
    assert ask(issued[2]).reason is Reason.REVOKED
    assert isinstance(ask(issued[3]), Allowed)


def test_files_that_are_watched_are_there():
    """Or nothing would happen between their lines."""
    package = Path(by_terms.__code__.co_filename).parent
    assert {path.name for path in package.rglob("*.py")} >= FILES
