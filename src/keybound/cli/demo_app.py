"""The application of ``keybound demo``, and a real server for it in a thread of this process."""

from __future__ import annotations

import socket
from contextlib import contextmanager
from threading import Thread
from typing import TYPE_CHECKING

from keybound.core.errors import InputError, MissingExtraError

try:
    import uvicorn
    from starlette.applications import Starlette
    from starlette.middleware import Middleware
    from starlette.responses import JSONResponse
    from starlette.routing import Route as Path
except ModuleNotFoundError as error:
    raise MissingExtraError(error.name or "uvicorn", extra="standard") from None

from keybound.cli.demo_commands import HOST
from keybound.starlette import APIKeyMiddleware, current_key

if TYPE_CHECKING:
    from collections.abc import Generator

    from starlette.requests import Request
    from starlette.responses import Response

    from keybound.guard import AsyncGuard


def application(guard: AsyncGuard) -> Starlette:
    """Return the application: it trusts the middleware and checks nothing itself."""
    both = ["GET", "POST"]
    return Starlette(
        routes=[
            Path("/healthz", healthy),
            Path("/me", me),
            Path("/domains/{tenant}/messages/search", search, methods=["POST"]),
            Path("/domains/{tenant}/messages", resource, methods=both),
            Path("/domains/{tenant}/users/{user}/messagesessions", resource, methods=both),
            Path("/domains/{tenant}/devices", resource, methods=both),
        ],
        middleware=[Middleware(APIKeyMiddleware, guard=guard)],
    )


async def healthy(_request: Request) -> Response:
    """Answer 200 to everybody: no key is needed here."""
    return JSONResponse({"ok": True})


async def me(request: Request) -> Response:
    """Return whom the middleware recognised."""
    identity = current_key(request)
    if identity is None:
        return JSONResponse({"key": None})
    names = ("key_id", "name", "tenant", "request_tenant", "owner", "role")
    return JSONResponse({name: getattr(identity, name) for name in names})


async def search(request: Request) -> Response:
    """Answer 200 to a POST that only reads."""
    return JSONResponse({"tenant": request.path_params["tenant"], "found": []})


async def resource(request: Request) -> Response:
    """Answer 201 to a POST and 200 to a GET, naming the tenant of the path."""
    created = request.method == "POST"
    told = {"path": request.url.path, "tenant": request.path_params["tenant"]}
    return JSONResponse(told, status_code=201 if created else 200)


@contextmanager
def served(guard: AsyncGuard, port: int) -> Generator[str]:
    """Serve the application on ``HOST`` and lend its URL; port 0 is any free one.

    Raises ``InputError`` for a port that is taken.
    """
    try:
        listener = socket.create_server((HOST, port))
    except OSError:
        raise InputError("--port", f"{port} cannot be used", fix="name another, or 0") from None
    config = uvicorn.Config(
        application(guard), lifespan="on", ws="none", log_config=None, timeout_graceful_shutdown=1
    )
    server = uvicorn.Server(config)
    thread = Thread(target=server.run, kwargs={"sockets": [listener]}, name="keybound-demo")
    thread.start()
    try:
        while not server.started:
            thread.join(0.01)
            if not thread.is_alive():
                raise InputError("demo", "the server did not start", fix="see the lines above")
        yield f"http://{HOST}:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
        listener.close()
