"""What a worker knows of the store's revisions, and until when it may rely on its local cache.

A record may be used iff it was read at a revision at or above the floor of its node, and the last
sync was sent no longer ago than the bound. Floors come from syncs; a change of this worker's own,
and what others say that they changed, add hints: floors apart, until the first sync that was sent
after they came brings what they are about, or shows that the store does not have it. Until then
nothing is taken in that was answered of another past than that of a change of this worker's own.
"""

from __future__ import annotations

from collections import OrderedDict
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

from keybound.core.effects import CHANGES_MAX, EVERYTHING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from keybound.core.effects import Change, LogHead, Moment, SyncAnswer

FLOORS_MAX = 50_000
HINTS_MAX = 1_000
"""Nodes that messages set hints for between two syncs: what they say beyond that, a sync says."""


class Applied(Enum):
    """What became of the answer of a sync."""

    DONE = "done"
    OVERTAKEN = "overtaken"
    AGAIN = "again"
    REGRESSED = "regressed"


class Heard(Enum):
    """What a message is worth: it may be ahead of the last sync, behind it, or of another epoch."""

    AHEAD = "ahead"
    BEHIND = "behind"
    FOREIGN = "foreign"


class _Hint(NamedTuple):
    """A revision, and the number of the hint that last required it."""

    rev: int
    number: int


class Fence:
    """Floors, seen revisions and the moment of the last sync. Not safe for threads by itself.

    ``raised`` collects the nodes whose floor rose, for the cache to take; ``resets`` counts how
    often everything was forgotten, and ``hinted`` how many hints there ever were.
    """

    def __init__(self, *, floors_max: int = FLOORS_MAX) -> None:
        """Know nothing: everything must be read from the store."""
        self._floors_max = floors_max
        self.resets = 0
        self.hinted = 0
        self.reset(None)

    def reset(self, epoch: bytes | None) -> None:
        """Forget everything and adopt an epoch."""
        self.epoch = epoch
        self.since = 0
        self.synced_at: Moment | None = None
        self.floor_all = 0
        self._hints: dict[str, _Hint] = {}
        self._own: dict[LogHead, int] = {}
        self._forgotten = self.hinted
        self._floors: OrderedDict[str, int] = OrderedDict()
        self._tags: dict[int, bytes] = {}
        self.raised: set[str] = set()
        self.resets += 1

    def floor(self, node: str) -> int:
        """Return the lowest revision at which this node may have been read."""
        floor = max(self.floor_all, self._floors.get(node, 0))
        hint = self._hints.get(node) if self._hints else None
        return floor if hint is None else max(floor, hint.rev)

    def news(self, changes: Iterable[Change]) -> int:
        """Return of how many revisions among these this worker does not hold to a change yet."""
        return len({rev for rev, node in changes if rev > self.floor(node)})

    def has_seen(self, head: LogHead) -> bool:
        """Return whether this very revision was in the primary's log when this worker looked."""
        return self._tags.get(head.rev) == head.tag

    def admits(self, heads: Mapping[str, LogHead]) -> bool:
        """Return whether each of these nodes was read at a revision seen, and at its floor."""
        for node, head in heads.items():
            if not self.has_seen(head) or head.rev < self.floor(node):
                return False
        return True

    def lapsed(self, bound: float, now: Moment) -> bool:
        """Return whether the last sync is too long ago to rely on, by either clock."""
        synced_at = self.synced_at  # once: another thread may reset it
        return (
            synced_at is None
            or now.boot - synced_at.boot > bound
            or now.wall - synced_at.wall > bound
        )

    def apply(self, answer: SyncAnswer, *, since: int, hinted: int, sent_at: Moment) -> Applied:
        """Take in the answer of a sync; ``since`` and ``hinted`` are as when it was sent."""
        head = answer.head
        if self.synced_at is not None and sent_at.boot < self.synced_at.boot:
            return Applied.OVERTAKEN
        if self.epoch is None:
            self.epoch = head.epoch
        if self.epoch != head.epoch:
            self.reset(head.epoch)
            return Applied.AGAIN
        if self._is_late(answer, since=since, hinted=hinted):
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
        self.since = head.rev
        self._drop_hints(hinted)
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
        self.hinted += 1
        for node in nodes:
            hint = self._hints.get(node)
            rev = head.rev if hint is None else max(head.rev, hint.rev)
            self._hints[node] = _Hint(rev, self.hinted)
            self.raised.add(node)
        self._own[head] = self.hinted

    def hint(self, nodes: Iterable[str], rev: int, epoch: bytes) -> Heard:
        """Take in that a change of these nodes is said to have been committed.

        It can only make things stricter, until the first sync that is sent from now on. What the
        last sync knew is ignored, and so is a change of another epoch, once there was a sync.
        """
        if self.epoch is not None and epoch != self.epoch:
            return Heard.FOREIGN
        if rev <= self.since:
            return Heard.BEHIND
        self.hinted += 1
        for node in nodes:
            hint = self._hints.get(node)
            if len(self._hints) < HINTS_MAX if hint is None else rev > hint.rev:
                self._hints[node] = _Hint(rev, self.hinted)
                self.raised.add(node)
        return Heard.AHEAD

    def take_raised(self) -> set[str]:
        """Return the nodes whose floor rose since this was last asked."""
        raised, self.raised = self.raised, set()
        return raised

    def _drop_hints(self, hinted: int) -> None:
        """Rely on the last sync, which was sent when there had been so many hints, where it can."""
        self._hints = {node: hint for node, hint in self._hints.items() if hint.number > hinted}
        self._own = {head: number for head, number in self._own.items() if number > hinted}

    def _is_late(self, answer: SyncAnswer, *, since: int, hinted: int) -> bool:
        """Return whether another sync must tell, since too much has happened since this was sent.

        It asked about another revision than the one that is known now, or before hints that were
        forgotten with everything else, or it contradicts a change of this worker's own.
        """
        late = since != self.since or hinted < self._forgotten
        return late or self._contradicts_own(answer, hinted)

    def _contradicts_own(self, answer: SyncAnswer, hinted: int) -> bool:
        """Return whether this was answered of commits that the store lost before an own change.

        Or of those that took its place. Only what was sent after that change can tell which.
        """
        return any(
            number > hinted and answer.tags.get(own.rev, own.tag) != own.tag
            for own, number in self._own.items()
        )

    def _raise_all(self, rev: int) -> None:
        self.floor_all = max(self.floor_all, rev)


def _complete_above(answer: SyncAnswer, since: int) -> int:
    """Return the revision above which ``changes`` leaves nothing out."""
    if not answer.changes:
        return max(since, answer.head.rev)
    first = answer.changes[0].rev
    return first if len(answer.changes) >= CHANGES_MAX else first - 1
