"""The only reader of clocks and of the entropy pool."""

from __future__ import annotations

import os
import time
from functools import partial
from random import SystemRandom
from typing import Protocol

from keybound.loops import here


class Clock(Protocol):
    """Two clocks, in seconds, and a way to let them pass."""

    def boot(self) -> float:
        """Return time that never goes back and counts suspended time."""
        ...

    def wall(self) -> float:
        """Return POSIX time, UTC."""
        ...

    def sleep(self, seconds: float, /) -> None:
        """Return when that much time has passed."""
        ...

    async def asleep(self, seconds: float, /) -> None:
        """Return when that much time has passed, letting other tasks run."""
        ...


class SystemClock:
    """The machine's clocks: ``CLOCK_BOOTTIME`` where there is one, else the monotonic clock."""

    def __init__(self) -> None:
        """Choose the clock once, so that reading it costs one call."""
        boottime = getattr(time, "CLOCK_BOOTTIME", None)
        self.boot = time.monotonic if boottime is None else partial(time.clock_gettime, boottime)
        self.wall = time.time
        self.sleep = time.sleep

    async def asleep(self, seconds: float, /) -> None:
        """Return when that much time has passed, letting other tasks run."""
        await here().sleep(seconds)


read_entropy = os.urandom

monotonic = time.monotonic
"""Time for deadlines of sockets and locks, which no clock of a test can move."""

_chance = SystemRandom()
"""Not the generator of the ``random`` module: an application may have seeded that, and expect that
nobody else takes numbers from it. And this one gives forked workers different ones."""


def jitter(least: float) -> float:
    """Return a factor from ``least`` to one, so that not all do at once what they do at times."""
    return _chance.uniform(least, 1.0)
