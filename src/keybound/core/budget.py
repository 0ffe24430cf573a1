"""How often a process asks its store for keys that do not exist: so many a second, no more."""

from __future__ import annotations


class Budget:
    """Look-ups in vain: ``per_second``, as many at once after a second without; 0 is no limit.

    A token bucket that is charged afterwards, since only then it is known whether one was in vain.
    Those that are under way when the last is used up still count, and are made up for first.
    Threads need no lock: two of them may lose a look-up now and then.
    """

    __slots__ = ("_per_second", "_state")

    def __init__(self, per_second: int) -> None:
        """Begin with a second's worth."""
        self._per_second = per_second
        self._state = float(per_second), 0.0  # how many were left, and when

    def spent(self, now: float) -> bool:
        """Return whether none is left; ``now`` is seconds that never go back."""
        return self._per_second > 0 and self._left(now) < 1

    def charge(self, now: float) -> None:
        """Take one."""
        _, at = self._state
        self._state = self._left(now) - 1, max(at, now)

    def _left(self, now: float) -> float:
        left, at = self._state
        return min(self._per_second, left + max(0.0, now - at) * self._per_second)
