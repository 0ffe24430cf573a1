"""For the tests of applications: a guard in memory, a clock that is told the time, real decisions.

The pytest plugin offers the fixture ``keybound``; ``FakeClock`` and ``Harness`` serve without it.
``keybound.testing.stores`` and ``keybound.testing.laws`` are the kits that new stores and new
dimensions must pass.
"""

from __future__ import annotations

from keybound.testing.clock import FakeClock
from keybound.testing.harness import Harness, TestKey

__all__ = ["FakeClock", "Harness", "TestKey"]
