"""Lines to servers as a URL says: to one, to the primary that Sentinels name, or into a Cluster."""

from __future__ import annotations

from functools import partial
from inspect import signature
from typing import TYPE_CHECKING, Any, Final, cast

from redis import exceptions
from redis.asyncio.connection import Connection as AsyncConnection
from redis.asyncio.connection import SSLConnection as AsyncSSLConnection
from redis.asyncio.connection import (
    parse_url as aparse_url,  # pyright: ignore[reportUnknownVariableType]
)
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.connection import (
    AbstractConnection,
    Connection,
    SSLConnection,
    UnixDomainSocketConnection,
    parse_url,  # pyright: ignore[reportUnknownVariableType]
)
from redis.retry import Retry

from keybound.caches.redis_cluster import AnyNodeLine, ClusterLine
from keybound.caches.redis_cluster_map import Cluster
from keybound.caches.redis_identity import Asked, Identified, Told
from keybound.caches.redis_link import Line
from keybound.caches.redis_sentinel import SentinelLine, Sentinels
from keybound.caches.redis_sockets import (
    Hurried,
    HurriedTCP,
    HurriedTLS,
    HurriedUnix,
    Names,
    TLSContext,
    Until,
)
from keybound.caches.redis_urls import Kind, RedisURL
from keybound.core.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable
    from ssl import SSLContext

    from keybound.caches.credentials import Credentials
    from keybound.caches.redis_urls import Address

# How to tell redis-py not to introduce itself, which takes a round trip: 7 and later, 5 and 6.
_ANONYMOUS: Final[dict[str, None]] = (
    {"driver_info": None}
    if "driver_info" in signature(AbstractConnection.__init__).parameters
    else {"lib_name": None, "lib_version": None}
)


def dial(url: str, credentials: Credentials | None = None) -> Line:
    """Return a blocking line to one server; nothing is connected. Raises ``SettingsError``.

    To the server, to the primary that Sentinels name whenever it connects, or to any node of a
    Cluster, another one each time that it connects.
    """
    return Dialler(url, credentials).line()


class Dialler:
    """Makes the lines of one setting, which share what they know of Sentinels or a Cluster."""

    def __init__(self, url: str, credentials: Credentials | None = None) -> None:
        """Read all of it; nothing is connected. Raises ``SettingsError``."""
        self.url = RedisURL.parse(url)
        asked = None if credentials is None else credentials.renewed()
        self._servers = _Maker(self.url.server.reveal(), asked)
        self._sentinel = None
        if self.url.sentinel is not None:
            self._sentinel = _Maker(self.url.sentinel.reveal(), None)
        self._sentinels = Sentinels(self.url.nodes, self.url.primary)
        self._cluster = Cluster(self.url.nodes)

    def line(self) -> Line:
        """Return a blocking line to one server, as ``dial`` does."""
        if self.url.kind is Kind.CLUSTER:
            return AnyNodeLine(self._servers.make(), self._cluster)
        return self.routed()

    def routed(self) -> Line:
        """Return a blocking line for names: in a Cluster, each goes to the node that has it."""
        servers, sentinel = self._servers, self._sentinel
        if self.url.kind is Kind.CLUSTER:
            return ClusterLine(self._cluster, servers.make, awaiting=False)
        if sentinel is not None:
            return SentinelLine(servers.make(), self._sentinels, sentinel.make)
        return Line(servers.make())

    def arouted(self) -> Line:
        """Return an awaiting line for names."""
        servers, sentinel = self._servers, self._sentinel
        if self.url.kind is Kind.CLUSTER:
            return ClusterLine(self._cluster, servers.amake, awaiting=True)
        if sentinel is not None:
            return SentinelLine(servers.amake(), self._sentinels, sentinel.amake)
        return Line(servers.amake())


# redis-py has types, but not for these two.
_parse = cast("Callable[[str], dict[str, Any]]", parse_url)
_aparse = cast("Callable[[str], dict[str, Any]]", aparse_url)


