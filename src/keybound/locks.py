"""Locks that survive a fork."""

from __future__ import annotations

import os
import threading
from threading import RLock
from typing import TYPE_CHECKING
from weakref import WeakSet

if TYPE_CHECKING:
    from contextlib import AbstractContextManager


class ForkLock:
    """A reentrant lock that nobody holds in a forked child: threads of the parent are not there."""

    def __init__(self) -> None:
        """Begin with nobody holding it."""
        self._lock = RLock()
        _every.add(self)

    def held(self) -> AbstractContextManager[object]:
        """Return what holds it; whoever forks meanwhile lets go of it in both processes."""
        return self._lock

    def renew(self) -> None:
        """Begin anew."""
        self._lock = RLock()


def replaced() -> bool:
    """Return whether others took the place of the threads and locks that this was loaded with.

    gevent does that. Who was loaded before keeps a whole process waiting where it means a thread.
    """
    return threading.Lock is not _loaded_with


_loaded_with = threading.Lock
_every: WeakSet[ForkLock] = WeakSet()


def _after_fork() -> None:
    for lock in _every:
        lock.renew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
