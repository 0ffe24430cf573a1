"""Where Redis is, as one setting says it: one server, what Sentinels watch, or a Cluster.

Nothing of redis-py is needed to read it. What redis-py knows to read (options of TLS, and so on) is
left to it, in URLs of the kinds that it has.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

from keybound.core.errors import SettingsError
from keybound.core.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Sequence


class Kind(Enum):
    """What a URL leads to; the value says how it begins, without and with TLS."""

    SERVER = ("redis", "rediss", "unix")
    SENTINEL = ("redis+sentinel", "rediss+sentinel")
    CLUSTER = ("redis+cluster", "rediss+cluster")


class Address(NamedTuple):
    """Where one server listens."""

    host: str
    port: int

    def __str__(self) -> str:
        """Return it as URLs have it."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class RedisURL:
    """A setting that was read; ``shown`` is all of it that may be printed.

    ``server`` is what redis-py makes a connection of: for one server its URL, else that of a server
    at no address, since ``nodes`` has the addresses: of Sentinels, or of nodes of a Cluster.
    ``sentinel`` is the same for the Sentinels, and ``primary`` the name of what they watch.
    """

    kind: Kind
    shown: str
    server: Secret
    nodes: tuple[Address, ...] = ()
    sentinel: Secret | None = None
    primary: str = ""
    has_credentials: bool = False
    selects: bool = False
    """Whether it leads to a database other than the first."""

    @classmethod
    def parse(cls, text: str) -> RedisURL:
        """Read a URL. Raises ``SettingsError`` that names the fix and shows nothing of it."""
        scheme, found, rest = text.partition("://")
        kind = _KINDS.get(scheme)
        if kind is None or not found:
            raise _wrong(f"does not begin with {_SCHEMES}", _FIXES[Kind.SERVER])
        if not _is_escaped(rest):
            # What follows may be the rest of a password, so it is not shown.
            raise _wrong(
                "has an @ that is not escaped, or a user or a password in which"
                " / ? # @ [ or ] stands as it is",
                "write them as %2F %3F %23 %40 %5B %5D",
            )
        if kind is Kind.SERVER:
            return _server(text)
        return _many(kind, scheme, rest)


_KINDS: Final = {scheme: kind for kind in Kind for scheme in kind.value}
_SCHEMES: Final = ", ".join(f"{scheme}://" for scheme in _KINDS)
_FIXES: Final = {
    Kind.SERVER: "write redis://user:password@host:6379/0",
    Kind.SENTINEL: "write redis+sentinel://user:password@host:26379,host2:26379/name/0",
    Kind.CLUSTER: "write redis+cluster://user:password@host:6379,host2:6379",
}
_PORTS: Final = {Kind.SENTINEL: 26_379, Kind.CLUSTER: 6_379}
_PORT_MAX: Final = 65_535
_NODES_MAX: Final = 64


def _wrong(problem: str, fix: str) -> SettingsError:
    return SettingsError("redis", problem, fix=fix)


def _is_escaped(rest: str) -> bool:
    """Return whether no character of a user or a password can be taken for the end of it."""
    authority = re.split("[/?#]", rest, maxsplit=1)[0]
    user, _, _ = authority.rpartition("@")
    after = rest[len(authority) :]
    try:
        urlsplit(f"redis://{user}@host")  # refuses what normalises to a delimiter
    except ValueError:  # its text may hold the password
        return False
    return not ("#" in after or "@" in after or {*user} & {*"@[]"})


def _server(text: str) -> RedisURL:
    try:
        parts = urlsplit(text)
    except ValueError:
        raise _wrong("has no host that can be read", _FIXES[Kind.SERVER]) from None
    user, _, host = parts.netloc.rpartition("@")
    if "," in host:
        fix = f"{_FIXES[Kind.SENTINEL]}, or {_FIXES[Kind.CLUSTER].removeprefix('write ')}"
        raise _wrong("names several hosts", fix)
    return RedisURL(
        Kind.SERVER,
        f"{parts.scheme}://{host}{parts.path}",
        Secret(text),
        has_credentials=bool(user) or _names(parts.query, "username", "password"),
        selects=_selects(parts.path if parts.scheme != "unix" else "", parts.query),
    )


