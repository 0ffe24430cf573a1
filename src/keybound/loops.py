"""What tasks wait with: in asyncio, whoever made its loop, and in trio.

Trio is imported by its own tasks alone. The two have the same methods, and differ by what those
call; whoever stops waiting stops nobody who works.
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from concurrent.futures import Executor, Future

T = TypeVar("T")


class Loop(Protocol):
    """What runs the task that asks."""

    async def sleep(self, seconds: float) -> None:
        """Return when that much time has passed, letting other tasks run."""

    async def within(self, seconds: float, ask: Callable[[], Awaitable[T]]) -> T:
        """Return what is answered in time; raises ``TimeoutError``."""
        ...

    async def finished(self, future: Future[T]) -> T:
        """Return the result of what somebody else is at, who goes on if this stops waiting."""
        ...

    async def by(self, threads: Executor, function: Callable[..., T], *arguments: object) -> T:
        """Return what one of these threads answers; before its turn came, it may be cancelled."""
        ...

    async def in_thread(self, function: Callable[..., T], *arguments: object) -> T:
        """Return what some thread answers, which has the context of this task."""
        ...


def here() -> Loop:
    """Return the loop of the task that asks."""
    return _TRIO if in_trio() else _ASYNCIO


def in_trio() -> bool:
    """Return whether a task of trio asks; its loop may even be a guest in one of asyncio."""
    # By a name that is there when trio is imported, not when another thread is about to.
    in_task = getattr(sys.modules.get("trio.lowlevel"), "in_trio_task", None)
    return in_task is not None and in_task() is True


class _Asyncio:
    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def within(self, seconds: float, ask: Callable[[], Awaitable[T]]) -> T:
        async with asyncio.timeout(seconds):
            return await ask()

    async def finished(self, future: Future[T]) -> T:
        return await asyncio.shield(asyncio.wrap_future(future))

    async def by(self, threads: Executor, function: Callable[..., T], *arguments: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(threads, function, *arguments)

    async def in_thread(self, function: Callable[..., T], *arguments: object) -> T:
        return await asyncio.to_thread(function, *arguments)


class _Trio:
    async def sleep(self, seconds: float) -> None:
        import trio

        await trio.sleep(seconds)

    async def within(self, seconds: float, ask: Callable[[], Awaitable[T]]) -> T:
        import trio

        with trio.move_on_after(max(0.0, seconds)):
            return await ask()
        raise TimeoutError

    async def finished(self, future: Future[T]) -> T:
        import trio

        token, event = trio.lowlevel.current_trio_token(), trio.Event()

        def tell(_future: Future[T]) -> None:
            with suppress(trio.RunFinishedError):  # then nobody waits any more
                token.run_sync_soon(event.set)

        future.add_done_callback(tell)
        await event.wait()
        return future.result()

    async def by(self, threads: Executor, function: Callable[..., T], *arguments: object) -> T:
        import trio

        future = threads.submit(function, *arguments)
        try:
            return await self.finished(future)
        except trio.Cancelled:  # and not as garbage, in a child of a fork
            future.cancel()
            raise

    async def in_thread(self, function: Callable[..., T], *arguments: object) -> T:
        import trio

        return await trio.to_thread.run_sync(function, *arguments, abandon_on_cancel=True)


_ASYNCIO, _TRIO = _Asyncio(), _Trio()
