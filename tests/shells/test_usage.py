"""A request is one use, however often it takes to decide it."""

from __future__ import annotations

import asyncio
from typing import Any

import fastapi
import pytest
from flask import Flask
from starlette.testclient import TestClient

import keybound.fastapi
from keybound import AsyncGuard, Guard, Route
from keybound.asgi import APIKeyMiddleware
from keybound.flask import Keybound


def recorded(guard: Guard | AsyncGuard, key: str) -> tuple[int, int]:
    """Return the uses and refusals of a key, all of which are recorded now."""
    blocking = Guard(guard.engine)
    guard.engine.recorder.record()
    usage = blocking.usage([key])[key]
    return usage.uses, usage.refusals


@pytest.mark.parametrize(
    ("rights", "status"), [((), 403), (("report_only",), 200)], ids=["refuses", "reports only"]
)
def test_request_to_flask_is_one_use(rights: tuple[str, ...], status: int):
    """Flask's view is known late, and a request is looked at again then."""
    app = Flask("uses", static_folder=None)
    guard = Guard.from_settings(database="memory://", routes=[Route("/b", scopes="rest")])
    kb = Keybound(app, guard)
    app.add_url_rule("/a/<name>", "a", lambda name: name)
    app.add_url_rule("/b", "b", lambda: "b")
    app.add_url_rule("/c", "c", kb.requires("rest")(lambda: "c"))
    issued = guard.issue(name="CI", rights=rights)
    headers = {"Authorization": f"Bearer {issued.secret.reveal()}"}
    client = app.test_client()
    for number in range(1, 4):
        assert client.get("/a/x", headers=headers).status_code == 200
        assert client.get(f"/a/{number}", headers=headers).status_code == 200
        assert client.get("/c", headers=headers).status_code == status
        refused = number * (status == 403)
        assert recorded(guard, issued.id) == (3 * number - refused, refused)
    guard.close()


def test_request_to_fastapi_is_one_use():
    """What middleware inside makes another request is decided again."""
    app = fastapi.FastAPI()
    guard = AsyncGuard.from_settings(database="memory://")

    @app.middleware("http")
    async def rewrite(request: fastapi.Request, go_on: Any) -> Any:
        if request.url.path == "/old":
            request.scope["path"] = "/new"
        return await go_on(request)

    @app.get("/new")
    async def new() -> str:
        return "new"

    keybound.fastapi.init_app(app, guard)
    issued = Guard(guard.engine).issue(name="CI")
    client = TestClient(app, headers={"Authorization": f"Bearer {issued.secret.reveal()}"})
    for number in range(1, 4):
        assert client.get("/old").status_code == 200
        assert client.get("/new").status_code == 200
        assert recorded(guard, issued.id) == (2 * number, 0)
    guard.engine.close()


@pytest.mark.parametrize("ends", [False, True])
def test_open_socket_is_one_use(*, ends: bool):
    """Its key is looked at twice a second, which says that it is in use, and no more.

    It was used as well if it is closed because the key ended.
    """

    async def run() -> None:
        guard = AsyncGuard.from_settings(
            database="memory://", revoke_within=0.3, close_on_revoke=True
        )
        issued = await guard.issue(name="socket")
        leaves, closed = asyncio.Event(), asyncio.Event()

        async def serve(_scope: Any, _receive: Any, _send: Any) -> None:
            await leaves.wait()

        async def never() -> Any:
            await asyncio.Event().wait()

        async def send(message: Any) -> None:
            if message["type"] == "websocket.close":
                closed.set()

        key = f"Bearer {issued.secret.reveal()}".encode()
        scope = {"type": "websocket", "path": "/", "headers": [(b"authorization", key)]}
        serving = asyncio.create_task(APIKeyMiddleware(serve, guard)(scope, never, send))
        await asyncio.sleep(0.1)
        await guard.usage([issued.id])
        first = guard.engine.cache.entries
        looked = [entry.uses for entry in first.values()]
        for _ in range(200):
            await asyncio.sleep(0.02)
            if [entry.uses for entry in guard.engine.cache.entries.values()] > [looked[0] + 2]:
                break
        else:
            pytest.fail("nobody looked at the key again")
        if ends:
            await guard.revoke(issued.id)
            await closed.wait()
        leaves.set()
        await serving
        await asyncio.to_thread(guard.engine.recorder.record)
        usage = (await guard.usage([issued.id]))[issued.id]
        assert (usage.uses, usage.refusals) == (1, int(ends))
        await guard.close()

    asyncio.run(run())
