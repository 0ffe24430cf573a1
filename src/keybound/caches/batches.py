"""Questions that go out together: whoever comes while one batch is under way joins the next.

One batch is under way at a time, on one connection, so that a hundred misses cost a few round
trips. A batch has the time that its youngest question has left; whose time ends before that goes on
without an answer. So nobody waits longer than they would alone.
"""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, NamedTuple

from keybound.clocks import monotonic
from keybound.core.errors import CacheError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    Answer = Sequence[bytes | None]
    Read = Callable[[Sequence[bytes], float], Answer]
    AsyncRead = Callable[[Sequence[bytes], float], Awaitable[Answer]]

BATCH_MAX = 256
"""Questions that go out together at most."""

LEFT_AFTER = 0.1
"""Seconds after the end of its time at which whoever asks is taken for gone. A thread may be
interrupted between any two lines, as by a signal's handler that raises, and then nothing that it
meant to do happens any more."""

_LEFT = "whoever asked was interrupted"
_LATE = "its turn did not come in time"


class _Asked(NamedTuple):
    """A task's question."""

    names: tuple[bytes, ...]
    deadline: float
    future: asyncio.Future[Answer]


class _Ticket:
    """A thread's question; ``turn`` is released when it is answered, or its turn to ask.

    ``leads`` is then its number among those who lead.
    """

    __slots__ = ("answer", "deadline", "error", "leads", "names", "turn")

    def __init__(self, names: tuple[bytes, ...], deadline: float) -> None:
        self.names = names
        self.deadline = deadline
        self.answer: Answer | None = None
        self.error: CacheError | None = None
        self.leads = 0
        # By the module: gevent may have put another one there since this module was loaded.
        self.turn = threading.Lock()
        self.turn.acquire()


class ThreadBatches:
    """Batches of threads: one leads, and so asks, and hands over to the last who came meanwhile.

    One that led and is gone leads for its time and ``LEFT_AFTER``, and those who come wait in vain.
    """

    def __init__(self, read: Read, *, renew: Callable[[], None]) -> None:
        """Ask with ``read``, which takes names and the moment by which it must answer.

        ``renew`` is called when somebody was taken for gone: another way to ask is needed, since
        that one may be in the middle of an answer, or come back.
        """
        self._read = read
        self._renew = renew
        self._waiting: list[_Ticket] = []
        self._leader = 0  # its number, or nobody
        self._leaders = 0
        self._leads_until = 0.0
        self._lock = threading.Lock()

    def ask(self, names: tuple[bytes, ...], within: float) -> Answer:
        """Return what is there under these names. Raises ``CacheError``."""
        now = monotonic()
        deadline, ticket, number = now + within, None, 0
        with self._lock:
            if self._leader and now < self._leads_until:
                ticket = _Ticket(names, deadline)
                self._waiting.append(ticket)
            else:
                if self._leader:
                    self._renew()
                number = self._appoint(deadline)
        if ticket is None:  # mostly: nobody asks, and nobody waits
            try:
                if within <= 0:
                    raise CacheError(_LATE)
                return self._read(names, deadline)
            finally:
                self._hand_over(number)
        self._wait(ticket, ticket.turn)
        if ticket.leads:
            self._lead(ticket)
        if ticket.answer is None:
            raise ticket.error or CacheError(_LEFT)
        return ticket.answer

    def _wait(self, ticket: _Ticket, turn: threading.Lock) -> None:
        try:
            turn.acquire(timeout=max(0.0, ticket.deadline - monotonic()))
        except BaseException:  # killed while it waits, as greenlets may be: its turn is another's
            self._leave(ticket)
            if ticket.leads:
                self._hand_over(ticket.leads)
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
                if ticket is not own:
                    ticket.turn.release()
            self._hand_over(own.leads)

    def _hand_over(self, number: int) -> None:
        with self._lock:
            if number != self._leader:  # it was taken for gone, and another leads since
                return
            self._leader = 0
            if self._waiting:
                following = self._waiting.pop()
                following.leads = self._appoint(following.deadline)
                following.turn.release()

    def _appoint(self, deadline: float) -> int:
        self._leads_until = deadline + LEFT_AFTER
        self._leaders += 1
        self._leader = self._leaders
        return self._leader


class TaskBatches:
    """Batches of the tasks of one loop: one asks, and what others ask for meanwhile goes together.

    A task of its own asks for those, so that none of them takes the others along when it is
    cancelled; it ends as soon as nobody waits.
    """

    def __init__(self, read: AsyncRead) -> None:
        """Ask with ``read``, which takes names and the moment by which it must answer."""
        self._read = read
        self._waiting: list[_Asked] = []
        self._busy = False
        self.task: asyncio.Task[None] | None = None

    async def ask(self, names: tuple[bytes, ...], within: float) -> Answer:
        """Return what is there under these names. Raises ``CacheError``."""
        deadline = monotonic() + within
        if self._busy:
            return await self._ask_later(names, within, deadline)
        self._busy = True
        try:
            if within <= 0:
                raise CacheError(_LATE)
            return await self._read(names, deadline)
        finally:
            self._waiting = [each for each in self._waiting if not each.future.done()]
            if self._waiting:
                self.task = asyncio.get_running_loop().create_task(self._serve())
            else:
                self._busy = False

    async def _ask_later(self, names: tuple[bytes, ...], within: float, deadline: float) -> Answer:
        loop = asyncio.get_running_loop()
        asked = _Asked(names, deadline, loop.create_future())
        self._waiting.append(asked)
        timer = loop.call_later(within, _fail, [asked], CacheError(_LATE))
        try:
            return await asked.future
        finally:
            timer.cancel()

    async def _serve(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting[:BATCH_MAX], self._waiting[BATCH_MAX:]
                await self._serve_batch(batch)
        finally:
            self.task, self._busy = None, False
            left, self._waiting = self._waiting, []
            _fail(left, CacheError(_LEFT))

    async def _serve_batch(self, batch: list[_Asked]) -> None:
        error = CacheError(_LEFT)
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
            _fail(batch, error)


def _fail(batch: list[_Asked], error: CacheError) -> None:
    for each in batch:
        if not each.future.done():
            each.future.set_exception(error)
