"""What the servers of these tests serve: whoever is let in is told what the application saw.

``TOLD`` is in every answer of the application: what it saw; over a WebSocket it is a message.
``SEEN`` is in refusals too: what the server handed to the middleware, without keys. Run as a
program this serves with a server that has no command of its own.
"""

from __future__ import annotations

import json
import re
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import keybound.asgi
import keybound.wsgi
from keybound import Guard, Route, current_key
from keybound.core.limits.dimensions import register
from tests.wire.headers import SEEN, TOLD
from tests.wire.mood import Mood

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

BODY = b"served"
BODY_MAX = 100
"""Bytes of a body that are read to find a model."""

ROUTES = (
    Route("/open", auth="exempt"),
    Route("/open/*", auth="exempt"),
    Route("/optional", auth="optional", tenant="~"),
    Route("/feed", methods="WEBSOCKET", access="read", tenant="~"),
    Route("/search", methods="POST", access="read", tenant="~"),
    Route("/own", tenant="~"),
    Route("/chat", model="body(model)", tenant="~"),
    Route("/m/{model}", tenant="~"),
    Route("/d/{tenant}/x"),
)

register(Mood)
guard = Guard.from_settings(routes=ROUTES, body_max=BODY_MAX)

_KEY = re.compile(r"kb_[a-z]+_[0-9A-Za-z]+")
_FORGED = re.compile(r"X-KEYBOUND-|HTTP_X_KEYBOUND_", re.IGNORECASE)
_LONG = 120


def seen_of(
    method: str, path: str, raw: str | None, peer: str | None, headers: Iterable[tuple[str, str]]
) -> dict[str, Any]:
    """Return what a server handed over, without keys and without long values."""
    target = None if raw is None else raw.partition("?")[0]
    short = [(name, _KEY.sub("KEY", value)[:_LONG]) for name, value in headers]
    return {"method": method, "path": path, "raw": target, "peer": peer, "headers": short}


def told(method: str, path: str, peer: str | None, body: bytes | None, names: Iterable[str]) -> str:
    """Return what the application says to whom it serves; a body of ``None`` cannot be read."""
    key = current_key()
    answer = {
        "key": None if key is None else key.name,
        "tenant": None if key is None else key.request_tenant,
        "method": method,
        "path": path,
        "peer": peer,
        "body": None if body is None else body.decode("latin-1"),
        "forged": [name for name in names if _FORGED.match(name)],
    }
    return json.dumps(answer)


# ------------------------------------------------------------------------------------------- ASGI


async def aserve(scope: Any, receive: Any, send: Any) -> None:
    """Tell over ASGI; a WebSocket by its first message."""
    if scope["type"] == "lifespan":
        while (await receive())["type"] == "lifespan.startup":
            await send({"type": "lifespan.startup.complete"})
        await send({"type": "lifespan.shutdown.complete"})
        return
    peer = scope["client"][0] if scope.get("client") else None
    names = [name.decode("latin-1") for name, _ in scope["headers"]]
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        text = told("WEBSOCKET", scope["path"], peer, b"", names)
        await send({"type": "websocket.send", "text": text})
        await send({"type": "websocket.close", "code": 1000})
        return
    answer = told(scope["method"], scope["path"], peer, await _body(receive), names)
    headers = [
        (TOLD.encode(), answer.encode()),
        (b"content-length", str(len(BODY)).encode()),
    ]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": BODY})


async def _body(receive: Any) -> bytes | None:
    body: bytes = b""
    while True:
        message: Any = await receive()
        if message["type"] != "http.request":
            return None
        body += message.get("body", b"")
        if not message.get("more_body"):
            return body


def shown_by_asgi(app: Any) -> Any:
    """Put what the server handed over into every answer, from outside of the middleware."""

    async def show(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] not in {"http", "websocket"}:
            await app(scope, receive, send)
            return
        seen = seen_of(
            scope.get("method", scope["type"]),
            scope["path"],
            (scope.get("raw_path") or b"").decode("latin-1") or None,
            scope["client"][0] if scope.get("client") else None,
            [(name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]],
        )
        line = (SEEN.encode(), json.dumps(seen).encode())

        async def showing(message: Any) -> None:
            if message["type"].endswith("response.start"):
                message = {**message, "headers": [*message["headers"], line]}
            await send(message)

        await app(scope, receive, showing)

    return show


# ------------------------------------------------------------------------------------------- WSGI


def serve(environ: Any, start_response: Any) -> Iterable[bytes]:
    """Tell over WSGI."""
    body = _read(environ)
    path = environ["PATH_INFO"].encode("latin-1").decode("utf-8", "replace")
    answer = told(environ["REQUEST_METHOD"], path, environ.get("REMOTE_ADDR"), body, environ)
    start_response("200 OK", [(TOLD, answer), ("Content-Length", str(len(BODY)))])
    return [] if environ["REQUEST_METHOD"] == "HEAD" else [BODY]


def _read(environ: Any) -> bytes | None:
    read: Callable[..., bytes] = environ["wsgi.input"].read
    with suppress(Exception):  # each server has errors of its own for what it cannot read
        if environ.get("wsgi.input_terminated"):
            return read()
        return read(int(environ.get("CONTENT_LENGTH") or "0"))
    return None


def shown_by_wsgi(app: Any) -> Any:
    """Put what the server handed over into every answer, from outside of the middleware."""

    def show(environ: Any, start_response: Callable[..., Any]) -> Any:
        seen = seen_of(
            environ["REQUEST_METHOD"],
            environ["PATH_INFO"].encode("latin-1").decode("utf-8", "replace"),
            environ.get("RAW_URI") or environ.get("REQUEST_URI"),
            environ.get("REMOTE_ADDR"),
            [(name, value) for name, value in environ.items() if name.startswith("HTTP_")],
        )

        def starting(status: str, headers: Any, *raised: Any) -> Any:
            return start_response(status, [*headers, (SEEN, json.dumps(seen))], *raised)

        return app(environ, starting)

    return show


# ---------------------------------------------------------------------------------------- servers


asgi = shown_by_asgi(keybound.asgi.APIKeyMiddleware(aserve, guard.to_async()))
wsgi = shown_by_wsgi(keybound.wsgi.APIKeyMiddleware(serve, guard))


def werkzeug(port: int) -> None:
    """Serve as ``flask run`` does."""
    from werkzeug.serving import run_simple

    run_simple("127.0.0.1", port, wsgi, threaded=True)


def wsgiref(port: int) -> None:
    """Serve with what the standard library brings."""
    from wsgiref.simple_server import make_server

    with make_server("127.0.0.1", port, wsgi) as server:
        sys.stdout.write("Running on it\n")
        server.serve_forever()


if __name__ == "__main__":
    {"werkzeug": werkzeug, "wsgiref": wsgiref}[sys.argv[1]](int(sys.argv[2]))
