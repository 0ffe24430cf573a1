"""One guarded application in the shape of each framework, over any store."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Any

import fastapi
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import Mount

import keybound.asgi
import keybound.fastapi
import keybound.starlette
from keybound import Guard, Settings, current_key
from keybound.core.errors import StoreUnavailableError
from keybound.core.limits import Limits
from keybound.engine import Engine
from keybound.testing import FakeClock
from keybound.testing.records import a_key, commit, new
from tests.asgi.calls import call, scope_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from keybound.core.effects import Effect
    from keybound.core.issuing import IssuedKey
    from keybound.guard import AsyncGuard
    from keybound.stores import Store
    from tests.asgi.calls import Answer

DENIAL_RESPONSE: dict[str, object] = {"websocket.http.response": {}}
"""What a server offers that can answer a WebSocket handshake with more than a status."""


class Application:
    """Answers everything, as ``endpoint`` does, and remembers what it was called with."""

    def __init__(self) -> None:
        """Remember nothing yet."""
        self.served: list[dict[str, Any]] = []
        self.endpoint: Callable[[Any, Any, Any], Awaitable[None]] = accept

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one connection."""
        if scope["type"] == "lifespan":
            await lifespan(receive, send)
            return
        self.served.append({**scope, "current": current_key()})
        await self.endpoint(scope, receive, send)


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


def plain(app: Any, guard: AsyncGuard) -> Any:
    """Return an application without a framework."""
    return keybound.asgi.APIKeyMiddleware(app, guard)


def starlette(app: Any, guard: AsyncGuard) -> Starlette:
    """Return an application of Starlette."""
    middleware = [Middleware(keybound.starlette.APIKeyMiddleware, guard=guard)]
    return Starlette(routes=[Mount("/", app=app)], middleware=middleware)


def of_fastapi(app: Any, guard: AsyncGuard) -> fastapi.FastAPI:
    """Return an application of FastAPI."""
    outer = fastapi.FastAPI(openapi_url=None)
    keybound.fastapi.init_app(outer, guard)
    outer.mount("/", app)
    return outer


SUBJECTS = {"asgi": plain, "starlette": starlette, "fastapi": of_fastapi}


class Watched:
    """A store that counts what it is asked, and can be out of reach."""

    def __init__(self, store: Store) -> None:
        """Pass everything on to ``store``."""
        self.store = store
        self.location = store.location
        self.asked = 0
        self.reachable = True

    def perform(self, effect: Effect[Any]) -> Any:
        """Answer one effect, or fail as a store does that is out of reach."""
        self.asked += 1
        if not self.reachable:
            msg = "the store did not answer"
            raise StoreUnavailableError(msg)
        return self.store.perform(effect)

    def close(self) -> None:
        """Close it."""
        self.store.close()


class Site:
    """A guarded application, its guard, its store and its clock."""

    def __init__(self, shape: str, store: Store, **settings: Any) -> None:
        """Make one; nothing is opened."""
        self.clock = FakeClock()
        self.store = Watched(store)
        self.guard = Guard(Engine(Settings(**settings), self.store, self.clock, background=False))
        self.application = Application()
        self.app = SUBJECTS[shape](self.application, self.guard.to_async())

    @property
    def served(self) -> list[dict[str, Any]]:
        """The scopes of all connections that reached the application."""
        return self.application.served

    def issue(self, **options: Any) -> IssuedKey:
        """Issue a key of acme."""
        given: dict[str, Any] = {"name": "a key", "tenant": "acme"} | options
        return self.guard.issue(**given)

    def plant(self, *, node_id: str = "key_planted", **members: Any) -> bytes:
        """Store a record that no verb would write, and return the header value of its key."""
        self.guard.open()
        secret = self.guard.engine.format.generate(os.urandom(32))
        digest = self.guard.engine.peppers.digest(secret.reveal())
        commit(self.store, new(a_key(node_id, **{"tenant": "acme", **members}), digest))
        return b"Bearer " + secret.reveal().encode()

    def request(
        self,
        method: str = "GET",
        path: str = "/own",
        *,
        key: IssuedKey | bytes | None = None,
        headers: tuple[tuple[bytes, bytes], ...] = (),
        **scope: Any,
    ) -> Answer:
        """Send a request, or with the method ``WEBSOCKET`` a handshake, and return the answer."""
        kind = "websocket" if method == "WEBSOCKET" else "http"
        sent = [*headers, *(authorization(key) if key is not None else ())]
        return call(self.app, scope_of(kind, path, method=method, headers=sent, **scope))

    def start(self) -> list[dict[str, Any]]:
        """Start and stop the application, and return what it said."""
        return asyncio.run(started(self.app))


def authorization(key: IssuedKey | bytes) -> tuple[tuple[bytes, bytes], ...]:
    """Return the headers that carry a key."""
    value = key if isinstance(key, bytes) else b"Bearer " + key.secret.reveal().encode()
    return ((b"authorization", value),)


def limits(value: object) -> Limits:
    """Return limits as a store may hold them, readable or not."""
    return Limits.load(value)


async def started(app: Any) -> list[dict[str, Any]]:
    """Start and stop an application, and return what it said; raises what it raised."""
    asked = [{"type": "lifespan.shutdown"}, {"type": "lifespan.startup"}]
    said: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return asked.pop()

    async def send(message: dict[str, Any]) -> None:
        said.append(message)

    try:
        await app({"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}, receive, send)
    except BaseException as error:
        error.said = said  # type: ignore[attr-defined]
        raise
    return said
