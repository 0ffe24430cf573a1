"""A WSGI application without a framework, behind the server of the standard library.

    python examples/wsgi_raw.py [--port 8000]

It issues two keys in a database that is gone afterwards, and prints requests to try.
With KEYBOUND_REDIS=redis://localhost:6379/0 in the environment it shares keys over Redis.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from secrets import token_urlsafe
from socketserver import ThreadingMixIn
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIServer, make_server

from keybound import Guard, Limits, Route
from keybound.wsgi import APIKeyMiddleware, require

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

ROUTES = [  # what the paths are about, and which one is open
    Route("/health", auth="exempt"),
    Route("/{tenant}/messages", model="message"),
]


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Answer with who is calling; writing needs a scope, which the application asks for."""
    key = environ["keybound"]  # None where no key was needed
    if environ["REQUEST_METHOD"] == "POST":
        require(environ, "send")
    body = json.dumps({"tenant": key.request_tenant, "by": key.name} if key else "ok").encode()
    headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
    start_response("200 OK", headers)
    return [body]


class Server(ThreadingMixIn, WSGIServer):
    """Serves every request in a thread of its own."""

    daemon_threads = True


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
        guarded = APIKeyMiddleware(application, guard)
        with make_server("127.0.0.1", port, guarded, server_class=Server) as server:
            url = f"http://127.0.0.1:{server.server_port}"
            print(f"FULL={full.secret.reveal()}")
            print(f"READER={reader.secret.reveal()}")
            print(f"curl {url}/health")
            print(f'curl {url}/acme/messages -H "Authorization: Bearer $READER"')
            print(f'curl {url}/acme/messages -H "Authorization: Bearer $READER" -X POST')
            print(f'curl {url}/evil/messages -H "Authorization: Bearer $FULL"')
            print(f'curl {url}/acme/messages -H "Authorization: rest_api_key=$FULL" -X POST')
            print(f"running on {url}", flush=True)
            server.serve_forever()


if __name__ == "__main__":
    main()
