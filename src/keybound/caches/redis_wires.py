"""What does the work of conversations with Redis: blocking, and awaiting.

An exchange does not pass through redis-py's ``Connection``, which looks for a timeout and a state
at every step: here is a deadline, and whatever goes wrong ends the connection.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from redis import exceptions

from keybound.caches.redis_link import (
    Connect,
    Exchange,
    HangUp,
    Line,
    Reply,
    Together,
    TooLateError,
)
from keybound.clocks import monotonic
from keybound.core.errors import CacheError
from keybound.drivers import arun, run

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from keybound.caches.redis_link import Outcome, Part
    from keybound.core.effects import Effect

_AS_BYTES: Final = True
"""To parsers: not to decode."""

_HEARD = 0.002
"""Seconds for reading what has come already, although another server took all the time."""

_NO_TIME = "its turn did not come in time"


class Wire:
    """Does what a conversation asks for, blocking, by the deadline that its connection has."""

    def __init__(self, connection: Any) -> None:  # noqa: ANN401 - of redis-py, which is untyped
        """Use a connection, which has its deadline itself."""
        self._connection = connection

    def __call__(self, effect: Effect[Any]) -> Any:  # noqa: ANN401 - the effect says what
        """Do one thing."""
        if isinstance(effect, Exchange):
            return self.exchange(effect.packed, effect.count)
        if isinstance(effect, Together):
            return _together(effect.parts, _share(self._connection.until.at, effect.share))
        if isinstance(effect, Connect):
            return self._connect(effect.share)
        if isinstance(effect, HangUp):
            return _hang_up(effect.lines)
        return self._connection.disconnect()

    def exchange(self, packed: bytes, count: int) -> list[Reply]:
        """Send packed commands together, and read as many replies."""
        connection, replies = self._connection, list[Reply]()
        try:
            # Private, and the same from redis-py 5 to 8; the tests of this link would say if not.
            connection._sock.sendall(packed)  # noqa: SLF001
            read = connection._parser.read_response  # noqa: SLF001
            for _ in range(count):
                replies.append(read(_AS_BYTES))
        except BaseException:  # also interrupted: what is on the way is not the next reply
            connection.disconnect()
            raise
        return replies

    def say(self, packed: bytes) -> None:
        """Send packed commands; what is answered is received some time."""
        self._connection._sock.sendall(packed)  # noqa: SLF001 - as above

    def receive(self) -> Reply:
        """Return what the server says next, or ``None`` when it says nothing by the deadline.

        The half of a reply that has come by then is kept, and the connection with it.
        """
        try:
            reply: Reply = self._connection._parser.read_response(_AS_BYTES)  # noqa: SLF001 - same
        except (exceptions.TimeoutError, TimeoutError):
            return None
        return reply

    def _connect(self, share: float) -> None:
        until = self._connection.until
        ends, until.at = until.at, _share(until.at, share)
        try:
            self._connection.connect()
        except BaseException:  # half a connection is none
            self._connection.disconnect()
            raise
        finally:
            until.at = ends


class AsyncWire:
    """Does what a conversation asks for, awaiting, until ``until``: as ``Wire`` does."""

    def __init__(self, connection: Any) -> None:  # noqa: ANN401 - of redis-py, which is untyped
        """Use a connection."""
        self._connection = connection
        self._watch: asyncio.TimerHandle | None = None
        self._looks_at = 0.0
        self._transport: asyncio.Transport | None = None
        self._late = False
        self.until = 0.0

    async def __call__(self, effect: Effect[Any]) -> Any:  # noqa: ANN401 - the effect says what
        """Do one thing."""
        if isinstance(effect, Exchange):
            return await self.exchange(effect.packed, effect.count)
        if isinstance(effect, Together):
            return await _atogether(effect.parts, _share(self.until, effect.share))
        if isinstance(effect, Connect):
            return await self._connect(effect.share)
        if isinstance(effect, HangUp):
            return await _ahang_up(effect.lines)
        return await self._connection.disconnect(nowait=True)

    async def exchange(self, packed: bytes, count: int) -> list[Reply]:
        """Send packed commands together, and read as many replies."""
        connection, replies, self._late = self._connection, list[Reply](), False
        try:
            transport: asyncio.Transport = connection._writer.transport  # noqa: SLF001 - as above
            if transport.is_closing():  # to write to it is a RuntimeError under uvloop
                raise exceptions.ConnectionError  # noqa: TRY301 - it is handled like all others
            self._transport = transport
            self._be_watched()
            transport.write(packed)
            read = connection._parser.read_response  # noqa: SLF001
            for _ in range(count):
                replies.append(await read(_AS_BYTES))
        except BaseException as error:  # also cancelled: what is on the way is not the next reply
            await connection.disconnect(nowait=True)
            if self._late and isinstance(error, exceptions.ConnectionError):
                raise TimeoutError from None
            raise
        finally:
            self._transport = None
        return replies

    async def _connect(self, share: float) -> None:
        try:
            async with asyncio.timeout(_share(self.until, share) - monotonic()):
                await self._connection.connect()
        except BaseException:  # half a connection is none
            await self._connection.disconnect(nowait=True)
            raise

    def _be_watched(self) -> None:
        """See that what is under way ends by ``until``.

        The timer of an exchange before is used, which then looks again: a new one for each is some
        5 % of what a miss costs.
        """
        if self._watch is not None:
            if self._looks_at <= self.until:
                return
            self._watch.cancel()
        self._looks_at = self.until
        after = self.until - monotonic()
        self._watch = asyncio.get_running_loop().call_later(after, self._look)

    def _look(self) -> None:
        self._watch = None
        if self._transport is None:
            return
        if monotonic() < self.until:
            self._be_watched()
        else:
            self._late = True
            self._transport.abort()


def _share(until: float, share: float) -> float:
    """Return the moment at which a share of what is left until then is over."""
    if share == 1.0:
        return until
    now = monotonic()
    return now + (until - now) * share


def _together(parts: Sequence[Part], until: float) -> list[Outcome]:
    """Say it on all lines that stand, hear all of them, and only then connect the others.

    So one that hangs keeps nobody from being heard, and only new lines have no time after it.
    """
    heard: dict[Line, list[Reply]] = {}
    failures: dict[Line, Exception] = {}
    try:
        standing = [part for part in parts if part.line.stands]
        for line, packed, *_ in standing:
            line.connection.until.at = until
            try:
                line.connection._sock.sendall(packed)  # noqa: SLF001 - as above
            except Exception as error:  # noqa: BLE001 - what that means, the conversation knows
                failures[line] = error
        for line, _, count, _ in standing:
            if line not in failures:
                line.connection.until.at = max(until, monotonic() + _HEARD)
                try:
                    read = line.connection._parser.read_response  # noqa: SLF001
                    heard[line] = [read(_AS_BYTES) for _ in range(count)]
                except Exception as error:  # noqa: BLE001 - the same
                    failures[line] = error
        return [heard.get(part.line) or _anew(part, until, failures) for part in parts]
    except BaseException:  # interrupted: what is on the way is not the next reply
        _hang_up([part.line for part in parts])
        raise
    finally:
        _hang_up([part.line for part in parts if part.ends])


def _anew(part: Part, until: float, failures: Mapping[Line, Exception]) -> Outcome:
    failure = failures.get(part.line)
    if failure is None and monotonic() >= until:
        return TooLateError(_NO_TIME)
    part.line.connection.until.at = until
    if failure is not None:
        part.line.connection.disconnect()
    try:
        conversation = part.line.converse(part.packed, part.commands, failure)
        return run(conversation, Wire(part.line.connection))
    except CacheError as error:
        return error


def _hang_up(lines: Sequence[Line]) -> None:
    for line in lines:
        line.stands = False
        line.connection.disconnect()


async def _atogether(parts: Sequence[Part], until: float) -> list[Outcome]:
    if len(parts) == 1:  # mostly: then no task is needed
        return [await _aone(parts[0], until)]
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(_aone(part, until)) for part in parts]
    return [task.result() for task in tasks]


async def _aone(part: Part, until: float) -> Outcome:
    wire = AsyncWire(part.line.connection)
    wire.until = until
    try:
        if monotonic() >= until:
            return TooLateError(_NO_TIME)
        return await arun(part.line.converse(part.packed, part.commands), wire)
    except CacheError as error:
        return error
    finally:
        if part.ends:
            await _ahang_up([part.line])


async def _ahang_up(lines: Sequence[Line]) -> None:
    for line in lines:
        line.stands = False
        await line.connection.disconnect(nowait=True)
