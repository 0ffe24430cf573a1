"""A FastAPI application whose operations say what they require of a key.

    python examples/fastapi_app.py [--port 8000]

It issues two keys in a database that is gone afterwards, and prints requests to try; in the docs
page at /docs, "Authorize" takes a key.
With KEYBOUND_REDIS=redis://localhost:6379/0 in the environment it shares keys over Redis.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from secrets import token_urlsafe
from tempfile import TemporaryDirectory

import uvicorn
from fastapi import APIRouter, FastAPI

from keybound import Guard, Limits
from keybound.fastapi import CurrentKey, init_app, requires

public = APIRouter()
invoices = APIRouter(prefix="/v1/{tenant}/invoices", dependencies=[requires(model="invoice")])


@public.get("/")
async def welcome() -> str:
    """Greet anybody: it is not under /v1."""
    return "Hello!"


@invoices.get("")
async def list_invoices(key: CurrentKey) -> dict[str, str | None]:
    """List the invoices of the tenant that the request is about."""
    return {"invoices of": key.request_tenant, "to": key.name}


@invoices.post("", dependencies=[requires("billing")])
async def create_invoice(key: CurrentKey) -> dict[str, str | None]:
    """Create an invoice: a write, for keys with the scope alone."""
    return {"invoice for": key.request_tenant, "by": key.name}


@invoices.post("/search", dependencies=[requires(access="read")])
async def search_invoices() -> list[str]:
    """Search with a POST that only reads, so that keys that only read may do it."""
    return ["2026-001"]


def create_app(guard: Guard) -> FastAPI:
    """Return the application."""
    app = FastAPI(title="Invoices")
    init_app(app, guard.to_async())
    app.include_router(public)
    app.include_router(invoices)
    return app


def main() -> None:
    """Issue keys, say what to try, and serve."""
    parser = argparse.ArgumentParser(description="Serve an API that needs a key.")
    parser.add_argument("--port", type=int, default=8000)
    port = parser.parse_args().port
    with TemporaryDirectory() as folder:
        guard = Guard.from_settings(
            database=str(Path(folder, "keys.db")), secret=token_urlsafe(32), protect=["/v1/*"]
        )
        full = guard.issue(name="full", tenant="acme", limits=Limits(scopes=["billing"]))
        reader = guard.issue(
            name="reader", tenant="acme", limits=Limits(read_only=True, models={"invoice": "read"})
        )
        url = f"http://127.0.0.1:{port}"
        print(f"FULL={full.secret.reveal()}")
        print(f"READER={reader.secret.reveal()}")
        print(f"curl {url}/")
        print(f'curl {url}/v1/acme/invoices -H "Authorization: Bearer $READER"')
        print(f'curl {url}/v1/acme/invoices -H "Authorization: Bearer $READER" -X POST')
        print(f'curl {url}/v1/evil/invoices -H "Authorization: Bearer $FULL"')
        print(f'curl {url}/v1/acme/invoices -H "Authorization: rest_api_key=$FULL" -X POST')
        print(f"and in a browser: {url}/docs", flush=True)
        uvicorn.run(create_app(guard), port=port)


if __name__ == "__main__":
    main()
