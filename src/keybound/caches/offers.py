"""What was read from the store is offered to other processes, and no request waits for that.

One small thread of the process writes, whether requests are threads or tasks: it belongs to no loop
and needs no task, and while there is nothing to write there is no thread.
"""

from __future__ import annotations

from collections import deque
from threading import Condition
from typing import TYPE_CHECKING

from keybound.threads import begin

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from keybound.core.effects import Offer

OFFERS_MAX = 1_024
"""Values that wait at most; what does not fit is dropped, and read from the store once more."""

TOGETHER_MAX = 32
IDLE = 5.0
"""Seconds without work after which the thread ends."""


class Offers:
    """Hands values to ``write`` in a thread of its own; ``dropped`` counts what did not fit."""

    def __init__(
        self, write: Callable[[Sequence[Offer]], None], hang_up: Callable[[], None]
    ) -> None:
        """Start no thread yet; ``hang_up`` is called whenever it ends. Neither may raise."""
        self.dropped = 0
        self._write = write
        self._hang_up = hang_up
        self._waiting: deque[Offer] = deque()
        self._works = False
        self._closing = False
        self._changed = Condition()

    def add(self, offers: Sequence[Offer]) -> None:
        """Take values, or drop them; return at once."""
        with self._changed:
            if len(self._waiting) + len(offers) <= OFFERS_MAX:
                self._waiting.extend(offers)
            else:
                self.dropped += len(offers)
            self._closing = False
            if self._works:
                self._changed.notify()
                return
            self._works = True
        if begin(self._work, name="keybound-offers") is None:
            self._works = False  # they wait for the next

    def close(self) -> None:
        """Let the thread end as soon as it has written what is there; ``add`` starts another."""
        with self._changed:
            self._closing = True
            self._changed.notify()

    def _work(self) -> None:
        while batch := self._take():
            self._write(batch)
        self._hang_up()

    def _take(self) -> list[Offer]:
        with self._changed:
            if not self._waiting and not self._closing:
                self._changed.wait(IDLE)
            count = min(len(self._waiting), TOGETHER_MAX)
            self._works = count > 0
            return [self._waiting.popleft() for _ in range(count)]
