"""Whatever loop tasks run in: asyncio's own, uvloop's, or trio's, and several of them at once."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Any

import anyio
import pytest
import sniffio
import trio
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from keybound import AsyncGuard, Guard, Reason
from keybound.authenticators import Authenticators
from keybound.core.decision import Allowed, Denied
from keybound.core.effects import LoadByDigest, Sync
from keybound.core.errors import NotFoundError, StoreUnavailableError
from keybound.loops import here, in_trio
from keybound.starlette import APIKeyMiddleware
from keybound.watching import watch
from tests.guard.test_authenticators import BOB, HEAD

SECRET = "a-secret-of-the-tests-0123456789-abcdef"


def run_asyncio(main):
    """Run it in asyncio, as most do."""
    return asyncio.run(main())


def run_uvloop(main):
    """Run it in asyncio, in a loop of libuv."""
    import uvloop

    return uvloop.run(main())


LOOPS = {"asyncio": run_asyncio, "uvloop": run_uvloop, "trio": trio.run}
"""How each is started."""
if sys.platform == "win32":
    del LOOPS["uvloop"]


@pytest.fixture(params=LOOPS.values(), ids=list(LOOPS))
def run(request):
    """Return what runs a coroutine function to its end in a loop of its own."""
    return request.param


async def together(*calls):
    """Return what calls answer that are made at once, in whichever loop; errors are answers."""
    answers: list[Any] = [None] * len(calls)

    async def one(place, call):
        try:
            answers[place] = await call()
        except Exception as error:  # noqa: BLE001 - the caller looks at it
            answers[place] = error

    if in_trio():
        async with trio.open_nursery() as nursery:
            for place, call in enumerate(calls):
                nursery.start_soon(one, place, call)
    else:
        async with asyncio.TaskGroup() as group:
            for place, call in enumerate(calls):
                group.create_task(one(place, call))
    return answers


async def given_up(call, *, after):
    """Begin a call, and cancel it."""
    with suppress(TimeoutError):
        await here().within(after, call)


def asks(guard, raw):
    """Return a call that asks for a decision."""
    return partial(guard.authorize, "GET", "/", None, raw)


@pytest.fixture
def valkey(redis_named):
    """Return a server that runs and has nothing."""
    server = redis_named("valkey")
    server.ensure()
    with server.client() as client:
        client.flushdb()
    return server


@pytest.fixture(params=["alone", "with Redis"])
def settings(request, tmp_path):
    """Return the settings of guards over a file, and over Redis as well."""
    given: dict[str, Any] = {"database": str(tmp_path / "keys.db"), "secret": SECRET}
    if request.param == "with Redis":
        given |= {"redis": request.getfixturevalue("valkey").url(), "redis_timeout": 0.5}
    return given


def test_one_guard_serves_one_loop_after_the_other(run, settings):
    """Verbs and decisions work in each, and nothing of one that ended is in the way."""
    guard, other = (AsyncGuard.from_settings(**settings) for _ in range(2))

    async def main():
        await guard.open()
        issued = await guard.issue(name="CI")
        asked = asks(other, b"Bearer " + issued.secret.reveal().encode())
        assert isinstance(await asked(), Allowed)
        assert issued.id in {key.id for key in await guard.list()}
        receipt = await guard.revoke(issued.id)
        await other.keep_up(100)  # longer than any lease: so it asks what changed
        assert (await asked()).reason is Reason.REVOKED
        assert (await guard.explain(issued.id, "GET", "/")).steps
        assert receipt.rev
        await guard.close()
        with pytest.raises(NotFoundError):  # and not that something was closed
            await guard.show("nothing")

    for _ in range(3):
        run(main)
    if guard.engine.shared is not None:
        assert guard.engine.shared.link.breaker.open is False
    for each in (guard, other):
        run(each.close)


def test_a_crowd_with_one_key_asks_once(run, engine, store, raw):
    """However many tasks wait for it; one that was cancelled while it asked is stood in for."""
    guard = AsyncGuard(engine)

    async def let_go():
        await here().sleep(0.3)
        store.open.set()

    async def asked_later():
        await here().sleep(0.05)
        return await asks(guard, raw)()

    async def main():
        gone = partial(given_up, asks(guard, raw), after=0.1)
        return await together(gone, let_go, *[asked_later] * 50)

    store.open.clear()
    store.asked = []
    _, _, *decisions = run(main)
    assert {type(decision) for decision in decisions} == {Allowed}
    # The one that was given up goes on in its thread; whoever waited asks anew.
    assert (store.asked.count(LoadByDigest), store.asked.count(Sync)) == (2, 1)


def test_a_crowd_shares_a_failure(run, engine, store, raw):
    """Nobody asks a store that is down once more for each request that waited."""
    guard = AsyncGuard(engine)

    async def let_go():
        await here().sleep(0.2)
        store.open.set()

    async def main():
        return await together(let_go, *[asks(guard, raw)] * 50)

    store.open.clear()
    store.asked, store.error = [], StoreUnavailableError("down")
    _, *decisions = run(main)
    assert {decision.reason for decision in decisions} == {Reason.STORE_UNAVAILABLE}
    assert store.asked.count(LoadByDigest) == 1


def test_nobody_waits_for_ever(run, engine, store, raw, monkeypatch):
    """For a store that hangs: not who asks it, not who waits for that, and not their loop."""
    monkeypatch.setattr("keybound.performing.JOINED_WITHIN", 0.2)
    guard, ticks = AsyncGuard(engine), []

    async def ticking():
        ends = time.monotonic() + 0.5
        while time.monotonic() < ends:
            ticks.append(time.monotonic())
            await here().sleep(0.01)
        store.open.set()

    async def main():
        return await together(ticking, *[asks(guard, raw)] * 5)

    store.open.clear()
    _, *decisions = run(main)
    kinds = [type(decision) for decision in decisions]
    assert kinds.count(Allowed) == 1
    assert kinds.count(Denied) == 4
    assert len(ticks) > 10


def test_site_functions_are_asked_in_any_loop(run):
    """Whether they are awaited, or block and so have a thread."""

    async def awaiting(head):
        await here().sleep(0.001)
        assert head is HEAD

    threads = []

    def blocking(_head):
        threads.append(threading.current_thread())
        return BOB

    assert run(partial(Authenticators((awaiting, blocking)).ask_async, HEAD)) is BOB
    assert threads != [threading.current_thread()]


def test_loops_in_several_threads_share_a_guard(settings):
    """They ask and wait for each other's questions, and all hear of a revocation."""
    guard = AsyncGuard.from_settings(**settings)
    twin = guard.to_sync()
    issued = [twin.issue(name=f"key {number}") for number in range(20)]
    raws = [b"Bearer " + each.secret.reveal().encode() for each in issued]
    for round_ in range(3):
        guard.engine.renew()

        async def main():
            return await together(*[asks(guard, raw) for raw in raws * 3])

        with ThreadPoolExecutor(len(LOOPS) * 2) as pool:
            decided = list(pool.map(lambda run, main=main: run(main), [*LOOPS.values()] * 2))
        kinds = {type(decision) for decisions in decided for decision in decisions}
        assert kinds == ({Allowed} if round_ < 2 else {Denied}), decided
        if round_ == 1:
            for each in issued:
                twin.revoke(each.id)
    assert {decision.reason for decisions in decided for decision in decisions} == {Reason.REVOKED}
    run_asyncio(guard.close)


