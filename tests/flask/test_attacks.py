"""Middleware between keybound and Flask, where something was read before it changes a request."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask

from keybound import Guard, Limits
from keybound.flask import Keybound

PREFLIGHT = {"Origin": "https://shop.example", "Access-Control-Request-Method": "DELETE"}


def changed(name: str, value: str, **settings: Any) -> tuple[Any, Guard, list[str]]:
    """Return a client of an application that changes requests, its guard, and what it served."""
    app = Flask("shop", static_folder=None)
    inner = app.wsgi_app
    served: list[str] = []

    def rewriting(environ: Any, start_response: Any) -> Any:
        environ[name] = value
        return inner(environ, start_response)

    def view(number: int) -> str:
        served.append(f"view {number}")
        return "served"

    app.wsgi_app = rewriting
    guard = Guard.from_settings(database="memory://", **settings)
    Keybound(app, guard)
    app.add_url_rule("/x/<int:number>", "x", view, methods=["GET", "POST", "DELETE"])
    return app.test_client(), guard, served


def test_preflight_that_becomes_another_request_needs_a_key():
    """By whatever header somebody within takes the method from."""
    client, _, served = changed("REQUEST_METHOD", "DELETE", exempt_preflight=True)
    assert client.options("/x/1", headers=PREFLIGHT).status_code == 401
    client, _, served = changed("HTTP_X", "y", exempt_preflight=True)
    assert client.options("/x/1", headers=PREFLIGHT).status_code == 200
    assert served == []


@pytest.mark.parametrize("settings", [{}, {"hide_credentials": True}, {"client_ip": "nginx"}])
@pytest.mark.parametrize(
    ("name", "value", "status"),
    [
        ("REQUEST_METHOD", "POST", 403),
        ("REMOTE_ADDR", "10.0.0.2", 403),
        ("REMOTE_ADDR", "127.0.0.1", 200),
        ("PATH_INFO", "/x/2", 200),
    ],
)
def test_what_becomes_of_a_request_is_decided_as_well(
    settings: Any, name: str, value: str, status: int
):
    """By the key that it came with, which may be hidden by now, and from where it is now."""
    client, guard, served = changed(name, value, **settings)
    limits = Limits(read_only=True, networks="127.0.0.1")
    issued = guard.issue(name="CI", tenant="acme", limits=limits)
    headers = {"Authorization": f"Bearer {issued.secret.reveal()}"}
    for _ in range(2):
        assert client.get("/x/1", headers=headers).status_code == status
    assert len(served) == (2 if status == 200 else 0)


def test_preflight_is_answered_by_flask_and_by_no_view_that_requires_a_key():
    """Extensions add to Flask's own answer what a browser asked for."""
    app = Flask("shop", static_folder=None)
    kb = Keybound(app, Guard.from_settings(database="memory://", exempt_preflight=True))
    view = kb.requires("reports")(lambda: "served")
    app.add_url_rule("/x", "x", view, methods=["DELETE"])
    app.add_url_rule("/y", "y", view, methods=["DELETE", "OPTIONS"])
    client = app.test_client()
    for _ in range(2):
        answer = client.options("/x", headers=PREFLIGHT)
        assert answer.status_code == 200
        assert {*answer.headers["Allow"].split(", ")} == {"DELETE", "OPTIONS"}
        assert client.options("/x").status_code == 401
        assert client.options("/y", headers=PREFLIGHT).status_code == 401
        override = {**PREFLIGHT, "X-HTTP-Method-Override": "DELETE"}
        assert client.options("/x", headers=override).status_code == 401
