"""The applications behind the shells: they remember what reached them, and do what a case asks."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from django.http import HttpResponse

from keybound import current_key
from tests.security.outcomes import NotReplayableError
from tests.shells.subjects import lifespan

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Iterator

    from tests.security.sending import Sent

CHUNKS = 3


class AppError(Exception):
    """What an application raises that fails."""


class Recorder:
    """Answers everything, as the behaviour with this name does, and remembers what it was sent."""

    kind = protocol = ""

    def __init__(self, behaviour: str | None = None, *, body: bool = False) -> None:
        """Remember nothing yet; with ``body``, read what the client sent before answering."""
        self.served: list[dict[str, Any]] = []
        self.body: bytes | None = None
        self.noted: dict[str, Any] = {}
        self.outer: Any = None
        self._reads = body
        behaviour = ALIASES.get(behaviour or "", behaviour)
        self.status = status_of(behaviour)
        if self.status != OK:
            behaviour = None
        if behaviour is not None and behaviour not in self.behaviours():
            msg = f"no application of {self.kind.upper()} behaves like {behaviour!r}"
            raise NotReplayableError(msg)
        self._behaviour = behaviour

    def behaviours(self) -> Collection[str]:
        """Return the names of those that there are."""
        raise NotImplementedError


OK = 200

ALIASES = {
    "echo_body": "echo",
    "raise_after_headers": "raise_after_start",
    "raise_before_start": "raise",
    "raise_in_iterator": "raise_after_start",
    "raise_late": "raise_after_start",
    "raise_mid_stream": "raise_after_start",
    "reads_body": "echo",
    "sse": "sse_3_chunks",
    "stream": "sse_3_chunks",
    "streaming": "sse_3_chunks",
    "wsgi_raise_in_iter": "raise_after_start",
}
"""Other names for what applications do."""


def status_of(behaviour: str | None) -> int:
    """Return what an application answers with: ``returns_403`` and ``status_500`` say it."""
    kind, _, number = (behaviour or "").rpartition("_")
    return int(number) if kind in {"returns", "status", "answers"} and number.isdigit() else OK


class ASGIRecorder(Recorder):
    """The one of ASGI."""

    kind = protocol = "asgi"

    def behaviours(self) -> Collection[str]:
        """Return the names of those of ASGI."""
        return ASGI

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one connection."""
        if scope["type"] == "lifespan":
            self.noted["lifespan"] = True
            await lifespan(receive, send)
            return
        self.served.append({**scope, "current": current_key()})
        if self._reads and scope["type"] == "http":
            await self._read(receive)
        endpoint = _accept if self._behaviour is None else ASGI[self._behaviour]
        await endpoint(self, scope, receive, send)

    async def _read(self, receive: Any) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        self.body = body


class WSGIRecorder(Recorder):
    """The one of WSGI."""

    kind = protocol = "wsgi"

    def behaviours(self) -> Collection[str]:
        """Return the names of those of WSGI."""
        return WSGI

    def __call__(self, environ: Any, start_response: Any) -> Any:
        """Serve one request."""
        self.served.append({**environ, "current": current_key()})
        if self._reads:
            self.body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        if self._behaviour == "raise":
            raise AppError
        write = start_response(f"{self.status} X", [("Content-Type", "text/plain")])
        if self._behaviour == "wsgi_exc_info":
            start_response("500 X", [], (AppError, AppError(), None))
        if self._behaviour == "raise_after_start":
            return _broken()
        if self._behaviour == "wsgi_empty":
            return []
        if self._behaviour == "wsgi_write":
            write(b"served")
            return []
        if self._behaviour == "echo":
            return [environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))]
        streams = self._behaviour in {"wsgi_generator", "sse_3_chunks"}
        return Stream(self.noted) if streams else [b"served"]

    def view(self, request: Any) -> HttpResponse:
        """Serve one request of Django."""
        if self._reads:
            self.body = request.body
        if self._behaviour == "raise":
            raise AppError
        return HttpResponse("served", content_type="text/plain", status=self.status)


def _broken() -> Iterator[bytes]:
    """Yield a part, and fail."""
    yield b"served"
    raise AppError


