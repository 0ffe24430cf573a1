"""One thread per process that hands over to the store how keys were used, and the last of it.

No request waits for it, and nothing else depends on it: what a store does not take is kept.
"""

from __future__ import annotations

import atexit
import logging
import os
import sys
import weakref
from typing import TYPE_CHECKING

from keybound.clocks import jitter, monotonic
from keybound.core.errors import KeyboundError
from keybound.core.usage import UncountedError, hand_over
from keybound.counting import NOTED_MAX
from keybound.drivers import run
from keybound.threads import OneThread

if TYPE_CHECKING:
    from collections.abc import Callable

    from keybound.counting import Counts
    from keybound.drivers import Perform
    from keybound.threads import Signal

logger = logging.getLogger("keybound")

LAST_WITHIN = 3.0
"""Seconds that the end of a process waits for a store to take the last numbers."""

_LOOK_EVERY = 1.0
"""Seconds after which a thread finds out that nobody needs it any more."""


class Recorder:
    """Records what is counted about every ``every`` seconds, from the first of it on.

    It belongs to the process that made it, and its thread goes when nobody has it any more. Without
    ``background`` there is no thread, and all is recorded at the end.
    """

    def __init__(
        self, counts: Counts, perform: Perform, *, every: float, background: bool = True
    ) -> None:
        """Prepare; no thread is started."""
        self._counts = counts
        self._perform = perform
        self._every = every
        self._process = os.getpid()
        self._thread = OneThread(name="keybound-usage")
        self._failing = False
        if background:
            counts.attend = self.attend
        _recorders.add(self)

    def attend(self, waiting: int) -> None:
        """See that there is a thread, and that it hurries where much is waiting."""
        if not self._thread.runs:
            method = weakref.WeakMethod(self.record)
            if self._thread.start(_loop, method, self._every):
                _finish_with_children()
        if waiting >= NOTED_MAX:
            self._thread.wake()

    def record(self) -> None:
        """Hand over what was counted by now; what fails is logged, and nothing is raised."""
        try:
            run(hand_over(self._counts), self._perform)
        except UncountedError as error:
            self._counts.stop()
            logger.warning("uses of keys are not counted: %s (%s)", error, _kind(error))
        except KeyboundError as error:
            if not self._failing:
                logger.warning("uses of keys are kept until they can be recorded: %s", error)
            self._failing = True
        else:
            lost = self._counts.take_lost()
            if self._failing or lost:
                logger.warning("uses of keys are recorded again; lost meanwhile: %d", lost)
            self._failing = False

    def finish(self) -> None:
        """Hand over the rest; returns within ``LAST_WITHIN`` seconds where there is a thread."""
        if self._process != os.getpid():  # what the parent counted, the parent records
            return
        thread = self._thread.stop()
        if thread is None:
            self.record()
        else:
            thread.join(LAST_WITHIN)


def _loop(signal: Signal, method: weakref.WeakMethod[Callable[[], None]], every: float) -> None:
    last = False
    while not last:
        until = monotonic() + every * jitter(0.8)
        while (left := until - monotonic()) > 0 and not signal.wake.wait(min(left, _LOOK_EVERY)):
            if method() is None:
                return
        signal.wake.clear()
        last = signal.stop.is_set()
        record = method()
        if record is None:
            return
        record()
        del record


def _kind(error: Exception) -> str:
    cause = error.__cause__
    return "it answers none of it" if cause is None else type(cause).__qualname__


_recorders: weakref.WeakSet[Recorder] = weakref.WeakSet()
_children: set[int] = set()


def _finish_all() -> None:
    """Record what was counted in a process that ends without closing its guards."""
    for recorder in list(_recorders):
        recorder.finish()


def _finish_with_children() -> None:
    """Do so as well at the end of a child of ``multiprocessing``, which calls nothing of atexit."""
    util = sys.modules.get("multiprocessing.util")
    if util is not None and os.getpid() not in _children:
        _children.add(os.getpid())
        util.Finalize(None, _finish_all, exitpriority=0)


atexit.register(_finish_all)
