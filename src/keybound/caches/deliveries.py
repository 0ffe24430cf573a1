"""Whether a channel brings what it should: the changes that syncs see are published as well.

A connection may stand, and answer pings, and yet lead to a server that nobody publishes to any
more. Only what does not come tells.
"""

from __future__ import annotations

BROUGHT_MAX = 10_000
"""Revisions kept at most: nobody is this far behind, but anything may claim to be ahead."""


class Deliveries:
    """The revisions that one subscription brought, beside those that syncs have seen."""

    def __init__(self, begun: float) -> None:
        """Expect what is committed after the first sync that was sent since ``begun``."""
        self._begun = begun
        self._checked: int | None = None
        self._seen = 0
        self._brought: set[int] = set()

    def bring(self, rev: int) -> None:
        """Note that a message about this revision came."""
        if len(self._brought) < BROUGHT_MAX:
            self._brought.add(rev)

    def lack(self, since: int, sent_at: float) -> bool:
        """Return whether a revision did not come that a sync had seen when this was last asked.

        ``since`` is what the last sync has seen, and ``sent_at`` when that was sent.
        """
        if self._checked is None or since < self._checked:  # nothing yet, or the store went back
            self._checked, self._seen = (since, since) if sent_at >= self._begun else (None, 0)
            return False
        due = range(self._checked + 1, self._seen + 1)
        lacking = any(rev not in self._brought for rev in due)
        self._checked, self._seen = self._seen, since
        self._brought = {rev for rev in self._brought if rev > self._checked}
        return lacking
