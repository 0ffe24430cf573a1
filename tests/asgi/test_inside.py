"""Middleware of an application that stands between keybound and the router of FastAPI."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from keybound.fastapi import CurrentKey, init_app, requires
from tests.asgi.test_fastapi import nothing

if TYPE_CHECKING:
    from keybound import Guard


class Overriding:
    """Does what headers say: clients that can only POST do so."""

    def __init__(self, app: Any) -> None:
        """Stand around ``app``, where nobody can see it."""
        self.__app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one connection."""
        headers = dict(scope.get("headers", ()))
        for name in ("method", "path", "client"):
            given = headers.get(b"x-" + name.encode())
            if given is not None:
                scope[name] = given.decode() if name != "client" else (given.decode(), 1)
        await self.__app(scope, receive, send)


@pytest.fixture
def client(guard: Guard) -> TestClient:
    """Return a client of an application with middleware of its own on the inside."""
    app = FastAPI()
    app.add_middleware(Overriding)
    init_app(app, guard.to_async())
    app.add_api_route(
        "/v1/a", nothing, methods=["POST"], dependencies=[requires(model="a", access="read")]
    )
    app.add_api_route("/v1/a", nothing, methods=["DELETE"])
    app.add_api_route("/v1/b", nothing, methods=["POST"], dependencies=[requires(model="b")])
    app.add_api_route("/open", nothing, methods=["POST"])

    @app.get("/v1/name")
    async def name(key: CurrentKey) -> str:
        return key.name

    return TestClient(app)


def test_method_that_a_header_overrides_is_decided_too(client: TestClient, key: Any):
    """A key that only reads does not delete, by whatever name."""
    reading = key(read_only=True)
    assert client.post("/v1/a", headers=reading).status_code == 200
    answer = client.post("/v1/a", headers={**reading, "x-method": "DELETE"})
    assert (answer.status_code, answer.json()["reason"]) == (403, "method_not_allowed")
    answer = client.post("/v1/a", headers={**key(methods="POST"), "x-method": "DELETE"})
    assert (answer.status_code, answer.json()["reason"]) == (403, "method_not_allowed")
    assert client.post("/v1/a", headers={**key(), "x-method": "DELETE"}).status_code == 200


def test_path_that_is_rewritten_is_decided_too(client: TestClient, key: Any):
    """What comes in by an open path, or by another one, is asked for a key where it ends."""
    assert client.post("/open").status_code == 200
    assert client.post("/open", headers={"x-path": "/v1/b"}).status_code == 401
    limited = key(models={"a": "write"})
    assert client.post("/v1/a", headers={**limited, "x-path": "/v1/b"}).status_code == 403
    asked = {**key(), "x-path": "/v1/name", "x-method": "GET"}
    assert client.post("/open", headers=asked).json() == "CI"
    assert client.post("/v1/a", headers={"x-path": "/open"}).status_code == 401


def test_address_that_is_replaced_is_decided_too(client: TestClient, key: Any):
    """Both addresses must be among those of the key."""
    near = TestClient(client.app, client=("203.0.113.9", 1))
    headers = key(networks="203.0.113.0/24")
    answers = [
        near.post("/v1/a", headers=headers | more).status_code
        for more in ({}, {"x-client": "203.0.113.7"}, {"x-client": "192.0.2.1"})
    ]
    assert answers == [200, 200, 403]


def test_application_starts_and_stops(client: TestClient):
    """The lifespan passes what looks again."""
    with client:
        assert client.post("/v1/a").status_code == 401
