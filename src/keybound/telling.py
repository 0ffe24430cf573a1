"""What the operator is told of again and again, once a minute."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from keybound.core.errors import KeyboundError
from keybound.locks import ForkLock

if TYPE_CHECKING:
    from collections.abc import Callable

logger = logging.getLogger("keybound")

TOLD_AGAIN_AFTER = 60.0
"""Seconds after which the operator is told of the same failure again."""

_TOLD_MAX = 64
"""Failures that are told in one such time: as many may differ in words alone."""


class Teller:
    """Tells the operator of failures, once a minute of each; safe for threads.

    What is broken fails every request alike, and clients choose how many there are.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        """Have told nothing yet; ``monotonic`` is seconds that never go back."""
        self._now = monotonic
        self._lock = ForkLock()
        self._told: dict[str, float] = {}

    def tell(self, what: str, failure: Exception | str, *, level: int = logging.ERROR) -> None:
        """Log that ``what`` cannot be done because of a failure, unless that was just told."""
        said = f"{what}: {_said(failure)}"
        if self._is_news(said):
            logger.log(level, "%s", said)

    def _is_news(self, said: str) -> bool:
        now = self._now()
        with self._lock.held():
            if now < self._told.get(said, now):
                return False
            if len(self._told) >= _TOLD_MAX:
                self._told = {each: until for each, until in self._told.items() if until > now}
            if len(self._told) >= _TOLD_MAX:
                return False
            self._told[said] = now + TOLD_AGAIN_AFTER
            return True


def _said(failure: Exception | str) -> str:
    if isinstance(failure, str | KeyboundError):
        return str(failure)
    # The text of a foreign error may hold anything; its type does not.
    return type(failure).__qualname__