class _Maker:
    """Makes connections of redis-py of one kind."""

    def __init__(self, url: str, credentials: Credentials | None) -> None:
        self._credentials = credentials
        self._names = Names()
        self._arguments = {**_arguments(_parse, url), "retry": Retry(NoBackoff(), 0)}
        self._aarguments = {**_arguments(_aparse, url), "retry": AsyncRetry(NoBackoff(), 0)}
        kind = cast("type", self._arguments.pop("connection_class", Connection))
        self._kind, hurried = _hurried(kind)
        akind = cast("type", self._aarguments.pop("connection_class", AsyncConnection))
        told = (Identified,) if credentials is not None else ()
        self._akind = type(akind.__name__, (*told, akind), {})
        self._tls = None
        if hurried is HurriedTLS:
            for arguments in (self._arguments, self._aarguments):  # redis-py 5 does not
                verified = arguments.get("ssl_cert_reqs") != "none"
                arguments.setdefault("ssl_check_hostname", verified)
            self._tls = _tls(self._aarguments)
        self.make()
        self.amake()

    def make(self, address: Address | None = None) -> Any:  # noqa: ANN401 - of redis-py
        until = Until()
        given: dict[str, Any] = {}
        if self._credentials is not None:
            given["credential_provider"] = Asked(self._credentials, until)
        connection = _made(self._kind, self._arguments | _at(address) | given)
        connection.until, connection.names, connection.tls = until, self._names, self._tls
        return connection

    def amake(self, address: Address | None = None) -> Any:  # noqa: ANN401 - of redis-py
        given: dict[str, Any] = {}
        if self._credentials is not None:
            given["credential_provider"] = Told(self._credentials)
        connection = _made(self._akind, self._aarguments | _at(address) | given)
        if self._tls is not None:
            connection.ssl_context = self._tls
        return connection


def _hurried(kind: type) -> tuple[Callable[..., Any], type[Hurried]]:
    """Return a class of redis-py's with a deadline, and what it was made with."""
    hurried = _HURRIED[kind]
    return type(f"Hurried{kind.__name__}", (hurried, kind), {}), hurried


_HURRIED: Final[dict[type, type[Hurried]]] = {
    Connection: HurriedTCP,
    SSLConnection: HurriedTLS,
    UnixDomainSocketConnection: HurriedUnix,
}


def _at(address: Address | None) -> dict[str, Any]:
    return {} if address is None else {"host": address.host, "port": address.port}


def _arguments(parse: Callable[[str], dict[str, Any]], url: str) -> dict[str, Any]:
    # Not what its pools make of a URL: they add what needs the third protocol, and hiredis.
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


def _tls(arguments: dict[str, Any]) -> TLSContext:
    """Return what TLS needs. Raises ``SettingsError`` for files that cannot be used."""
    files = [str(arguments[name]) for name in _FILES if name in arguments]
    try:
        return TLSContext(partial(_context, arguments), files)
    except (OSError, ValueError) as error:  # of TLS as well
        said = getattr(error, "strerror", None) or type(error).__name__
        given = ", ".join(name for name in arguments if name.startswith("ssl_"))
        raise SettingsError(
            "redis",
            f"has options of TLS that cannot be used ({said})",
            fix=f"look at {given}",
        ) from None


_FILES: Final = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")


def _context(arguments: dict[str, Any]) -> SSLContext:
    context: SSLContext = _made(AsyncSSLConnection, arguments).ssl_context.get()
    return context


def _made(kind: Callable[..., Any], arguments: dict[str, Any]) -> Any:  # noqa: ANN401 - of redis-py
    try:
        return kind(**arguments)
    except (ValueError, TypeError, exceptions.RedisError) as error:
        raise _unusable(error) from None


def _unusable(error: Exception) -> SettingsError:
    # The text of somebody else's error may hold the URL.
    problem = f"is a URL that redis-py cannot use ({type(error).__name__})"
    return SettingsError("redis", problem, fix=_FIX)


_FIX: Final = "write redis://user:password@host:6379/0, with %-escapes for odd characters"
