"""One guard, several applications: each is decided by what it declares itself, and by no other."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi import FastAPI
from flask import Flask
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route as Path
from starlette.testclient import TestClient
from webtest import TestApp

import keybound.asgi
import keybound.fastapi
import keybound.wsgi
from keybound import Guard, Limits
from keybound.core.decision import Denied
from keybound.flask import Keybound

PATH = "/search"


def fastapi(guard: Guard, *, declares: bool) -> Any:
    """Return an application of FastAPI, and how to ask it."""
    app = FastAPI()
    keybound.fastapi.init_app(app, guard.to_async())
    asks = [keybound.fastapi.requires("a", model="invoice", access="read")]
    app.post(PATH, dependencies=asks if declares else [])(lambda: "served")
    client = TestClient(app)
    return lambda headers: client.post(PATH, headers=headers).status_code


def flask(guard: Guard, *, declares: bool) -> Any:
    """Return one of Flask."""
    app = Flask("shop", static_folder=None)
    kb = Keybound(app, guard)
    asks = kb.requires("a", model="invoice", access="read")
    view: Any = lambda: "served"  # noqa: E731 - one for each application
    app.add_url_rule(PATH, "search", asks(view) if declares else view, methods=["POST"])
    client = app.test_client()
    return lambda headers: client.post(PATH, headers=headers).status_code


def starlette(guard: Guard, *, declares: bool) -> Any:
    """Return one of Starlette, which declares nothing."""
    assert not declares
    app = Starlette(routes=[Path(PATH, lambda _: PlainTextResponse("served"), methods=["POST"])])
    client = TestClient(keybound.asgi.APIKeyMiddleware(app, guard.to_async()))
    return lambda headers: client.post(PATH, headers=headers).status_code


def wsgi(guard: Guard, *, declares: bool) -> Any:
    """Return a plain one, which declares nothing."""
    assert not declares

    def app(_environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "6")])
        return [b"served"]

    client = TestApp(keybound.wsgi.APIKeyMiddleware(app, guard))
    return lambda headers: client.post(PATH, headers=headers, expect_errors=True).status_int


@pytest.mark.parametrize("other", [fastapi, flask, starlette, wsgi])
@pytest.mark.parametrize("declaring", [fastapi, flask])
@pytest.mark.parametrize("first", ["declaring", "other"])
def test_what_one_application_declares_decides_no_other(declaring: Any, other: Any, first: str):
    """Neither as a favour nor as a demand, whichever of them is asked first."""
    guard = Guard.from_settings(database="memory://")
    ask_declaring = declaring(guard, declares=True)
    ask_other = other(guard, declares=False)
    limits = {
        "reads": Limits(models={"invoice": "read"}, scopes=["a"]),
        "reads only": Limits(read_only=True, scopes=["a"]),
        "may all": Limits(),
    }
    headers = {
        name: {"Authorization": f"Bearer {guard.issue(name=name, limits=each).secret.reveal()}"}
        for name, each in limits.items()
    }
    expected = {
        ask_declaring: {"reads": 200, "reads only": 200, "may all": 403},
        ask_other: {"reads": 403, "reads only": 403, "may all": 200},
    }
    asked = [ask_declaring, ask_other] if first == "declaring" else [ask_other, ask_declaring]
    for ask in asked * 2:
        assert {name: ask(each) for name, each in headers.items()} == expected[ask]


@pytest.mark.parametrize("declaring", [fastapi, flask])
def test_guard_of_no_application_is_no_wider_than_any(declaring: Any):
    """Whoever asks a guard itself is told what all applications on it declare."""
    guard = Guard.from_settings(database="memory://", protect=["/elsewhere"])
    ask = declaring(guard, declares=True)
    secret = guard.issue(name="CI", limits=Limits()).secret.reveal()
    assert ask({"Authorization": f"Bearer {secret}"}) == 403
    decided = guard.authorize("POST", PATH, None, f"Bearer {secret}".encode())
    assert isinstance(decided, Denied)


def test_identity_of_an_outer_guard_is_not_that_of_an_inner_one():
    """Where the inner guard needs no key, nobody calls, whoever came through the outer one."""
    outer = Guard.from_settings(database="memory://")
    inner = Guard.from_settings(database="memory://", protect=["/closed"])
    seen: list[Any] = []

    async def look(request: Any) -> PlainTextResponse:
        seen.append((request.user.is_authenticated, request.auth.scopes))
        return PlainTextResponse("served")

    app = keybound.asgi.APIKeyMiddleware(Starlette(routes=[Path("/open", look)]), inner.to_async())
    key = outer.issue(name="CI", limits=Limits(scopes=["admin"])).secret.reveal()

    async def around(scope: Any, receive: Any, send: Any) -> None:
        await app(scope, receive, send)

    client = TestClient(keybound.asgi.APIKeyMiddleware(around, outer.to_async()))
    assert client.get("/open", headers={"Authorization": f"Bearer {key}"}).status_code == 200
    assert seen == [(False, ())]
