"""The middleware itself: it starts, decides, passes on, and gets in nobody's way."""

from __future__ import annotations

import asyncio
import inspect
import sqlite3
import sys
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware

from keybound import AsyncGuard, Guard, Limits, Reason, Route, SettingsError, StoreError
from keybound.asgi import APIKeyMiddleware
from keybound.core.decision import Denied
from keybound.core.effects import LoadByDigest
from keybound.drivers import run
from keybound.judge import Miss
from keybound.stores import open_store
from tests.shells.calls import call, scope_of, serve
from tests.shells.sites import Site, authorization
from tests.shells.subjects import accept

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import FrameType

SECRET = "a-secret-of-the-tests-0123456789-abcdef"
OTHER = "another-secret-of-the-tests-fedcba-9876"


# -------------------------------------------------------------------------------------- starting


def test_application_starts_and_stops(make_asgi: Callable[..., Site]):
    """The lifespan passes, and opens the store before the application is ready."""
    site = make_asgi()
    said = site.start()
    assert [message["type"] for message in said] == [
        "lifespan.startup.complete",
        "lifespan.shutdown.complete",
    ]
    assert site.store.asked == 1


def failed_start(site: Site, error: type[Exception]) -> str:
    """Return what a server is told of a start that must fail with ``error``."""
    with pytest.raises(error) as caught:
        site.start()
    (message,) = caught.value.said  # type: ignore[attr-defined]
    assert message["type"] == "lifespan.startup.failed"
    told: str = message["message"]
    return told


def test_start_fails_with_a_wrong_secret(asgi_shape: str, tmp_path: Path):
    """A server does not start with a secret that is not the one of the stored keys."""
    database = str(tmp_path / "keys.db")
    first = Site(asgi_shape, open_store(database), secret=SECRET)
    first.issue()
    first.guard.close()
    second = Site(asgi_shape, open_store(database), secret=OTHER)
    assert "retired_secrets" in failed_start(second, SettingsError)
    second.guard.close()


@pytest.mark.parametrize("content", [b"no database at all", None], ids=["file", "database"])
def test_start_fails_on_a_file_of_somebody_else(
    asgi_shape: str, tmp_path: Path, content: bytes | None
):
    """A server does not start on a file that is not keybound's, and leaves it alone."""
    path = tmp_path / "other.db"
    if content is None:
        with closing(sqlite3.connect(path)) as file, file:
            file.execute("CREATE TABLE theirs (id INTEGER)")
        content = path.read_bytes()
    else:
        path.write_bytes(content)
    site = Site(asgi_shape, open_store(str(path)))
    assert str(path) in failed_start(site, StoreError)
    site.guard.close()
    assert path.read_bytes() == content


def test_application_starts_while_the_store_is_out_of_reach(make_asgi: Callable[..., Site]):
    """A store that does not answer yet keeps nobody from starting: requests get a 503."""
    site = make_asgi()
    site.store.reachable = False
    assert site.start()[0]["type"] == "lifespan.startup.complete"


def test_application_without_a_lifespan_is_served(make_plain: Callable[..., Site]):
    """The first request opens the store where no start did."""
    site = make_plain()
    assert site.request(key=site.issue()).status == 200


def test_failed_start_of_the_application_is_its_own(make_plain: Callable[..., Site]):
    """What an application says of its own start is passed on."""
    site = make_plain()

    async def failing(_scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "no"})

    app = APIKeyMiddleware(failing, site.guard.to_async())
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "lifespan.startup"}

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(app({"type": "lifespan"}, receive, send))
    assert sent == [{"type": "lifespan.startup.failed", "message": "no"}]


def test_unknown_connections_are_refused(make_plain: Callable[..., Site]):
    """What is neither a request nor a handshake nor a lifespan does not reach the application."""
    site = make_plain()
    with pytest.raises(RuntimeError, match="carrier-pigeon"):
        call(site.app, {"type": "carrier-pigeon"})
    assert site.served == []


def test_middleware_is_not_installed_twice(make_plain: Callable[..., Site]):
    """A second middleware would decide and log everything again: it is a mistake."""
    guard = make_plain().guard.to_async()
    inner = Starlette(middleware=[Middleware(APIKeyMiddleware, guard=guard)])
    for app in (APIKeyMiddleware(accept, guard), inner):
        with pytest.raises(SettingsError, match="twice"):
            APIKeyMiddleware(app, guard)
    twice = Starlette(middleware=[Middleware(APIKeyMiddleware, guard=guard)] * 2)
    with pytest.raises(SettingsError, match="twice"):
        call(twice, scope_of("http", "/"))


def test_middleware_is_not_put_around_a_root_path(make_plain: Callable[..., Site]):
    """An application that cuts its paths after the decision would be decided on other paths."""
    guard = make_plain().guard.to_async()
    app = FastAPI()
    app.root_path = "/api"  # later versions of FastAPI warn of the argument
    for outer in (app, CORSMiddleware(app)):
        with pytest.raises(SettingsError, match="root_path '/api'"):
            APIKeyMiddleware(outer, guard)
    assert APIKeyMiddleware(FastAPI(), guard).guard.engine is guard.engine


