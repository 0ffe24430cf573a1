"""An application as people write one, with its guard at the top of the module."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute

import keybound
from keybound.fastapi import init_app, requires
from keybound.starlette import APIKeyMiddleware

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.websockets import WebSocket

NOWHERE = "/nonexistent/keybound/keys.db"
"""Whoever opens the real store fails."""

SECRET = "the-secret-of-the-shop-0123456789-abcdef"

guard = keybound.AsyncGuard.from_settings(
    database=NOWHERE,
    secret=SECRET,
    prefix="shop",
    routes=[keybound.Route("/v1/search", methods="POST", model="item", access="read")],
)


async def answer(request: Request) -> PlainTextResponse:
    """Tell the key."""
    return PlainTextResponse(request.user.name)


async def live(websocket: WebSocket) -> None:
    """Accept."""
    await websocket.accept()
    await websocket.close()


starlette_app = Starlette(
    routes=[
        Route("/v1/x", answer, methods=["GET", "POST"]),
        Route("/v1/search", answer, methods=["POST"]),
        WebSocketRoute("/v1/live", live),
    ],
    middleware=[Middleware(APIKeyMiddleware, guard=guard)],
)

fastapi_app = FastAPI()
init_app(fastapi_app, guard)


@fastapi_app.api_route("/v1/x", methods=["GET", "POST"])
@fastapi_app.post("/v1/search")
async def served() -> str:
    """Answer."""
    return "served"


@fastapi_app.get("/v1/reports", dependencies=[requires("reports", model="report")])
async def reports() -> str:
    """Answer keys with the scope."""
    return "reports"


@fastapi_app.websocket("/v1/live")
async def fastapi_live(websocket: WebSocket) -> None:
    """Accept."""
    await websocket.accept()
    await websocket.close()


def make_app() -> Starlette:
    """Return an application with a guard of its own, as a factory makes one."""
    own = keybound.AsyncGuard.from_settings(database=NOWHERE, secret=SECRET, environment="test")
    middleware = [Middleware(APIKeyMiddleware, guard=own)]
    return Starlette(routes=[Route("/v1/x", answer)], middleware=middleware)
