"""What a worker knows of the store's revisions, and until when it may rely on its local cache.

A record may be used iff it was read at a revision at or above the floor of its node, and the last
sync was sent no longer ago than the bound. Floors come from syncs; a change of this worker's own
adds one until a sync brings it, or shows that the store lost it.
"""

from __future__ import annotations

from collections import OrderedDict
from enum import Enum
from typing import TYPE_CHECKING

from keybound.core.effects import CHANGES_MAX, EVERYTHING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from keybound.core.effects import LogHead, Moment, SyncAnswer

FLOORS_MAX = 50_000


class Applied(Enum):
    """What became of the answer of a sync."""

    DONE = "done"
    OVERTAKEN = "overtaken"
    AGAIN = "again"
    REGRESSED = "regressed"


class Fence:
    """Floors, seen revisions and the moment of the last sync. Not safe for threads by itself.

    ``raised`` collects the nodes whose floor rose, for the cache to take; ``resets`` counts how
    often everything was forgotten.
    """

    def __init__(self, *, floors_max: int = FLOORS_MAX) -> None:
        """Know nothing: everything must be read from the store."""
        self._floors_max = floors_max
        self.resets = 0
        self.reset(None)

    def reset(self, epoch: bytes | None) -> None:
        """Forget everything and adopt an epoch."""
        self.epoch = epoch
        self.since = 0
        self.synced_at: Moment | None = None
        self.floor_all = 0
        self.own: Mapping[str, LogHead] = {}
        self._floors: OrderedDict[str, int] = OrderedDict()
        self._tags: dict[int, bytes] = {}
        self.raised: set[str] = set()
        self.resets += 1

    def floor(self, node: str) -> int:
        """Return the lowest revision at which this node may have been read."""
        floor = max(self.floor_all, self._floors.get(node, 0))
        own = self.own.get(node) if self.own else None
        return floor if own is None else max(floor, own.rev)

    def has_seen(self, head: LogHead) -> bool:
        """Return whether this very revision was in the primary's log when this worker looked."""
        return self._tags.get(head.rev) == head.tag

    def lapsed(self, bound: float, now: Moment) -> bool:
        """Return whether the last sync is too long ago to rely on, by either clock."""
        synced_at = self.synced_at  # once: another thread may reset it
        return (
            synced_at is None
            or now.boot - synced_at.boot > bound
            or now.wall - synced_at.wall > bound
        )

    def apply(
        self, answer: SyncAnswer, *, since: int, own: Mapping[str, LogHead], sent_at: Moment
    ) -> Applied:
        """Take in the answer of a sync; ``since`` and ``own`` are as they were when it was sent."""
        head = answer.head
        if self.synced_at is not None and sent_at.boot < self.synced_at.boot:
            return Applied.OVERTAKEN
        if self.epoch is None:
            self.epoch = head.epoch
        if self.epoch != head.epoch:
            self.reset(head.epoch)
            return Applied.AGAIN
        if self.since != since:
            return Applied.AGAIN
        known = self._tags.get(since)  # None before the first sync
        if head.rev < since or (known is not None and answer.tags.get(since, known) != known):
            return Applied.REGRESSED
        if known is not None and since not in answer.tags:  # so long ago that the store forgot it
            self.reset(head.epoch)
            return Applied.AGAIN
        base = _complete_above(answer, since)
        if base > since:  # otherwise nothing is missing, and what is cached may stay
            self._raise_all(base)
        for rev, node in answer.changes:
            if node == EVERYTHING:
                self._raise_all(rev)
            else:
                self.raise_floor(node, rev)
        self.own = {node: at for node, at in self.own.items() if own.get(node) != at}
        self.since = head.rev
        self._tags = dict(sorted((self._tags | answer.tags).items())[-CHANGES_MAX:])
        self.synced_at = sent_at
        return Applied.DONE

    def raise_floor(self, node: str, rev: int) -> None:
        """Require of this node what was read at ``rev`` or later; too many floors raise all."""
        if rev > self._floors.get(node, 0):
            self._floors[node] = rev
            self._floors.move_to_end(node)
            self.raised.add(node)
        if len(self._floors) > self._floors_max:  # many at once, so that it happens rarely
            for _ in range(self._floors_max // 2 + 1):
                _, forgotten = self._floors.popitem(last=False)
                self._raise_all(forgotten)

    def wrote(self, nodes: Iterable[str], head: LogHead) -> None:
        """Require of these nodes what a change of this worker's own made of them."""
        if head.rev <= self.since and not self.has_seen(head):
            self.reset(None)  # the store went back: what was read since then may be lost
        fresh = dict.fromkeys(nodes, head)
        self.own = {**self.own, **fresh}
        self.raised.update(fresh)

    def take_raised(self) -> set[str]:
        """Return the nodes whose floor rose since this was last asked."""
        raised, self.raised = self.raised, set()
        return raised

    def _raise_all(self, rev: int) -> None:
        self.floor_all = max(self.floor_all, rev)


def _complete_above(answer: SyncAnswer, since: int) -> int:
    """Return the revision above which ``changes`` leaves nothing out."""
    if not answer.changes:
        return max(since, answer.head.rev)
    first = answer.changes[0].rev
    return first if len(answer.changes) >= CHANGES_MAX else first - 1