def test_socket_is_closed_though_its_application_ends_at_once(run):
    """Nobody is cut off in the middle of saying so, unless the server does not listen."""
    for sends_for, told in ((0.05, ["websocket.close"]), (5, [])):
        sent: list[str] = []

        async def receive():
            await here().sleep(60)

        async def send(message, seconds=sends_for, sent=sent):
            await here().sleep(seconds)
            sent.append(message["type"])

        async def no():
            return False

        async def app(receive, _send):
            assert (await receive())["type"] == "websocket.disconnect"

        async def main(receive=receive, send=send, no=no, app=app):
            watched = watch(receive, send, still_allowed=no, every=0.01, within=0.2, code=1008)
            await here().within(2, partial(watched.run, app))

        run(main)
        assert sent == told


def test_redis_that_hangs_costs_a_task_its_timeout_once(run, tmp_path, valkey):
    """And nothing stands still meanwhile; afterwards nobody asks it for a moment."""
    settings = {"database": str(tmp_path / "keys.db"), "secret": SECRET}
    guard = AsyncGuard.from_settings(**settings, redis=valkey.url(), redis_timeout=1)
    issued = [guard.to_sync().issue(name=f"key {number}") for number in range(30)]
    raws = [b"Bearer " + each.secret.reveal().encode() for each in issued]
    took, ticks = [], []

    async def timed(raw):
        begun = time.monotonic()
        assert isinstance(await asks(guard, raw)(), Allowed)
        took.append(time.monotonic() - begun)

    async def ticking():
        while len(took) < len(raws) - 1:
            await here().sleep(0.005)
            ticks.append(len(took))

    async def main():
        await guard.open()
        await together(ticking, *[partial(timed, raw) for raw in raws[:-1]])
        await timed(raws[-1])
        await guard.close()

    valkey.hang()
    try:
        run(main)
    finally:
        valkey.go_on()
    assert ticks.count(0) > 20  # a machine may be busy, but a loop that waits has not one
    assert 1 <= max(took) < 3
    assert took[-1] < 0.8


@pytest.mark.parametrize("backend", [("asyncio", False), ("asyncio", True), ("trio", None)])
def test_an_application_of_starlette_is_served_in_any_loop(backend, tmp_path):
    """Its lifespan, its requests, and a WebSocket that is closed when its key is revoked."""
    name, uvloop = backend
    guard = Guard.from_settings(
        database=str(tmp_path / "keys.db"), revoke_within=0.6, close_on_revoke=True
    )
    issued = guard.issue(name="CI")
    headers = {"Authorization": f"Bearer {issued.secret.reveal()}"}
    heard = []

    async def plain(request):
        assert sniffio.current_async_library() == name
        return PlainTextResponse(request.user.name)

    async def echo(websocket):
        await websocket.accept()
        with suppress(ExceptionGroup):  # its client is gone
            async with anyio.create_task_group() as group:  # who sends and who hears, at once
                group.start_soon(send_on, websocket)
                while True:
                    heard.append(await websocket.receive_text())

    async def send_on(websocket):
        while True:
            await websocket.send_text("tick")
            await anyio.sleep(0.02)

    app = Starlette(
        routes=[Route("/", plain), WebSocketRoute("/live", echo)],
        middleware=[Middleware(APIKeyMiddleware, guard=guard.to_async())],
    )
    options = {} if uvloop is None else {"use_uvloop": uvloop}
    with TestClient(app, backend=name, backend_options=options) as client:
        assert client.get("/").status_code == 401
        assert client.get("/", headers=headers).text == "CI"
        with client.websocket_connect("/live", headers=headers) as live:
            live.send_text("hello")
            assert live.receive_text() == "tick"
            guard.revoke(issued.id)
            revoked = time.monotonic()
            with pytest.raises(WebSocketDisconnect) as ended:
                deque(iter(live.receive_text, None), maxlen=0)  # all that was under way
            assert ended.value.code == 1008
            assert time.monotonic() - revoked < 5
        assert heard == ["hello"]
        assert client.get("/", headers=headers).status_code == 401
    guard.close()
