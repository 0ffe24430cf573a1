"""One thread per process that asks the store what changed.

Correctness does not need it: without it, requests sync when the lease is out. With it, changes
made elsewhere are seen within ``sync_every``, and no request waits for that.
"""

from __future__ import annotations

import logging
import weakref
from typing import TYPE_CHECKING

from keybound.clocks import jitter
from keybound.core.errors import KeyboundError
from keybound.threads import OneThread

if TYPE_CHECKING:
    from collections.abc import Callable

    from keybound.threads import Signal

AT_LEAST = 0.05
"""Seconds between two syncs, however often somebody asks for one."""

logger = logging.getLogger("keybound")


class Syncer:
    """Calls ``sync`` about every ``interval`` seconds, from the first ``start`` until ``stop``.

    ``wake`` makes it sync at once, or a moment after it has just done so. It holds ``sync`` weakly,
    so that a guard nobody uses any more takes its thread with it, and it belongs to the process
    that started it: after a fork the next ``start`` starts another. So it does where none could be
    had before.
    """

    def __init__(self, sync: Callable[[], None], *, interval: float) -> None:
        """Prepare; no thread is started."""
        self._sync = weakref.WeakMethod(sync)
        self.interval = interval
        self._thread = OneThread(name="keybound-sync")

    @property
    def runs(self) -> bool:
        """Whether this process has the thread."""
        return self._thread.runs

    def start(self) -> None:
        """Start the thread unless this process has it already."""
        if not self._thread.runs:
            self._thread.start(_loop, self._sync, self.interval)

    def stop(self) -> None:
        """Let the thread end; it may be started again."""
        self._thread.stop()

    def wake(self) -> None:
        """Let it sync now; what is called during that, or right after it, makes one more."""
        self._thread.wake()


def _loop(signal: Signal, method: weakref.WeakMethod[Callable[[], None]], interval: float) -> None:
    stop, wake, reachable = signal.stop, signal.wake, True
    while not stop.wait(AT_LEAST):
        wake.wait(max(0.0, interval * jitter(0.8) - AT_LEAST))
        if stop.is_set():
            return
        wake.clear()
        sync = method()
        if sync is None:
            return
        try:
            sync()
        except Exception as error:  # noqa: BLE001 - whatever it was, the next sync may work
            if reachable:
                known = isinstance(error, KeyboundError)
                shown = error if known else type(error).__qualname__
                logger.warning("cannot sync with the store: %s", shown)
            reachable = False
        else:
            if not reachable:
                logger.warning("in sync with the store again")
            reachable = True
        del sync
