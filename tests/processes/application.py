"""What the servers of these tests serve: a request is told by which process, and for which key."""

from __future__ import annotations

import json
import os
import threading
import time
from typing import TYPE_CHECKING, Any

import flask

import keybound.asgi
import keybound.flask
import keybound.wsgi
from keybound import Guard, Route, current_key
from keybound.clocks import SystemClock

if TYPE_CHECKING:
    from collections.abc import Iterable

guard = Guard.from_settings(routes=[Route("/open", auth="exempt")])
if key := os.environ.get("USED_BEFORE_THE_FORK"):  # with all that this starts
    guard.authorize("GET", "/", None, f"Bearer {key}".encode())

boot = SystemClock().boot
SECONDS = 0.05
"""How long a request takes: long enough for the next one to go to another worker."""


BLOCKS_FOR = 1.6
"""Seconds for which ``/block`` lets nobody else run, be it a task or a greenlet."""


def answer(path: str = "/") -> bytes:
    """Return what a request is told."""
    at = boot()
    if path == "/block":
        while boot() < at + BLOCKS_FOR:
            pass
    time.sleep(SECONDS)
    key = current_key()
    told = {
        "at": at,
        "pid": os.getpid(),
        "parent": os.getppid(),
        "key": key.name if key else None,
        "threads": [thread.name for thread in threading.enumerate()],
    }
    return json.dumps(told).encode()


def serve(environ: Any, start_response: Any) -> Iterable[bytes]:
    """Answer over WSGI."""
    start_response("200 OK", [("Content-Type", "application/json")])
    return [answer(environ["PATH_INFO"])]


async def aecho(receive: Any, send: Any) -> None:
    """Say again what is said over a WebSocket, until its client is gone."""
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": message["text"]})


async def aserve(scope: Any, receive: Any, send: Any) -> None:
    """Answer over ASGI; as bad neighbours do, without letting others run."""
    if scope["type"] == "lifespan":
        while (await receive())["type"] == "lifespan.startup":
            await send({"type": "lifespan.startup.complete"})
        await send({"type": "lifespan.shutdown.complete"})
        return
    if scope["type"] == "websocket":
        await aecho(receive, send)
        return
    body = answer(scope["path"])
    headers = [(b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


wsgi = keybound.wsgi.APIKeyMiddleware(serve, guard)
flask_app = flask.Flask("workers", static_folder=None)
keybound.flask.Keybound(flask_app, guard)
flask_app.add_url_rule("/", "answer", answer)
flask_app.add_url_rule("/open", "answer")
asgi = keybound.asgi.APIKeyMiddleware(aserve, guard.to_async())