class Stream:
    """A body in parts, which notes how often it is closed."""

    def __init__(self, noted: dict[str, Any]) -> None:
        """Be open."""
        self._noted = noted
        self._noted["closed"] = 0

    def __iter__(self) -> Iterator[bytes]:
        """Yield the parts."""
        for number in range(CHUNKS):
            yield b"part %d" % number

    def close(self) -> None:
        """Note it."""
        self._noted["closed"] += 1


class DjangoRecorder(WSGIRecorder):
    """What a view of Django remembers."""

    kind = protocol = "wsgi"


class AsyncDjangoRecorder(DjangoRecorder):
    """The same under ASGI."""

    protocol = "asgi"


async def _accept(app: ASGIRecorder, scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        return
    await send({"type": "http.response.start", "status": app.status, "headers": []})
    await send({"type": "http.response.body", "body": b"served"})


async def _raise(_app: ASGIRecorder, _scope: Any, _receive: Any, _send: Any) -> None:
    raise AppError


async def _chunks(app: ASGIRecorder, _scope: Any, receive: Any, send: Any) -> None:
    """Send parts; before each one, note how many the client has got."""
    kind = [(b"content-type", b"text/event-stream")]
    await send({"type": "http.response.start", "status": 200, "headers": kind})
    app.noted["got"] = []
    for number in range(CHUNKS):
        last = number == CHUNKS - 1
        await send({"type": "http.response.body", "body": b"data: x\n\n", "more_body": not last})
        app.noted["got"].append(number + 1)
        await asyncio.sleep(0)
    del receive


async def _until_gone(app: ASGIRecorder, _scope: Any, receive: Any, send: Any) -> None:
    """Send parts until the client is gone."""
    kind = [(b"content-type", b"text/event-stream")]
    await send({"type": "http.response.start", "status": 200, "headers": kind})
    gone = asyncio.create_task(_gone(receive))
    for _ in range(100):
        await send({"type": "http.response.body", "body": b"data: x\n\n", "more_body": True})
        done, _pending = await asyncio.wait({gone}, timeout=0.005)
        if done:
            break
    app.noted["disconnect"] = gone.done() and gone.result()
    gone.cancel()
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _gone(receive: Any) -> bool:
    while (await receive())["type"] != "http.disconnect":
        pass
    return True


async def _delete_inside(app: ASGIRecorder, scope: Any, receive: Any, send: Any) -> None:
    """Let the guarded application serve a request within this one, with the same credential."""
    if scope["method"] == "DELETE":
        await _accept(app, scope, receive, send)
        return
    inner = dict(app.noted["scope"]) | {
        "method": "DELETE",
        "path": "/v1/chat",
        "raw_path": b"/v1/chat",
    }
    app.served.clear()  # what counts is whether the request within gets here
    await app.outer(inner, receive, send)


async def _raise_late(_app: ASGIRecorder, _scope: Any, _receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    raise AppError


async def _echo(app: ASGIRecorder, _scope: Any, receive: Any, send: Any) -> None:
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    app.body = body
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})


async def _stay(app: ASGIRecorder, _scope: Any, receive: Any, send: Any) -> None:
    """Accept a WebSocket, and stay until somebody ends it."""
    await receive()
    await send({"type": "websocket.accept"})
    app.noted["open"] = True
    while (await receive())["type"] != "websocket.disconnect":
        pass


ASGI: dict[str, Callable[[ASGIRecorder, Any, Any, Any], Awaitable[None]]] = {
    "echo": _echo,
    "raise": _raise,
    "raise_after_start": _raise_late,
    "sse_3_chunks": _chunks,
    "sse_disconnect": _until_gone,
    "dispatches_internal_delete": _delete_inside,
    "stay": _stay,
}

WSGI = frozenset(
    {"echo", "raise", "raise_after_start", "sse_3_chunks", "wsgi_empty", "wsgi_exc_info"}
    | {"wsgi_generator", "wsgi_write"}
)


def sse(each: Sent) -> bool:
    """Return whether the client leaves before the answer is over."""
    return each.tests.get("test.app") == "sse_disconnect"
