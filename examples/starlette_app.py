"""A Starlette application whose API needs a key.

    python examples/starlette_app.py [--port 8000]

It issues two keys in a database that is gone afterwards, and prints requests to try.
With KEYBOUND_REDIS=redis://localhost:6379/0 in the environment it shares keys over Redis.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from secrets import token_urlsafe
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import uvicorn
from starlette.applications import Starlette
from starlette.authentication import requires
from starlette.middleware import Middleware
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.routing import Route

import keybound
from keybound import Guard, Limits
from keybound.starlette import APIKeyMiddleware

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

ROUTES = [  # what the paths are about, for keys that are limited in that
    keybound.Route("/v1/{tenant}/messages", model="message"),
    keybound.Route("/v1/{tenant}/reports", model="report"),
]


async def health(_request: Request) -> Response:
    """Answer anybody: it is not under /v1."""
    return PlainTextResponse("ok")


async def messages(request: Request) -> Response:
    """List or send messages of the tenant that the request is about."""
    key = request.user
    done = "sent" if request.method == "POST" else "listed"
    return JSONResponse({"messages": done, "tenant": key.request_tenant, "by": key.name})


@requires("reports")
async def reports(request: Request) -> Response:
    """Answer keys that were granted the scope; this is Starlette's own decorator."""
    return JSONResponse({"reports": [], "scopes": sorted(request.user.scopes)})


def create_app(guard: Guard) -> Starlette:
    """Return the application."""
    return Starlette(
        routes=[
            Route("/health", health),
            Route("/v1/{tenant}/messages", messages, methods=["GET", "POST"]),
            Route("/v1/{tenant}/reports", reports),
        ],
        middleware=[Middleware(APIKeyMiddleware, guard=guard.to_async())],
    )


def main() -> None:
    """Issue keys, say what to try, and serve."""
    parser = argparse.ArgumentParser(description="Serve an API that needs a key.")
    parser.add_argument("--port", type=int, default=8000)
    port = parser.parse_args().port
    with TemporaryDirectory() as folder:
        guard = Guard.from_settings(
            database=str(Path(folder, "keys.db")),
            secret=token_urlsafe(32),
            protect=["/v1/*"],
            routes=ROUTES,
        )
        full = guard.issue(name="full", tenant="acme", limits=Limits(scopes=["reports"]))
        reader = guard.issue(name="reader", tenant="acme", limits=Limits(read_only=True))
        url = f"http://127.0.0.1:{port}"
        print(f"FULL={full.secret.reveal()}")
        print(f"READER={reader.secret.reveal()}")
        print(f"curl {url}/health")
        print(f'curl {url}/v1/acme/messages -H "Authorization: Bearer $READER"')
        print(f'curl {url}/v1/acme/messages -H "Authorization: Bearer $READER" -X POST')
        print(f'curl {url}/v1/evil/messages -H "Authorization: Bearer $FULL"')
        print(f'curl {url}/v1/acme/reports -H "Authorization: rest_api_key=$FULL"', flush=True)
        uvicorn.run(create_app(guard), port=port)


if __name__ == "__main__":
    main()
