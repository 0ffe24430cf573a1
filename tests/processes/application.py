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

if TYPE_CHECKING:
    from collections.abc import Iterable

guard = Guard.from_settings(routes=[Route("/open", auth="exempt")])

SECONDS = 0.05
"""How long a request takes: long enough for the next one to go to another worker."""


def answer() -> bytes:
    """Return what a request is told."""
    time.sleep(SECONDS)
    key = current_key()
    told = {
        "pid": os.getpid(),
        "parent": os.getppid(),
        "key": key.name if key else None,
        "threads": [thread.name for thread in threading.enumerate()],
    }
    return json.dumps(told).encode()


def serve(_environ: Any, start_response: Any) -> Iterable[bytes]:
    """Answer over WSGI."""
    start_response("200 OK", [("Content-Type", "application/json")])
    return [answer()]


async def aserve(scope: Any, receive: Any, send: Any) -> None:
    """Answer over ASGI; as bad neighbours do, without letting others run."""
    if scope["type"] == "lifespan":
        while (await receive())["type"] == "lifespan.startup":
            await send({"type": "lifespan.startup.complete"})
        await send({"type": "lifespan.shutdown.complete"})
        return
    body = answer()
    headers = [(b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


wsgi = keybound.wsgi.APIKeyMiddleware(serve, guard)
flask_app = flask.Flask("workers", static_folder=None)
keybound.flask.Keybound(flask_app, guard)
flask_app.add_url_rule("/", "answer", answer)
flask_app.add_url_rule("/open", "answer")
asgi = keybound.asgi.APIKeyMiddleware(aserve, guard.to_async())
