"""``keybound init`` and ``keybound check``: a store, and whether all is set up well."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from keybound.cli.exits import Ended, Exit
from keybound.cli.render import Whole, card
from keybound.cli.session import APPLICATION, Session, store_exists
from keybound.core.errors import CacheError, KeyboundError
from keybound.setting_values import HOW_TO_MAKE_ONE
from keybound.sources import ENVIRONMENT_PREFIX, FILE_VARIABLE, SETTINGS_FILE

if TYPE_CHECKING:
    from keybound.guard import Guard

MAKE_SECRET = 'export KEYBOUND_SECRET="$({})"'.format(HOW_TO_MAKE_ONE.partition(": ")[2])
UNPROTECTED = "no secret is set, so digests of keys and ids of denials rest on the store alone"
SAME_BOUND = (
    "servers must have the same revoke_within and stale_grace, or --wait and effective_by are wrong"
)

_COUNTED_MAX = 10_000
_PAGE = 1_000


def init(session: Session) -> None:
    """Create the store, and say where it is and whether a secret protects it."""
    guard = session.find_guard()
    location = guard.engine.store.location
    there = store_exists(guard.engine.store)
    try:
        guard.open()
    finally:
        guard.close()
    secret = guard.settings.secret is not None
    data: dict[str, Any] = {"store": location, "created": not there, "secret": secret}
    if secret:
        protected = "a secret is set"
    else:
        data["make_secret"] = MAKE_SECRET
        protected = f"{UNPROTECTED}; make one, and keep it for the server and for this command:"
    made = Whole(f"{'this store is there already' if there else 'created'}: {location}")
    session.out.result(data, made, protected, *([] if secret else [Whole(f"  {MAKE_SECRET}")]))


@dataclass(slots=True, kw_only=True)
class Findings:
    """What a check found: facts by name, what needs attention, and what does not work."""

    facts: dict[str, Any] = field(default_factory=dict[str, Any])
    warnings: list[str] = field(default_factory=list[str])
    problems: list[str] = field(default_factory=list[str])


def check(session: Session) -> None:
    """Read the settings and look into the store; exit status 1 if something does not work."""
    found = Findings()
    try:
        found.facts["settings"] = _sources(session)
        guard = session.find_guard()
        if session.reads_settings:
            session.out.note(SAME_BOUND)
        _look(guard, found)
    except KeyboundError as error:
        found.problems.append(str(error))
    data = {
        "ok": not found.problems,
        **found.facts,
        "warnings": found.warnings,
        "problems": found.problems,
    }
    shown = [(name, _text(value)) for name, value in found.facts.items()]
    shown += [("warning", text) for text in found.warnings]
    shown += [("problem", text) for text in found.problems]
    session.out.result(data, card([*shown, ("ok", "no" if found.problems else "yes")]))
    if found.problems:
        raise Ended(Exit.NO)


def _look(guard: Guard, found: Findings) -> None:
    settings, location = guard.settings, guard.engine.store.location
    routes = guard.engine.table.routes
    found.facts |= {
        "store": location,
        "secret": settings.secret is not None,
        "protect": list(settings.protect),
        "routes": len(routes),
        "revoke_within": settings.revoke_within,
        "stale_grace": settings.stale_grace,
    }
    if settings.secret is None:
        found.warnings.append(f"{UNPROTECTED}; make one: {MAKE_SECRET}")
    _look_at_redis(guard, found)
    if not store_exists(guard.engine.store):
        found.problems.append(f"{location} does not exist: `keybound init` makes it")
        return
    try:
        guard.open()
        for kind in ("key", "group"):
            found.facts[f"{kind}s"] = _count(guard, kind)
    finally:
        guard.close()


def _look_at_redis(guard: Guard, found: Findings) -> None:
    """Say whether Redis answers: a warning, since keys are served without it."""
    shared = guard.engine.shared
    if shared is None:
        return
    found.facts["redis"] = shared.link.location
    try:
        shared.blocking.check()
    except CacheError as error:
        found.warnings.append(
            f"redis at {shared.link.location} cannot be used ({error}): the store is asked instead"
        )
    finally:
        shared.blocking.close()


def _sources(session: Session) -> list[str]:
    """Say where settings come from, strongest first; names only, never values."""
    chosen = session.chosen
    if APPLICATION.get() is not None:
        return ["the application"]
    if chosen.app is not None:
        return [f"the guard {chosen.app}"]
    sources = [] if chosen.database is None else ["--database"]
    sources += sorted(
        name for name in os.environ if name.startswith(ENVIRONMENT_PREFIX) and name != FILE_VARIABLE
    )
    file = chosen.settings or os.environ.get(FILE_VARIABLE) or SETTINGS_FILE
    if Path(file).is_file():
        sources.append(str(Path(file).absolute()))
    return [*sources, "defaults"]


def _count(guard: Guard, kind: str) -> int | str:
    count, after = 0, ""
    while count < _COUNTED_MAX:
        page = guard.list(kind=kind, after=after, limit=_PAGE)
        count += len(page)
        if len(page) < _PAGE:
            return count
        after = page[-1].id
    return f"{_COUNTED_MAX} or more"


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g} s"
    return ", ".join(cast("list[str]", value)) if isinstance(value, list) else str(value)
