"""Inside of FastAPI, where the key is hidden and the body was read: everything is still known."""

from __future__ import annotations

import logging
from typing import Annotated, Any

import pytest
from fastapi import Body, FastAPI, Request
from fastapi.testclient import TestClient

from keybound import AsyncGuard, Limits, Route
from keybound.fastapi import CurrentKey, init_app, requires

SETTINGS: dict[str, Any] = {
    "database": "memory://",
    "credentials": ["bearer", "query(api_key)"],
    "hide_credentials": True,
    "routes": [Route("/body", model="body(model)")],
    "sync_every": 0.5,
}


@pytest.fixture(autouse=True)
def _quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the client that tests have not log its own URLs."""
    for name in ("httpx", "httpx2"):
        monkeypatch.setattr(logging.getLogger(name), "isEnabledFor", lambda _level: False)


class Rewriting:
    """Serves the path of a header, as middleware of a site may."""

    def __init__(self, app: Any) -> None:
        """Stand around an application."""
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one connection."""
        moved = dict(scope.get("headers", ())).get(b"x-path")
        if moved is not None:
            scope["path"], scope["raw_path"] = moved.decode(), moved
        await self.app(scope, receive, send)


class Shop:
    """A guarded application with a few operations, and a client of it."""

    def __init__(self, *, rewrites: bool = False) -> None:
        """Guard it."""
        app = FastAPI(openapi_url=None)
        if rewrites:
            app.add_middleware(Rewriting)
        self.guard = AsyncGuard.from_settings(**SETTINGS)
        init_app(app, self.guard)
        app.add_api_route("/seen", self.seen)
        app.add_api_route("/scoped", self.scoped, dependencies=[requires("reports")])
        app.add_api_route("/{model}/x", self.number, dependencies=[requires(model="{model}")])
        app.add_api_route("/body", self.body, methods=["POST"])
        self.client = TestClient(app)

    @staticmethod
    async def seen(request: Request) -> list[str]:
        """Return the names of the headers."""
        return sorted(request.headers.keys())

    @staticmethod
    async def scoped(key: CurrentKey) -> str:
        """Return who asks."""
        return key.name

    @staticmethod
    async def number(model: str) -> str:
        """Return which one it was."""
        return model

    @staticmethod
    async def body(sent: Annotated[dict[str, Any], Body()]) -> dict[str, Any]:
        """Return what was sent."""
        return sent

    def key(self, *, rights: tuple[str, ...] = (), **limits: Any) -> str:
        """Issue a key."""
        issued = self.guard.to_sync().issue(
            name="CI", tenant="acme", rights=rights, limits=Limits(**limits)
        )
        secret: str = issued.secret.reveal()
        return secret

    def get(self, path: str, key: str, *, query: bool = False, **headers: str) -> Any:
        """Ask with a key in a header, or in the query."""
        if query:
            return self.client.get(path, params={"api_key": key}, headers=headers)
        return self.client.get(path, headers={"Authorization": f"Bearer {key}", **headers})


@pytest.mark.parametrize("query", [False, True], ids=["header", "query"])
def test_demands_of_operations_are_met_by_a_hidden_key(*, query: bool):
    """The first time and when it is remembered, whatever carried the key."""
    shop = Shop()
    reports, none = shop.key(scopes="reports"), shop.key()
    for _ in range(3):
        seen = shop.get("/seen", reports, query=query)
        assert seen.status_code == 200
        assert "authorization" not in seen.json()
        assert shop.get("/scoped", reports, query=query).json() == "CI"
        assert shop.get("/scoped", none, query=query).status_code == 403


@pytest.mark.parametrize("query", [False, True], ids=["header", "query"])
def test_rewritten_request_is_decided_by_its_hidden_key(*, query: bool):
    """What stands between us and FastAPI changes the path, and not who calls."""
    shop = Shop(rewrites=True)
    key = shop.key(models={"1": "read"})
    for _ in range(3):
        first = shop.get("/1/x", key, query=query)
        assert (first.status_code, first.json()) == (200, "1")
        same = shop.get("/1/x", key, query=query, **{"X-Path": "/1/x/"})
        assert same.status_code != 401
        moved = shop.get("/1/x", key, query=query, **{"X-Path": "/2/x"})
        assert moved.status_code == 403


def test_operation_reads_the_body_that_named_its_model():
    """As FastAPI reads it."""
    shop = Shop()
    headers = {"Authorization": f"Bearer {shop.key(models={'chat': 'write'})}"}
    for _ in range(2):
        answer = shop.client.post("/body", json={"model": "chat", "n": 1}, headers=headers)
        assert answer.json() == {"model": "chat", "n": 1}
        refused = shop.client.post("/body", json={"model": "other"}, headers=headers)
        assert refused.status_code == 403


def test_operation_asks_a_key_that_only_reports_for_no_more():
    """What the guard lets pass and reports is not refused by the dependency of the operation."""
    shop = Shop()
    key = shop.key(rights=("report_only",))
    for times in range(1, 3):
        assert shop.get("/scoped", key).status_code == 200
        assert list(shop.guard.engine.refuser.totals("would_refuse").values()) == [times]
