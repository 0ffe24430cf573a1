"""What a run proved, request by request.

A worker may go by what was true at any moment of the last ``REVOKE_WITHIN`` seconds. When exactly a
request was decided, and when a change was committed, nobody knows: each lies between two moments
that were noted. An answer is a violation only if it is wrong wherever in between they lay, so that
a client, a worker or an operator that had to wait for a processor is never taken for one; and what
an answer may miss by that is what those moments are apart, which is reported.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.chaos.place import REVOKE_WITHIN
from tests.chaos.records import ACCEPTED, CUT, SILENT, UNDECIDED

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tests.chaos.changes import Change
    from tests.chaos.records import Seen

_REFUSED = {401, 403}


@dataclass(frozen=True, slots=True)
class Violation:
    """An answer that no order of things can explain."""

    seen: Seen
    change: Change | None
    """The last one of this key before it."""

    def __str__(self) -> str:
        """Say what was wrong, and by how much."""
        seen, change = self.seen, self.change
        told = f"worker {seen.worker} (process {seen.pid}) said {seen.status}"
        if change is None:
            return f"{told} for key {seen.key}, which was never changed"
        after = seen.began - change.answered
        return f"{told} for key {seen.key}, {after:.3f} s after {change.kind!r} in {change.fault!r}"


def violations(
    records: Iterable[Seen], changes: Iterable[Change], *, bound: float = REVOKE_WITHIN
) -> list[Violation]:
    """Return the answers that contradict the claim, and those that no worker may ever give."""
    found, by_key = list[Violation](), changes_by_key(changes)
    for seen in records:
        if seen.status in {UNDECIDED, CUT, SILENT}:
            continue
        history = by_key.get(seen.key, ())
        states = _may_be(history, seen, bound)
        wrong = (seen.status == ACCEPTED) not in states
        if wrong or (seen.status != ACCEPTED and seen.status not in _REFUSED):
            before = [change for change in history if change.answered < seen.began]
            found.append(Violation(seen, before[-1] if before else None))
    return found


def _may_be(history: Sequence[Change], seen: Seen, bound: float) -> set[bool]:
    """Return whether the key may have been accepted, and whether not, by what a worker may know."""
    states = {True}
    for change in history:
        if change.answered + bound < seen.began:
            states = {change.accepted}
        elif change.asked <= seen.decided:
            states.add(change.accepted)
    return states


def changes_by_key(changes: Iterable[Change]) -> dict[int, list[Change]]:
    """Return the changes of each key, in order."""
    by_key = defaultdict[int, list["Change"]](list)
    for change in sorted(changes, key=lambda each: each.asked):
        for key in change.keys:
            by_key[key].append(change)
    return dict(by_key)


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """How long after its commit a change took effect at one worker, in seconds.

    ``old`` is the last answer by what was true before, ``new`` the first by what is true now: the
    effect lies between them. ``None`` where there was no such answer.
    """

    change: Change
    worker: int
    old: float
    new: float | None


def effects(records: Iterable[Seen], changes: Sequence[Change], workers: int) -> list[Effect]:
    """Return what became of each change at each worker, the slower one of its keys."""
    by_key = changes_by_key(changes)
    old: dict[tuple[int, int], float] = {}
    new: dict[tuple[int, int, int], float] = {}
    for seen in records:
        history = by_key.get(seen.key)
        if history is None or (seen.status != ACCEPTED and seen.status not in _REFUSED):
            continue
        change = _before(history, seen)
        if change is None:
            continue
        after = max(0.0, seen.began - change.committed)
        if (seen.status == ACCEPTED) is not change.accepted:
            of = id(change), seen.worker
            old[of] = max(old.get(of, 0.0), after)
        else:
            new.setdefault((id(change), seen.worker, seen.key), after)
    return [
        Effect(
            change=change,
            worker=worker,
            old=old.get((id(change), worker), 0.0),
            new=_slowest([new.get((id(change), worker, key)) for key in change.keys]),
        )
        for change in changes
        for worker in range(workers)
    ]


def _before(history: Sequence[Change], seen: Seen) -> Change | None:
    """Return the last change before a request arrived, unless another was made meanwhile."""
    asked = [change for change in history if change.asked <= seen.decided]
    return asked[-1] if asked and asked[-1].asked <= seen.began else None


def wavering(records: Iterable[Seen], changes: Sequence[Change]) -> list[Seen]:
    """Return the answers by what was true before, of processes that had answered by what is true.

    Nobody promises that there are none within the bound, but there is no reason for one.
    """
    by_key = changes_by_key(changes)
    knew: dict[tuple[int, int, int], float] = {}
    found: list[Seen] = []
    for seen in records:
        if seen.key in by_key and (seen.status == ACCEPTED or seen.status in _REFUSED):
            change = _before(by_key[seen.key], seen)
            if change is None:
                continue
            of = id(change), seen.pid, seen.key
            if (seen.status == ACCEPTED) is change.accepted:
                knew[of] = min(knew.get(of, seen.decided), seen.decided)
            elif knew.get(of, seen.began) < seen.began:
                found.append(seen)
    return found


def _slowest(moments: Sequence[float | None]) -> float | None:
    known = [moment for moment in moments if moment is not None]
    return max(known) if len(known) == len(moments) else None
