"""The identity of the request that this task or thread is serving."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from keybound.core.identity import Identity

CURRENT: ContextVar[Identity | None] = ContextVar("keybound_identity", default=None)


def current_key() -> Identity | None:
    """Return who is calling, or ``None`` outside a request and where no key was needed."""
    return CURRENT.get()
