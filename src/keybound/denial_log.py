"""Denials in the log: one line of JSON each, few of them however many requests are refused.

Nothing that a client sent is ever in a line: keys and nodes are ids, the rest is ours.
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, Literal, NamedTuple

from keybound.core.refusals import REFUSALS
from keybound.locks import ForkLock

if TYPE_CHECKING:
    from collections.abc import Callable

    from keybound.core.decision import Denied
    from keybound.core.reasons import Reason

    Pair = tuple[str | None, Reason]

logger = logging.getLogger("keybound.denials")

Event = Literal["refused", "would_refuse"]
EVENTS: tuple[Event, ...] = ("refused", "would_refuse")
"""What a line is about: a refused request, or one that only reports let through."""

LOGGED_EVERY = 10.0
"""Seconds between two lines about the same key and reason, at least."""

PAIRS_MAX = 4_096
"""Keys and reasons that are counted; beyond them, whoever was logged longest ago is forgotten."""


class Due(NamedTuple):
    """A line that is to be written: denials of its key and reason, and those without a line."""

    total: int
    suppressed: int


class _Count:
    __slots__ = ("quiet_until", "suppressed", "total")

    def __init__(self) -> None:
        self.total = 0
        self.suppressed = 0
        self.quiet_until = float("-inf")


class DenialLog:
    """Counts denials by key and reason, and writes some of them down; safe for threads.

    Those without a known key are counted by their reason alone. The first of a kind has its line
    at once, and later ones have at most one in ``LOGGED_EVERY`` seconds.
    """

    def __init__(self, event: Event, monotonic: Callable[[], float]) -> None:
        """Count nothing yet; ``event`` is the first member of every line."""
        self._event = event
        self._now = monotonic
        self._lock = ForkLock()
        self._counts: dict[Pair, _Count] = {}
        self.by_reason: Counter[Reason] = Counter()

    def count(self, denied: Denied) -> Due | None:
        """Count a denial; return the line that is due, if one is."""
        now = self._now()
        pair = denied.key, denied.reason
        with self._lock.held():
            self.by_reason[denied.reason] += 1
            found = self._counts.get(pair)
            if found is not None and now < found.quiet_until:
                found.total += 1
                found.suppressed += 1
                return None
            return self._due(pair, now)

    def write(self, denied: Denied, denial: str, due: Due) -> None:
        """Write the line about a denial with the id ``denial``."""
        if not logger.isEnabledFor(logging.INFO):
            return
        check = denied.check
        members = {
            "event": self._event,
            "reason": denied.reason.value,
            "status": REFUSALS[denied.reason].status,
            "key": denied.key,
            "node": check.node if check else None,
            "limit": check.clause.dimension if check else None,
            "id": denial,
            "total": due.total,
            "suppressed": due.suppressed,
        }
        with suppress(Exception):  # a handler that fails is no reason not to answer
            logger.info(json.dumps(members, separators=(",", ":")), extra={"keybound": members})

    def totals(self) -> dict[Pair, int]:
        """Return how many denials there were of each key and reason that is remembered."""
        with self._lock.held():
            return {pair: count.total for pair, count in self._counts.items()}

    def _due(self, pair: Pair, now: float) -> Due:
        # At the end of the order are those that were logged last.
        count = self._counts.pop(pair, None) or _Count()
        if len(self._counts) >= PAIRS_MAX:
            del self._counts[next(iter(self._counts))]
        self._counts[pair] = count
        count.total += 1
        due = Due(count.total, count.suppressed)
        count.suppressed, count.quiet_until = 0, now + LOGGED_EVERY
        return due
