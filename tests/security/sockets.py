"""A WebSocket that stays open until somebody closes it."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any, Self

from tests.security.sending import Connection, Sent, asgi_scope

WITHIN = 5.0
"""Seconds of real time for anything to come of it."""


class Socket:
    """A client of ASGI with an open WebSocket: it says nothing, and does not leave."""

    def __init__(self, app: Any, each: Sent) -> None:
        """Have a request ready."""
        self.connection = Connection(each)
        self._app = app
        self._scope = asgi_scope(each)
        self._over = asyncio.Event()
        self._accepted = asyncio.Event()
        self._first = True
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Connect."""
        self._task = asyncio.create_task(self._app(self._scope, self._receive, self._send))
        return self

    async def __aexit__(self, *_error: object) -> None:
        """Leave."""
        self._over.set()
        assert self._task is not None
        with suppress(asyncio.CancelledError, Exception):
            await asyncio.wait_for(self._task, WITHIN)

    async def opened(self) -> None:
        """Wait until the application has accepted."""
        await asyncio.wait_for(self._accepted.wait(), WITHIN)

    async def closed(self, *, within: float = WITHIN) -> int | None:
        """Return the code that it was closed with, ``None`` if it stays open that long."""
        ends = asyncio.get_running_loop().time() + within
        while asyncio.get_running_loop().time() < ends:
            for message in self.connection.sent:
                if message["type"] == "websocket.close":
                    return int(message.get("code", 1000))
            await asyncio.sleep(0.01)
        return None

    async def _receive(self) -> dict[str, Any]:
        if self._first:
            self._first = False
            return {"type": "websocket.connect"}
        await self._over.wait()
        return {"type": "websocket.disconnect", "code": 1005}

    async def _send(self, message: dict[str, Any]) -> None:
        self.connection.sent.append(dict(message))
        if message["type"] == "websocket.accept":
            self._accepted.set()
        if message["type"] == "websocket.close":
            self._over.set()
