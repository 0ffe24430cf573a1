"""One connection to a Redis or Valkey server, and what is said over it, for both clients of it.

What is said is a generator of effects on a connection of redis-py, the same for its blocking and
its awaiting one; ``run`` and ``arun`` drive it, and a wire (``redis_wires``) does what it asks for.
Nothing is retried, except that a connection which the server has closed since its last use is
replaced, once.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

from msgspec import Struct
from redis import exceptions

from keybound.core.effects import Effect, ask
from keybound.core.errors import CacheError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from keybound.core.effects import Steps

Reply = object
"""What the server answered to one command; an error that is about that one command is a value."""


@dataclass(frozen=True, slots=True)
class Connect(Effect[None]):
    """Connect, and introduce oneself as the URL says, within a share of the time that is left."""

    share: float = 1.0


class Exchange(Struct, Effect["list[Reply]"], frozen=True):
    """Send packed commands together, and read as many replies: whole bytes, never decoded."""

    packed: bytes
    count: int


@dataclass(frozen=True, slots=True)
class Disconnect(Effect[None]):
    """Let the connection go."""


class Part(NamedTuple):
    """What is said on one of several lines; ``ends`` lets its connection go afterwards."""

    line: Line
    packed: bytes
    commands: int
    ends: bool = False


Outcome = list[Reply] | CacheError
"""What became of one part: as many replies as commands, or why there are none."""


class Together(Struct, Effect["list[Outcome]"], frozen=True):
    """Say something on several lines at once, connecting those that do not stand.

    All of it takes no longer than a share of the time that is left.
    """

    parts: tuple[Part, ...]
    share: float = 1.0


@dataclass(frozen=True, slots=True)
class HangUp(Effect[None]):
    """Let the connections of other lines go."""

    lines: tuple[Line, ...]


class TooLateError(CacheError):
    """The time was over before a server was asked anything: nothing is known of it."""


CONNECT: Final = Connect()
DISCONNECT: Final = Disconnect()


@dataclass(slots=True, eq=False, weakref_slot=True)
class Line:
    """A connection and whether it stands; used by one conversation at a time.

    While it stands, what is said may go to the connection at once.
    """

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
                        yield from self.connect()
                        self.stands = True
                    replies = cast("list[Reply]", (yield Exchange(packed, count)))
                    if any(map(is_read_only, replies)):  # it was the primary when we connected
                        yield from self.hang_up()
                    return replies  # noqa: TRY300 - only a failure goes round again
                except (exceptions.TimeoutError, TimeoutError):
                    raise
                except (exceptions.ConnectionError, OSError):
                    if not reused:
                        raise
                    reused, failure = False, None
                    yield from self.hang_up()
        except Exception as error:  # noqa: BLE001 - whatever it was, the cache is not there
            yield from self.hang_up()
            raise CacheError(explain(error)) from None
        except GeneratorExit:  # cancelled: what is on the way would be taken for the next reply
            self.stands = False
            raise

    def connect(self) -> Steps[None]:
        """Connect; whatever is raised, the connection does not stand."""
        yield from ask(CONNECT)

    def hang_up(self) -> Steps[None]:
        """Let the connection go."""
        self.stands = False
        yield from ask(DISCONNECT)

    def probes(self) -> Sequence[bytes]:
        """Return names that nobody uses: who asks for all of them has asked every server."""
        return (PROBE,)

    def trouble(self) -> str:
        """Return what is wrong with some of the servers, or nothing."""
        return ""


PROBE: Final = b"keybound:check"
"""The name of nothing, which may be asked for and written."""


def pack(*words: bytes) -> bytes:
    """Return one command as it goes over the wire: an array of strings of bytes."""
    parts = [b"*%d\r\n" % len(words), *(b"$%d\r\n%b\r\n" % (len(word), word) for word in words)]
    return b"".join(parts)


def is_read_only(reply: Reply) -> bool:
    """Return whether a server did not write because it is a replica; 6.2 says so in a script."""
    return isinstance(reply, exceptions.ReadOnlyError) or (
        isinstance(reply, exceptions.ResponseError) and "-READONLY" in str(reply)
    )


def explain(error: Exception) -> str:
    """Return why a server did not answer, in words that hold nothing of the URL."""
    if isinstance(error, CacheError):
        return str(error)  # that is ours
    for kind, meaning in _MEANINGS:
        if isinstance(error, kind):
            return meaning
    if isinstance(error, exceptions.ResponseError):
        for pattern, meaning in _IN_SCRIPTS:
            if pattern.search(str(error)):
                return meaning
    cause = error.__cause__ or error.__context__
    if isinstance(cause, ConnectionError) and cause.errno:
        return os.strerror(cause.errno)  # asyncio has words of its own
    if isinstance(cause, OSError) and cause.strerror:
        return cause.strerror
    return type(error).__name__


_IN_SCRIPTS: Final = (
    (re.compile(r"ACL failure in script|executing the script can't"), "its user may not do that"),
    (re.compile(r"-READONLY"), "it is read-only"),
)
"""What servers say of a script that cannot do something; 7 and later, and 6."""

_MEANINGS: Final[tuple[tuple[type[Exception], str], ...]] = (
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
