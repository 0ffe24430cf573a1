"""Open WebSockets whose key ends: closed if the site says so, and else left alone."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from keybound import Limits, Route
from keybound.core.principals import Principal
from tests.shells.calls import scope_of
from tests.shells.sites import authorization

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.shells.sites import Site

SETTINGS: dict[str, Any] = {"sync_every": 0.01, "close_on_revoke": True}
CLOSED = {"type": "websocket.close", "code": 1008}
GONE = {"type": "websocket.disconnect", "code": 1008}


class Socket:
    """A client's side of a WebSocket, and an application that notes what it hears."""

    def __init__(self, site: Site, **sent: Any) -> None:
        """Open nothing yet."""
        key = sent.pop("key", None)
        headers = [*sent.pop("headers", ()), *(authorization(key) if key is not None else ())]
        self.scope = scope_of("websocket", sent.pop("path", "/own"), headers=headers, **sent)
        self.site = site
        self.heard: list[dict[str, Any]] = []
        self.sent: list[dict[str, Any]] = []
        self.client: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        site.application.endpoint = self._echo

    async def _echo(self, _scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] != "websocket.disconnect":
            self.heard.append(message)
            await send({"type": "websocket.send", "text": message["text"]})
        self.heard.append(message)
        await send({"type": "websocket.send", "text": "said to nobody"})

    async def serve(self, act: Callable[[Socket], Any]) -> None:
        """Serve the socket to its end while a client acts."""
        await self.client.put({"type": "websocket.connect"})

        async def send(message: dict[str, Any]) -> None:
            self.sent.append(message)

        served = asyncio.create_task(self.site.app(self.scope, self.client.get, send))
        await self.until(lambda: bool(self.sent))
        await act(self)
        await asyncio.wait_for(served, 5)
        others = asyncio.all_tasks() - {asyncio.current_task()}
        assert not others, "something goes on watching"

    async def until(self, true: Callable[[], bool]) -> None:
        """Wait for something, but not for long."""
        async with asyncio.timeout(5):
            while not true():  # noqa: ASYNC110 - what is waited for knows nothing of it
                await asyncio.sleep(0.002)

    async def say(self, text: str) -> None:
        """Send a message."""
        await self.client.put({"type": "websocket.receive", "text": text})

    async def leave(self) -> None:
        """Go away."""
        await self.client.put({"type": "websocket.disconnect", "code": 1000})

    async def is_closed(self) -> None:
        """Wait until the socket is closed and the application has heard of it."""
        await self.until(lambda: CLOSED in self.sent)
        await self.until(lambda: GONE in self.heard)


def serve(site: Site, act: Callable[[Socket], Any], **sent: Any) -> Socket:
    """Serve one socket."""
    socket = Socket(site, **sent)
    asyncio.run(socket.serve(act))
    return socket


@pytest.mark.parametrize("hidden", [False, True], ids=["seen", "hidden"])
def test_socket_of_a_revoked_key_is_closed(
    make_asgi_in_memory: Callable[..., Site], *, hidden: bool
):
    """With the code of a policy violation; nothing that the application says then is sent."""
    site = make_asgi_in_memory(**SETTINGS, hide_credentials=hidden)
    key = site.issue()

    async def act(socket: Socket) -> None:
        await socket.say("before")
        await socket.until(lambda: len(socket.sent) == 2)
        await asyncio.sleep(0.05)
        assert CLOSED not in socket.sent
        site.guard.revoke(key.id)
        await socket.is_closed()

    socket = serve(site, act, key=key)
    assert [message["type"] for message in socket.sent] == [
        "websocket.accept",
        "websocket.send",
        "websocket.close",
    ]
    assert [message.get("text") for message in socket.heard] == ["before", None]


def test_socket_is_closed_when_its_key_expires_or_is_narrowed(
    make_asgi_in_memory: Callable[..., Site],
):
    """Or whatever else would refuse it now: another network, a disabled group."""
    site = make_asgi_in_memory(**SETTINGS)
    ends = site.clock.now + timedelta(hours=1)
    group = site.guard.create_group(name="a group").node.id
    for options, change in (
        ({"limits": Limits(expires_at=ends)}, lambda _: site.clock.advance(hours=2)),
        ({}, lambda key: site.guard.restrict(key.id, Limits(networks="10.0.0.1"))),
        ({"groups": [group]}, lambda _: site.guard.disable(group)),
    ):
        key = site.issue(**options)

        async def act(socket: Socket, key: Any = key, change: Any = change) -> None:
            await asyncio.sleep(0.03)
            assert CLOSED not in socket.sent
            change(key)
            await socket.is_closed()

        serve(site, act, key=key)


