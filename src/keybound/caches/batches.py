"""Questions that go out together: whoever comes while one batch is under way joins the next.

One batch is under way at a time, on one connection, so that a hundred misses cost a few round
trips. A batch has the time that its youngest question has left; whose time ends before that goes on
without an answer. So nobody waits longer than they would alone.
"""

from __future__ import annotations

import asyncio
from threading import Lock
from typing import TYPE_CHECKING, NamedTuple

from keybound.clocks import monotonic
from keybound.core.errors import CacheError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    Answer = Sequence[bytes | None]
    Read = Callable[[list[bytes], float], Answer]
    AsyncRead = Callable[[list[bytes], float], Awaitable[Answer]]

BATCH_MAX = 256
"""Questions that go out together at most."""

_LEFT = "whoever asked was interrupted"
_LATE = "its turn did not come in time"
_SAME = 0.001
"""Seconds between two questions that count as asked at once."""


class _Asked(NamedTuple):
    """A task's question."""

    names: tuple[bytes, ...]
    deadline: float
    future: asyncio.Future[Answer]


class _Ticket:
    """A thread's question; ``turn`` is released when it is answered, or its turn to ask."""

    __slots__ = ("answer", "deadline", "error", "leads", "names", "turn")

    def __init__(self, names: tuple[bytes, ...], deadline: float) -> None:
        self.names = names
        self.deadline = deadline
        self.answer: Answer | None = None
        self.error: CacheError | None = None
        self.leads = False
        self.turn: Lock | None = None


class ThreadBatches:
    """Batches of threads: one asks, and hands over to the last who came meanwhile."""

    def __init__(self, read: Read) -> None:
        """Ask with ``read``, which takes names and the moment by which it must answer."""
        self._read = read
        self._waiting: list[_Ticket] = []
        self._busy = False
        self._lock = Lock()

    def ask(self, names: tuple[bytes, ...], within: float) -> Answer:
        """Return what is there under these names. Raises ``CacheError``."""
        ticket = _Ticket(names, monotonic() + within)
        with self._lock:
            if self._busy:
                ticket.turn = Lock()
                ticket.turn.acquire()
                self._waiting.append(ticket)
            else:
                self._busy = ticket.leads = True
        if ticket.turn is not None:
            self._wait(ticket, ticket.turn)
        if ticket.leads:
            self._lead(ticket)
        if ticket.answer is None:
            raise ticket.error or CacheError(_LEFT)
        return ticket.answer

    def _wait(self, ticket: _Ticket, turn: Lock) -> None:
        try:
            turn.acquire(timeout=max(0.0, ticket.deadline - monotonic()))
        except BaseException:  # killed while it waits, as greenlets may be: its turn is another's
            self._leave(ticket)
            if ticket.leads:
                self._hand_over()
            raise
        self._leave(ticket)
        if not ticket.leads and ticket.answer is None and ticket.error is None:
            ticket.error = CacheError(_LATE)

    def _leave(self, ticket: _Ticket) -> None:
        with self._lock:
            if ticket in self._waiting:
                self._waiting.remove(ticket)

    def _lead(self, own: _Ticket) -> None:
        batch = [own]
        error: CacheError | None = CacheError(_LEFT)
        try:
            if own.deadline <= monotonic():
                raise CacheError(_LATE)  # noqa: TRY301 - its turn came with the end of its time
            with self._lock:
                batch += self._waiting[-BATCH_MAX:]
                del self._waiting[-BATCH_MAX:]
            names = [name for ticket in batch for name in ticket.names]
            answers = self._read(names, own.deadline)
            start = 0
            for ticket in batch:
                ticket.answer = answers[start : start + len(ticket.names)]
                start += len(ticket.names)
            error = None
        except CacheError as failure:
            error = failure
        finally:  # also when this thread is interrupted: somebody must go on
            for ticket in batch:
                ticket.error = error
                if ticket.turn is not None and ticket is not own:
                    ticket.turn.release()
            self._hand_over()

    def _hand_over(self) -> None:
        with self._lock:
            self._busy = bool(self._waiting)
            if self._waiting:
                following = self._waiting.pop()
                following.leads = True
                assert following.turn is not None  # noqa: S101 - whoever waits has one
                following.turn.release()


class TaskBatches:
    """Batches of the tasks of one loop: what they ask for within one tick goes out together.

    A task of its own asks, so that none of those who wait takes the others along when it is
    cancelled; it ends as soon as nobody waits.
    """

    def __init__(self, read: AsyncRead) -> None:
        """Ask with ``read``, which takes names and the moment by which it must answer."""
        self._read = read
        self._waiting: list[_Asked] = []
        self.task: asyncio.Task[None] | None = None

    async def ask(self, names: tuple[bytes, ...], within: float) -> Answer:
        """Return what is there under these names. Raises ``CacheError``."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Answer] = loop.create_future()
        self._waiting.append(_Asked(names, monotonic() + within, future))
        if self.task is None:
            self.task = loop.create_task(self._serve())
        return await future

    async def _serve(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting[:BATCH_MAX], self._waiting[BATCH_MAX:]
                await self._serve_batch(batch)
        finally:
            self.task = None
            left, self._waiting = self._waiting, []
            _fail(left, CacheError(_LEFT))

    async def _serve_batch(self, batch: list[_Asked]) -> None:
        error = CacheError(_LEFT)
        last, loop = batch[-1].deadline, asyncio.get_running_loop()
        timers = [
            loop.call_later(each.deadline - monotonic(), _fail, [each], CacheError(_LATE))
            for each in batch
            if last - each.deadline > _SAME
        ]
        try:
            names = [name for each in batch for name in each.names]
            answers = await self._read(names, batch[-1].deadline)
            start = 0
            for each in batch:
                if not each.future.done():
                    each.future.set_result(answers[start : start + len(each.names)])
                start += len(each.names)
        except CacheError as failure:
            error = failure
        finally:
            for timer in timers:
                timer.cancel()
            _fail(batch, error)


def _fail(batch: list[_Asked], error: CacheError) -> None:
    for each in batch:
        if not each.future.done():
            each.future.set_exception(error)