def test_middleware_wants_a_guard_that_awaits():
    """A guard that blocks would stop the event loop, so it is refused by name."""
    with pytest.raises(SettingsError, match="to_async"):
        APIKeyMiddleware(accept, Guard.from_settings(database="memory://"))  # type: ignore[arg-type]


def test_middleware_makes_its_guard_from_the_environment(monkeypatch: pytest.MonkeyPatch):
    """Without a guard, the settings of the environment are used."""
    monkeypatch.setenv("KEYBOUND_DATABASE", "memory://")
    monkeypatch.setenv("KEYBOUND_REALM", "shop")
    assert APIKeyMiddleware(accept).guard.settings.realm == "shop"


# ------------------------------------------------------------------------------------ passing on


def test_streams_pass_unchanged(make_asgi: Callable[..., Site]):
    """Every part of a body goes through as it is sent, and the request's body as it is read."""
    site = make_asgi()
    key = site.issue()
    parts = [b"one", b"", b"two" * 10_000]

    async def echo(_scope: Any, receive: Any, send: Any) -> None:
        request = await receive()
        await send({"type": "http.response.start", "status": 201, "headers": [(b"x-a", b"1")]})
        for part in parts:
            await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body", "body": request["type"].encode()})

    site.application.endpoint = echo
    answer = site.request("POST", key=key)
    assert answer.status == 201
    assert answer.headers == (("x-a", "1"),)
    assert [message["body"] for message in answer.messages[1:]] == [*parts, b"http.request"]


def test_application_gets_the_channels_of_the_server(make_plain: Callable[..., Site]):
    """Nothing stands between server and application once a request is allowed."""
    site = make_plain()
    seen: list[Any] = []

    async def look(_scope: Any, receive: Any, send: Any) -> None:
        await asyncio.sleep(0)
        seen.extend((receive, send))

    async def receive() -> Any:
        """Never asked."""

    async def send(_message: Any) -> None:
        """Never asked."""

    site.application.endpoint = look
    headers = [*authorization(site.issue())]
    asyncio.run(site.app(scope_of("http", "/own", headers=headers), receive, send))
    assert seen == [receive, send]


def test_errors_of_the_application_are_its_own(make_asgi: Callable[..., Site]):
    """An exception of the application is neither swallowed nor changed."""
    site = make_asgi()
    key = site.issue()

    async def fail(_scope: Any, _receive: Any, _send: Any) -> None:
        message = "theirs"
        raise LookupError(message)

    site.application.endpoint = fail
    with pytest.raises(LookupError, match="theirs"):
        site.request(key=key)


def test_failure_of_our_own_is_a_denial(make_plain: Callable[..., Site], caplog: Any):
    """A bug in deciding is a 503 that the operator hears of, never a way through."""
    site = make_plain()
    key = site.issue()
    guard = site.app.guard
    app = APIKeyMiddleware(site.application, AsyncGuard(guard.engine))
    broken = app.guard
    broken.decide = lambda *_: 1 / 0  # type: ignore[assignment]
    assert call(app, scope_of("http", "/own", headers=[*authorization(key)])).status == 503
    broken.decide = lambda *_: "allowed"  # type: ignore[assignment]
    assert call(app, scope_of("http", "/own", headers=[*authorization(key)])).status == 503
    assert site.served == []
    assert "ZeroDivisionError" in caplog.text


# ------------------------------------------------------------------------------- warm requests


ROUTES = (Route("/{tenant}/x", model="message", scopes="rest"),)
FULL = Limits(
    tenants="acme",
    networks="203.0.113.0/24",
    methods=["GET"],
    read_only=True,
    models={"message": "read"},
    scopes=["rest"],
)


def test_warm_request_asks_nobody(make_asgi: Callable[..., Site]):
    """Once a key is known, a request with it asks no store, whatever the answer is."""
    site = make_asgi(routes=ROUTES)
    key = site.issue(limits=FULL, expires_in="1d")
    assert site.request(path="/acme/x", key=key).status == 200
    asked = site.store.asked
    for _ in range(3):
        assert site.request(path="/acme/x", key=key).status == 200
        assert site.request("POST", path="/acme/x", key=key).status == 403
        assert site.request(path="/evil/x", key=key).status == 403
        assert site.request(path="/acme/x", key=b"rest_api_key=" + plain_key(key)).status == 200
    # The other form is another look-up, once.
    assert site.store.asked - asked <= 2


def test_unknown_key_is_asked_for_once(make_asgi: Callable[..., Site]):
    """Who repeats a key that does not exist does not reach the store every time."""
    site = make_asgi()
    unknown = b"Bearer " + site.guard.engine.format.generate(bytes(32)).reveal().encode()
    assert site.request(key=unknown).status == 401
    asked = site.store.asked
    assert site.request(key=unknown).status == 401
    assert site.store.asked == asked