def test_socket_of_a_living_key_stays_open(make_asgi_in_memory: Callable[..., Site]):
    """No message is lost, and none comes out of order, while it is watched."""
    site = make_asgi_in_memory(**SETTINGS)
    texts = [str(number) for number in range(200)]

    async def act(socket: Socket) -> None:
        for text in texts:
            await socket.say(text)
            if int(text) % 20 == 0:
                await asyncio.sleep(0.005)
        await socket.until(lambda: len(socket.heard) == len(texts))
        await socket.leave()

    socket = serve(site, act, key=site.issue())
    assert [message.get("text") for message in socket.heard] == [*texts, None]
    said = [message["text"] for message in socket.sent[1:]]
    assert said == [*texts, "said to nobody"]
    assert CLOSED not in socket.sent


def test_socket_of_a_route_that_needs_no_key_stays_open(make_asgi_in_memory: Callable[..., Site]):
    """There is nothing that could end."""
    site = make_asgi_in_memory(
        **SETTINGS, routes=[Route("/own", methods="WEBSOCKET", auth="exempt")]
    )

    async def act(socket: Socket) -> None:
        await asyncio.sleep(0.05)
        await socket.leave()

    assert CLOSED not in serve(site, act).sent


def test_socket_of_a_session_is_closed_when_that_ends(make_asgi_in_memory: Callable[..., Site]):
    """Also where nobody needs one: whoever opened it as somebody is not served as nobody."""
    sessions = {b"sid=1"}

    def knows(head: Any) -> Principal | None:
        return Principal(id="u_1", tenant="acme") if {*head.lines("cookie")} & sessions else None

    site = make_asgi_in_memory(
        **SETTINGS,
        authenticators=[knows],
        routes=[Route("/own", methods="WEBSOCKET", auth="optional")],
    )

    async def act(socket: Socket) -> None:
        await asyncio.sleep(0.05)
        assert CLOSED not in socket.sent
        sessions.clear()
        await socket.is_closed()

    serve(site, act, headers=((b"cookie", b"sid=1"),))


def test_socket_is_left_alone_where_nothing_was_said(make_asgi_in_memory: Callable[..., Site]):
    """It is decided when it is opened, and not again."""
    site = make_asgi_in_memory(sync_every=0.01)
    key = site.issue()

    async def act(socket: Socket) -> None:
        site.guard.revoke(key.id)
        await asyncio.sleep(0.05)
        await socket.say("still there")
        await socket.until(lambda: bool(socket.heard))
        await socket.leave()

    socket = serve(site, act, key=key)
    assert CLOSED not in socket.sent
    assert site.request("WEBSOCKET", key=key).status == 403


@pytest.mark.parametrize("form", ["query(api_key)", "cookie(session)", "header(X-API-Key)"])
def test_socket_is_watched_whatever_carried_its_key(
    make_asgi_in_memory: Callable[..., Site], form: str
):
    """Browsers can send a query or a cookie alone; what was hidden since is still known."""
    site = make_asgi_in_memory(**SETTINGS, credentials=[form], hide_credentials=True)
    key = site.issue()
    secret = key.secret.reveal().encode()
    ways: dict[str, dict[str, Any]] = {
        "query(api_key)": {"query_string": b"api_key=" + secret},
        "cookie(session)": {"headers": ((b"cookie", b"session=" + secret),)},
        "header(X-API-Key)": {"headers": ((b"x-api-key", secret),)},
    }

    async def act(socket: Socket) -> None:
        await asyncio.sleep(0.05)
        assert CLOSED not in socket.sent
        site.guard.revoke(key.id)
        await socket.is_closed()

    serve(site, act, **ways[form])


def test_socket_is_closed_when_it_cannot_be_decided_any_more(
    make_asgi_in_memory: Callable[..., Site],
):
    """A function of the site that begins to fail lets nobody stay."""
    failing = False

    def tenant(_head: object) -> str:
        if failing:
            raise LookupError
        return "acme"

    site = make_asgi_in_memory(**SETTINGS, tenant_from=tenant)

    async def act(socket: Socket) -> None:
        nonlocal failing
        await asyncio.sleep(0.03)
        assert CLOSED not in socket.sent
        failing = True
        await socket.is_closed()

    serve(site, act, key=site.issue())


def test_application_that_fails_ends_its_watch(make_asgi_in_memory: Callable[..., Site]):
    """Its error is that of the connection."""
    site = make_asgi_in_memory(**SETTINGS)
    socket = Socket(site, key=site.issue())

    async def failing(_scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        raise LookupError

    site.application.endpoint = failing

    async def act(_socket: Socket) -> None:
        await asyncio.sleep(0)

    with pytest.raises(LookupError):
        asyncio.run(socket.serve(act))
