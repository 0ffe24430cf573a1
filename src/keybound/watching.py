"""Open WebSockets: closed when the key that opened them may no longer do so."""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypedDict, cast

from keybound.loops import here, in_trio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping
    from typing import Unpack

    Message = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[Message]]
    Send = Callable[[Message], Awaitable[None]]


logger = logging.getLogger("keybound")


class How(TypedDict):
    """How a socket is watched; ``Watch`` says what each is."""

    still_allowed: Callable[[], Awaitable[bool]]
    every: float
    within: float
    code: int


class SocketOverError(OSError):
    """An application sends to a client that is gone, as servers say it (ASGI, version 2.4)."""


class Watch(ABC):
    """Stands before one socket, and ends it when ``still_allowed`` says no.

    It is asked every ``every`` seconds, and no is what it says if it fails, or does not answer
    ``within`` so many: a key that nobody can look at may be revoked. The application then hears
    that the client is gone, from ``receive`` or by the ``SocketOverError`` of ``send``.
    """

    def __init__(self, receive: Receive, send: Send, how: How) -> None:
        """Watch a socket that is not accepted yet."""
        self._receive = receive
        self._send = send
        self._still_allowed = how["still_allowed"]
        self._every = how["every"]
        self._within = how["within"]
        self._code = how["code"]
        self._over = False

    @abstractmethod
    async def run(self, app: Callable[[Receive, Send], Awaitable[None]]) -> None:
        """Run an application to its end, watching; the watch ends with it."""

    @abstractmethod
    async def receive(self) -> Message:
        """Return what the client sends, or that it is gone once the key ended."""

    @abstractmethod
    def _wake(self) -> None:
        """Let whoever waits in ``receive`` look whether it is over."""

    async def send(self, message: Message) -> None:
        """Send what the application sends; raises ``SocketOverError`` once the key ended."""
        if self._over:
            raise SocketOverError
        await self._send(message)

    def _gone(self) -> Message:
        return {"type": "websocket.disconnect", "code": self._code}

    async def _watch(self) -> None:
        while True:
            await here().sleep(self._every)
            if not await self._may_go_on():
                self._over = True
                self._wake()
                with suppress(Exception):  # who is gone already need not be told
                    await here().within(self._within, self._close)
                return

    async def _close(self) -> None:
        await self._send({"type": "websocket.close", "code": self._code})

    async def _may_go_on(self) -> bool:
        try:
            return await here().within(self._within, self._still_allowed)
        except Exception as error:  # noqa: BLE001 - whatever fails, the answer is no
            # The text of a foreign error may hold anything; its type does not.
            failed = type(error).__qualname__
            logger.warning("an open WebSocket is closed: its key cannot be looked at (%s)", failed)
            return False


def watch(receive: Receive, send: Send, **how: Unpack[How]) -> Watch:
    """Return what watches in the loop of this task."""
    return (_TrioWatch if in_trio() else _AsyncioWatch)(receive, send, how)


class _AsyncioWatch(Watch):
    _ending: asyncio.Future[None]
    _waiting: asyncio.Task[Message] | None = None

    async def run(self, app: Callable[[Receive, Send], Awaitable[None]]) -> None:
        self._ending = asyncio.get_running_loop().create_future()
        watcher = asyncio.create_task(self._watch())
        try:
            await app(self.receive, self.send)
        except Exception as error:
            if not _is_over(error):
                raise
        finally:
            left: list[asyncio.Task[Any]] = [watcher]
            if not self._over:  # else it is closing the socket, and ends by itself
                watcher.cancel()
            if self._waiting is not None:
                self._waiting.cancel()
                left.append(self._waiting)
            await asyncio.gather(*left, return_exceptions=True)

    async def receive(self) -> Message:
        while True:
            if self._waiting is None:
                self._waiting = asyncio.create_task(self._next())
            waiting = self._waiting
            either: tuple[asyncio.Future[Any], ...] = waiting, self._ending
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if self._over:
                return self._gone()
            if self._waiting is waiting:  # otherwise another task of the application has it
                self._waiting = None
                return waiting.result()

    async def _next(self) -> Message:
        # For a task of our own: what some servers return (granian) only looks like a future.
        return await self._receive()

    def _wake(self) -> None:
        self._ending.set_result(None)


class _TrioWatch(Watch):
    async def run(self, app: Callable[[Receive, Send], Awaitable[None]]) -> None:
        import trio

        self._scopes: set[trio.CancelScope] = set()
        failed: Exception | None = None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch)
            try:
                await app(self.receive, self.send)
            except Exception as error:  # noqa: BLE001 - a nursery would wrap it
                failed = error
            if not self._over:  # as above
                nursery.cancel_scope.cancel()
        if failed is not None and not _is_over(failed):
            raise failed

    async def receive(self) -> Message:
        import trio

        with trio.CancelScope() as scope:
            self._scopes.add(scope)
            try:
                if self._over:
                    return self._gone()
                message = await self._receive()
            finally:
                self._scopes.discard(scope)
            if not self._over:
                return message
        return self._gone()

    def _wake(self) -> None:
        for scope in self._scopes:
            scope.cancel()


def _is_over(error: BaseException | None) -> bool:
    """Return whether an error is, or was raised because of, what ``send`` raises."""
    while error is not None and not isinstance(error, SocketOverError):
        if isinstance(error, BaseExceptionGroup):  # of the application's own tasks
            group = cast("BaseExceptionGroup[BaseException]", error)
            return all(map(_is_over, group.exceptions))
        error = error.__cause__ or error.__context__
    return error is not None
