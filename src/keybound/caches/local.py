"""A process's memory of chains: a dictionary whose entries die when a floor rises above them.

Reading takes no lock: an entry is used only if it is alive *after* the lease was read, and the
lease is extended only after everything below the fence is dead.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from itertools import islice
from threading import Lock
from typing import TYPE_CHECKING

from keybound.core.fence import Applied, Fence

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from keybound.core.chain import Chain
    from keybound.core.effects import LogHead, Moment, SyncAnswer
    from keybound.core.fence import Heard
    from keybound.core.nodes import StoredNode

ABSENT_MAX = 4_096

NEVER_SEEN = -1
"""What ``seen`` of an entry is that was of use without letting anybody in."""

_CHANCES = 64
"""Second chances given before one entry must go: readers use entries while this holds the lock."""


_LENDERS_MAX = 4
"""Entries that are asked for a node they share; one is nearly always enough."""


@dataclass(slots=True, eq=False)
class Entry:
    """A chain, or ``None`` for a known absence, each node as read at the head beside it.

    ``alive`` turns false for ever when a node of it changed. ``boot`` and ``wall`` say until when
    the read itself proves it. ``uses`` are requests that were let in for it, of which ``taken``
    are counted elsewhere, and ``noted`` says that the others will be; if there were more than
    ``seen`` it gets a second chance when room is needed.
    """

    index: bytes
    chain: Chain | None
    nodes: tuple[str, ...]
    heads: tuple[LogHead, ...]
    as_of: int
    boot: float
    wall: float
    alive: bool = True
    uses: int = 0
    used_at: float = 0.0
    taken: int = 0
    noted: bool = False
    seen: int = 0

    def head_of(self, node: str) -> LogHead:
        """Return where the store stood when this node was read."""
        return self.heads[self.nodes.index(node)]


class LocalCache:
    """Up to ``size_max`` chains and 4,096 known absences, fenced and leased."""

    def __init__(self, *, bound: float, grace: float = 0.0, size_max: int = 100_000) -> None:
        """Trust nothing yet; ``bound`` and ``grace`` are seconds."""
        self.fence = Fence()
        self.entries: dict[bytes, Entry] = {}
        self.absent: dict[bytes, Entry] = {}
        self.lease_boot = float("-inf")
        self.lease_wall = float("-inf")
        self._bound = bound
        self._grace = grace
        self._size_max = size_max
        self._resets: int = self.fence.resets
        self._floor_all = 0
        self._raising = False
        self._users: dict[str, set[Entry]] = {}
        self._order: deque[Entry] = deque()
        self._lock = Lock()

    def holds(self, entry: Entry, boot: float, wall: float) -> bool:
        """Return whether an entry may be relied on at this reading of the clocks."""
        leased = boot <= self.lease_boot and wall <= self.lease_wall
        proved = boot <= entry.boot and wall <= entry.wall
        return (leased or proved) and entry.alive

    def leased_for(self, boot: float, wall: float) -> float:
        """Return for how many seconds from now the lease lasts; not above zero if it is over."""
        return min(self.lease_boot - boot, self.lease_wall - wall)

    def knows(self, index: bytes, now: Moment) -> bool:
        """Return whether there is an entry that may be relied on now."""
        entry = self.entries.get(index) or self.absent.get(index)
        return entry is not None and self.holds(entry, now.boot, now.wall)

    def apply(self, answer: SyncAnswer, *, since: int, hinted: int, sent_at: Moment) -> Applied:
        """Raise the fence, drop what fell below it, and only then extend the lease."""
        with self._lock:
            self._begin()
            applied = self.fence.apply(answer, since=since, hinted=hinted, sent_at=sent_at)
            self._drop_raised()
            if applied is Applied.DONE:
                self._lease(self._bound)
            return applied

    def admit(
        self,
        index: bytes,
        chain: Chain | None,
        *,
        heads: Mapping[str, LogHead],
        proof: Moment | None,
    ) -> bool:
        """Keep a chain, or that there is none, if each node's head was seen, and is at its floor.

        Both are checked here, where no other thread can take in a sync between check and keeping.
        ``proof`` is when the store was asked for all of it; without one the lease alone counts.
        """
        fence = self.fence
        boot = wall = float("-inf")
        if proof is not None:
            boot, wall = proof.boot + self._bound, proof.wall + self._bound
        with self._lock:
            if not fence.admits(heads):
                return False
            seen = tuple(heads.values())
            as_of = min([head.rev for head in seen])
            entry = Entry(index, chain, tuple(heads), seen, as_of, boot, wall)
            kept = self.absent if chain is None else self.entries
            if index in self.entries or index in self.absent:
                self._kill(self.entries.get(index))
                self._kill(self.absent.get(index))
            if (
                len(self.absent) >= ABSENT_MAX
                or len(self.entries) >= self._size_max
                or len(self._order) >= 2 * self._size_max
            ):
                self._make_room()
            users = self._users
            for node in heads:
                if node in users:
                    users[node].add(entry)
                else:
                    users[node] = {entry}
            if chain is not None:
                self._order.append(entry)
            kept[index] = entry  # last: what nothing could end must not be found either
            return True

    def held(self, node: str) -> tuple[StoredNode, LogHead] | None:
        """Return a node of a chain that is kept, as it was when that was read.

        One whose head is forgotten by now could not be admitted again, so it is not lent.
        """
        with self._lock:
            for entry in islice(self._users.get(node, ()), _LENDERS_MAX):
                stored = None if entry.chain is None else entry.chain.nodes.get(node)
                head = entry.head_of(node)
                if stored is not None and self.fence.has_seen(head):
                    return stored, head
            return None

    def raise_floors(self, nodes: Iterable[str], head: LogHead) -> None:
        """Require what a change of this process's own wrote, without waiting for a sync."""
        with self._lock:
            self._begin()
            self.fence.wrote(nodes, head)
            self._drop_raised()

    def hint(self, nodes: Iterable[str], rev: int, epoch: bytes) -> Heard:
        """Take in what a message says; entries that are older than that end here and now."""
        with self._lock:
            self._begin()
            heard = self.fence.hint(nodes, rev, epoch)
            self._drop_raised()
            return heard

    def extend(self) -> None:
        """Let the lease last for the grace as well: the store cannot be reached."""
        with self._lock:
            self._lease(self._bound + self._grace)

    def _lease(self, bound: float) -> None:
        synced_at = self.fence.synced_at
        if synced_at is not None:
            self.lease_wall = synced_at.wall + bound
            self.lease_boot = synced_at.boot + bound

    def _begin(self) -> None:
        """Forget everything if whoever raised floors before this was interrupted meanwhile.

        A signal's handler may raise anywhere, and what should have ended then may be alive.
        """
        if self._raising:
            self.fence.reset(self.fence.epoch)
        self._raising = True

    def _drop_raised(self) -> None:
        """End what fell below the fence since ``_begin``."""
        fence = self.fence
        if fence.resets != self._resets:
            self._resets = fence.resets
            self.lease_boot = self.lease_wall = float("-inf")
            self._kill_older_than(None)
        elif fence.floor_all > self._floor_all:
            self._kill_older_than(fence.floor_all)
        self._floor_all = fence.floor_all
        for node in fence.take_raised():
            floor = fence.floor(node)
            for entry in tuple(self._users.get(node, ())):
                if entry.head_of(node).rev < floor:
                    self._kill(entry)
        self._raising = False

    def _kill_older_than(self, as_of: int | None) -> None:
        for entry in [*self.entries.values(), *self.absent.values()]:
            if as_of is None or entry.as_of < as_of:
                self._kill(entry)

    def _kill(self, entry: Entry | None) -> None:
        if entry is None or not entry.alive:
            return
        entry.alive = False
        kept = self.absent if entry.chain is None else self.entries
        if kept.get(entry.index) is entry:
            del kept[entry.index]
        for node in entry.nodes:
            users = self._users[node]
            users.discard(entry)
            if not users:
                del self._users[node]

    def _make_room(self) -> None:
        """Second chance: what was used since it was last looked at stays."""
        while len(self.absent) >= ABSENT_MAX:
            self._kill(next(iter(self.absent.values())))
        chances = _CHANCES
        while self._order and (
            len(self.entries) >= self._size_max or len(self._order) >= 2 * self._size_max
        ):
            entry = self._order.popleft()
            if entry.alive and entry.uses != entry.seen and chances:
                chances -= 1
                entry.seen = entry.uses
                self._order.append(entry)
            else:
                self._kill(entry)
