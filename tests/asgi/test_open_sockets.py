"""A WebSocket that is open by now, over a real server: what is asked for in vain closes it."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket  # noqa: TC002 - FastAPI reads annotations
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

import keybound.asgi
import keybound.fastapi
import keybound.starlette
from keybound import Guard, Limits
from tests.asgi.test_servers import running


async def plain(scope: Any, receive: Any, send: Any) -> None:
    """Accept, and then ask for more than was asked for."""
    if scope["type"] == "lifespan":
        for answer in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{answer}.complete"})
        return
    await receive()
    await send({"type": "websocket.accept"})
    keybound.asgi.require(scope, "more")
    await send({"type": "websocket.send", "text": "served"})
    await send({"type": "websocket.close"})


async def endpoint(websocket: WebSocket) -> None:
    """Do the same, in a framework."""
    await websocket.accept()
    keybound.starlette.require(websocket, "more")
    await websocket.send_text("served")
    await websocket.close()


def of_asgi(guard: Guard) -> Any:
    """Return a plain application."""
    return keybound.asgi.APIKeyMiddleware(plain, guard.to_async())


def of_starlette(guard: Guard) -> Any:
    """Return an application of Starlette."""
    app = Starlette(routes=[WebSocketRoute("/live", endpoint)])
    app.add_middleware(keybound.starlette.APIKeyMiddleware, guard=guard.to_async())
    return app


def of_fastapi(guard: Guard) -> Any:
    """Return an application of FastAPI."""
    app = FastAPI()
    keybound.fastapi.init_app(app, guard.to_async())
    app.add_api_websocket_route("/live", endpoint)
    return app


@pytest.mark.parametrize("make", [of_asgi, of_starlette, of_fastapi])
def test_open_socket_is_closed_for_what_its_key_may_not(make: Any):
    """With the code of a policy violation: no answer can be sent any more."""
    guard = Guard.from_settings(database="memory://")
    with running(make(guard)) as (host, port):
        for scopes, code in (("more", 1000), ([], 1008)):
            issued = guard.issue(name="CI", tenant="acme", limits=Limits(scopes=scopes))
            headers = {"Authorization": f"Bearer {issued.secret.reveal()}"}
            with connect(f"ws://{host}:{port}/live", additional_headers=headers) as session:
                if code == 1000:
                    assert session.recv(timeout=10) == "served"
                with pytest.raises(ConnectionClosed) as closed:
                    session.recv(timeout=10)
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == code
