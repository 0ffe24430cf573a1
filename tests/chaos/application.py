"""What the servers of these tests serve; every answer says when it was decided, and by whom.

A header is added around the middleware: the process, and the time of the machine before and after
the decision (``CLOCK_MONOTONIC``, which all processes share). The decision lies between them,
however late a client sends, or reads.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

import keybound.asgi
import keybound.wsgi
from keybound import Guard

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

guard = Guard.from_settings()

BODY = b"ok"
PLAIN = ("Content-Type", "text/plain"), ("Content-Length", str(len(BODY)))


def stamp(began: float) -> str:
    """Return the header's value."""
    return f"{os.getpid()} {began:.6f} {time.monotonic():.6f}"


def serve(_environ: Any, start_response: Any) -> Iterable[bytes]:
    """Answer over WSGI."""
    start_response("200 OK", list(PLAIN))
    return [BODY]


async def aserve(scope: Any, receive: Any, send: Any) -> None:
    """Answer over ASGI."""
    if scope["type"] == "lifespan":
        while (await receive())["type"] == "lifespan.startup":
            await send({"type": "lifespan.startup.complete"})
        await send({"type": "lifespan.shutdown.complete"})
        return
    headers = [(name.lower().encode(), value.encode()) for name, value in PLAIN]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": BODY})


def stamped(app: Any) -> Callable[..., Any]:
    """Put the header around a WSGI application."""

    def call(environ: Any, start_response: Any) -> Any:
        began = time.monotonic()

        def starting(status: str, headers: list[tuple[str, str]], *raised: Any) -> Any:
            return start_response(status, [*headers, ("X-Decided", stamp(began))], *raised)

        return app(environ, starting)

    return call


def astamped(app: Any) -> Callable[..., Any]:
    """Put the header around an ASGI application."""

    async def call(scope: Any, receive: Any, send: Any) -> None:
        began = time.monotonic()

        async def sending(message: Any) -> None:
            if message["type"] == "http.response.start":
                decided = b"x-decided", stamp(began).encode()
                message = {**message, "headers": [*message["headers"], decided]}
            await send(message)

        await app(scope, receive, sending)

    return call


wsgi = stamped(keybound.wsgi.APIKeyMiddleware(serve, guard))
asgi = astamped(keybound.asgi.APIKeyMiddleware(aserve, guard.to_async()))
