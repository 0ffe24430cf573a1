"""The identity of the request that this task or thread is serving."""

from __future__ import annotations

from contextvars import ContextVar
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from keybound.core.identity import Identity


class Unknown(Enum):
    """What is known where there is no identity: that no key was needed, or nothing at all."""

    NO_KEY = "no key"
    NOTHING = "nothing"


NO_KEY, NOTHING = Unknown.NO_KEY, Unknown.NOTHING

CURRENT: ContextVar[Identity | Unknown] = ContextVar("keybound_identity", default=NOTHING)

frameworks: list[Callable[[], Identity | Unknown]] = []
"""What frameworks know that keep the request in a context of their own: asked if we know nothing.

To set a variable of ours besides would cost every request what nearly none needs.
"""


def current_key() -> Identity | None:
    """Return who is calling, or ``None`` outside a request and where no key was needed."""
    known = CURRENT.get()
    for ask in frameworks:
        if known is not NOTHING:
            break
        known = ask()
    return None if isinstance(known, Unknown) else known
