"""How fast things are is for benchmarks; that no input takes the square of its time, for tests."""

from __future__ import annotations

SLOW = 10
"""How many times as long anything may take under coverage, on a machine that does other things."""
