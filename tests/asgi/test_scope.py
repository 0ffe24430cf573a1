"""What the scope tells the application, and what is taken from it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import flask
import pytest
from asgiref.wsgi import WsgiToAsgi

import keybound
from keybound import Guard, Limits, Route
from keybound.asgi import APIKeyMiddleware
from tests.shells.calls import call, scope_of, serve
from tests.shells.sites import authorization

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.shells.calls import Answer
    from tests.shells.sites import Site


FORGED = [b"x-keybound-", b"x-keybound-anything", b"x-keybound-\xff"]
FORGED += [b"x_keybound_key", b"x-keybound_key", b"x_keybound-key"]


@pytest.mark.parametrize("name", FORGED)
def test_no_header_of_that_kind_is_passed_on(make_plain: Callable[..., Site], name: bytes):
    """It is the beginning of the name that counts, not a list of names; ``_`` is ``-`` to some."""
    site = make_plain()
    key = site.issue()
    assert site.request(key=key, headers=((name, b"evil"),)).status == 200
    assert site.served[0]["headers"] == [*authorization(key)]


def test_headers_are_passed_on_as_they_are(make_plain: Callable[..., Site]):
    """Without a forgery the application gets the very list that the server made."""
    site = make_plain()
    headers = [(b"x-a", b"1"), *authorization(site.issue()), (b"x-a", b"2")]
    scope = scope_of("http", "/own", headers=headers)
    asyncio.run(serve(site.app, scope))
    assert site.served[0]["headers"] is headers


@pytest.mark.parametrize("method", ["GET", "WEBSOCKET"])
def test_identity_of_somebody_else_is_replaced(make_asgi: Callable[..., Site], method: str):
    """Whatever an outer layer left in the scope, the key's identity is what counts."""
    site = make_asgi()
    key = site.issue()
    stale: dict[str, Any] = dict.fromkeys(("keybound", "user", "auth"), "somebody else")
    assert site.request(method, key=key, **stale).status in {200, 101}
    (scope,) = site.served
    assert scope["keybound"].key_id == key.id
    assert scope["user"] is scope["keybound"]
    assert scope["auth"] is scope["keybound"].auth


def test_user_of_the_site_stays_where_no_key_was_needed(make_asgi: Callable[..., Site]):
    """On exempt paths the site's own authentication goes on, but there is no identity of ours."""
    site = make_asgi(routes=[Route("/open", auth="exempt")])
    site.request(path="/open", keybound="stale", user="theirs", auth="theirs")
    (scope,) = site.served
    assert (scope["keybound"], scope["user"], scope["auth"]) == (None, "theirs", "theirs")


def test_requests_at_the_same_time_never_see_each_other(make_asgi: Callable[..., Site]):
    """However requests are interleaved, each has the identity of its own key throughout."""
    site = make_asgi()
    keys = [site.issue(name=f"key {number}") for number in range(20)]
    seen: list[tuple[Any, ...]] = []

    async def slow(scope: Any, _receive: Any, send: Any) -> None:
        names = []
        for _ in range(5):
            names += [scope["keybound"].name, keybound.current_key().name]
            await asyncio.sleep(0)
        seen.append((scope["expected"], *names))
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body"})

    async def all_at_once() -> None:
        calls = [
            scope_of("http", "/own", headers=[*authorization(key)], expected=f"key {number}")
            for number, key in enumerate(keys)
        ]
        await asyncio.gather(*(serve(site.app, scope) for scope in calls * 3))

    site.application.endpoint = slow
    asyncio.run(all_at_once())
    assert len(seen) == 60
    assert all(len(set(names)) == 1 for names in seen)


class Overriding:
    """Takes the method from a header, as middleware of WSGI does."""

    def __init__(self, app: Any) -> None:
        """Stand around an application."""
        self.app = app

    def __call__(self, environ: Any, start_response: Any) -> Any:
        """Serve one request."""
        asked = environ.get("HTTP_X_HTTP_METHOD_OVERRIDE")
        environ["REQUEST_METHOD"] = (asked or environ["REQUEST_METHOD"]).upper()
        return self.app(environ, start_response)


@pytest.mark.parametrize("name", ["x-http-method-override", "x_http_method_override"])
def test_application_of_wsgi_within_serves_what_was_decided(name: str):
    """Where names are folded: no header makes another method, or another key, of a request."""
    app = flask.Flask(__name__)

    @app.route("/", methods=["POST", "DELETE"])
    def _answer() -> str:
        seen = [flask.request.headers.get(each) for each in ("X-Keybound-Key", "X-API-Key")]
        return f"{flask.request.method} {seen}"

    guard = Guard.from_settings(
        database="memory://", credentials=["header(X-API-Key)"], hide_credentials=True
    )
    served: Any = WsgiToAsgi(Overriding(app.wsgi_app))
    guarded = APIKeyMiddleware(served, guard.to_async())
    issued = guard.issue(name="CI", limits=Limits(methods="POST"))
    key = (b"x-api-key", issued.secret.reveal().encode())

    def send(*headers: tuple[bytes, bytes]) -> Answer:
        scope = scope_of("http", "/", method="POST", headers=[key, *headers])
        return call(guarded, scope | {"scheme": "http", "server": ("localhost", 80)})

    assert send((b"x_keybound_key", b"evil")).body == b"POST [None, None]"
    assert send((name.encode(), b"DELETE")).status == 403
    assert send((b"x_api_key", b"another")).status == 400
