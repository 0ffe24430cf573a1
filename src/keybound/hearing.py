"""What a process makes of messages: stricter for a moment, and a sync soon."""

from __future__ import annotations

from typing import TYPE_CHECKING

from keybound.core.effects import Change
from keybound.core.fence import Heard

if TYPE_CHECKING:
    from collections.abc import Callable

    from keybound.caches.local import LocalCache
    from keybound.clocks import Clock
    from keybound.core.messages import Message, Messages
    from keybound.core.tally import Tally


class Ear:
    """Hears messages for the cache in force; safe for threads.

    ``received`` counts all, ``refused`` what this installation did not make, or what is of another
    epoch of the store, ``ahead`` what was heard before a sync saw it, and ``behind`` what was not.
    """

    def __init__(
        self,
        messages: Messages,
        *,
        cache: Callable[[], LocalCache],
        clock: Clock,
        wake: Callable[[], None],
        tally: Tally,
    ) -> None:
        """Hear nothing yet; ``wake`` makes a sync happen soon, however often it is called."""
        self.received = self.refused = self.ahead = self.behind = 0
        self._messages = messages
        self._cache = cache
        self._clock = clock
        self._wake = wake
        self._tally = tally

    def hear(self, payload: bytes) -> int | None:
        """Require what a message is about; return its revision, unless it is refused."""
        self.received += 1
        message = self._messages.decode(payload)
        heard = Heard.FOREIGN
        news = 0
        if message is not None:
            cache = self._cache()
            news = cache.fence.news(Change(message.rev, node) for node in message.nodes)
            heard = cache.hint(message.nodes, message.rev, message.epoch)
        if message is None or heard is Heard.FOREIGN:
            self.refused += 1
            return None
        if heard is Heard.AHEAD:
            self.ahead += 1
            self._wake()
            if news:
                self._tell(message)
        else:
            self.behind += 1
        return message.rev

    def subscribed(self) -> float:
        """Sync at once: what was published until now was not heard; return the time on boot."""
        begun = self._clock.boot()
        self._wake()
        return begun

    def synced(self) -> tuple[int, float]:
        """Return the revision that the last sync has seen, and when on boot that was sent."""
        fence = self._cache().fence
        synced_at = fence.synced_at
        return fence.since, float("-inf") if synced_at is None else synced_at.boot

    def _tell(self, message: Message) -> None:
        """Tell how long ago it was committed, by two clocks: not below nothing, if they differ."""
        if self._tally.fenced is not None:
            self._tally.fenced("message", max(0.0, self._clock.wall() - message.committed_at), 1)
