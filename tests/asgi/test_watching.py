"""Open WebSockets are watched: what goes wrong with that closes them, and nothing is left over."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from keybound.watching import watch

CLOSED = {"type": "websocket.close", "code": 1008}


class Socket:
    """A socket whose client says nothing."""

    def __init__(self) -> None:
        """Be open."""
        self.sent: list[Any] = []
        self.said: asyncio.Queue[Any] = asyncio.Queue()
        self.allowed: Any = True

    async def send(self, message: Any) -> None:
        """Keep what is sent."""
        self.sent.append(message)

    async def still_allowed(self) -> bool:
        """Answer as the test says."""
        if isinstance(self.allowed, type):
            message = "hidden"
            raise self.allowed(message)
        if self.allowed is None:
            await asyncio.Event().wait()
        return bool(self.allowed)

    async def run(self, app: Any) -> None:
        """Watch while an application runs, at most a second."""
        watched = watch(
            self.said.get,
            self.send,
            still_allowed=self.still_allowed,
            every=0.01,
            within=0.01,
            code=1008,
        )
        async with asyncio.timeout(1):
            await watched.run(app)
        assert asyncio.all_tasks() == {asyncio.current_task()}


async def waiting(receive: Any, _send: Any) -> None:
    """Wait for the client to go."""
    assert await receive() == {"type": "websocket.disconnect", "code": 1008}


async def sending(_receive: Any, send: Any) -> None:
    """Send for as long as anybody is there."""
    while True:
        await send({"type": "websocket.send", "text": "tick"})
        await asyncio.sleep(0)


async def complaining(receive: Any, send: Any) -> None:
    """Do the same, as frameworks do that have an error of their own for it."""
    try:
        await sending(receive, send)
    except OSError:
        raise KeyError from None


async def grouped(receive: Any, send: Any) -> None:
    """Do the same in tasks of its own."""
    async with asyncio.TaskGroup() as group:
        for _ in range(2):
            group.create_task(sending(receive, send))


@pytest.mark.parametrize("app", [waiting, sending, complaining, grouped])
@pytest.mark.parametrize("answer", [False, None, ZeroDivisionError])
def test_socket_is_closed_when_its_key_ended_or_cannot_be_looked_at(
    app: Any, answer: Any, caplog: pytest.LogCaptureFixture
):
    """And its application ends, though it only ever sends."""

    async def test() -> None:
        socket = Socket()
        socket.allowed = answer
        await socket.run(app)
        assert socket.sent[-1] == CLOSED
        assert socket.sent.count(CLOSED) == 1

    asyncio.run(test())
    assert "hidden" not in caplog.text


def test_error_of_the_application_is_its_own():
    """Only what a closed socket raises is not told to the server."""

    async def failing(_receive: Any, _send: Any) -> None:
        raise KeyError

    async def test() -> None:
        with pytest.raises(KeyError):
            await Socket().run(failing)

    asyncio.run(test())


def test_every_message_is_received_once():
    """By whichever task of an application waits for one."""

    async def test() -> None:
        socket, received = Socket(), []

        async def app(receive: Any, _send: Any) -> None:
            async def one() -> None:
                received.append((await receive())["text"])

            both = asyncio.gather(one(), one())
            await asyncio.sleep(0)
            for text in ("a", "b"):
                socket.said.put_nowait({"type": "websocket.receive", "text": text})
            await both

        await socket.run(app)
        assert sorted(received) == ["a", "b"]

    asyncio.run(test())
