"""A connection to PostgreSQL whose every wait has an end."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Any, TypeVar

from psycopg import Connection, OperationalError
from psycopg.waiting import wait_select

from keybound.locks import replaced

if TYPE_CHECKING:
    from collections.abc import Generator

    from psycopg.abc import PQGen

T = TypeVar("T")

_WAKES_EVERY = 0.1
"""Seconds after which the generator is asked whether it is late, as with psycopg itself."""


class AnswerTimeoutError(OperationalError):
    """The server said nothing for longer than it may work; the connection is closed."""


class Link(Connection[tuple[Any, ...]]):
    """A connection that is closed when the server does not answer one statement in time.

    The limits that a server is told do not help with a server that hangs.
    """

    answer_for = 5.0
    """Seconds that the answer to one statement may take."""

    _pool = None  # so psycopg knows that it is in one, and may end open when the process does

    def wait(self, gen: PQGen[T], *arguments: Any, **options: Any) -> T:  # noqa: ANN401 - psycopg's
        """Wait for the answer; raises ``AnswerTimeoutError``."""
        timed = _until(gen, monotonic() + self.answer_for)
        try:
            if replaced():  # psycopg chose how to wait when it was imported: for threads
                return wait_select(timed, self.pgconn.socket, _WAKES_EVERY)
            return super().wait(timed, *arguments, **options)
        except AnswerTimeoutError:
            self.pgconn.finish()  # it cannot be told what it would answer to
            raise


def _until(gen: PQGen[T], end: float) -> Generator[Any, Any, T]:
    """Do as psycopg's generator does, which is woken now and then while nothing arrives."""
    try:
        wanted = next(gen)
        while True:
            ready = yield wanted
            if not ready and monotonic() > end:
                gen.close()
                msg = "no answer in time"
                raise AnswerTimeoutError(msg)
            wanted = gen.send(ready)
    except StopIteration as done:
        answer: T = done.value
        return answer
