"""What is left in memory of a request that does not come to its end."""

from __future__ import annotations

import asyncio
from traceback import walk_tb
from typing import Any

import pytest
from fastapi import FastAPI

from keybound import AsyncGuard, Guard, Limits, Route
from keybound.asgi import APIKeyMiddleware
from keybound.core.principals import Principal
from keybound.fastapi import init_app
from tests.shells.calls import call, scope_of

TOKEN = b"Bearer of.another.kind"


def test_credential_is_in_no_frame_of_who_waits_with_a_body():
    """An interrupted request is reported with its variables: the key is in the scope alone."""
    asked: list[object] = []

    async def knows(_head: object) -> Principal:
        asked.append(_head)
        if len(asked) > 1:
            await asyncio.Event().wait()
        return Principal(id="u_1", tenant="acme", limits=Limits(models="invoice"))

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b'{"model":"invoice"}'}

    guard = AsyncGuard.from_settings(
        database="memory://", routes=[Route("/x", model="body(model)")], authenticators=[knows]
    )
    headers = [(b"authorization", TOKEN), (b"content-type", b"application/json")]
    scope = scope_of("http", "/x", method="POST", headers=headers)

    async def interrupted() -> None:
        serving: Any = APIKeyMiddleware(lambda *_: asyncio.sleep(0), guard)
        async with asyncio.timeout(0.05):
            await serving(scope, receive, None)

    with pytest.raises(TimeoutError) as caught:
        asyncio.run(interrupted())
    chained = caught.value.__cause__ or caught.value.__context__
    assert chained is not None
    trace = chained.__traceback__
    frames = 0
    while trace is not None:
        held = trace.tb_frame.f_locals
        if trace.tb_frame.f_globals["__name__"].startswith("keybound."):
            frames += 1
            shown = {name for name, value in held.items() if TOKEN.decode() in repr(value)}
            assert shown <= {"scope", "headers"}, trace.tb_frame.f_code.co_name
        trace = trace.tb_next
    assert frames
    assert len(asked) == 2


def test_interrupted_question_shows_no_credential_either():
    """Also before anything was found out."""

    async def waiting(_head: Any) -> None:
        await asyncio.sleep(60)

    guard = AsyncGuard.from_settings(database="memory://", authenticators=[waiting])
    scope = scope_of("http", "/x", headers=[(b"authorization", TOKEN)])

    async def interrupted() -> None:
        serving: Any = APIKeyMiddleware(lambda *_: asyncio.sleep(0), guard)
        async with asyncio.timeout(0.05):
            await serving(scope, None, None)

    with pytest.raises(TimeoutError) as caught:
        asyncio.run(interrupted())
    chained = caught.value.__cause__ or caught.value.__context__
    assert chained is not None
    shown = {
        name
        for frame, _ in walk_tb(chained.__traceback__)
        if frame.f_globals["__name__"].startswith("keybound.")
        for name, value in frame.f_locals.items()
        if TOKEN.decode() in repr(value)
    }
    assert shown == {"scope"}


class Changing:
    """A middleware of the application's own, which makes another request of one."""

    def __init__(self, app: Any, *, name: str, value: Any) -> None:
        """Stand around ``app``."""
        self.app = app
        self.change = {name: value}

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one connection."""
        await self.app({**scope, **self.change}, receive, send)


@pytest.mark.parametrize(
    ("settings", "sent"),
    [
        ({}, "bearer"),
        ({"hide_credentials": True}, "bearer"),
        ({"client_ip": "nginx"}, "bearer"),
        ({"credentials": ["query(api_key)"]}, "query"),
    ],
)
@pytest.mark.parametrize(
    ("name", "value", "status"),
    [
        ("method", "POST", 403),
        ("client", ("10.0.0.2", 1), 403),
        ("client", ("127.0.0.1", 2), 200),
        ("path", "/x/2", 200),
    ],
)
def test_what_becomes_of_a_request_is_decided_as_well(
    settings: Any, sent: str, name: str, value: Any, status: int
):
    """By the key that it came with, which may be hidden by now."""
    guard = Guard.from_settings(database="memory://", **settings)
    app = FastAPI()
    app.add_middleware(Changing, name=name, value=value)
    init_app(app, guard.to_async())
    served: list[int] = []

    @app.api_route("/x/{number}", methods=["GET", "POST"])
    async def view(number: int) -> None:
        served.append(number)

    limits = Limits(read_only=True, networks="127.0.0.1")
    key = guard.issue(name="CI", tenant="acme", limits=limits).secret.reveal().encode()
    carried: Any = {"headers": [(b"authorization", b"Bearer " + key)]}
    if sent == "query":
        carried = {"query_string": b"api_key=" + key}
    for _ in range(2):
        answer = call(app, scope_of("http", "/x/1", client=("127.0.0.1", 1), **carried))
        assert answer.status == status
    assert len(served) == (2 if status == 200 else 0)


def test_preflight_that_becomes_another_request_needs_a_key():
    """By whatever header somebody within takes the method from."""
    guard = Guard.from_settings(database="memory://", exempt_preflight=True)
    app = FastAPI()
    app.add_middleware(Changing, name="method", value="DELETE")
    init_app(app, guard.to_async())
    app.add_api_route("/x", lambda: "served", methods=["DELETE", "OPTIONS"])
    headers = [(b"origin", b"https://a.example"), (b"access-control-request-method", b"DELETE")]
    assert call(app, scope_of("http", "/x", method="OPTIONS", headers=headers)).status == 401
