"""What may take longer than a request has time for, and cannot be told to hurry."""

from __future__ import annotations

from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotYet
from threading import Lock
from typing import TYPE_CHECKING, Generic, TypeVar

from keybound.clocks import monotonic
from keybound.core.errors import CacheError
from keybound.threads import begin

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

FRESH_FOR = 10.0
"""Seconds for which an answer that came too late for whoever asked is good for who asks next."""


class Late(Generic[T]):
    """Calls a function in a thread of its own, so that nobody waits for longer than they can.

    One call is under way at a time; who comes meanwhile waits for the same. An answer that comes
    when nobody waits any more is given to the next, so that what is always slow works in the end.
    """

    def __init__(self, function: Callable[[], T], *, name: str) -> None:
        """Call nothing yet; ``name`` is that of the thread."""
        self._function = function
        self._name = name
        self._lock = Lock()
        self._under_way: Future[T] | None = None
        self._answered_at = 0.0

    def begin(self) -> Future[T]:
        """Return the call that is under way, or its answer if nobody had it yet, or a new one.

        It raises ``CacheError`` where no thread can be had; the next who asks tries again.
        """
        with self._lock:
            future = self._under_way
            if future is not None and not self._is_over(future):
                return future
            future = self._under_way = Future[T]()
            future.set_running_or_notify_cancel()  # who goes away does not take it along
        try:
            thread = begin(self._call, future, name=self._name)
        except BaseException:  # interrupted: perhaps nobody ever answers
            self.taken(future)
            raise
        if thread is None:
            future.set_exception(CacheError("there is no thread to be had for it"))
        return future

    def taken(self, future: Future[T]) -> None:
        """Note that an answer was used: the next who asks gets another."""
        with self._lock:
            if self._under_way is future:
                self._under_way = None

    def within(self, seconds: float) -> T:
        """Return what it answers, or raise what it raises, ``CacheError`` or ``TimeoutError``."""
        future = self.begin()
        try:
            answer = future.result(timeout=max(0.0, seconds))
        except NotYet:
            if future.done():  # it raised that itself
                raise
            raise TimeoutError from None
        self.taken(future)
        return answer

    def _is_over(self, future: Future[T]) -> bool:
        """Return whether the next who asks needs another call: it failed, or is of long ago."""
        if not future.done():
            return False
        return future.exception() is not None or monotonic() - self._answered_at > FRESH_FOR

    def _call(self, future: Future[T]) -> None:
        try:
            answer = self._function()
        except BaseException as error:  # noqa: BLE001 - whoever waits raises it
            self._answered_at = monotonic()
            future.set_exception(error)
        else:
            self._answered_at = monotonic()
            future.set_result(answer)
