"""When to leave alone what has failed.

After one failure, not after some: each costs a request all the time that it has for what it asks.
"""

from __future__ import annotations

REST = 1.0
"""Seconds for which nobody asks again, unless somebody knows better: what hangs costs one request
in a second a delay."""


class Breaker:
    """Closed while something works; open after a failure.

    Then one may try when it has rested, and everybody else goes on without until that is answered.
    """

    def __init__(self) -> None:
        """Start closed."""
        self._until = float("-inf")
        self.open = False

    def admits(self, now: float, *, within: float | None = None) -> bool:
        """Return whether to ask; when the rest is over, this is true for one and not for others.

        If nothing is heard of that one ``within`` so many seconds (``REST``), another may try.
        """
        if not self.open:
            return True
        if now < self._until:
            return False
        self._until = now + (REST if within is None else within)
        return True

    def fail(self, now: float, *, rest: float | None = None) -> bool:
        """Note a failure, to be left alone for ``rest`` (``REST``); return whether it is news."""
        news, self.open = not self.open, True
        self._until = now + (REST if rest is None else rest)
        return news

    def wait(self, now: float, rest: float) -> None:
        """Let nobody try for so many seconds, where that matters: nothing new is known."""
        self._until = now + rest

    def work(self) -> bool:
        """Note an answer; return whether it is news."""
        news, self.open = self.open, False
        return news
