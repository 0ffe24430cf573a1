"""A store that a test looks at, and breaks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from keybound.core.effects import LoadByDigest, LoadNode
from keybound.core.errors import StoreUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable

    from keybound.core.effects import Effect
    from keybound.stores import Store


class WatchedStore:
    """A store that counts what it is asked, and can be out of reach or answer with another row."""

    def __init__(self, store: Store) -> None:
        """Pass everything on to ``store``."""
        self.store = store
        self.location = store.location
        self.loads = 0
        self.reachable = True
        self.instead: str | None = None
        self.before_load: Callable[[], None] | None = None

    def perform(self, effect: Effect[Any]) -> Any:
        """Answer one effect, or fail as a store does that is out of reach."""
        if not self.reachable:
            msg = "the store did not answer"
            raise StoreUnavailableError(msg)
        if isinstance(effect, LoadByDigest):
            self.loads += 1
            if self.before_load is not None:
                self.before_load()
            if self.instead is not None:
                return self.store.perform(LoadNode(self.instead))
        return self.store.perform(effect)

    def close(self) -> None:
        """Close it."""
        self.store.close()
