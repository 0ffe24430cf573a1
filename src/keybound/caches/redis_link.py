"""One connection to a Redis or Valkey server, and what is said over it, for both clients of it.

What is said is a generator of effects on a connection of redis-py, the same for its blocking and
its awaiting one; ``run`` and ``arun`` drive it, ``Wire`` and ``AsyncWire`` do what it asks for.
Nothing is retried, except that a connection which the server has closed since its last use is
replaced, once.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from redis import exceptions

from keybound.core.effects import Effect, ask
from keybound.core.errors import CacheError

if TYPE_CHECKING:
    from keybound.core.effects import Steps

Reply = object
"""What the server answered to one command; an error that is about that one command is a value."""


@dataclass(frozen=True, slots=True)
class Connect(Effect[None]):
    """Connect, and introduce oneself as the URL says."""


@dataclass(frozen=True, slots=True)
class Exchange(Effect["list[Reply]"]):
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

    def converse(self, packed: bytes, count: int) -> Steps[list[Reply]]:
        """Send packed commands together and return their replies. Raises ``CacheError``."""
        reused = self.stands
        try:
            try:
                return (yield from self._exchange(packed, count))
            except exceptions.TimeoutError:
                raise
            except (exceptions.ConnectionError, OSError):
                if not reused:
                    raise
                yield from self._hang_up()
                return (yield from self._exchange(packed, count))
        except Exception as error:  # noqa: BLE001 - whatever it was, the cache is not there
            yield from self._hang_up()
            raise CacheError(explain(error)) from None
        except GeneratorExit:  # cancelled: what is on the way would be taken for the next reply
            self.stands = False
            raise

    def _exchange(self, packed: bytes, count: int) -> Steps[list[Reply]]:
        if not self.stands:
            yield from ask(_CONNECT)
            self.stands = True
        return (yield from ask(Exchange(packed, count)))

    def _hang_up(self) -> Steps[None]:
        self.stands = False
        yield from ask(_DISCONNECT)


class Wire:
    """Does what a conversation asks for, blocking."""

    def __init__(self, connection: Any) -> None:  # noqa: ANN401 - of redis-py, which is untyped
        """Use a connection."""
        self._connection = connection

    def __call__(self, effect: Effect[Any]) -> Any:  # noqa: ANN401 - the effect says what
        """Connect, exchange or disconnect."""
        if isinstance(effect, Exchange):
            self._connection.send_packed_command((effect.packed,))
            return [self._reply() for _ in range(effect.count)]
        return getattr(self._connection, _METHODS[type(effect)])()

    def _reply(self) -> Reply:
        try:
            reply: Reply = self._connection.read_response(True)  # noqa: FBT003 - as 5 and 8 take it
        except exceptions.ResponseError as error:
            return error
        return reply


class AsyncWire:
    """Does what a conversation asks for, awaiting."""

    def __init__(self, connection: Any) -> None:  # noqa: ANN401 - of redis-py, which is untyped
        """Use a connection."""
        self._connection = connection

    async def __call__(self, effect: Effect[Any]) -> Any:  # noqa: ANN401 - the effect says what
        """Connect, exchange or disconnect."""
        if isinstance(effect, Exchange):
            await self._connection.send_packed_command((effect.packed,))
            return [await self._reply() for _ in range(effect.count)]
        return await getattr(self._connection, _METHODS[type(effect)])()

    async def _reply(self) -> Reply:
        try:
            reply: Reply = await self._connection.read_response(True)  # noqa: FBT003 - the same
        except exceptions.ResponseError as error:
            return error
        return reply


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
    cause = error.__cause__ or error.__context__
    if isinstance(cause, ConnectionError) and cause.errno:
        return os.strerror(cause.errno)  # asyncio has words of its own
    if isinstance(cause, OSError) and cause.strerror:
        return cause.strerror
    return type(error).__name__


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
