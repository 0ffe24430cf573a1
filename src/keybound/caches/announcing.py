"""Announcements of changes: one script writes the record, if it is newer, and publishes.

Whoever made a change waits for that, for ``redis_timeout`` at most; then the change is done all the
same, and for a moment nobody waits any more.
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

from keybound.breaker import Breaker
from keybound.caches.redis_link import explain
from keybound.caches.redis_wires import Wire
from keybound.caches.scripts import evaluate
from keybound.clocks import monotonic
from keybound.core.errors import CacheError
from keybound.drivers import run

if TYPE_CHECKING:
    from keybound.caches.redis_link import Line
    from keybound.core.effects import Announce

logger = logging.getLogger("keybound")


class Announcements:
    """Announces over a connection of its own, one change at a time; safe for threads."""

    def __init__(self, line: Line, *, timeout: float, location: str) -> None:
        """Use a line, by which nothing else is said; ``location`` is what the operator is told."""
        self._line = line
        self._wire = Wire(line.connection)
        self._timeout = timeout
        self._location = location
        self._breaker = Breaker()

    def announce(self, effect: Announce) -> None:
        """Return when the server took the message. Raises ``CacheError``, within the timeout."""
        until, turn = monotonic() + self._timeout, self._turn
        if not self._breaker.admits(monotonic()) or not turn.acquire(timeout=self._timeout):
            msg = "it took no message a moment ago"
            raise CacheError(msg)
        try:
            self._tell(effect, until)
        except CacheError as error:
            if self._breaker.fail(monotonic()):
                logger.warning(
                    "redis at %s takes no messages (%s): others see changes at their next sync",
                    self._location,
                    error,
                )
            raise
        finally:
            turn.release()
        if self._breaker.work():
            logger.warning("redis at %s takes messages again", self._location)

    def close(self) -> None:
        """Let the connection go; the next announcement makes another."""
        with self._turn:
            self._line.stands = False
            self._line.connection.disconnect()

    @property
    def _turn(self) -> threading.Lock:
        # Made when it is first wanted, since who has it may let other greenlets run: it must be of
        # the kind that gevent has put in place by then.
        lock: threading.Lock = self.__dict__.setdefault("lock", threading.Lock())
        return lock

    def _tell(self, effect: Announce, until: float) -> None:
        self._line.connection.until.at = until
        (reply,) = run(evaluate(self._line, [(effect.offer, effect)]), self._wire)
        if isinstance(reply, Exception):  # a node of a Cluster that does not answer as well
            raise CacheError(explain(reply))
