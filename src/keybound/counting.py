"""How keys are used, counted in memory; without a lock on the way of a warm request.

A request that is let in adds one to the entry of its key, if that is kept. The first that does so
since entries were last looked through puts its entry in a line, so that looking through them costs
as much as there were keys in use; and an entry that dies meanwhile, for whatever reason, is still
in that line.
"""

from __future__ import annotations

from collections import deque
from threading import Lock
from typing import TYPE_CHECKING

from keybound.core.effects import UsageRow

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Protocol

    from keybound.core.chain import Chain

    class Used(Protocol):
        """What stands for a key in the cache: ``uses`` only ever grows, ``taken`` follows it."""

        chain: Chain | None
        uses: int
        used_at: float
        taken: int
        noted: bool


NOTED_MAX = 10_000
"""Keys in use after which the end of an interval is not waited for."""

KEYS_MAX = 100_000
"""Keys whose numbers are kept while the store takes none; then those kept longest are lost."""


class Counts:
    """What one process counted and has not handed over to the store; safe for threads.

    ``attend`` is called when an entry comes into the line, and when something is counted without
    one, with how many keys wait to be handed over for the first time.
    """

    def __init__(self, *, counting: bool = True) -> None:
        """Have counted nothing; unless ``counting``, never do."""
        self.begun = False
        self.attend: Callable[[int], None] | None = None
        self.counting = counting
        self._noted: deque[Used] = deque()
        self._lock = Lock()
        self._tallies: dict[str, UsageRow] = {}
        self._returned = 0
        self._lost = 0
        self._uses = 0

    @property
    def uses(self) -> int:
        """How many requests were let in by now."""
        with self._lock:
            self._look_through()
            return self._uses

    def note(self, entry: Used) -> None:
        """Take note of the first use of an entry since it was last looked at."""
        entry.noted = True
        if not self.counting:
            return
        self._noted.append(entry)
        noted = len(self._noted)
        if self.attend is not None:
            self.attend(noted + len(self._tallies) - self._returned)
        if noted >= 2 * NOTED_MAX:  # nobody came: an entry takes more room than its numbers
            with self._lock:
                self._look_through()

    def used(self, key: str, now: float) -> None:
        """Count a request that was let in for a key which has no entry to count it on."""
        if self.counting:
            self._count(UsageRow(key, 0.0, uses=1, used_at=now))

    def refused(self, key: str, now: float) -> None:
        """Count a refused request of a known key."""
        self._count(UsageRow(key, now, refusals=1, refused_at=now))

    def take_back(self, key: str) -> None:
        """Count one use less: the request is decided anew, since more is known of it."""
        self._count(UsageRow(key, 0.0, uses=-1))

    def stop(self) -> None:
        """Count no more, and forget what was counted."""
        self.counting = False
        with self._lock:
            self._noted.clear()
            self._tallies = {}

    def take(self, since: float) -> list[UsageRow]:
        """Return all of it, in order of ids, and keep none."""
        with self._lock:
            self._look_through()
            taken, self._tallies = self._tallies, {}
        return [taken[key]._replace(since=since) for key in sorted(taken)]

    def give_back(self, rows: Iterable[UsageRow]) -> None:
        """Keep what was taken and not recorded."""
        with self._lock:
            newer, self._tallies = self._tallies, {}
            for row in rows:  # what is kept longest comes first
                self._add(row)
            self._returned = len(self._tallies)
            for row in newer.values():
                self._add(row)

    def lose(self, rows: Iterable[UsageRow]) -> None:
        """Take note that nobody can tell whether these were recorded."""
        with self._lock:
            self._lost += sum(map(_requests, rows))

    def take_lost(self) -> int:
        """Return how many requests were counted and lost since this was last asked."""
        with self._lock:
            lost, self._lost = self._lost, 0
            return lost

    def _count(self, row: UsageRow) -> None:
        if not self.counting:
            return
        with self._lock:
            self._uses += row.uses
            self._add(row)
            waiting = len(self._noted) + len(self._tallies) - self._returned
        if self.attend is not None:
            self.attend(waiting)

    def _look_through(self) -> None:
        for _ in range(len(self._noted)):
            entry = self._noted.popleft()
            # First of all: whoever uses it from now on puts it in the line again.
            entry.noted = False
            uses = entry.uses
            new, entry.taken = uses - entry.taken, uses
            self._uses += new
            if new and entry.chain is not None:
                self._add(UsageRow(entry.chain.key.id, 0.0, uses=new, used_at=entry.used_at))

    def _add(self, row: UsageRow) -> None:
        known = self._tallies.get(row.key)
        if known is not None:
            self._tallies[row.key] = known.plus(row)
            return
        if len(self._tallies) >= KEYS_MAX:
            oldest = self._tallies.pop(next(iter(self._tallies)))
            self._lost += _requests(oldest)
        self._tallies[row.key] = row


def _requests(row: UsageRow) -> int:
    return row.uses + row.refusals
