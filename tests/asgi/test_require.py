"""``require`` inside of a view: it asks for more, and what it refuses looks as every refusal."""

from __future__ import annotations

from typing import Any, cast

import pytest
from fastapi import FastAPI, WebSocket
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route
from starlette.testclient import TestClient

import keybound.asgi
import keybound.fastapi
import keybound.starlette
from keybound import Guard, InputError, Limits
from tests.shells.calls import call, scope_of


@pytest.fixture
def guard() -> Guard:
    """Return a guard in memory of what is under /v1, whose requests are about a tenant."""
    routes = [keybound.Route("/v1/{tenant}/{rest:path}")]
    return Guard.from_settings(database="memory://", protect=["/v1/*"], routes=routes)


def headers(guard: Guard, **limits: Any) -> dict[str, str]:
    """Return those that carry a new key of acme."""
    issued = guard.issue(name="CI", tenant="acme", limits=Limits(**limits))
    return {"Authorization": f"Bearer {issued.secret.reveal()}"}


async def asking(scope: Any, _receive: Any, send: Any) -> None:
    """Ask for a scope, a model and a tenant."""
    identity = keybound.asgi.require(scope, "more", model="invoice", tenant="acme")
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": identity.name.encode()})


@pytest.mark.parametrize(
    ("path", "limits", "reason"),
    [
        ("/v1/acme/x", {"scopes": ["more"]}, None),
        ("/v1/acme/x", {}, "insufficient_scope"),
        ("/v1/beta/x", {"scopes": ["more"], "tenants": "*"}, "tenant_mismatch"),
        ("/open", None, "missing_credentials"),
    ],
)
def test_plain_application_asks_for_more(
    guard: Guard, path: str, limits: dict[str, Any] | None, reason: str | None
):
    """The middleware answers what was asked in vain."""
    app = keybound.asgi.APIKeyMiddleware(asking, guard.to_async())
    carried = {} if limits is None else headers(guard, **limits)
    sent = [(name.lower().encode(), value.encode()) for name, value in carried.items()]
    answer = call(app, scope_of("http", path, headers=sent))
    if reason is None:
        assert (answer.status, answer.body) == (200, b"CI")
    else:
        assert guard.explain_denial(answer.denial).reason == reason


def test_what_is_not_guarded_says_so():
    """Without the middleware nobody knows who is calling, and a wrong demand is named first."""
    with pytest.raises(RuntimeError, match="did not pass APIKeyMiddleware"):
        keybound.asgi.require(scope_of("http", "/"), "a")
    with pytest.raises(InputError, match=r"^access"):
        keybound.asgi.require(scope_of("http", "/"), access=cast("Any", "change"))
    with pytest.raises(RuntimeError, match="did not pass APIKeyMiddleware"):
        keybound.starlette.require(Request(scope_of("http", "/")), "a")


async def endpoint(request: Request) -> PlainTextResponse:
    """Ask for the model of the path."""
    identity = keybound.starlette.require(request, model="{kind}", access="read")
    return PlainTextResponse(identity.name)


@pytest.mark.parametrize("mounted", [False, True])
def test_endpoint_of_starlette_asks_for_more(guard: Guard, mounted: bool):  # noqa: FBT001 - a case
    """Parameters of the path are fields; within a mounted application it is the same."""
    routes: list[Any] = [Route("/v1/acme/{kind}", endpoint)]
    app = Starlette(routes=[Mount("/", Starlette(routes=routes))] if mounted else routes)
    app.add_middleware(keybound.starlette.APIKeyMiddleware, guard=guard.to_async())
    client = TestClient(app)
    every = headers(guard)
    assert client.get("/v1/acme/invoice", headers=every).text == "CI"
    # Where nothing says what a request is about, a key that is limited in that is refused before.
    refused = client.get("/v1/acme/invoice", headers=headers(guard, models={"invoice": "read"}))
    assert guard.explain_denial(refused.headers["keybound-denial"]).reason == "model_unresolved"


@pytest.mark.parametrize("mounted", [False, True])
def test_refusal_of_an_endpoint_is_that_of_the_middleware(guard: Guard, mounted: bool):  # noqa: FBT001 - a case
    """Status, challenges, body and id."""

    async def asks(request: Request) -> PlainTextResponse:
        keybound.starlette.require(request, ["a", "b"])
        return PlainTextResponse("served")

    routes: list[Any] = [Route("/v1/acme/x", asks)]
    app = Starlette(routes=[Mount("/", Starlette(routes=routes))] if mounted else routes)
    app.add_middleware(keybound.starlette.APIKeyMiddleware, guard=guard.to_async())
    answer = TestClient(app).get("/v1/acme/x", headers=headers(guard, scopes=["a"]))
    assert answer.status_code == 403
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["cache-control"] == "no-store"
    assert 'scope="a b"' in answer.headers["www-authenticate"]
    assert answer.json()["id"] == answer.headers["keybound-denial"]
    assert guard.explain_denial(answer.json()["id"]).reason == "insufficient_scope"


def test_operation_of_fastapi_asks_for_more(guard: Guard):
    """In an operation, and in one of a mounted application."""
    app, inner = FastAPI(), FastAPI()
    keybound.fastapi.init_app(app, guard.to_async())

    async def asks(request: Request) -> str:
        return keybound.fastapi.require(request, "a").name

    app.get("/v1/acme/x")(asks)
    inner.get("/x")(asks)
    app.mount("/v1/acme/inner", inner)
    client = TestClient(app)
    for path in ("/v1/acme/x", "/v1/acme/inner/x"):
        assert client.get(path, headers=headers(guard, scopes="a")).json() == "CI"
        refused = client.get(path, headers=headers(guard))
        assert (refused.status_code, refused.json()["reason"]) == (403, "insufficient_scope")


def test_handshake_asks_for_more(guard: Guard):
    """A WebSocket that was not accepted yet is answered in full."""
    app = FastAPI()
    keybound.fastapi.init_app(app, guard.to_async())

    @app.websocket("/v1/acme/live")
    async def live(websocket: WebSocket) -> None:
        keybound.fastapi.require(websocket, "a")
        await websocket.accept()
        await websocket.close()

    client = TestClient(app)
    with client.websocket_connect("/v1/acme/live", headers=headers(guard, scopes="a")):
        pass
    with (
        pytest.raises(Exception) as caught,  # noqa: PT011 - of the test client's own
        client.websocket_connect("/v1/acme/live", headers=headers(guard)),
    ):
        pass
    refused: Any = caught.value
    assert refused.status_code == 403
