"""PEP 3333, as WebTest's lint reads it: around the middleware, and inside of it."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask
from webtest import TestApp, lint

from keybound.flask import Keybound, current_key
from keybound.wsgi import APIKeyMiddleware, require


def plain(environ: Any, start_response: Any) -> Any:
    """Answer with the key, or refuse who may not do more."""
    if environ["PATH_INFO"] == "/own":
        require(environ, "more")
    body = str(environ["keybound"].name if environ["keybound"] else "nobody").encode()
    headers = [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))]
    start_response("200 OK", headers)
    return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]


def of_wsgi(guard):
    """Return a plain application with lint on both sides.

    Lint wants a dot in the name of whatever is not text; ``keybound`` has none, so it is held back.
    """

    def held_back(environ: Any, start_response: Any) -> Any:
        identity = environ.pop("keybound")

        def restored(inner: Any, start: Any) -> Any:
            return plain({**inner, "keybound": identity}, start)

        return lint.middleware(restored)(environ, start_response)

    return lint.middleware(APIKeyMiddleware(held_back, guard))


def of_flask(guard):
    """Return an application of Flask with lint around it."""
    app = Flask("conformance", static_folder=None)
    kb = Keybound(app, guard)
    app.add_url_rule("/open", "open", lambda: "nobody")
    app.add_url_rule("/own", "own", kb.requires("more")(lambda: current_key.name))
    app.add_url_rule("/m/<model>", "m", lambda model: current_key.name)  # noqa: ARG005
    return lint.middleware(app)


@pytest.mark.parametrize("make", [of_wsgi, of_flask])
def test_nothing_departs_from_pep_3333(make, guard, key):
    """Whether a request is let through, refused, or refused by the application."""
    client = TestApp(make(guard), extra_environ={"REMOTE_ADDR": "127.0.0.1"})
    good, more = ({"Authorization": str(value)} for value in (key(), key(scopes="more")))
    assert client.get("/open").text == "nobody"
    for path, headers, status in (
        ("/own", {}, 401),
        ("/own", good, 403),
        ("/m/x", good, 200),
        ("/own", more, 200),
        ("/d/evil/x", good, 403),
        ("/%2e%2e/x", good, 400),
    ):
        answer = client.get(path, headers=headers, status=status)
        assert answer.text if status != 200 else answer.text == "CI"
        assert not client.head(path, headers=headers, status=status).body
