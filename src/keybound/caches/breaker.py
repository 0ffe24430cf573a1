"""When to leave a link alone that has failed.

After one failure, not after some: each costs a request all the time that it has for this link, and
while the link is left alone nothing is lost but a question to the store.
"""

from __future__ import annotations

REST = 1.0
"""Seconds for which nobody asks again: what hangs costs one request in a second a delay."""


class Breaker:
    """Closed while the link works; open for ``REST`` seconds after a failure.

    Then one may try, and everybody else goes on without until that is answered.
    """

    def __init__(self) -> None:
        """Start closed."""
        self._until = float("-inf")
        self.open = False

    def admits(self, now: float) -> bool:
        """Return whether to ask; when the rest is over, this is true for one and not for others."""
        if not self.open:
            return True
        if now < self._until:
            return False
        self._until = now + REST
        return True

    def fail(self, now: float) -> bool:
        """Note a failure; return whether it is news."""
        news, self.open = not self.open, True
        self._until = now + REST
        return news

    def work(self) -> bool:
        """Note an answer; return whether it is news."""
        news, self.open = self.open, False
        return news