def test_warm_request_never_waits(make_plain: Callable[..., Site]):
    """With an application that does not wait, a warm request is over at the first step."""
    site = make_plain(routes=ROUTES)
    key = site.issue(limits=FULL)
    assert site.request(path="/acme/x", key=key).status == 200
    sent: list[Any] = []

    async def receive() -> Any:
        """Never asked."""

    async def send(message: Any) -> None:
        sent.append(message)

    for method, path, status in (("GET", "/acme/x", 200), ("GET", "/evil/x", 403)):
        scope = scope_of("http", path, method=method, headers=[*authorization(key)])
        coroutine = site.app(scope, receive, send)
        with pytest.raises(StopIteration):
            coroutine.send(None)
        assert sent[-2]["status"] == status


def test_warm_request_enters_no_generator(make_plain: Callable[..., Site]):
    """A warm request is plain calls, from the server's to the application's and back."""
    site = make_plain(routes=ROUTES)
    key = site.issue(limits=FULL)
    assert site.request(path="/acme/x", key=key).status == 200
    entered: list[str] = []

    async def channel(_message: Any = None) -> None:
        """Never waits."""

    def notice(frame: FrameType, event: str, _argument: object) -> None:
        if event == "call" and frame.f_code.co_flags & inspect.CO_GENERATOR:
            entered.append(frame.f_code.co_qualname)

    coroutine = site.app(
        scope_of("http", "/acme/x", headers=[*authorization(key)]), channel, channel
    )
    sys.setprofile(notice)
    try:
        coroutine.send(None)
    except StopIteration:
        pass
    finally:
        sys.setprofile(None)
    assert len(site.served) == 2
    assert entered == []


def test_routes_that_change_during_a_look_up_count(make_plain: Callable[..., Site]):
    """A chain that was compiled for other routes is not used."""
    site = make_plain()
    engine = site.guard.engine
    (_, value), *_ = authorization(site.issue(tenant=None))
    miss = site.guard.decide("GET", "/acme", None, value)
    assert isinstance(miss, Miss)
    assert (repr(miss), miss.__rich_repr__()) == ("Miss(...)", [])

    def perform(effect: Any) -> Any:
        if isinstance(effect, LoadByDigest):
            engine.use_routes([Route("/{tenant}")])
        return engine.perform(effect)

    run(engine.settle(miss), perform)
    outcome = site.guard.authorize("GET", "/acme", None, value)
    assert isinstance(outcome, Denied)
    assert outcome.reason is Reason.TENANT_MISMATCH


def test_identity_object_is_shared_by_warm_requests(make_asgi: Callable[..., Site]):
    """A warm request makes no new identity."""
    site = make_asgi(routes=ROUTES)
    key = site.issue(limits=FULL)
    for _ in range(3):
        site.request(path="/acme/x", key=key)
    assert len({id(scope["keybound"]) for scope in site.served}) == 1


def test_memory_of_decisions_is_that_of_one_request_alone(make_asgi: Callable[..., Site]):
    """Having allowed one request says nothing of another method, path, peer, moment or key."""
    site = make_asgi(routes=ROUTES)
    key = site.issue(limits=FULL, expires_in="1h")
    other = site.issue(limits=FULL.meet(Limits(networks="10.0.0.0/8")))

    def ask(method: str = "GET", path: str = "/acme/x", **more: Any) -> int:
        return site.request(method, path, **{"key": key, **more}).status

    for _ in range(2):
        assert ask() == 200
        assert ask("POST") == 403
        assert ask("HEAD") == 403
        assert ask(path="/acme/y") == 403
        assert ask(path="/ACME/x") == 403
        assert ask(client=("198.51.100.1", 1)) == 403
        assert ask(client=None) == 403
        assert ask(key=other) == 403
    site.clock.advance(hours=1)
    assert ask() == 401


def plain_key(key: Any) -> bytes:
    """Return a key as it was issued."""
    text: str = key.secret.reveal()
    return text.encode()


def test_many_first_requests_at_once_are_all_answered(make_asgi: Callable[..., Site]):
    """A burst on a cold cache is decided like any other."""
    site = make_asgi()
    keys = [site.issue() for _ in range(5)]

    async def burst() -> list[int]:
        scopes = [scope_of("http", "/own", headers=[*authorization(k)]) for k in keys * 10]
        return [
            answer.status for answer in await asyncio.gather(*(serve(site.app, s) for s in scopes))
        ]

    assert asyncio.run(burst()) == [200] * 50


@pytest.mark.parametrize("last", [True, False])
def test_credential_is_in_no_frame_of_an_error(guard: Guard, key: Any, *, last: bool):
    """Who reports an error with its variables finds the key where the server put it alone."""

    async def failing(_scope: object, _receive: object, _send: object) -> None:
        raise ZeroDivisionError

    header = key()["Authorization"]
    lines = [(b"accept", b"*/*"), (b"authorization", header.encode())]
    scope = scope_of("http", "/v1/x", headers=lines if last else lines[::-1])
    middleware: Any = APIKeyMiddleware(failing, guard.to_async())
    with pytest.raises(ZeroDivisionError) as caught:
        asyncio.run(middleware(scope, None, None))
    (ours,) = (each.frame.f_locals for each in caught.traceback if each.name == "__call__")
    assert {name for name, value in ours.items() if header in repr(value)} == {"scope"}
