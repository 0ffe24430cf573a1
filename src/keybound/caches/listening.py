"""One thread per process that hears what other workers announce.

It is a plain thread over a blocking connection of its own, whatever the requests run in. Nothing
depends on it: while it hears nothing, changes are seen at the next sync. So it is quick to doubt
its connection, and a new one costs a sync.
"""

from __future__ import annotations

import logging
import weakref
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Protocol, TypeVar

from redis import exceptions

from keybound.caches.deliveries import Deliveries
from keybound.caches.redis_link import explain, pack
from keybound.caches.redis_wires import Wire
from keybound.clocks import jitter, monotonic
from keybound.core.errors import CacheError
from keybound.drivers import run
from keybound.threads import OneThread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from keybound.caches.redis_link import Line, Reply
    from keybound.threads import Signal

T = TypeVar("T")

TICK = 0.25
"""Seconds after which the thread looks up from listening; what follows is counted in these."""

PING_TICKS = 4
SILENCE_TICKS = 12
"""Without anything heard for so long, not even the answer to a ping, the connection is dead."""

STANDS_AFTER = 4
"""Until then a connection counts as another one of those that fail."""

OPENED_WITHIN = 3.0
PAUSES = (0.02, 0.1, 0.25, 0.5, 1.0)
"""Seconds, less some by chance, before the next connections when one after the other fails."""

DOUBTS_REST = 10.0
"""Seconds for which a connection that was built in doubt is not doubted again: perhaps whoever
makes the changes announces none."""

_PING = pack(b"PING")

logger = logging.getLogger("keybound")


class Ear(Protocol):
    """What the listener tells; each call is safe for threads, and short."""

    def hear(self, payload: bytes) -> int | None:
        """Take in what was published; return its revision if it is a change of this store."""
        ...

    def subscribed(self) -> float:
        """Sync at once: what was published until now was not heard; return the time on boot."""
        ...

    def synced(self) -> tuple[int, float]:
        """Return the revision that the last sync has seen, and when on boot that was sent."""
        ...


class Listener:
    """Listens to one channel from the first ``start`` until ``stop``.

    ``listens`` says whether it is subscribed, ``rebuilds`` how often that had to be done again. It
    holds the ear weakly, so that a guard nobody uses any more takes its thread with it, and it
    belongs to the process that started it: a forked child makes its own. Where no thread can be
    had, the next ``start`` tries again.
    """

    def __init__(
        self, dial: Callable[[], Line], *, channel: bytes, location: str, ear: Ear
    ) -> None:
        """Connect to nothing yet; ``dial`` makes a line, to a server that is found anew each time.

        ``location`` is what the operator is told.
        """
        self.rebuilds = 0
        self.listens = False
        self._dial = dial
        self._subscribe = pack(b"SUBSCRIBE", channel)
        self._location = location
        self._ear = weakref.ref(ear)
        self._link: _Link | None = None
        self._thread = OneThread(name="keybound-listen")

    def start(self) -> None:
        """Start the thread unless this process has it already."""
        if not self._thread.runs:
            self._thread.start(self._work)

    def stop(self) -> None:
        """Let the thread end; it may be started again."""
        self._thread.stop()

    def leave(self) -> None:
        """Let go, in a forked child, of a connection that goes on in the parent."""
        if self._link is not None:
            self._link.close()

    def _work(self, signal: Signal) -> None:
        stop = signal.stop
        lost, failures, trusts_until = False, 0, float("-inf")
        while not stop.is_set() and self._ear() is not None:
            self._link = link = _Link(self._dial(), self._subscribe)
            try:
                for ticks in link.ticks(self._ear):
                    self.listens = not stop.is_set()
                    if stop.is_set() or (link.lacks and monotonic() >= trusts_until):
                        break
                    if ticks == STANDS_AFTER:
                        lost, failures = self._found(lost=lost), 0
                if link.lacks:
                    trusts_until = monotonic() + DOUBTS_REST
            except Exception as error:  # noqa: BLE001 - whatever it was, the next link may work
                lost = lost or (not stop.is_set() and self._lost(error))
            finally:
                self.listens = False
                link.close()
            stop.wait(PAUSES[failures] * jitter(0.5))
            failures = min(failures + 1, len(PAUSES) - 1)
            self.rebuilds += not stop.is_set()

    def _found(self, *, lost: bool) -> bool:
        if lost:
            logger.warning("listening to redis at %s again", self._location)
        return False

    def _lost(self, error: Exception) -> bool:
        known = isinstance(error, CacheError)
        logger.warning(
            "not listening to redis at %s (%s): changes made elsewhere are seen at the next sync",
            self._location,
            error if known else type(error).__qualname__,
        )
        return True


class _Link:
    """One subscription. ``lacks``: a change that a sync saw did not come over it."""

    def __init__(self, line: Line, subscribe: bytes) -> None:
        self.lacks = False
        self._line = line
        self._subscribe = subscribe
        self._wire = Wire(line.connection)

    def ticks(self, ear: weakref.ref[Ear]) -> Iterator[int]:
        """Connect, and hand on what is published, until nobody asks for the next tick.

        Raises ``CacheError`` when there is no connection any more. The ear is held only while it
        hears, and what it raises is raised.
        """
        self._open()
        told = ear()
        if told is None:
            return
        deliveries = Deliveries(told.subscribed())
        del told
        silent = 0
        for ticks in count():
            yield ticks
            self._line.connection.until.at = monotonic() + TICK
            if ticks % PING_TICKS == 0:
                _do(partial(self._wire.say, _PING))
            heard = self._hear(ear, deliveries)
            silent = 0 if heard else silent + 1
            if silent >= SILENCE_TICKS:
                msg = "it says nothing any more"
                raise CacheError(msg)
            told = ear()
            if told is None:
                return
            self.lacks = deliveries.lack(*told.synced())
            del told

    def close(self) -> None:
        """Let the connection go."""
        self._line.stands = False
        self._line.connection.disconnect()

    def _open(self) -> None:
        self._line.connection.until.at = monotonic() + OPENED_WITHIN
        (reply,) = run(self._line.converse(self._subscribe, 1), self._wire)
        if isinstance(reply, exceptions.RedisError):
            raise CacheError(explain(reply))

    def _hear(self, ear: weakref.ref[Ear], deliveries: Deliveries) -> bool:
        """Hand on what comes until the tick is over; return whether anything came."""
        heard = False
        while (reply := _do(self._wire.receive)) is not None:
            heard = True
            told, payload = ear(), _published(reply)
            rev = None if told is None or payload is None else told.hear(payload)
            del told
            if rev is not None:
                deliveries.bring(rev)
        return heard


def _do(act: Callable[[], T]) -> T:
    try:
        return act()
    except exceptions.ConnectionError:
        msg = "it closed the connection"
        raise CacheError(msg) from None
    except Exception as error:  # noqa: BLE001 - whatever it was, the connection is lost
        raise CacheError(explain(error)) from None


def _published(reply: Reply) -> bytes | None:
    """Return what was published, where that is what a server said."""
    if isinstance(reply, exceptions.RedisError):
        raise CacheError(explain(reply))
    match reply:
        case [b"message", bytes(), bytes(payload)]:
            return payload
        case _:
            return None
