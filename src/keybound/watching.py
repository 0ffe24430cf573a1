"""Open WebSockets: closed when the key that opened them may no longer do so."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping

    Message = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[Message]]
    Send = Callable[[Message], Awaitable[None]]


class Watch:
    """Stands before one socket, and ends it when ``still_allowed`` says no.

    It is asked every ``every`` seconds. The application then hears that the client is gone, and
    what it sends goes nowhere.
    """

    def __init__(
        self,
        receive: Receive,
        send: Send,
        *,
        still_allowed: Callable[[], Awaitable[bool]],
        every: float,
        code: int,
    ) -> None:
        """Watch a socket that is not accepted yet."""
        self._receive = receive
        self._send = send
        self._still_allowed = still_allowed
        self._every = every
        self._code = code
        self._over = asyncio.Event()
        self._waiting: asyncio.Future[Message] | None = None

    async def run(self, app: Callable[[Receive, Send], Awaitable[None]]) -> None:
        """Run an application to its end, watching; the watch ends with it."""
        watcher = asyncio.create_task(self._watch())
        try:
            await app(self.receive, self.send)
        finally:
            watcher.cancel()
            if self._waiting is not None:
                self._waiting.cancel()
            await asyncio.gather(watcher, return_exceptions=True)

    async def receive(self) -> Message:
        """Return what the client sends, or that it is gone once the key ended."""
        if self._waiting is None:
            self._waiting = asyncio.ensure_future(self._receive())
        over = asyncio.ensure_future(self._over.wait())
        either: tuple[asyncio.Future[Any], ...] = self._waiting, over
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        finally:
            over.cancel()
        if self._over.is_set():
            return {"type": "websocket.disconnect", "code": self._code}
        waiting, self._waiting = self._waiting, None
        return waiting.result()

    async def send(self, message: Message) -> None:
        """Send what the application sends, for as long as the key lives."""
        if not self._over.is_set():
            await self._send(message)

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(self._every)
            if not await self._still_allowed():
                self._over.set()
                await self._send({"type": "websocket.close", "code": self._code})
                return
