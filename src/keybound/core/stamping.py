"""Changes that a host committed in a transaction of its own: they have no revision until stamped.

The counter row is held until a commit, and no host may hold it: so a host's changes are logged
without a revision, and whoever sees one gives it the next. Nothing that was read together with one
may be relied on, since the revision it was read at does not tell it from what was there before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from keybound.core.effects import ReadEntropy, Stamp, ask
from keybound.core.errors import StoreUnavailableError

if TYPE_CHECKING:
    from keybound.core.effects import Effect, Loaded, LogHead, Steps

ATTEMPTS = 6
TAG_BYTES = 16


def stamp() -> Steps[LogHead]:
    """Give what hosts committed by now a revision, and return where the store stands."""
    tag = yield from ask(ReadEntropy(TAG_BYTES))
    return (yield from ask(Stamp(tag)))


def load_stamped(effect: Effect[Loaded]) -> Steps[Loaded]:
    """Return what is stored, each node as of a revision. Raises ``StoreError``."""
    for _ in range(ATTEMPTS):
        loaded = yield from ask(effect)
        if not loaded.unstamped:
            return loaded
        yield from stamp()
    msg = "a host changed the same key in transaction after transaction, faster than it was read"
    raise StoreUnavailableError(msg)
