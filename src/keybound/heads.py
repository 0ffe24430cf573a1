"""The two kinds of servers' requests, as everybody else reads them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

RAW_PATH = "keybound.raw_path"
"""Where an environment that Django made of a scope has the path as it came."""

UNDERSCORE = ord("_")
"""A number, since bytes take twenty times as long to be searched for bytes."""

_UNPREFIXED = frozenset({"content-type", "content-length"})


class ScopeHead:
    """A request of ASGI."""

    __slots__ = ("_folded", "_headers", "_lines", "method", "path", "peer", "query", "raw_path")

    def __init__(self, scope: Mapping[str, Any], method: str, path: str) -> None:
        """Read a scope as it is now, as ``method`` and ``path`` were read of it."""
        client: Sequence[str] | None = scope.get("client")
        raw: bytes | None = scope.get("raw_path")
        self.peer = client[0] if client else None
        self.raw_path = None if raw is None else raw.partition(b"?")[0]
        self.query: bytes = scope.get("query_string") or b""
        self._headers: Iterable[tuple[bytes, bytes]] = scope["headers"]
        self._lines: dict[bytes, list[bytes]] = {}
        self._folded = self._lines
        self.method = method
        self.path = path

    def lines(self, name: str) -> Sequence[bytes]:
        """Return the values of one header."""
        if not self._lines:
            self._read()
        return self._lines.get(name.encode(), ())

    def folded(self, name: str) -> Sequence[bytes]:
        """Return those of each spelling of its name."""
        if not self._lines:
            self._read()
        return self._folded.get(name.encode(), ())

    def _read(self) -> None:
        lines: dict[bytes, list[bytes]] = {}
        for name, value in self._headers:
            if name in lines:
                lines[name].append(value)
            else:
                lines[name] = [value]
        self._folded = lines
        if UNDERSCORE in b"".join(lines):  # as in hardly any request
            folded: dict[bytes, list[bytes]] = {}
            for name, values in lines.items():
                folded.setdefault(name.replace(b"_", b"-"), []).extend(values)
            self._folded = folded
        self._lines = lines


class EnvironHead:
    """A request of WSGI, and of Django, which has its environment under both."""

    __slots__ = ("_environ", "method", "path")

    def __init__(self, environ: Mapping[str, Any], method: str, path: str) -> None:
        """Read an environment, as ``method`` and ``path`` were read of it."""
        self._environ = environ
        self.method = method
        self.path = path

    @property
    def peer(self) -> str | None:
        """The address of the client's socket."""
        peer: str | None = self._environ.get("REMOTE_ADDR")
        return peer

    @property
    def raw_path(self) -> bytes | None:
        """The path as it came, which some servers tell."""
        target = target_of(self._environ)
        if target is None:
            return None
        if not target.startswith("/"):
            try:
                target = urlsplit(target).path
            except ValueError:
                return b""
        return _encoded(target.partition("?")[0])

    @property
    def query(self) -> bytes:
        """The query string."""
        return _encoded(self._environ.get("QUERY_STRING") or "")

    def lines(self, name: str) -> Sequence[bytes]:
        """Return the value of one header: the server has made one of several."""
        key = name.upper().replace("-", "_")
        value: str | None = self._environ.get(key if name in _UNPREFIXED else f"HTTP_{key}")
        return () if value is None else (_encoded(value),)

    folded = lines
    """An environment tells none of these from another."""


def target_of(environ: Mapping[str, Any]) -> str | None:
    """Return what a client asked for, where the server tells."""
    target: str | None = environ.get("RAW_URI") or environ.get("REQUEST_URI")
    return target or environ.get(RAW_PATH)


def _encoded(text: str) -> bytes:
    """Return the bytes of a text; one that no server makes of bytes stays what nobody takes."""
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")
