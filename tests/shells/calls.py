"""Calls of applications without a server: exactly these bytes, and exactly this answer."""

from __future__ import annotations

import asyncio
import io
import json
import re
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

from tests.canary import look

PEER = "203.0.113.7"


@dataclass(frozen=True, slots=True)
class Answer:
    """What was sent for one connection."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes
    messages: tuple[dict[str, Any], ...] = field(repr=False)

    def __post_init__(self) -> None:
        """Look for keys in what was sent."""
        look("a response", self.headers, self.body, self.messages)

    def all(self, name: str) -> list[str]:
        """Return every value of a header."""
        return [value for key, value in self.headers if key.lower() == name]

    @property
    def problem(self) -> dict[str, Any]:
        """The body of a refusal."""
        problem: dict[str, Any] = json.loads(self.body)
        return problem

    @property
    def challenges(self) -> list[str]:
        """The challenges, in as many lines as there are (RFC 9110 section 11.6.1)."""
        lines = ", ".join(self.all("www-authenticate"))
        return re.split(r", (?=[A-Za-z]+ realm=)", lines)

    @property
    def denial(self) -> str:
        """The id of a denial."""
        (denial,) = self.all("keybound-denial")
        return denial


class Body(io.BytesIO):
    """What a client sends behind the head, in several parts, and how often somebody reads of it.

    With ``cut`` the client goes away instead of sending the last part. ``on_read`` is called before
    each part is handed out.
    """

    def __init__(
        self, *parts: bytes, cut: bool = False, on_read: Callable[[], object] | None = None
    ) -> None:
        """Send these parts."""
        self.parts = parts[:-1] if cut else parts
        super().__init__(b"".join(self.parts))
        self.length = sum(map(len, parts))
        self.cut = cut
        self.reads = 0
        self._on_read = on_read

    def read(self, size: int | None = -1, /) -> bytes:
        """Return what WSGI servers read."""
        self._note()
        return super().read(size)

    def messages(self) -> list[dict[str, Any]]:
        """Return what servers of ASGI say of it."""
        sent = [
            {"type": "http.request", "body": part, "more_body": True} for part in self.parts
        ] or [{"type": "http.request", "body": b"", "more_body": True}]
        if self.cut:
            return [*sent, {"type": "http.disconnect"}]
        sent[-1]["more_body"] = False
        return sent

    def take(self, waiting: list[dict[str, Any]]) -> dict[str, Any]:
        """Hand out the next message."""
        self._note()
        return waiting.pop(0)

    def _note(self) -> None:
        self.reads += 1
        if self._on_read is not None:
            self._on_read()


def scope_of(
    kind: str,
    path: str,
    *,
    method: str = "GET",
    headers: list[tuple[bytes, bytes]] | None = None,
    client: tuple[str | None, int] | None = (PEER, 5000),
    **more: Any,
) -> dict[str, Any]:
    """Return the scope that a server makes of a request."""
    scope: dict[str, Any] = {
        "type": kind,
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": headers or [],
        "client": client,
        "server": ("testserver", 80),
    }
    if kind == "http":
        scope["method"] = method
    else:
        scope |= {"scheme": "ws", "subprotocols": []}
    return scope | more


def environ_of(
    path: str,
    *,
    method: str = "GET",
    headers: list[tuple[bytes, bytes]] | None = None,
    client: tuple[str | None, int] | None = (PEER, 5000),
    query: bytes = b"",
    raw_path: bytes | None = None,
    body: Body | None = None,
    **more: Any,
) -> dict[str, Any]:
    """Return the environment that WSGI servers make of a request, headers of one name joined."""
    environ: dict[str, Any] = {
        "REQUEST_METHOD": method,
        "SCRIPT_NAME": "",
        "PATH_INFO": path.encode("utf-8", "surrogateescape").decode("latin-1"),
        "QUERY_STRING": query.decode("latin-1"),
        "SERVER_NAME": "testserver",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": (client[0] if client else None) or "",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": body or Body(),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
    for raw, value in headers or []:
        name = raw.decode("latin-1").upper().replace("-", "_")
        if name not in {"CONTENT_TYPE", "CONTENT_LENGTH"}:
            name = f"HTTP_{name}"
        text = value.decode("latin-1")
        environ[name] = f"{environ[name]},{text}" if name in environ else text
    if body is not None and "CONTENT_LENGTH" not in environ:
        environ["wsgi.input_terminated"] = True
    if raw_path is not None:
        environ["RAW_URI"] = environ["REQUEST_URI"] = (
            raw_path + (b"?" + query if query else b"")
        ).decode("latin-1")
    return environ | more


def call_wsgi(app: Any, environ: dict[str, Any]) -> Answer:
    """Serve one request."""
    started: list[tuple[str, list[tuple[str, str]]]] = []
    written: list[bytes] = []

    def start_response(status: str, headers: Any, exc_info: Any = None) -> Callable[[bytes], None]:
        assert not started or exc_info
        started[:] = [(status, headers)]
        return written.append

    body = app(environ, start_response)
    try:
        content = b"".join([*written, *body])
    finally:
        if hasattr(body, "close"):
            body.close()
    ((status, headers),) = started
    return Answer(int(status.split()[0]), tuple(headers), content, ())


def call(app: Any, scope: dict[str, Any], body: Body | None = None) -> Answer:
    """Serve one connection."""
    return asyncio.run(serve(app, scope, body))


async def serve(app: Any, scope: dict[str, Any], body: Body | None = None) -> Answer:
    """Serve one connection; a WebSocket that is accepted answers 101, and is left by its client."""
    body = body or Body()
    waiting = body.messages() if scope["type"] == "http" else [{"type": "websocket.connect"}]
    sent: list[dict[str, Any]] = []
    answered = asyncio.Event()

    async def receive() -> dict[str, Any]:
        if waiting:
            return body.take(waiting)
        if scope["type"] != "http":
            return {"type": "websocket.disconnect"}
        await answered.wait()
        return {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)
        if message["type"] == "http.response.body" and not message.get("more_body"):
            answered.set()

    await app(scope, receive, send)
    return _answer(sent)


def _answer(sent: list[dict[str, Any]]) -> Answer:
    first = sent[0]
    if first["type"] == "websocket.accept":
        return Answer(101, (), b"", tuple(sent))
    if first["type"] == "websocket.close":  # what servers make of a close before the accept
        return Answer(403, (), b"", tuple(sent))
    headers = tuple(
        (key.decode("latin-1"), value.decode("latin-1")) for key, value in first["headers"]
    )
    body = b"".join(message.get("body", b"") for message in sent[1:])
    return Answer(first["status"], headers, body, tuple(sent))
