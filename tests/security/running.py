"""The run of a whole case: at every subject, over every way to the records that is worth it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.security import faults, records, subjects, verdicts
from tests.security.applications import ALIASES, OK, status_of
from tests.security.calls import call
from tests.security.cases import HTTP
from tests.security.checks_of_answers import PURE
from tests.security.logs import listening
from tests.security.measured import about_redis
from tests.security.outcomes import ComesLaterError, NotReplayableError
from tests.security.replay import behaviour_of, run_at
from tests.security.worlds import Way
from tests.shells.subjects import SUBJECTS as SHELLS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tests.security.cases import Case
    from tests.security.outcomes import Outcome
    from tests.security.replay import Tools

MEMORY, SQLITE, REDIS = Way(store="memory"), Way(store="sqlite"), Way(store="sqlite", redis=True)

LATER = {"management": "the management API"}
"""Kinds of requests whose part of keybound is not there yet."""


def replay(case: Case, tools: Tools) -> None:
    """Replay a case at every subject and over every way; raises what does not hold."""
    if case.unreadable:
        raise NotReplayableError(case.unreadable)
    if case.kind in LATER:
        raise ComesLaterError(LATER[case.kind])
    if case.kind not in HTTP:
        with listening() as log:
            call(case, tools, log)
            log.check()
        return
    outcomes: dict[str, Outcome] = {}
    for way, names in _ways(case, tools):
        for name in names:
            with listening() as log:
                label = f"{name} over {way.name}"
                outcomes[label] = _labelled(label, lambda: run_at(case, tools, way, name, log))  # noqa: B023 - called at once
    verdicts.same(outcomes, apart=_read_apart(case))


def _read_apart(case: Case) -> bool:
    """Return whether the two protocols cannot tell the same.

    Several lines are one in WSGI, an empty path is none, and bytes that are no text are replaced.
    Of a path that is not below its root, Django takes as much as the root is long.
    """
    path = case.request.get("path")
    if path == "" or (isinstance(path, str) and any(_is_surrogate(each) for each in path)):
        return True
    root = (case.request.get("scope") or {}).get("root_path")
    if root and not f"{path}/".startswith(f"{root}/"):
        return True
    listed = case.request.get("headers") or ()
    names = [str(each[0]) for each in listed if isinstance(each, list)]
    return len(set(names)) < len(names) or len(names) < len(listed)


def _is_surrogate(char: str) -> bool:
    """Return whether a character is half of a pair, which stands for a byte that is no text."""
    return "\ud800" <= char <= "\udfff"


def _labelled(label: str, run: Callable[[], Outcome]) -> Outcome:
    """Say where it was that something does not hold."""
    try:
        return run()
    except AssertionError as error:
        msg = f"{label}: {error}"
        raise AssertionError(msg) from error


def _ways(case: Case, tools: Tools) -> list[tuple[Way, list[str]]]:
    """Return every way to the records of a case, and who replays it over each.

    What a framework does is the same over every store, and what a store does in front of every
    framework: all of them run in memory, and few over the others. Redis holds records alone, so it
    is in the way where those are what the case is about.
    """
    names = _names(case)
    if "test.flood" in (case.request.get("scope") or {}):
        return [(MEMORY, [PURE]), *([(REDIS, [PURE])] if about_redis(case) else [])]
    few = [name for name in names if name in {PURE, "asgi", "wsgi"}][:2]
    ways = [(MEMORY, names), (SQLITE, few)]
    worth = case.kind != "lifespan" and _about_records(case)
    if (worth or about_redis(case)) and tools.redis() is not None:
        broken = any(faults.needs_redis(fault) for fault in case.world.faults)
        ways.append((REDIS, names if broken else few))
    return ways


def _about_records(case: Case) -> bool:
    """Return whether something is stored that Redis may hold in another way than the store."""
    world = case.world
    odd = world.key is not None and records.is_odd(_strings(world.key))
    above = world.key is not None and bool({"groups", "parent", "owner"} & world.key.keys())
    changed = bool(world.events or world.faults)
    return odd or above or changed or case.area in _STORED


_STORED = frozenset({"key_state", "storage_and_cache", "states", "stores"})
"""Areas that are about what is stored, as either format names them."""


def _strings(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the members of a record that say what they are by themselves."""
    return {name: value for name, value in record.items() if not isinstance(value, dict)}


def _names(case: Case) -> list[str]:
    names = [PURE] if _is_pure(case) else []
    for name in SHELLS:
        protocol = "wsgi" if name in {"wsgi", "flask", "django"} else "asgi"
        if not case.over(protocol):
            continue
        if case.kind != "http" and name not in subjects.WEBSOCKETS:
            continue
        if name in _FAILS_BY_ITSELF and _without_method(case):
            continue
        if name in _FOLDS and _has_capitals(case):
            continue
        if name in _DJANGO and not _is_of_one_view(behaviour_of(case)):
            continue
        names.append(name)
    return names


_FOLDS = frozenset({"django-async"})
"""Django's handler of ASGI takes names of headers in capitals, which ASGI does not have."""


def _has_capitals(case: Case) -> bool:
    listed = case.request.get("headers") or ()
    return any(isinstance(each, list) and str(each[0]) != str(each[0]).lower() for each in listed)


_FAILS_BY_ITSELF = frozenset({"django"})
"""Django's handler of WSGI needs a method before any middleware is asked, and fails without."""


def _without_method(case: Case) -> bool:
    environ = case.request.get("environ") or {}
    return environ.get("REQUEST_METHOD", "") is None


_DJANGO = frozenset({"django", "django-async"})


def _is_of_one_view(behaviour: str | None) -> bool:
    """Return whether the one view of Django's subjects has a behaviour."""
    name = ALIASES.get(behaviour or "", behaviour)
    return name in {None, "raise"} or status_of(name) != OK


def _is_pure(case: Case) -> bool:
    """Return whether the decision alone can be asked for: all of the request is in its facts."""
    scope = case.request.get("scope") or {}
    special = any(name.startswith("test.") for name in scope) or "type" in scope
    opened = any("connect" in event for event in case.world.events)
    about_shells = opened or case.kind == "lifespan" or case.expected.decision == "error"
    floods_only = "test.flood" in scope
    return (floods_only or not special) and not about_shells
