"""Watching one socket: it ends when somebody says so, and not before."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import pytest

from keybound.watching import watch

EVERY = 0.005


class Socket:
    """A socket that is watched."""

    def __init__(self, answers: list[Any]) -> None:
        """Answer these when asked, the last one again and again."""
        self.answers = answers
        self.asked = 0
        self.sent: list[Any] = []
        self.client: asyncio.Queue[Any] = asyncio.Queue()

    async def still_allowed(self) -> bool:
        """Say whether it may stay open."""
        self.asked += 1
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, type):
            message = "kb_live_secret"
            raise answer(message)
        return bool(answer)

    async def send(self, message: Any) -> None:
        """Note what is sent."""
        self.sent.append(message)

    async def run(self, app: Any) -> None:
        """Serve an application, and see that nothing is left."""
        watched = watch(
            self.client.get,
            self.send,
            still_allowed=self.still_allowed,
            every=EVERY,
            within=EVERY,
            code=1008,
        )
        try:
            await asyncio.wait_for(watched.run(app), 5)
        finally:
            await asyncio.sleep(0)
            assert asyncio.all_tasks() == {asyncio.current_task()}


def watched(app: Any, answers: list[Any]) -> Socket:
    """Serve an application over a socket."""

    async def run() -> Socket:
        socket = Socket(answers)
        await socket.run(lambda receive, send: app(socket, receive, send))
        return socket

    return asyncio.run(run())


@pytest.mark.parametrize("last", [False, LookupError], ids=["no", "error"])
def test_socket_ends_when_it_is_not_allowed_any_more(last, caplog):
    """Or when that cannot be told; the application hears it once and again."""
    heard = []

    async def app(_socket, receive, send):
        heard.append(await receive())
        with suppress(OSError):  # as servers say it
            await send("said to nobody")
        heard.append(await receive())

    socket = watched(app, [True, True, last])
    assert socket.sent == [{"type": "websocket.close", "code": 1008}]
    assert heard == [{"type": "websocket.disconnect", "code": 1008}] * 2
    assert socket.asked == 3
    assert "kb_live_secret" not in caplog.text
    assert ("LookupError" in caplog.text) is (last is not False)


def test_messages_of_who_stopped_waiting_are_not_lost():
    """An application may wait for something else at the same time."""
    heard: list[int] = []

    async def app(socket, receive, send):
        for number in range(20):
            with suppress(TimeoutError):
                heard.append(await asyncio.wait_for(receive(), 0.001))
            await socket.client.put(number)
        while len(heard) < 20:
            heard.append(await receive())
        await asyncio.sleep(4 * EVERY)
        await send("done")

    socket = watched(app, [True])
    assert heard == list(range(20))
    assert socket.sent == ["done"]
    assert socket.asked > 0


def test_watch_ends_with_its_application():
    """However that ends."""

    async def failing(_socket, _receive, _send):
        raise LookupError

    with pytest.raises(LookupError):
        watched(failing, [True])

    async def waiting(_socket, receive, _send):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(receive(), 0.001)

    assert watched(waiting, [True]).sent == []


def test_server_that_fails_is_heard():
    """What the socket raises is raised where it was waited for."""

    async def app(_socket, receive, _send):
        await receive()

    async def run() -> None:
        async def broken() -> Any:
            raise ConnectionError

        socket = Socket([True])
        watched = watch(
            broken,
            socket.send,
            still_allowed=socket.still_allowed,
            every=EVERY,
            within=EVERY,
            code=1008,
        )
        await watched.run(lambda receive, send: app(socket, receive, send))

    with pytest.raises(ConnectionError):
        asyncio.run(run())
