"""Questions to the store that are under way, so that nobody asks the same one beside them."""

from __future__ import annotations

from concurrent.futures import Future
from threading import Lock


class Flights:
    """At most one question about each thing; those who come later wait for its end.

    Threads wait with ``Future.result``, tasks with ``asyncio.wrap_future``, of any loop. What was
    learned is in the cache, so a flight carries nothing but its end, or the error that ended it.
    """

    def __init__(self) -> None:
        """Start with nothing under way."""
        self._under_way: dict[bytes, Future[None] | None] = {}
        self._lock = Lock()

    def join(self, about: bytes) -> Future[None] | None:
        """Return what to wait for, or ``None`` for whoever has to ask, and then ``land``."""
        with self._lock:
            if about not in self._under_way:
                self._under_way[about] = None  # until somebody waits: mostly nobody does
                return None
            future = self._under_way[about]
            if future is None:
                future = self._under_way[about] = Future()
            return future

    def land(self, about: bytes, error: Exception | None = None) -> None:
        """Let everybody who waits go on; whoever has to ask next is decided anew."""
        with self._lock:
            future = self._under_way.pop(about)
        if future is None:
            return
        if error is None:
            future.set_result(None)
        else:
            future.set_exception(error)
