"""An ASGI application without a framework.

    python examples/asgi_raw.py [--port 8000]

It issues two keys in a database that is gone afterwards, and prints requests to try.
With KEYBOUND_REDIS=redis://localhost:6379/0 in the environment it shares keys over Redis.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from secrets import token_urlsafe
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import uvicorn

from keybound import Guard, Limits, Route
from keybound.asgi import APIKeyMiddleware, require

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping

    Message = MutableMapping[str, Any]

ROUTES = [  # what the paths are about, and which one is open
    Route("/health", auth="exempt"),
    Route("/{tenant}/messages", model="message"),
]


async def application(
    scope: Message,
    receive: Callable[[], Awaitable[Message]],
    send: Callable[[Message], Awaitable[None]],
) -> None:
    """Answer with who is calling; writing needs a scope, which the application asks for."""
    if scope["type"] == "lifespan":
        while (await receive())["type"] == "lifespan.startup":
            await send({"type": "lifespan.startup.complete"})
        await send({"type": "lifespan.shutdown.complete"})
        return
    key = scope["keybound"]  # None where no key was needed
    if scope["method"] == "POST":
        require(scope, "send")
    body = json.dumps({"tenant": key.request_tenant, "by": key.name} if key else "ok").encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def main() -> None:
    """Issue keys, say what to try, and serve."""
    parser = argparse.ArgumentParser(description="Serve an API that needs a key.")
    parser.add_argument("--port", type=int, default=8000)
    port = parser.parse_args().port
    with TemporaryDirectory() as folder:
        guard = Guard.from_settings(
            database=str(Path(folder, "keys.db")), secret=token_urlsafe(32), routes=ROUTES
        )
        full = guard.issue(name="full", tenant="acme", limits=Limits(scopes=["send"]))
        reader = guard.issue(name="reader", tenant="acme", limits=Limits(read_only=True))
        url = f"http://127.0.0.1:{port}"
        print(f"FULL={full.secret.reveal()}")
        print(f"READER={reader.secret.reveal()}")
        print(f"curl {url}/health")
        print(f'curl {url}/acme/messages -H "Authorization: Bearer $READER"')
        print(f'curl {url}/acme/messages -H "Authorization: Bearer $READER" -X POST')
        print(f'curl {url}/evil/messages -H "Authorization: Bearer $FULL"')
        print(
            f'curl {url}/acme/messages -H "Authorization: rest_api_key=$FULL" -X POST', flush=True
        )
        uvicorn.run(APIKeyMiddleware(application, guard.to_async()), port=port)


if __name__ == "__main__":
    main()
