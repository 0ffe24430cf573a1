"""Connections to a server as its URL says, with one deadline for all that is said and heard."""

from __future__ import annotations

from inspect import signature
from typing import TYPE_CHECKING, Any, Final, cast
from urllib.parse import urlsplit

from redis import exceptions
from redis.asyncio.connection import Connection as AsyncConnection
from redis.asyncio.connection import (
    parse_url as aparse_url,  # pyright: ignore[reportUnknownVariableType]
)
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.connection import (
    AbstractConnection,
    Connection,
    parse_url,  # pyright: ignore[reportUnknownVariableType]
)
from redis.retry import Retry

from keybound.caches.redis_link import Line
from keybound.clocks import monotonic
from keybound.core.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable

# How to tell redis-py not to introduce itself, which takes a round trip: 7 and later, 5 and 6.
_ANONYMOUS: Final[dict[str, None]] = (
    {"driver_info": None}
    if "driver_info" in signature(AbstractConnection.__init__).parameters
    else {"lib_name": None, "lib_version": None}
)


_EXACT = 0.001
"""Seconds by which a deadline may be missed."""


class _Until:
    """A moment that changes."""

    __slots__ = ("at",)

    def __init__(self) -> None:
        self.at = 0.0


class _Deadline:
    """A socket with one deadline for everything, where redis-py has a timeout for each byte."""

    def __init__(self, socket: Any, until: _Until) -> None:  # noqa: ANN401 - with TLS or without
        self._socket = socket
        self._until = until
        self._timeout = -1.0  # none that was set here

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever a socket has
        return getattr(self._socket, name)

    def settimeout(self, _seconds: float | None) -> None:
        """Leave that to the deadline."""

    def sendall(self, data: bytes) -> None:
        left = self._until.at - monotonic()
        if not -_EXACT < left - self._timeout < _EXACT:
            self._hurry(left)
        self._socket.sendall(data)

    def recv(self, *arguments: Any) -> bytes:  # noqa: ANN401 - as sockets take them
        self._hurry(self._until.at - monotonic())
        received: bytes = self._socket.recv(*arguments)
        return received

    def recv_into(self, *arguments: Any) -> int:  # noqa: ANN401 - the same
        left = self._until.at - monotonic()
        if not -_EXACT < left - self._timeout < _EXACT:
            self._hurry(left)
        count: int = self._socket.recv_into(*arguments)
        return count

    def _hurry(self, left: float) -> None:
        """Let the socket wait that long: a call of the system, so not for less than it matters."""
        if left <= 0:
            raise TimeoutError
        self._socket.settimeout(left)
        self._timeout = left


class _Hurried(AbstractConnection):
    """A connection of redis-py with a deadline: ``until.at``, for everything that follows."""

    until: _Until

    # redis-py has no types here; what connects is the class beside this one, TCP, TLS or local.
    def _connect(self) -> _Deadline:  # pyright: ignore[reportIncompatibleMethodOverride]
        # Until here each address of the host has its own timeout; from here on there is a deadline.
        left = max(0.001, self.until.at - monotonic())
        self.socket_connect_timeout = self.socket_timeout = left  # the latter is for TLS
        return _Deadline(super()._connect(), self.until)  # type: ignore[safe-super,no-untyped-call]


def dial(url: str) -> Line:
    """Return a blocking line to a server; nothing is connected. Raises ``SettingsError``."""
    arguments = _arguments(_parse, url)
    kind = arguments.pop("connection_class", Connection)
    hurried = type(f"Hurried{kind.__name__}", (_Hurried, kind), {})
    line = _line(hurried, arguments | {"retry": Retry(NoBackoff(), 0)})
    line.connection.until = _Until()
    return line


def adial(url: str) -> Line:
    """Return an awaiting line to a server; nothing is connected. Raises ``SettingsError``."""
    arguments = _arguments(_aparse, url)
    kind = arguments.pop("connection_class", AsyncConnection)
    return _line(kind, arguments | {"retry": AsyncRetry(NoBackoff(), 0)})


# redis-py has types, but not for these two.
_parse = cast("Callable[[str], dict[str, Any]]", parse_url)
_aparse = cast("Callable[[str], dict[str, Any]]", aparse_url)


def _arguments(parse: Callable[[str], dict[str, Any]], url: str) -> dict[str, Any]:
    # Not what its pools make of a URL: they add what needs the third protocol, and hiredis.
    parts = urlsplit(url)
    if parts.scheme != "unix" and "@" in parts.path + parts.query + parts.fragment:
        raise SettingsError("redis", "has an @ that is not escaped", fix=_FIX)
    try:
        parsed = parse(url)
    except (ValueError, TypeError) as error:
        raise _unusable(error) from None
    parsed.pop("max_connections", None)
    ours: dict[str, Any] = {
        "protocol": 2,  # the third needs a greeting first, and brings nothing that is used here
        **_ANONYMOUS,
        "decode_responses": False,
        "health_check_interval": 0,
        "socket_timeout": None,  # there is a deadline for all of it
        "socket_connect_timeout": None,
    }
    return parsed | ours


def _line(kind: Callable[..., Any], arguments: dict[str, Any]) -> Line:
    try:
        return Line(kind(**arguments))
    except (ValueError, TypeError, exceptions.RedisError) as error:
        raise _unusable(error) from None


def _unusable(error: Exception) -> SettingsError:
    # The text of somebody else's error may hold the URL.
    problem = f"is a URL that redis-py cannot use ({type(error).__name__})"
    return SettingsError("redis", problem, fix=_FIX)


_FIX: Final = "write redis://user:password@host:6379/0, with %-escapes for odd characters"
