"""A Flask application whose views say what they require of a key.

    python examples/flask_app.py [--port 8000]

It issues two keys in a database that is gone afterwards, and prints requests to try.
With KEYBOUND_REDIS=redis://localhost:6379/0 in the environment it shares keys over Redis.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from secrets import token_urlsafe
from tempfile import TemporaryDirectory
from typing import Any

from flask import Blueprint, Flask

from keybound import Guard, Limits
from keybound.flask import Keybound, current_key, require

kb = Keybound()
invoices = Blueprint("invoices", __name__, url_prefix="/v1/<tenant>/invoices")
kb.protect(invoices, model="invoice")


@invoices.get("/")
def list_invoices(tenant: str) -> dict[str, str]:
    """List the invoices of the tenant that the request is about."""
    return {"invoices of": tenant, "to": current_key.name}


@invoices.post("/")
@kb.requires("billing")
def create_invoice(tenant: str) -> dict[str, str]:
    """Create an invoice: a write, for keys with the scope alone."""
    return {"invoice for": tenant, "by": current_key.name}


@invoices.post("/search")
@kb.requires(access="read")
def search_invoices(tenant: str) -> list[str]:
    """Search with a POST that only reads, so that keys that only read may do it."""
    found = [f"{tenant}-001"]
    if current_key.has_scope("billing"):
        require(model="draft", access="read")  # drafts are another model
        found.append(f"{tenant}-draft")
    return found


@kb.refusal
def refused(_refusal: object, problem: dict[str, Any]) -> dict[str, str]:
    """Say it in the way of this site; status and challenge stay what they are."""
    return {"error": problem["title"], "reason": problem.get("reason", ""), "id": problem["id"]}


def create_app(guard: Guard) -> Flask:
    """Return the application."""
    app = Flask(__name__, static_folder=None)
    kb.init_app(app, guard)
    app.register_blueprint(invoices)
    app.add_url_rule("/", "welcome", lambda: "Hello!")  # it is not under /v1
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
        print(f'curl {url}/v1/acme/invoices/ -H "Authorization: Bearer $READER"')
        print(f'curl {url}/v1/acme/invoices/ -H "Authorization: Bearer $READER" -X POST')
        print(f'curl {url}/v1/evil/invoices/ -H "Authorization: Bearer $FULL"')
        print(
            f'curl {url}/v1/acme/invoices/ -H "Authorization: rest_api_key=$FULL" -X POST',
            flush=True,
        )
        create_app(guard).run(port=port)


if __name__ == "__main__":
    main()
