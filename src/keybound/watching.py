"""Open WebSockets: closed when the key that opened them may no longer do so."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping

    Message = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[Message]]
    Send = Callable[[Message], Awaitable[None]]


logger = logging.getLogger("keybound")


class SocketOverError(OSError):
    """An application sends to a client that is gone, as servers say it (ASGI, version 2.4)."""


class Watch:
    """Stands before one socket, and ends it when ``still_allowed`` says no.

    It is asked every ``every`` seconds, and no is what it says if it fails, or does not answer
    ``within`` so many: a key that nobody can look at may be revoked. The application then hears
    that the client is gone, from ``receive`` or by the ``SocketOverError`` of ``send``.
    """

    def __init__(
        self,
        receive: Receive,
        send: Send,
        *,
        still_allowed: Callable[[], Awaitable[bool]],
        every: float,
        within: float,
        code: int,
    ) -> None:
        """Watch a socket that is not accepted yet."""
        self._receive = receive
        self._send = send
        self._still_allowed = still_allowed
        self._every = every
        self._within = within
        self._code = code
        self._over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting: asyncio.Future[Message] | None = None

    async def run(self, app: Callable[[Receive, Send], Awaitable[None]]) -> None:
        """Run an application to its end, watching; the watch ends with it."""
        watcher = asyncio.create_task(self._watch())
        try:
            await app(self.receive, self.send)
        except Exception as error:
            if not _is_over(error):
                raise
        finally:
            left: list[asyncio.Future[Any]] = [watcher]
            if self._waiting is not None:
                left.append(self._waiting)
            for each in left:
                each.cancel()
            await asyncio.gather(*left, return_exceptions=True)

    async def receive(self) -> Message:
        """Return what the client sends, or that it is gone once the key ended."""
        while True:
            if self._waiting is None:
                self._waiting = asyncio.ensure_future(self._receive())
            waiting = self._waiting
            either: tuple[asyncio.Future[Any], ...] = waiting, self._over
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if self._over.done():
                return {"type": "websocket.disconnect", "code": self._code}
            if self._waiting is waiting:  # otherwise another task of the application has it
                self._waiting = None
                return waiting.result()

    async def send(self, message: Message) -> None:
        """Send what the application sends; raises ``SocketOverError`` once the key ended."""
        if self._over.done():
            raise SocketOverError
        await self._send(message)

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(self._every)
            if not await self._may_go_on():
                self._over.set_result(None)
                await self._send({"type": "websocket.close", "code": self._code})
                return

    async def _may_go_on(self) -> bool:
        try:
            async with asyncio.timeout(self._within):
                return await self._still_allowed()
        except Exception as error:  # noqa: BLE001 - whatever fails, the answer is no
            # The text of a foreign error may hold anything; its type does not.
            failed = type(error).__qualname__
            logger.warning("an open WebSocket is closed: its key cannot be looked at (%s)", failed)
            return False


def _is_over(error: BaseException | None) -> bool:
    """Return whether an error is, or was raised because of, what ``send`` raises."""
    while error is not None and not isinstance(error, SocketOverError):
        error = error.__cause__ or error.__context__
    return error is not None
