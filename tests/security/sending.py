"""A case's request as each protocol carries it, and what comes back."""

from __future__ import annotations

import asyncio
import io
import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from tests.security.texts import headers, is_text, text, written
from tests.shells.calls import Answer, environ_of, scope_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.security.keyring import Secrets


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """A request, written out. ``tests`` are instructions to the runner, no part of the scope."""

    kind: str
    method: str
    path: str
    raw_path: bytes
    query: bytes
    headers: list[tuple[bytes, bytes]]
    client: tuple[Any, ...] | None
    scope: dict[str, Any]
    environ: dict[str, Any]
    body: bytes
    tests: dict[str, Any]


def sent(request: Mapping[str, Any], secrets: Secrets) -> Sent:
    """Write a request out."""
    path = text(request.get("path", "/"), secrets)
    raw = request.get("raw_path")
    raw_path = text(raw, secrets) if raw is not None else quote(_bytes(path), safe=_PLAIN)
    scope = written(request.get("scope") or {}, secrets)
    client = request.get("client")
    return Sent(
        kind=request.get("kind", "http"),
        method=text(request.get("method", "GET"), secrets),
        path=path,
        raw_path=raw_path.encode("latin-1", "replace"),
        query=text(request.get("query", ""), secrets).encode("latin-1", "replace"),
        headers=headers(request.get("headers"), secrets),
        client=None if client is None else tuple(client),
        scope={name: _of_scope(name, scope[name]) for name in scope if not _is_told(name)},
        environ=written(request.get("environ") or {}, secrets),
        body=_body(request, secrets),
        tests={name: value for name, value in scope.items() if _is_told(name)},
    )


_PLAIN = "/:@!$&'()*+,;=~-._"


def _is_told(name: str) -> bool:
    """Return whether a member of a scope is an instruction to the runner."""
    return name.startswith("test.")


def _of_scope(name: str, value: Any) -> Any:
    """Return a member of a scope as servers have it: a case can write no bytes."""
    in_bytes = name in {"raw_path", "query_string"} and isinstance(value, str)
    return value.encode("latin-1", "replace") if in_bytes else value


def _body(request: Mapping[str, Any], secrets: Secrets) -> bytes:
    """Return a body: a text in UTF-8, JSON, or bytes where a header says that they are packed."""
    value = request.get("body")
    if value is None:
        return b""
    if not is_text(value):
        return text(json.dumps(value), secrets).encode()
    named = {name for name, _ in headers(request.get("headers"), secrets)}
    return text(value, secrets).encode("latin-1" if b"content-encoding" in named else "utf-8")


def asgi_scope(each: Sent) -> dict[str, Any]:
    """Return the scope that a server makes of a request."""
    scope = scope_of(
        each.kind,
        "/",
        method=each.method,
        headers=list(each.headers),
        client=each.client,
        query_string=each.query,
    )
    return scope | {"path": each.path, "raw_path": each.raw_path} | each.scope


def wsgi_environ(each: Sent) -> dict[str, Any]:
    """Return the environment that a server makes of a request.

    Headers with an underscore are dropped, as gunicorn and waitress do: folded into the name with a
    hyphen, as wsgiref does, nothing could tell them from it. The path as it came is told in the way
    of gunicorn.
    """
    plain = [(name, value) for name, value in each.headers if b"_" not in name]
    environ = environ_of(
        "/", method=each.method, headers=plain, client=each.client, query=each.query
    )
    environ["PATH_INFO"] = _bytes(each.path).decode("latin-1")
    for name in ("CONTENT_TYPE", "CONTENT_LENGTH"):
        if f"HTTP_{name}" in environ:
            environ[name] = environ.pop(f"HTTP_{name}")
    target = each.raw_path + (b"?" + each.query if each.query else b"")
    environ["RAW_URI"] = target.decode("latin-1")
    environ["wsgi.input"] = Body(each.body)
    if each.body:
        environ["CONTENT_LENGTH"] = str(len(each.body))
    for name, value in each.environ.items():
        if value is None:
            environ.pop(name, None)
        else:
            environ[name] = value
    return environ


def _bytes(path: str) -> bytes:
    """Return what a path was on the wire: a byte that is not UTF-8 is half a surrogate pair."""
    try:
        return path.encode(errors="surrogateescape")
    except UnicodeEncodeError:
        return path.encode(errors="surrogatepass")


class Body(io.BytesIO):
    """A body of WSGI that knows whether anybody read it."""

    asked = 0

    def read(self, *size: Any) -> bytes:
        """Count and read."""
        self.asked += 1
        return super().read(*size)

    def readline(self, *size: Any) -> bytes:
        """Count and read."""
        self.asked += 1
        return super().readline(*size)


@dataclass(slots=True)
class Connection:
    """One connection of ASGI: what the client sends, and what it was sent, with the order of both.

    ``leaves_after``: the client is gone once it has got this many parts of the body.
    """

    each: Sent
    chunk: int = 65_536
    leaves_after: int | None = None
    sent: list[dict[str, Any]] = field(default_factory=list)
    asked: int = 0
    _waiting: list[dict[str, Any]] = field(default_factory=list)
    _answered: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        """Have everything ready that the client sends."""
        if self.each.kind == "websocket":
            self._waiting = [{"type": "websocket.connect"}]
            return
        body = self.each.body
        parts = [body[at : at + self.chunk] for at in range(0, len(body), self.chunk)] or [b""]
        self._waiting = [
            {"type": "http.request", "body": part, "more_body": at + 1 < len(parts)}
            for at, part in enumerate(parts)
        ]

    async def receive(self) -> dict[str, Any]:
        """Return what comes next from the client; a WebSocket's client leaves at once."""
        self.asked += 1
        if self._waiting:
            return self._waiting.pop(0)
        if self.each.kind == "websocket":
            return {"type": "websocket.disconnect"}
        await self._answered.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: dict[str, Any]) -> None:
        """Take what is sent."""
        self.sent.append(dict(message))
        parts = sum(each["type"] == "http.response.body" for each in self.sent)
        over = message["type"] == "http.response.body" and not message.get("more_body")
        if over or (self.leaves_after is not None and parts >= self.leaves_after):
            self._answered.set()

    @property
    def answer(self) -> Answer | None:
        """What was answered, if anything was."""
        if not self.sent:
            return None
        first, *rest = self.sent
        if first["type"] == "websocket.accept":
            return Answer(101, (), b"", tuple(self.sent))
        if first["type"] == "websocket.close":  # what servers make of a close before the accept
            return Answer(403, (), b"", tuple(self.sent))
        lines = tuple((k.decode("latin-1"), v.decode("latin-1")) for k, v in first["headers"])
        body = b"".join(message.get("body", b"") for message in rest)
        return Answer(first["status"], lines, body, tuple(self.sent))


def altered(each: Sent, **members: Any) -> Sent:
    """Return the same request but for some members."""
    return replace(each, **members)
