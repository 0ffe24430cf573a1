"""One guarded application in the shape of each framework. A shell joins by one entry here."""

from __future__ import annotations

from dataclasses import dataclass
from inspect import isawaitable
from typing import TYPE_CHECKING, Any

import fastapi
import flask
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import HTTPConnection, Request
from starlette.routing import Mount
from werkzeug.routing import Rule
from werkzeug.wrappers import Request as Wrapped

import keybound.asgi
import keybound.fastapi
import keybound.flask
import keybound.starlette
import keybound.wsgi
from keybound import current_key
from tests.django.subjects import (
    AsyncDjangoApplication,
    DjangoApplication,
    async_django,
    django,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from keybound import Guard


class ASGIApplication:
    """Answers everything, as ``endpoint`` does, and remembers what it was called with."""

    kind = protocol = "asgi"
    framework = "starlette"

    def __init__(self) -> None:
        """Remember nothing yet."""
        self.served: list[dict[str, Any]] = []
        self.look: Callable[[Any], Any] | None = None
        self.endpoint: Callable[[Any, Any, Any], Awaitable[None]] = accept

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one connection."""
        if scope["type"] == "lifespan":
            await lifespan(receive, send)
            return
        self.served.append({**scope, "current": current_key()})
        if self.look is not None:
            found = self.look(
                HTTPConnection(scope) if scope["type"] != "http" else Request(scope, receive)
            )
            self.served[-1]["looked"] = await found if isawaitable(found) else found
        await self.endpoint(scope, receive, send)


class WSGIApplication:
    """The same for WSGI, where requests are all there is."""

    kind = protocol = "wsgi"
    framework = "werkzeug"

    def __init__(self) -> None:
        """Remember nothing yet."""
        self.served: list[dict[str, Any]] = []
        self.look: Callable[[Any], Any] | None = None

    def __call__(self, environ: Any, start_response: Any) -> Iterable[bytes]:
        """Serve one request."""
        self.served.append({**environ, "current": current_key()})
        if self.look is not None:
            request: Any = flask.request if flask.has_request_context() else Wrapped(environ)
            self.served[-1]["looked"] = self.look(request)
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"served"]


async def accept(scope: Any, receive: Any, send: Any) -> None:
    """Answer a request with 200, and accept a WebSocket."""
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"served"})


async def lifespan(receive: Any, send: Any) -> None:
    """Start and stop as asked."""
    while (await receive())["type"] == "lifespan.startup":
        await send({"type": "lifespan.startup.complete"})
    await send({"type": "lifespan.shutdown.complete"})


def plain_asgi(app: Any, guard: Guard) -> Any:
    """Return an ASGI application without a framework."""
    return keybound.asgi.APIKeyMiddleware(app, guard.to_async())


def starlette(app: Any, guard: Guard) -> Starlette:
    """Return an application of Starlette."""
    middleware = [Middleware(keybound.starlette.APIKeyMiddleware, guard=guard.to_async())]
    return Starlette(routes=[Mount("/", app=app)], middleware=middleware)


def of_fastapi(app: Any, guard: Guard) -> fastapi.FastAPI:
    """Return an application of FastAPI."""
    outer = fastapi.FastAPI(openapi_url=None)
    keybound.fastapi.init_app(outer, guard.to_async())
    outer.mount("/", app)
    return outer


def plain_wsgi(app: Any, guard: Guard) -> Any:
    """Return a WSGI application without a framework."""
    return keybound.wsgi.APIKeyMiddleware(app, guard)


def of_flask(app: Any, guard: Guard) -> flask.Flask:
    """Return an application of Flask, one of whose views answers everything."""
    outer = flask.Flask("shells", static_folder=None)
    keybound.flask.Keybound(outer, guard)
    for path in ("/", "/<path:rest>"):
        outer.url_map.add(Rule(path, endpoint="all"))  # whatever the method
    outer.view_functions["all"] = lambda **_path: app
    return outer


@dataclass(frozen=True, slots=True)
class Subject:
    """A shell: what it serves, and how that is guarded."""

    application: type[ASGIApplication | WSGIApplication | DjangoApplication]
    guarded: Callable[[Any, Guard], Any]


SUBJECTS = {
    "asgi": Subject(ASGIApplication, plain_asgi),
    "starlette": Subject(ASGIApplication, starlette),
    "fastapi": Subject(ASGIApplication, of_fastapi),
    "wsgi": Subject(WSGIApplication, plain_wsgi),
    "flask": Subject(WSGIApplication, of_flask),
    "django": Subject(DjangoApplication, django),
    "django-async": Subject(AsyncDjangoApplication, async_django),
}

ASGI_SUBJECTS = [
    name for name, subject in SUBJECTS.items() if subject.application is ASGIApplication
]
