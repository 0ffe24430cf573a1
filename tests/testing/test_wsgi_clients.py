"""The fixture with the clients of Flask and of WebTest, and applications as people write them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from flask import Flask
from webtest import TestApp as Client  # pytest collects what is called Test

from keybound import Guard, Limits
from keybound.flask import Keybound, current_key
from keybound.wsgi import APIKeyMiddleware

if TYPE_CHECKING:
    from collections.abc import Callable

NOWHERE = "/nonexistent/keybound/keys.db"
"""Whoever opens the real store fails."""


def plain() -> Any:
    """Return an application without a framework."""

    def app(environ: Any, start_response: Any) -> Any:
        body = environ["keybound"].name.encode()
        headers = [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))]
        start_response("200 OK", headers)
        return [body]

    return APIKeyMiddleware(app, Guard.from_settings(database=NOWHERE))


def of_flask() -> Flask:
    """Return an application of Flask."""
    app = Flask("orders", static_folder=None)
    app.config["KEYBOUND"] = {"DATABASE": NOWHERE, "PROTECT": ["/v1/*"], "REALM": "shop"}
    kb = Keybound(app)

    @app.route("/orders", methods=["GET", "POST"])
    @kb.requires()
    def orders() -> str:
        return current_key.name

    return app


def with_flask(app: Any) -> Callable[..., Any]:
    """Return what sends a request with Flask's client."""
    client = app.test_client()
    return lambda method, headers: client.open("/orders", method=method, headers=headers)


def with_webtest(app: Any) -> Callable[..., Any]:
    """Return what sends a request with WebTest, which checks that all is as PEP 3333 says."""
    client = Client(app)
    return lambda method, headers: client.request(
        "/orders", method=method, headers=headers, expect_errors=True
    )


@pytest.mark.parametrize(
    ("make", "sending"),
    [(plain, with_webtest), (of_flask, with_webtest), (of_flask, with_flask)],
    ids=["wsgi-webtest", "flask-webtest", "flask-client"],
)
@pytest.mark.parametrize("early", [True, False], ids=["made before", "made within"])
def test_key_is_issued_limited_and_ended(make, sending, request, early):
    """Whether the application stands before the fixture does, or is made by the test."""
    made = make() if early else None
    keybound = request.getfixturevalue("keybound")
    send = sending(made or make())
    key = keybound.issue(limits=Limits(read_only=True), expires_in="90d")
    keybound.assert_allowed(send("GET", key.headers))
    keybound.assert_denied(send("POST", key.headers), "method_not_allowed")
    keybound.assert_denied(send("GET", {}), "missing_credentials")
    with pytest.raises(AssertionError, match="let through"):
        keybound.assert_denied(send("GET", key.headers), "expired")
    with pytest.raises(AssertionError, match="refused: method_not_allowed"):
        keybound.assert_allowed(send("POST", key.headers))
    keybound.clock.advance(days=91)
    keybound.assert_denied(send("GET", key.headers), "expired")
    other = keybound.issue()
    keybound.assert_allowed(send("GET", other.headers))
    keybound.revoke(other)
    keybound.assert_denied(send("GET", other.headers), "revoked")


def test_site_s_rendering_is_still_a_refusal(keybound):
    """The reason is in the denial, whatever it looks like."""
    app = Flask("orders", static_folder=None)
    app.config["KEYBOUND"] = {"DATABASE": NOWHERE}
    kb = Keybound(app)
    app.add_url_rule("/orders", "orders", lambda: "ok")
    kb.refusal(lambda _refusal, problem: {"error": problem["title"]})
    answer = app.test_client().get("/orders")
    assert answer.json == {"error": "Credentials required"}
    keybound.assert_denied(answer, "missing_credentials")
