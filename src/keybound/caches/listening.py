"""One thread per process that hears what other workers announce.

It is a plain thread over a blocking connection of its own, whatever the requests run in. Nothing
depends on it: while it hears nothing, changes are seen at the next sync. So it is quick to doubt
its connection, and a new one costs a sync.
"""

from __future__ import annotations

import logging
import os
import random
import threading
import weakref
from functools import partial
from typing import TYPE_CHECKING, Protocol, TypeVar

from redis import exceptions

from keybound.caches.deliveries import Deliveries
from keybound.caches.redis_dial import dial
from keybound.caches.redis_link import Wire, explain, pack
from keybound.clocks import monotonic
from keybound.core.errors import CacheError
from keybound.drivers import run

if TYPE_CHECKING:
    from collections.abc import Callable

    from keybound.caches.redis_link import Line, Reply
    from keybound.core.secret import Secret

T = TypeVar("T")

TICK = 0.25
"""Seconds after which the thread looks up from listening; what follows is counted in these."""

PING_TICKS = 4
SILENCE_TICKS = 12
"""Without anything heard for so long, not even the answer to a ping, the connection is dead."""

OPENED_WITHIN = 3.0
PAUSES = (0.02, 0.1, 0.25, 0.5, 1.0)
"""Seconds, less some by chance, before the next connections if nothing was heard on the last."""

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
    """Listens to one channel from the first ``start`` until ``stop``; ``rebuilds`` counts links.

    It holds the ear weakly, so that a guard nobody uses any more takes its thread with it, and it
    belongs to the process that started it: a forked child makes its own, and never touches this
    one's connection.
    """

    def __init__(self, url: Secret, *, channel: bytes, location: str, ear: Ear) -> None:
        """Connect to nothing yet; ``location`` is what the operator is told."""
        self.rebuilds = 0
        self.listens = False
        self._url = url
        self._subscribe = pack(b"SUBSCRIBE", channel)
        self._location = location
        self._ear = weakref.ref(ear)
        self._process: int | None = None
        self._stop = threading.Event()
        self._lock = threading.Lock()

    def start(self) -> None:
        """Start the thread unless this process has it already."""
        if self._process == os.getpid():
            return
        with self._lock:
            if self._process == os.getpid():
                return
            self._process = os.getpid()
            self._stop = threading.Event()
            threading.Thread(
                target=self._work, args=(self._stop,), name="keybound-listen", daemon=True
            ).start()

    def stop(self) -> None:
        """Let the thread end; it may be started again."""
        with self._lock:
            self._stop.set()
            self._process = None

    def _work(self, stop: threading.Event) -> None:
        news, failures, trusts_until = True, 0, 0.0
        while not stop.is_set():
            link = _Link(dial(self._url.reveal()), stop)
            try:
                link.open(self._subscribe)
                if not news:
                    logger.warning("listening to redis at %s again", self._location)
                news = True
                self.listens = True
                doubts = link.listen(self._ear, trusts_until)
                trusts_until = monotonic() + DOUBTS_REST if doubts else trusts_until
            except CacheError as error:
                if news and not stop.is_set():
                    logger.warning(
                        "not listening to redis at %s (%s): changes made elsewhere are seen at the "
                        "next sync",
                        self._location,
                        error,
                    )
                news = False
            finally:
                self.listens = False
                link.close()
            failures = 0 if link.heard else min(failures + 1, len(PAUSES) - 1)
            if self._ear() is None:
                return
            stop.wait(PAUSES[failures] * random.uniform(0.5, 1.0))  # noqa: S311 - jitter, no secret
            self.rebuilds += not stop.is_set()


class _Link:
    """One subscription, until something is wrong with it; ``heard`` if anything came at all."""

    def __init__(self, line: Line, stop: threading.Event) -> None:
        self.heard = False
        self._line = line
        self._wire = Wire(line.connection)
        self._stop = stop

    def open(self, subscribe: bytes) -> None:
        """Connect and subscribe. Raises ``CacheError``."""
        self._line.connection.until.at = monotonic() + OPENED_WITHIN
        (reply,) = run(self._line.converse(subscribe, 1), self._wire)
        if isinstance(reply, exceptions.RedisError):
            raise CacheError(explain(reply))

    def listen(self, ear: weakref.ref[Ear], trusts_until: float) -> bool:
        """Hand on what is published until the end; return whether that is for a doubt.

        Raises ``CacheError`` when the connection is lost. The ear is held only while it hears.
        """
        told = ear()
        if told is None:
            return False
        deliveries = Deliveries(told.subscribed())
        del told
        silent = ticks = 0
        while not self._stop.is_set():
            self._line.connection.until.at = monotonic() + TICK
            if ticks % PING_TICKS == 0:
                self._do(partial(self._wire.say, _PING))
            heard = self._hear_for_a_tick(ear, deliveries)
            ticks, silent = ticks + 1, 0 if heard else silent + 1
            if silent >= SILENCE_TICKS:
                msg = "it says nothing any more"
                raise CacheError(msg)
            told = ear()
            if told is None:
                return False
            lacking = deliveries.lack(*told.synced())
            del told
            if lacking and monotonic() >= trusts_until:
                return True
        return False

    def close(self) -> None:
        """Let the connection go."""
        self._line.stands = False
        self._line.connection.disconnect()

    def _hear_for_a_tick(self, ear: weakref.ref[Ear], deliveries: Deliveries) -> bool:
        """Hand on what comes until the tick is over; return whether anything came."""
        heard = False
        while (reply := self._do(self._wire.receive)) is not None:
            heard = self.heard = True
            told, payload = ear(), _published(reply)
            rev = None if told is None or payload is None else told.hear(payload)
            del told
            if rev is not None:
                deliveries.bring(rev)
        return heard

    def _do(self, act: Callable[[], T]) -> T:
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
