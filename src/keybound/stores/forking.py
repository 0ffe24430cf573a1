"""Keeping a fork apart from what is under way in other threads.

SQLite knows in the memory of a process which locks its connections hold. A fork in the middle of a
transaction copies that, and nobody in the child ever lets go: it could write no more, and would
read without the locks that it believes to have.
"""

from __future__ import annotations

from threading import Condition
from typing import Self

FORK_WAITS_FOR = 10.0
"""Seconds that a fork waits for what is under way: longer than that takes."""


class Uses:
    """Counts what is under way; while a fork waits for the last of it, nothing begins."""

    def __init__(self) -> None:
        """Begin with nothing under way."""
        self.count = 0
        self._forking = False
        self._changed = Condition()

    def __enter__(self) -> Self:
        """Begin, after a fork that is under way."""
        with self._changed:
            self._changed.wait_for(lambda: not self._forking, FORK_WAITS_FOR)
            self.count += 1
        return self

    def __exit__(self, *_: object) -> None:
        """End."""
        with self._changed:
            self.count -= 1
            self._changed.notify_all()

    def pause(self) -> None:
        """Wait for the end of everything, and let nothing begin until ``resume``.

        That includes another thread's fork: who closes connections must not be forked either.
        """
        with self._changed:
            self._changed.wait_for(lambda: not self._forking, FORK_WAITS_FOR)
            self._forking = True
            self._changed.wait_for(lambda: not self.count, FORK_WAITS_FOR)

    def resume(self) -> None:
        """Go on in the parent."""
        with self._changed:
            self._forking = False
            self._changed.notify_all()
