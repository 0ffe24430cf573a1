"""The cases of a catalogue, whichever of two formats they are written in.

Ours is one YAML file for each area (``catalogue/``); the other one is a single YAML document with
a ``format`` and a list of ``cases``, whose header says what is added to every case. Both become
the same `Case`. What a world, an event or an expectation may say is one vocabulary in both.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

OWN = Path(__file__).parent / "catalogue"
"""The project's own cases."""

HTTP = frozenset({"http", "websocket", "lifespan"})
"""Kinds of requests that a shell serves; the others are calls."""


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """What there is before the request; a key of ``None`` was never issued."""

    key: Mapping[str, Any] | None = field(default_factory=dict)
    keys: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    groups: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    tenants: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    owners: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    events: tuple[Mapping[str, Any], ...] = ()
    faults: tuple[Mapping[str, Any], ...] = ()
    clock: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What must come of it. ``problem`` is the slug of the answer's type, ``None`` for no error."""

    decision: str
    status: int | None = None
    others: tuple[int, ...] = ()
    reason: str = ""
    problem: str | None = None
    says_problem: bool = False
    also: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One request, the world it meets, and what must come of it."""

    id: str
    area: str
    about: str
    surfaces: frozenset[str]
    world: World
    request: Mapping[str, Any]
    expected: Expected
    unreadable: str = ""
    """Why the case cannot be read, if it cannot: it is a case that nobody can replay."""

    @property
    def kind(self) -> str:
        """``http``, ``websocket``, ``lifespan``, ``management``, or a kind of call."""
        return str(self.request.get("kind", "http"))

    def over(self, protocol: str) -> bool:
        """Return whether the case is about this protocol."""
        return "any" in self.surfaces or protocol in self.surfaces


class UnreadableCaseError(Exception):
    """A file is no catalogue."""


def load(path: Path) -> dict[str, Case]:
    """Return every case of a file or a folder by its id; raises ``UnreadableCaseError``."""
    files = sorted(path.glob("*.yaml")) if path.is_dir() else [path]
    cases: dict[str, Case] = {}
    for file in files:
        for case in _read(file):
            if case.id in cases:
                msg = f"{file}: {case.id} is there twice"
                raise UnreadableCaseError(msg)
            cases[case.id] = case
    if not cases:
        msg = f"{path}: holds no case"
        raise UnreadableCaseError(msg)
    return cases


def _read(file: Path) -> Iterable[Case]:
    document = _parse(file)
    if not isinstance(document, dict) or not isinstance(document.get("cases"), list | dict):
        msg = f"{file}: is no catalogue"
        raise UnreadableCaseError(msg)
    one = _other if isinstance(document["cases"], list) else _own
    entries = document["cases"]
    listed = entries if isinstance(entries, list) else [{"id": k} | v for k, v in entries.items()]
    for entry in listed:
        try:
            yield one(document, cast("dict[str, Any]", _plain(entry)))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            yield _unreadable(entry, f"it cannot be read: {type(error).__name__}: {error}")


def _unreadable(entry: object, why: str) -> Case:
    """Return what stands for a case that cannot be read, so that the others are replayed."""
    name = entry.get("id") if isinstance(entry, dict) else entry
    return Case(
        id=str(name),
        area="",
        about="",
        surfaces=frozenset(),
        world=World(),
        request={},
        expected=Expected(decision=""),
        unreadable=why,
    )


def _parse(file: Path) -> Any:
    """Read a document; the fast reader refuses half a surrogate pair, the other does not."""
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        return yaml.load(file.read_bytes(), Loader=loader)  # noqa: S506 - both are safe ones
    except yaml.YAMLError:
        return yaml.safe_load(file.read_bytes())


def _plain(value: object) -> object:
    """Return a value as JSON has it: moments that YAML read by itself are text again."""
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, dict):
        return {str(name): _plain(member) for name, member in value.items()}
    if isinstance(value, list):
        return [_plain(member) for member in value]
    return value


# ------------------------------------------------------------------------------------ our format

HOST = ["host", "acme.api.test"]
BEARER = ["authorization", "Bearer {{K1}}"]
PEER = ["203.0.113.7", 50000]

_OWN = frozenset({"id", "about", "over", "world", "first", "broken", "at", "send", "answer"})
_ANSWER = frozenset({"be", "status", "or", "because", "problem", "also"})


def _own(document: Mapping[str, Any], entry: dict[str, Any]) -> Case:
    """Read a case of ours; a request without headers has the usual host and the key ``K1``."""
    _known(entry, _OWN)
    request = {"headers": [HOST, BEARER], "client": PEER, **entry["send"]}
    ask = request.pop("ask", None)
    if ask is not None:
        request["method"], request["path"] = ask.split(" ", 1)
    if request.get("kind", "http") not in HTTP | {"management"}:
        request = dict(entry["send"])
    answer = entry["answer"]
    _known(answer, _ANSWER)
    world = _world(entry.get("world", {}), entry.get("first", ()), entry.get("broken", ()))
    return Case(
        id=entry["id"],
        area=document["area"],
        about=entry["about"],
        surfaces=frozenset(entry["over"].split()),
        world=World(**world, clock=_moment(entry.get("at"))),
        request=request,
        expected=Expected(
            decision=answer["be"],
            status=answer.get("status"),
            others=tuple(answer.get("or", ())),
            reason=answer.get("because", ""),
            problem=answer.get("problem"),
            says_problem="problem" in answer,
            also=tuple(answer.get("also", ())),
        ),
    )


# ------------------------------------------------------------------------------ the other format

_OTHER = frozenset(
    {"id", "area", "severity", "surfaces", "given", "request", "expect", "why", "refs"}
)
_GIVEN = frozenset(
    {"key", "keys", "groups", "tenants", "owners", "settings", "before", "faults", "clock"}
)
_EXPECT = frozenset({"decision", "status", "status_alt", "reason", "public_error", "also"})


def _other(document: Mapping[str, Any], entry: dict[str, Any]) -> Case:
    """Read a case of the other format, over the base that its document states."""
    _known(entry, _OTHER)
    given, expect = dict(entry.get("given") or {}), dict(entry["expect"])
    _known(given, _GIVEN)
    _known(expect, _EXPECT)
    base = document.get("base") or {}
    request = dict(entry["request"])
    if request.get("kind", "http") in HTTP:
        request.setdefault("client", base.get("client", PEER))
    world = _world(given, given.get("before"), given.get("faults"))
    return Case(
        id=entry["id"],
        area=entry["area"],
        about=str(entry.get("why", "")),
        surfaces=frozenset(entry["surfaces"]),
        world=World(**world, clock=_moment(given.get("clock"))),
        request=request,
        expected=Expected(
            decision=expect["decision"],
            status=expect.get("status"),
            others=tuple(expect.get("status_alt") or ()),
            reason=expect.get("reason", ""),
            problem=expect.get("public_error"),
            says_problem="public_error" in expect,
            also=tuple(expect.get("also") or ()),
        ),
    )


def _world(given: Mapping[str, Any], events: object, faults: object) -> dict[str, Any]:
    names = ("keys", "groups", "tenants", "owners", "settings")
    world: dict[str, Any] = {name: dict(given.get(name) or {}) for name in names}
    key = given.get("key", {})
    world["key"] = None if key is None else dict(key)
    world["events"] = tuple(cast("Iterable[Any]", events or ()))
    world["faults"] = tuple(cast("Iterable[Any]", faults or ()))
    return world


def _known(entry: Mapping[str, Any], names: frozenset[str]) -> None:
    unknown = entry.keys() - names
    if unknown:
        msg = f"unknown members {', '.join(sorted(unknown))}"
        raise ValueError(msg)


def _moment(text: object) -> datetime | None:
    if text is None:
        return None
    moment = datetime.fromisoformat(str(text))
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
