"""One connection to a Redis or Valkey server, and what is said over it, for both clients of it.

What is said is a generator of effects on a connection of redis-py, the same for its blocking and
its awaiting one; ``run`` and ``arun`` drive it, ``Wire`` and ``AsyncWire`` do what it asks for.
Nothing is retried, except that a connection which the server has closed since its last use is
replaced, once.
"""

from __future__ import annotations

import asyncio
import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, cast

from msgspec import Struct
from redis import exceptions

from keybound.clocks import monotonic
from keybound.core.effects import Effect, ask
from keybound.core.errors import CacheError

if TYPE_CHECKING:
    from keybound.core.effects import Steps

Reply = object
"""What the server answered to one command; an error that is about that one command is a value."""


@dataclass(frozen=True, slots=True)
class Connect(Effect[None]):
    """Connect, and introduce oneself as the URL says."""


class Exchange(Struct, Effect["list[Reply]"], frozen=True):
    """Send packed commands together, and read as many replies: whole bytes, never decoded."""

    packed: bytes
    count: int


@dataclass(frozen=True, slots=True)
class Disconnect(Effect[None]):
    """Let the connection go."""


_CONNECT: Final = Connect()
_DISCONNECT: Final = Disconnect()


@dataclass(slots=True)
class Line:
    """A connection and whether it stands; used by one conversation at a time."""

    connection: Any
    stands: bool = False

    def converse(
        self, packed: bytes, count: int, failure: Exception | None = None
    ) -> Steps[list[Reply]]:
        """Send packed commands together and return their replies. Raises ``CacheError``.

        ``failure`` is what became of that if it was tried already.
        """
        reused = self.stands
        try:
            while True:
                try:
                    if failure is not None:
                        raise failure
                    if not self.stands:
                        yield _CONNECT
                        self.stands = True
                    return cast("list[Reply]", (yield Exchange(packed, count)))
                except (exceptions.TimeoutError, TimeoutError):
                    raise
                except (exceptions.ConnectionError, OSError):
                    if not reused:
                        raise
                    reused, failure = False, None
                    yield from self._hang_up()
        except Exception as error:  # noqa: BLE001 - whatever it was, the cache is not there
            yield from self._hang_up()
            raise CacheError(explain(error)) from None
        except GeneratorExit:  # cancelled: what is on the way would be taken for the next reply
            self.stands = False
            raise

    def _hang_up(self) -> Steps[None]:
        self.stands = False
        yield from ask(_DISCONNECT)


class Wire:
    """Does what a conversation asks for, blocking.

    An exchange does not pass through redis-py's ``Connection``, which looks for a timeout and a
    state at every step: here is a deadline, and whatever goes wrong ends the connection.
    """

    def __init__(self, connection: Any) -> None:  # noqa: ANN401 - of redis-py, which is untyped
        """Use a connection, which has its deadline itself."""
        self._connection = connection

    def __call__(self, effect: Effect[Any]) -> Any:  # noqa: ANN401 - the effect says what
        """Connect, exchange or disconnect."""
        if isinstance(effect, Exchange):
            return self.exchange(effect.packed, effect.count)
        try:
            return getattr(self._connection, _METHODS[type(effect)])()
        except BaseException:  # half a connection is none
            self._connection.disconnect()
            raise

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


class AsyncWire:
    """Does what a conversation asks for, awaiting, until ``until``: as ``Wire`` does."""

    def __init__(self, connection: Any) -> None:  # noqa: ANN401 - of redis-py, which is untyped
        """Use a connection."""
        self._connection = connection
        self._late = False
        self.until = 0.0

    async def __call__(self, effect: Effect[Any]) -> Any:  # noqa: ANN401 - the effect says what
        """Connect, exchange or disconnect."""
        connection = self._connection
        if isinstance(effect, Exchange):
            return await self.exchange(effect.packed, effect.count)
        if isinstance(effect, Disconnect):
            return await connection.disconnect(nowait=True)
        try:
            async with asyncio.timeout(self.until - monotonic()):
                return await connection.connect()
        except BaseException:  # half a connection is none
            await connection.disconnect(nowait=True)
            raise

    async def exchange(self, packed: bytes, count: int) -> list[Reply]:
        """Send packed commands together, and read as many replies."""
        connection, replies, self._late = self._connection, list[Reply](), False
        timer = None
        try:
            writer = connection._writer  # noqa: SLF001 - as above
            if writer.transport.is_closing():  # to write to it is a RuntimeError under uvloop
                raise exceptions.ConnectionError  # noqa: TRY301 - it is handled like all others
            # To end the connection takes less than ``asyncio.timeout``, and then it is over anyway.
            timer = asyncio.get_running_loop().call_later(
                self.until - monotonic(), self._abort, writer.transport
            )
            writer.write(packed)
            read = connection._parser.read_response  # noqa: SLF001
            for _ in range(count):
                replies.append(await read(_AS_BYTES))
        except BaseException as error:  # also cancelled: what is on the way is not the next reply
            await connection.disconnect(nowait=True)
            if self._late and isinstance(error, exceptions.ConnectionError):
                raise TimeoutError from None
            raise
        finally:
            if timer is not None:
                timer.cancel()
        return replies

    def _abort(self, transport: asyncio.Transport) -> None:
        self._late = True
        transport.abort()


_AS_BYTES: Final = True
"""To parsers: not to decode."""

_METHODS: Final[dict[type[Effect[Any]], str]] = {Connect: "connect", Disconnect: "disconnect"}


def pack(*words: bytes) -> bytes:
    """Return one command as it goes over the wire: an array of strings of bytes."""
    parts = [b"*%d\r\n" % len(words), *(b"$%d\r\n%b\r\n" % (len(word), word) for word in words)]
    return b"".join(parts)


def explain(error: Exception) -> str:
    """Return why a server did not answer, in words that hold nothing of the URL."""
    for kind, meaning in _MEANINGS:
        if isinstance(error, kind):
            return meaning
    if isinstance(error, exceptions.ResponseError) and _FORBIDDEN_IN_SCRIPTS.search(str(error)):
        return "its user may not do that"
    cause = error.__cause__ or error.__context__
    if isinstance(cause, ConnectionError) and cause.errno:
        return os.strerror(cause.errno)  # asyncio has words of its own
    if isinstance(cause, OSError) and cause.strerror:
        return cause.strerror
    return type(error).__name__


_FORBIDDEN_IN_SCRIPTS: Final = re.compile(r"ACL failure in script|executing the script can't run")
"""What servers say of a script that does what its user may not; 7 and later, and 6."""

_MEANINGS: Final[tuple[tuple[type[Exception], str], ...]] = (
    (CacheError, "no answer"),
    (exceptions.AuthenticationError, "it does not accept the user name and password"),
    (exceptions.BusyLoadingError, "it is still loading its data"),
    (exceptions.NoPermissionError, "its user may not do that"),
    (exceptions.ReadOnlyError, "it is read-only"),
    (exceptions.OutOfMemoryError, "it has no room"),
    (exceptions.TimeoutError, "no answer within redis_timeout"),
    (TimeoutError, "no answer within redis_timeout"),
    (exceptions.InvalidResponse, "what answers there is no Redis"),
)
"""What errors of redis-py mean; the first that fits. Their own texts may hold anything."""
