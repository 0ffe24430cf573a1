"""Questions to the store that are under way, so that nobody asks the same one beside them."""

from __future__ import annotations

from concurrent.futures import Future

from keybound.clocks import monotonic
from keybound.locks import ForkLock

ABANDONED_AFTER = 10.0
"""Seconds after which whoever asks is taken for lost, and one who comes asks beside them."""


class Flights:
    """At most one question about each thing; those who come later wait for its end.

    Threads wait with ``Future.result``, tasks with ``asyncio.wrap_future``, of any loop. What was
    learned is in the cache, so a flight carries nothing but its end, or the error that ended it.
    """

    def __init__(self) -> None:
        """Start with nothing under way."""
        self._under_way: dict[bytes, tuple[float, Future[None] | None]] = {}
        self._lock = ForkLock()  # questions of the parent may end in a child, as garbage

    def join(self, about: bytes) -> Future[None] | None:
        """Return what to wait for, or ``None`` for whoever has to ask, and then ``land``."""
        now = monotonic()
        with self._lock.held():
            begun, future = self._under_way.get(about, _NEVER)
            if now - begun > ABANDONED_AFTER:
                self._under_way[about] = now, None  # until somebody waits: mostly nobody does
                return None
            if future is None:
                future = Future[None]()
                self._under_way[about] = begun, future
            return future

    def land(self, about: bytes, error: Exception | None = None) -> None:
        """Let everybody who waits go on; whoever has to ask next is decided anew."""
        with self._lock.held():
            _, future = self._under_way.pop(about, _NEVER)  # who was taken for lost may land, too
        if future is None:
            return
        if error is None:
            future.set_result(None)
        else:
            future.set_exception(error)


_NEVER: tuple[float, Future[None] | None] = float("-inf"), None
