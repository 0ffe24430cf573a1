"""A process's memory of chains: a dictionary whose entries die when a floor rises above them.

Reading takes no lock: an entry is used only if it is alive *after* the lease was read, and the
lease is extended only after everything below the fence is dead. What is not ended with a floor is
used only if no floor was raised while it was looked at, which ``version`` tells.

As many chains as are in use are kept compiled. A key that has to make room is packed, and compiled
again whenever it is asked for, if it and every node above it were read at their floors; that takes
the lock, but nobody who decides waits for it. If it is asked for again soon it is kept compiled, so
that many keys which come once each take no room from those that come often.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, Final

from keybound.caches.shelf import Shelf
from keybound.core.fence import Applied, Fence
from keybound.core.terms import ChainPolicy

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from keybound.caches.packed import PackedKey
    from keybound.core.chain import Chain
    from keybound.core.effects import LogHead, Moment, SyncAnswer
    from keybound.core.fence import Heard
    from keybound.core.nodes import StoredNode

ABSENT_MAX = 4_096

NEVER_SEEN = -1
"""What ``seen`` of an entry is that was of use without letting anybody in."""

_CHANCES = 64
"""Second chances given before one entry must go: readers use entries while this holds the lock."""

_NEVER: Final = float("-inf")


@dataclass(slots=True, eq=False)
class Entry:
    """A chain, or ``None`` for a known absence, each node as read at the revision beside it.

    ``alive`` turns false for ever when a node of it changed. ``boot`` and ``wall`` say until when
    the read itself proves it. ``uses`` are requests that were let in for it, of which ``taken``
    are counted elsewhere, and ``noted`` says that the others will be; if there were more than
    ``seen`` it gets a second chance when room is needed. One that is not ``kept`` does not die: it
    holds until the lease under which it was made is over.
    """

    index: bytes
    chain: Chain | None
    nodes: tuple[str, ...]
    revs: tuple[int, ...]
    boot: float
    wall: float
    alive: bool = True
    uses: int = 0
    used_at: float = 0.0
    taken: int = 0
    noted: bool = False
    seen: int = 0
    kept: bool = True

    def rev_of(self, node: str) -> int:
        """Return the revision at which this node was read."""
        return self.revs[self.nodes.index(node)]


class LocalCache:
    """Up to ``size_max`` keys and 4,096 known absences, fenced and leased.

    Up to ``compiled_max`` keys are compiled; if there may be more, those that were are packed.
    ``version`` is odd while floors are being raised, and never the same again.
    """

    def __init__(
        self,
        *,
        bound: float,
        grace: float = 0.0,
        size_max: int = 100_000,
        compiled_max: int = 5_000,
        policy: ChainPolicy = ChainPolicy(),  # noqa: B008 - a value
    ) -> None:
        """Trust nothing yet; ``bound`` and ``grace`` are seconds."""
        compiled_max = min(compiled_max, size_max)
        self.fence = Fence()
        self.entries: dict[bytes, Entry] = {}
        self.absent: dict[bytes, Entry] = {}
        self.lease_boot = _NEVER
        self.lease_wall = _NEVER
        self._bound = bound
        self._grace = grace
        self._compiled_max = compiled_max
        self._shelf = Shelf(size_max if size_max > compiled_max else 0, policy)
        self._resets: int = self.fence.resets
        self._floor_all = 0
        self.version = 0
        self._users: dict[str, set[Entry]] = {}
        self._order: deque[Entry] = deque()
        self._lock = Lock()

    def holds(self, entry: Entry, boot: float, wall: float) -> bool:
        """Return whether an entry may be relied on at this reading of the clocks."""
        leased = entry.kept and boot <= self.lease_boot and wall <= self.lease_wall
        proved = boot <= entry.boot and wall <= entry.wall
        return (leased or proved) and entry.alive

    def leased_for(self, boot: float, wall: float) -> float:
        """Return for how many seconds from now the lease lasts; not above zero if it is over."""
        return min(self.lease_boot - boot, self.lease_wall - wall)

    def knows(self, index: bytes, now: Moment) -> bool:
        """Return whether there is an entry that may be relied on now."""
        entry = self.find(index, wait=True)
        return entry is not None and self.holds(entry, now.boot, now.wall)

    @property
    def packed(self) -> int:
        """How many keys are packed, be they compiled as well or not."""
        return len(self._shelf)

    def find(self, index: bytes, *, wait: bool = False) -> Entry | None:
        """Return what is known under an index; whether that may be relied on, `holds` says.

        Unless it is to ``wait``, a packed key is not found while somebody changes the cache.
        """
        entry = self.entries.get(index) or self.absent.get(index)
        if entry is not None or index not in self._shelf:
            return entry
        # Not `acquire`: a signal's handler that raises right after it would leave the lock taken.
        if self._lock.locked() and not wait:
            return None
        with self._lock:
            return self._compile(index)

    def peek(self, index: bytes) -> PackedKey | None:
        """Return a packed key on which terms alone decide, if it is at its floor; without a lock.

        It may be relied on under the lease, if ``version`` is even and the same as before.
        """
        key = self._shelf.peek(index)
        return key if key is not None and key.rev >= self.fence.floor(key.id) else None

    def comes_again(self, index: bytes) -> bool:
        """Return whether this was asked of the same index a short while ago: keep it, then."""
        return self._shelf.comes_again(index)

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
        boot = wall = _NEVER
        if proof is not None:
            boot, wall = proof.boot + self._bound, proof.wall + self._bound
        revs = tuple([head.rev for head in heads.values()])
        entry = Entry(index, chain, tuple(heads), revs, boot, wall)
        with self._lock:
            if self._raising() or not self.fence.admits(heads):
                return False
            self._kill(self.entries.get(index))
            self._kill(self.absent.get(index))
            self._shelf.drop(index)
            if chain is not None and len(chain.nodes) > 1:
                self._shelf.note(chain, heads)
            self._keep(entry)
            return True

    def held(self, node: str) -> tuple[StoredNode, LogHead] | None:
        """Return a node that is kept for the keys below it, as it was when it was read.

        One whose head is forgotten by now could not be admitted again, so it is not lent.
        """
        with self._lock:
            found = self._shelf.node(node)
            return found if found is not None and self.fence.admits({node: found[1]}) else None

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
        """Let the lease last for the grace as well: the store cannot be reached.

        It is not that of a sync which was seen by the fence, and ended nothing yet.
        """
        with self._lock:
            if not self._raising():
                self._lease(self._bound + self._grace)

    def _lease(self, bound: float) -> None:
        synced_at = self.fence.synced_at
        if synced_at is not None:
            self.lease_wall = synced_at.wall + bound
            self.lease_boot = synced_at.boot + bound

    def _begin(self) -> None:
        """Forget everything if whoever raised floors before this was interrupted meanwhile.

        A signal's handler may raise anywhere: what should have ended then may be alive, and floors
        may be forgotten. So until now, nothing was admitted, compiled, or leased for longer.
        """
        if self._raising():
            self.fence.reset(self.fence.epoch)
        else:
            self.version += 1

    def _raising(self) -> bool:
        return self.version % 2 == 1

    def _drop_raised(self) -> None:
        """End what fell below the fence since ``_begin``."""
        fence = self.fence
        if fence.resets != self._resets:
            self.lease_boot = self.lease_wall = _NEVER
            self._shelf.clear()
            self._resets = fence.resets
            self._kill_older_than(None)
        elif fence.floor_all > self._floor_all:
            self._kill_older_than(fence.floor_all)
        self._floor_all = fence.floor_all
        for node in fence.take_raised():
            floor = fence.floor(node)
            for entry in tuple(self._users.get(node, ())):
                if entry.rev_of(node) < floor:
                    self._kill(entry)
        self.version += 1

    def _kill_older_than(self, rev: int | None) -> None:
        for entry in [*self.entries.values(), *self.absent.values()]:
            if rev is None or min(entry.revs) < rev:
                self._kill(entry)

    def _keep(self, entry: Entry) -> None:
        """Let an entry be found, and ended."""
        if entry.chain is None:
            while len(self.absent) >= ABSENT_MAX:
                self._kill(next(iter(self.absent.values())))
        elif self._is_full():
            self._make_room()
        users = self._users
        for node in entry.nodes:
            if node in users:
                users[node].add(entry)
            else:
                users[node] = {entry}
        if entry.chain is None:
            self.absent[entry.index] = entry
            return
        self._order.append(entry)
        self.entries[entry.index] = entry  # last: what nothing could end must not be found either

    def _compile(self, index: bytes) -> Entry | None:
        """Return the entry of a key that is packed, if it may still be used."""
        known = self.entries.get(index) or self.absent.get(index)
        if known is not None or self._raising():
            return known
        found = self._shelf.take(index, self.fence)
        if found is None:
            return None
        chain, revs = found
        proved = self.lease_boot, self.lease_wall
        entry = Entry(index, chain, tuple(revs), tuple(revs.values()), *proved)
        entry.kept = self._shelf.comes_again(index)
        if entry.kept:
            self._keep(entry)
        return entry

    def _kill(self, entry: Entry | None) -> None:
        """End an entry, which may be half kept, or half ended, by whoever was interrupted at it."""
        if entry is None:
            return
        entry.alive = False
        kept = self.absent if entry.chain is None else self.entries
        if kept.get(entry.index) is entry:
            del kept[entry.index]
        for node in entry.nodes:
            users = self._users.get(node)
            if users is not None:
                users.discard(entry)
                if not users:
                    del self._users[node]

    def _is_full(self) -> bool:
        """Return whether there is room for no more keys, or for no more that ended meanwhile."""
        most = self._compiled_max
        return len(self.entries) >= most or len(self._order) >= 2 * most

    def _make_room(self) -> None:
        """Second chance: what was used since it was last looked at stays."""
        chances = _CHANCES
        while self._order and self._is_full():
            entry = self._order.popleft()
            if entry.alive and entry.uses != entry.seen and chances:
                chances -= 1
                entry.seen = entry.uses
                self._order.append(entry)
            else:
                try:
                    if entry.alive and entry.chain is not None:
                        rev = entry.rev_of(entry.chain.key.id)
                        self._shelf.put(entry.index, entry.chain, rev)
                finally:  # nobody comes back to it
                    self._kill(entry)
