"""The shared cache in Redis or Valkey: what one process loaded, others need not ask the store for.

It is a link that is allowed to fail. It can make a request slower, by ``redis_timeout`` once; then
nobody asks for a second. What it answers is bytes that nobody believes; ``keybound.core.shared``
reads them.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from threading import Lock
from typing import TYPE_CHECKING, NamedTuple

from redis import exceptions

from keybound.breaker import Breaker
from keybound.caches.announcing import Announcements
from keybound.caches.batches import TaskBatches, ThreadBatches
from keybound.caches.offers import Offers
from keybound.caches.redis_dial import Dialler
from keybound.caches.redis_link import PROBE, explain, pack
from keybound.caches.redis_wires import AsyncWire, Wire
from keybound.caches.scripts import evaluate
from keybound.clocks import monotonic
from keybound.core.effects import Offer
from keybound.core.errors import CacheError
from keybound.core.shared import VALUE_MAX
from keybound.drivers import arun, run

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Sequence

    from keybound.caches.credentials import Credentials
    from keybound.caches.redis_link import Line, Reply
    from keybound.core.effects import Moment, ReadShared, Steps
    from keybound.core.secret import Secret

    Answer = Sequence[bytes | None]

OFFERED_WITHIN = 1.0
"""Seconds that writing one batch may take; nobody waits for it."""

logger = logging.getLogger("keybound")


class RedisLink:
    """What both clients of one server share: whether it works, what is said, and the offers."""

    def __init__(
        self,
        url: Secret,
        *,
        timeout: float,
        boot: Callable[[], float],
        credentials: Credentials | None = None,
    ) -> None:
        """Connect to nothing yet. Raises ``SettingsError`` for a URL that cannot be used."""
        self.url = url
        self.dialler = Dialler(url.reveal(), credentials)
        self.location = self.dialler.url.shown
        self.breaker = Breaker()
        self.timeout = timeout
        self._boot = boot
        self._writer = self.dialler.routed()
        self._wire = Wire(self._writer.connection)
        self._untaken: Offer | None = None
        self.offers = Offers(self._write, self._hang_up)
        self.announcements = Announcements(
            self.dialler.routed(), timeout=timeout, location=self.location
        )

    def dial(self) -> Line:
        """Return a blocking line of its own for whoever has much to hear."""
        return self.dialler.line()

    def left(self, asked_at: Moment) -> float:
        """Return the seconds that are left to somebody who began asking at that moment."""
        return self.timeout - (self._boot() - asked_at.boot)

    def question(self, names: Sequence[bytes]) -> bytes:
        """Return what reads these names, as much as a record may be. Raises ``CacheError``."""
        breaker = self.breaker
        if breaker.open and not breaker.admits(monotonic()):
            msg = "it did not answer a moment ago"
            raise CacheError(msg)
        packed = b""
        for name in names:
            packed += _GET % (len(name), name)
        return packed

    def asking(
        self, line: Line, packed: bytes, count: int, failure: Exception | None = None
    ) -> Steps[Answer]:
        """Ask on a line, where that has not just failed, or anew. Raises ``CacheError``."""
        try:
            replies = yield from line.converse(packed, count, failure)
        except CacheError as error:
            raise self.failed(error) from None
        return self.answer(replies)

    def answer(self, replies: Sequence[Reply]) -> Answer:
        """Return the values; what is no string is not there. Raises ``CacheError``."""
        values: list[bytes | None] = []
        for reply in replies:
            if isinstance(reply, exceptions.ResponseError):
                if str(reply).startswith("WRONGTYPE"):  # that alone is about one value
                    values.append(None)
                    continue
                raise self.failed(CacheError(explain(reply)))
            values.append(reply if isinstance(reply, bytes) and reply else None)
        if self.breaker.open and self.breaker.work():
            logger.warning("redis at %s answers again", self.location)
        return values

    def failed(self, error: CacheError) -> CacheError:
        """Leave the server alone for a moment, say so if that is news, and return the error."""
        if self.breaker.fail(monotonic()):
            logger.warning(
                "redis at %s cannot be used (%s): the store is asked instead", self.location, error
            )
        return error

    def try_to_write(self) -> str | None:
        """Return why nothing can be written, if so."""
        self._writer.connection.until.at = monotonic() + self.timeout
        offer = Offer(PROBE, b"0", replace=True)
        try:
            refusal = run(self._writing([offer]), self._wire)
        finally:
            self._hang_up()
        return None if refusal is None else f"it takes no records: {refusal[1]}"

    def _write(self, offers: Sequence[Offer]) -> None:
        if self.breaker.open:
            return
        before = self._untaken
        if before is not None:  # the servers of a Cluster differ: this one is asked again
            offers = (before, *offers)
        self._writer.connection.until.at = monotonic() + OFFERED_WITHIN
        try:
            refusal = run(self._writing(offers), self._wire)
        except CacheError as error:
            refusal = offers[0], str(error)
        self._untaken = None if refusal is None else refusal[0]
        if refusal is not None and before is None:
            logger.warning("redis at %s takes no records: %s", self.location, refusal[1])
        elif refusal is None and before is not None:
            logger.warning("redis at %s takes records again", self.location)

    def _writing(self, offers: Sequence[Offer]) -> Steps[tuple[Offer, str] | None]:
        """Write these values; return the first that was not taken, and why."""
        replies = yield from evaluate(self._writer, [(each, None) for each in offers])
        for offer, reply in zip(offers, replies, strict=True):
            if isinstance(reply, Exception):
                return offer, explain(reply)
        return None

    def _hang_up(self) -> None:
        self._writer.stands = False
        self._writer.connection.disconnect()


class RedisCache:
    """The shared cache, blocking; safe for threads."""

    def __init__(self, link: RedisLink) -> None:
        """Use a link; nothing is connected before the first question."""
        self._link = link
        self._talk = self._new_talk()
        self._batches = ThreadBatches(self._read, renew=self._renew)

    def read(self, asked: ReadShared) -> Answer:
        """Return what is there under these names. Raises ``CacheError``."""
        return self._batches.ask(asked.names, self._link.left(asked.asked_at))

    def check(self) -> None:
        """Ask every server, and write what nobody reads. Raises ``CacheError`` saying what fails.

        Nobody else may use this link meanwhile.
        """
        line, _ = self._talk
        self._batches.ask(tuple(line.probes()), self._link.timeout)
        problem = line.trouble() or self._link.try_to_write()
        if problem:
            raise CacheError(problem)

    def close(self) -> None:
        """Let the connection go; the next question makes another."""
        line, _ = self._talk
        line.stands = False
        line.connection.disconnect()

    def _new_talk(self) -> tuple[Line, Wire]:
        line = self._link.dialler.routed()
        return line, Wire(line.connection)

    def _renew(self) -> None:
        # Whoever has the one before may be in the middle of it: it ends when they let it go.
        self._talk = self._new_talk()

    def _read(self, names: Sequence[bytes], until: float) -> Answer:
        (line, wire), failure = self._talk, None
        line.connection.until.at = until
        packed = self._link.question(names)
        if line.stands:  # mostly: then this is the whole conversation
            try:
                replies = wire.exchange(packed, len(names))
            except Exception as error:  # noqa: BLE001 - what that means, the conversation knows
                failure = error
            except BaseException:
                line.stands = False
                raise
            else:
                return self._link.answer(replies)
        return run(self._link.asking(line, packed, len(names), failure), wire)


class AsyncRedisCache:
    """The shared cache, awaiting; every loop has a connection of its own, which ends with it."""

    def __init__(self, link: RedisLink) -> None:
        """Use a link; nothing is connected before the first question."""
        self._link = link
        self._loops: dict[asyncio.AbstractEventLoop, _LoopLine] = {}
        self._lock = Lock()

    async def read(self, asked: ReadShared) -> Answer:
        """Return what is there under these names. Raises ``CacheError``."""
        here = self._loops.get(asyncio.get_running_loop()) or await self._arrive()
        return await here.batches.ask(asked.names, self._link.left(asked.asked_at))

    async def close(self) -> None:
        """Let the connection of this loop go; the next question makes another."""
        here = self._loops.pop(asyncio.get_running_loop(), None)
        if here is not None:
            await here.ending.aclose()

    async def _arrive(self) -> _LoopLine:
        loop = asyncio.get_running_loop()
        line = self._link.dialler.arouted()
        here = _LoopLine(TaskBatches(_Reader(self._link, line)), _ending(line))
        with self._lock:  # loops that ended have closed their lines
            self._loops = {each: at for each, at in self._loops.items() if not each.is_closed()}
            self._loops[loop] = here
        await anext(here.ending)
        return here


class _LoopLine(NamedTuple):
    """What one loop has."""

    batches: TaskBatches
    ending: AsyncGenerator[None]


class _Reader:
    """Reads batches on the line of one loop."""

    def __init__(self, link: RedisLink, line: Line) -> None:
        self._link = link
        self._line = line
        self._wire = AsyncWire(line.connection)

    async def __call__(self, names: Sequence[bytes], until: float) -> Answer:
        line, wire, failure = self._line, self._wire, None
        wire.until = until
        packed = self._link.question(names)
        if line.stands:
            try:
                replies = await wire.exchange(packed, len(names))
            except Exception as error:  # noqa: BLE001 - the same
                failure = error
            except BaseException:
                line.stands = False
                raise
            else:
                return self._link.answer(replies)
        return await arun(self._link.asking(line, packed, len(names), failure), wire)


async def _ending(line: Line) -> AsyncGenerator[None]:
    """Close a line when its loop ends, which ends every generator that was begun in it."""
    try:
        yield
    finally:
        line.stands = False
        with suppress(exceptions.RedisError, OSError):
            await line.connection.disconnect()


_GET = pack(b"GETRANGE", b"%b", b"0", b"%d" % VALUE_MAX).replace(b"$2\r\n", b"$%d\r\n")
"""What reads one value, but for its name: most of what is said to Redis is this."""
