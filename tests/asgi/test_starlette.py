"""Starlette's own ways to ask who is calling work on keys."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from starlette.applications import Starlette
from starlette.authentication import requires
from starlette.endpoints import HTTPEndpoint
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.routing import Host, Mount, Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

import keybound
from keybound import Guard, Limits
from keybound.starlette import APIKeyMiddleware, current_key

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.requests import Request
    from starlette.websockets import WebSocket

    from keybound.core.issuing import IssuedKey


async def who(request: Request) -> JSONResponse:
    """Tell who is calling, in every way there is."""
    key = current_key(request)
    return JSONResponse(
        {
            "key": key.name if key else None,
            "user": request.user.display_name,
            "authenticated": request.user.is_authenticated,
            "scopes": list(request.auth.scopes),
            "scope": request.scope["keybound"] is key,
        }
    )


@requires("reports")
async def reports(request: Request) -> PlainTextResponse:
    """Answer whoever has the scope."""
    return PlainTextResponse(request.url.path)


@requires(["authenticated", "reports"], status_code=404)
def hidden(request: Request) -> PlainTextResponse:
    """Answer whoever has the scope, and hide from all others."""
    return PlainTextResponse(request.url.path)


class Endpoint(HTTPEndpoint):
    """An endpoint that is a class."""

    @requires("reports")
    async def get(self, request: Request) -> PlainTextResponse:
        """Answer whoever has the scope."""
        return PlainTextResponse(request.user.identity)


@requires("reports")
async def live(websocket: WebSocket) -> None:
    """Greet whoever has the scope."""
    await websocket.accept()
    await websocket.send_text(websocket.user.display_name)
    await websocket.close()


@pytest.fixture
def guard() -> Guard:
    """Return a guard in memory."""
    return Guard.from_settings(
        database="memory://", routes=[keybound.Route("/open/*", auth="exempt")]
    )


@pytest.fixture
def client(guard: Guard) -> Iterator[TestClient]:
    """Return a client of a started application."""
    routes = [
        Route("/who", who),
        Route("/reports", reports),
        Route("/hidden", hidden),
        Route("/endpoint", Endpoint),
        Mount("/open", routes=[Route("/who", who), Route("/reports", reports)]),
        WebSocketRoute("/live", live),
    ]
    middleware = [Middleware(APIKeyMiddleware, guard=guard.to_async())]
    with TestClient(Starlette(routes=routes, middleware=middleware)) as client:
        yield client


def headers(key: IssuedKey) -> dict[str, str]:
    """Return the headers that carry a key."""
    return {"Authorization": f"Bearer {key.secret.reveal()}"}


def test_request_knows_its_key(client: TestClient, guard: Guard):
    """``request.user``, ``request.auth``, the scope and ``current_key`` say the same."""
    key = guard.issue(name="CI", limits=Limits(scopes=["reports"]))
    assert client.get("/who", headers=headers(key)).json() == {
        "key": "CI",
        "user": "CI",
        "authenticated": True,
        "scopes": ["authenticated", "reports"],
        "scope": True,
    }


def test_request_without_a_key_is_nobody(client: TestClient):
    """On an exempt path there is nobody, and nobody has no scope."""
    assert client.get("/open/who").json() == {
        "key": None,
        "user": "",
        "authenticated": False,
        "scopes": [],
        "scope": True,
    }
    assert client.get("/open/reports").status_code == 403


def test_requires_of_starlette_reads_the_scopes(client: TestClient, guard: Guard):
    """Functions, classes and status codes of ``starlette.authentication.requires`` work."""
    having = headers(guard.issue(name="a", limits=Limits(scopes=["reports"])))
    lacking = headers(guard.issue(name="b"))
    for path, refused in (("/reports", 403), ("/hidden", 404), ("/endpoint", 403)):
        assert client.get(path, headers=having).status_code == 200
        assert client.get(path, headers=lacking).status_code == refused


def test_requires_of_starlette_reads_the_scopes_of_websockets(client: TestClient, guard: Guard):
    """The same decorator guards WebSockets."""
    having = headers(guard.issue(name="a", limits=Limits(scopes=["reports"])))
    with client.websocket_connect("/live", headers=having) as session:
        assert session.receive_text() == "a"
    lacking = headers(guard.issue(name="b"))
    with (
        pytest.raises(WebSocketDisconnect),
        client.websocket_connect("/live", headers=lacking) as session,
    ):
        session.receive_text()


def test_wildcard_key_passes_requires_of_starlette():
    """Where ``*`` is every scope, it is that for Starlette as well."""
    guard = Guard.from_settings(database="memory://", wildcard_scopes=True)
    middleware = [Middleware(APIKeyMiddleware, guard=guard.to_async())]
    app = Starlette(routes=[Route("/reports", reports)], middleware=middleware)
    key = guard.issue(name="all", limits=Limits(scopes=["*"]))
    assert TestClient(app).get("/reports", headers=headers(key)).status_code == 200


def test_websocket_is_refused_before_the_application_sees_it(client: TestClient):
    """Without a key there is no session."""
    with pytest.raises(WebSocketDisconnect) as caught, client.websocket_connect("/live"):
        pass
    answer: Any = caught.value
    assert answer.status_code == 401
    assert answer.json()["status"] == 401


def test_current_key_says_when_nothing_is_guarded():
    """An application without the middleware hears so, instead of taking everybody for nobody."""
    app = Starlette(routes=[Route("/who", who)])
    with pytest.raises(RuntimeError, match="APIKeyMiddleware"):
        TestClient(app).get("/who")


@pytest.mark.parametrize("lifespan", [True, False])
def test_cors_that_starlette_only_keeps_yet_is_pointed_out(
    guard: Guard,
    caplog: pytest.LogCaptureFixture,
    lifespan: bool,  # noqa: FBT001 - a parameter of the test
):
    """It builds its middleware with its first request, when ours stands around it already."""
    app = APIKeyMiddleware(Starlette(middleware=[Middleware(CORSMiddleware)]), guard.to_async())
    client = TestClient(app)
    if lifespan:
        with client:
            pass
    for _ in range(2):
        client.get("/", headers=headers(guard.issue(name="CI")))
    assert caplog.text.count("CORSMiddleware is inside of keybound") == 1


# ------------------------------------------------------------------ where nothing would be guarded


async def plain(_request: Request) -> PlainTextResponse:
    """Answer anybody."""
    return PlainTextResponse("served")


def started(*routes: Any, inside: bool) -> TestClient:
    """Return a client of an application that is guarded under /v1, from inside or around it."""
    narrow = Guard.from_settings(database="memory://", protect=["/v1/*"]).to_async()
    if inside:
        return TestClient(
            Starlette(routes=routes, middleware=[Middleware(APIKeyMiddleware, guard=narrow)])
        )
    return TestClient(APIKeyMiddleware(Starlette(routes=routes), narrow))


@pytest.mark.parametrize("inside", [True, False])
def test_application_of_which_nothing_is_guarded_does_not_start(inside: bool):  # noqa: FBT001
    """A typing error in ``protect`` opens nothing."""
    routes = [Route("/v2/x", plain), Mount("/v3", app=PlainTextResponse("x"))]
    text = r"/v1/\* guards no route of the application"
    with pytest.raises(keybound.SettingsError, match=text), started(*routes, inside=inside):
        pass


@pytest.mark.parametrize("inside", [True, False])
@pytest.mark.parametrize(
    "routes",
    [
        [],
        [Route("/v1/x", plain)],
        [Route("/{rest:path}", plain)],
        [Route("/v2/x", plain), Mount("/v1", app=PlainTextResponse("x"))],
        [Route("/v2/x", plain), Host("api.example.com", app=PlainTextResponse("x"))],
    ],
    ids=["no route", "a route", "a span", "a mount", "a host"],
)
def test_application_of_which_something_may_be_guarded_starts(routes: Any, inside: bool):  # noqa: FBT001
    """In doubt it does."""
    with started(*routes, inside=inside):
        pass