def _many(kind: Kind, scheme: str, rest: str) -> RedisURL:
    rest, _, query = rest.partition("?")
    authority, _, path = rest.partition("/")
    user, _, hosts = authority.rpartition("@")
    nodes = _nodes(kind, hosts)
    primary, database = _path(kind, path)
    base = "rediss" if scheme.startswith("rediss") else "redis"
    options = parse_qsl(query, keep_blank_values=True)
    own = [(name, value) for name, value in options if not name.startswith(_SENTINEL)]
    at = f"{user}@" if user else ""
    return RedisURL(
        kind,
        f"{scheme}://{','.join(map(str, nodes))}" + (f"/{path}" if path else ""),
        Secret(f"{base}://{at}localhost/{database}" + (f"?{urlencode(own)}" if own else "")),
        nodes,
        _sentinel(base, options) if kind is Kind.SENTINEL else None,
        primary,
        has_credentials=bool(user) or _names(query, "username", "password"),
        selects=_selects(database, query),
    )


_SENTINEL: Final = "sentinel_"
_SENTINEL_OPTIONS: Final = ("sentinel_username", "sentinel_password")


def _sentinel(base: str, options: Sequence[tuple[str, str]]) -> Secret:
    """Return the URL of a Sentinel: its own user, and the same options of TLS."""
    chosen = dict(options)
    user, password = (quote(chosen.get(name, ""), safe="") for name in _SENTINEL_OPTIONS)
    shared = [(name, value) for name, value in options if name.startswith("ssl_")]
    at = f"{user}:{password}@" if user or password else ""
    return Secret(f"{base}://{at}localhost/" + (f"?{urlencode(shared)}" if shared else ""))


def _path(kind: Kind, path: str) -> tuple[str, str]:
    """Return the name of the primary, if any, and the number of the database, if any."""
    primary, _, database = path.partition("/") if kind is Kind.SENTINEL else ("", "", path)
    if kind is Kind.SENTINEL and not primary:
        raise _wrong("does not name the primary that the Sentinels watch", _FIXES[kind])
    if not re.fullmatch(r"[0-9]{0,9}", database):
        raise _wrong("ends in what is no number of a database", _FIXES[kind])
    if kind is Kind.CLUSTER and database.strip("0"):
        raise _wrong("names a database, and a Cluster has one alone", _FIXES[kind])
    return unquote(primary), database


def _nodes(kind: Kind, hosts: str) -> tuple[Address, ...]:
    """Return the addresses; what cannot be one is not shown, as it may be of a password."""
    nodes: list[Address] = []
    for each in hosts.split(","):
        found = _ADDRESS.fullmatch(each)
        port = int(found[3] or _PORTS[kind]) if found else 0
        if not found or not 0 < port <= _PORT_MAX:
            raise _wrong(f"has a host that cannot be read: number {len(nodes) + 1}", _FIXES[kind])
        nodes.append(Address(found[1] or found[2], port))
    if len(nodes) > _NODES_MAX:
        raise _wrong(f"names {len(nodes)} hosts", f"name {_NODES_MAX} at most: they know the rest")
    return tuple(dict.fromkeys(nodes))


_ADDRESS: Final = re.compile(r"(?:\[([0-9A-Fa-f:.%\w]+)\]|([^\s\[\]:@%]+))(?::([0-9]{1,5}))?")


def _names(query: str, *options: str) -> bool:
    return any(name in options for name, _ in parse_qsl(query))


def _selects(database: str, query: str) -> bool:
    """Return whether a database is chosen; an option counts for more than a path."""
    chosen = dict(parse_qsl(query)).get("db", database)
    return bool(chosen.strip("/0"))
