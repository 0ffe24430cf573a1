"""The two kinds of servers' requests, as everybody else reads them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_UNPREFIXED = frozenset({"content-type", "content-length"})


class ScopeHead:
    """A request of ASGI."""

    __slots__ = ("_lines", "_scope", "method", "path", "query")

    def __init__(self, scope: Mapping[str, Any], method: str, path: str) -> None:
        """Read a scope, as ``method`` and ``path`` were read of it."""
        self._scope = scope
        self.query: bytes = scope.get("query_string") or b""
        self._lines: dict[str, list[bytes]] | None = None
        self.method = method
        self.path = path

    @property
    def peer(self) -> str | None:
        """The address of the client's socket."""
        client: Sequence[str] | None = self._scope.get("client")
        return client[0] if client else None

    @property
    def raw_path(self) -> bytes | None:
        """The path as it came."""
        raw: bytes | None = self._scope.get("raw_path")
        return None if raw is None else raw.partition(b"?")[0]

    def lines(self, name: str) -> Sequence[bytes]:
        """Return the values of one header."""
        if self._lines is None:
            self._lines = {}
            for each, value in self._scope["headers"]:
                self._lines.setdefault(each.decode("latin-1"), []).append(value)
        return self._lines.get(name, ())


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
        target: str | None = self._environ.get("RAW_URI") or self._environ.get("REQUEST_URI")
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


def _encoded(text: str) -> bytes:
    """Return the bytes of a text; one that no server makes of bytes stays what nobody takes."""
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")
