"""The identity of the request that this task or thread is serving."""

from __future__ import annotations

from contextvars import ContextVar
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from keybound.core.demands import Demand
    from keybound.core.identity import Identity

GUARD = "keybound.guard"
"""Where a scope or an environment holds the guard that let its request through: a view can refuse
by it."""


class Unknown(Enum):
    """What is known where there is no identity: that no key was needed, or nothing at all."""

    NO_KEY = "no key"
    NOTHING = "nothing"


NO_KEY, NOTHING = Unknown.NO_KEY, Unknown.NOTHING

CURRENT: ContextVar[Identity | Unknown] = ContextVar("keybound_identity", default=NOTHING)

# Bound once: to look them up costs a request as much as half a call.
set_current, reset_current = CURRENT.set, CURRENT.reset

frameworks: list[Callable[[], Identity | Unknown]] = []
"""Calls that return the identity of the request in a framework's own context, such as Flask's.

Such a framework sets no variable of ours, which would cost every request; ``current_key`` asks it.
"""


def current_key() -> Identity | None:
    """Return who is calling, or ``None`` outside a request and where no key was needed."""
    known = CURRENT.get()
    for ask in frameworks:
        if known is not NOTHING:
            break
        known = ask()
    return None if isinstance(known, Unknown) else known


def required(carrier: Mapping[str, Any], demand: Demand, *, method: str) -> Identity:
    """Return who is calling, by a scope or an environment, if that key meets a demand.

    Raises ``RefusedError``, and ``RuntimeError`` where no middleware of ours saw the request.
    """
    if GUARD not in carrier:
        msg = "this request did not pass APIKeyMiddleware: put it around the application"
        raise RuntimeError(msg)
    return demand.check(carrier["keybound"], method=method, fields={})
