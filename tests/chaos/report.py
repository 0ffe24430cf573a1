"""The figures of a run, as a table that people read."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.chaos.faults import FAULTS, NOTHING
from tests.chaos.place import REVOKE_WITHIN, SYNC_EVERY
from tests.chaos.records import ACCEPTED, UNDECIDED

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tests.chaos.changes import Change
    from tests.chaos.records import Seen
    from tests.chaos.running import Window
    from tests.chaos.verdict import Effect

_HEAD = (
    f"{'fault':30} {'worker':20} {'asked':>7} {'200':>7} {'503':>6} {'other':>5} "
    f"{'answered, ms':>17} | {'changes':>7} {'last accept, ms':>21} | {'first accept, ms':>21}"
)
_SUB = (
    f"{'':30} {'':20} {'':>7} {'':>7} {'':>6} {'':>5} {'median   p99  max':>17} | {'':>7} "
    f"{'median    p99    max':>21} | {'median    p99    max':>21}"
)

_CALM, _FULL = "everything up, half load", "everything up, full load"
_ONE, _STORE = "one part gone", "the database gone or ill for everybody"
_AIMED = "the worker that is cut off, paused or killed"
_GOALS = {
    _CALM: "to reach: median < 5, p99 < 25",
    _FULL: "to reach: median < 5, p99 < 50",
    _ONE: f"to reach: max < {(SYNC_EVERY + 0.25) * 1_000:.0f}",
    _STORE: f"never above {REVOKE_WITHIN * 1_000:.0f}",
    _AIMED: f"never above {REVOKE_WITHIN * 1_000:.0f}",
}
"""What the effects of ending changes are compared with, in milliseconds, by what was up."""

Row = tuple[str, str]
"""A fault, and a kind of worker."""


@dataclass(slots=True)
class Figures:
    """What there is to say in one row."""

    asked: int = 0
    accepted: int = 0
    undecided: int = 0
    took: list[float] = field(default_factory=list[float])
    ending: list[float] = field(default_factory=list[float])
    enabling: list[float] = field(default_factory=list[float])


def rank(numbers: Sequence[float], share: float) -> float:
    """Return the number that this share of them is not above."""
    ordered = sorted(numbers)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def table(
    kinds: Sequence[str],
    good: range,
    records: Iterable[Seen],
    windows: Sequence[Window],
    found: Sequence[Effect],
) -> list[str]:
    """Return the lines: for every fault and kind of worker what became of good keys and changes."""
    rows = defaultdict[Row, Figures](Figures)
    for seen, window in _in_windows(records, windows, good):
        aimed = seen.worker == window.aim
        figures = rows[_row(window.fault, window.full_load, kinds[seen.worker], aimed)]
        figures.asked += 1
        figures.accepted += seen.status == ACCEPTED
        figures.undecided += seen.status == UNDECIDED
        figures.took.append(seen.received - seen.sent)
    for effect in found:
        change = effect.change
        aimed = effect.worker == change.aim
        figures = rows[_row(change.fault, change.full_load, kinds[effect.worker], aimed)]
        if not change.accepted:
            figures.ending.append(effect.old)
        elif effect.new is not None:
            figures.enabling.append(effect.new)
    order = list(FAULTS)
    named = sorted(rows.items(), key=lambda each: (order.index(_fault(each[0])), each[0]))
    legend = "*: the worker that it is aimed at. asked: for keys that nobody changes, meanwhile"
    return [_HEAD, _SUB, *(_line(row, figures) for row, figures in named), legend]


def summary(
    seed: int,
    changes: Sequence[Change],
    windows: Sequence[Window],
    found: Sequence[Effect],
    wavered: Sequence[Seen],
) -> list[str]:
    """Return the lines beneath it: the run as a whole, against what it is to reach."""
    took = [change.answered - change.asked for change in changes if change.attempts == 1]
    lag = [change.answered - change.committed for change in changes if change.attempts == 1]
    recovered = max(windows, key=lambda window: window.recovered_after)
    again = sum(change.attempts > 1 for change in changes)
    enabling = sum(change.accepted for change in changes)
    announced = sum(change.announced for change in changes)
    lines = [
        f"seed {seed}: {len(changes)} changes in {len(windows)} faults",
        f"{enabling} enabling, {announced} announced, {again} that had to be made again",
        f"a change took {_three(took)} ms (median, p99, max)",
        f"from commit to receipt {_three(lag)} ms; what follows is counted from the commit",
        f"{len(wavered)} answers by what was true before, of a process that knew better already",
        f"the slowest recovery took {recovered.recovered_after:.2f} s, after {recovered.fault!r}",
    ]
    groups = defaultdict[str, list["Effect"]](list)
    for effect in found:
        if not effect.change.accepted:
            groups[_group(effect)].append(effect)
    for name, goal in _GOALS.items():
        if several := groups.get(name):
            new = [each.new for each in several if each.new is not None]
            last, first = _three([each.old for each in several]), _three(new)
            lines.append(f"{name}: last accept {last} ms ({goal}), first refusal {first} ms")
    return lines


def _in_windows(
    records: Iterable[Seen], windows: Sequence[Window], good: range
) -> Iterable[tuple[Seen, Window]]:
    """Yield the requests for good keys that were made while a fault was there."""
    ordered = sorted(windows, key=lambda window: window.began)
    starts = [window.began for window in ordered]
    for seen in records:
        window = ordered[max(0, bisect_right(starts, seen.sent) - 1)]
        if window.began <= seen.sent <= window.ended and seen.key in good:
            yield seen, window


def _row(fault: str, full_load: bool, kind: str, aimed: bool) -> Row:  # noqa: FBT001
    load = ", full load" if full_load else ""
    return f"{fault}{load}", f"* {kind}" if aimed else kind


def _fault(row: Row) -> str:
    return row[0].removesuffix(", full load")


def _group(effect: Effect) -> str:
    """Return what an effect is compared with others by."""
    change = effect.change
    if change.fault == NOTHING:
        return _FULL if change.full_load else _CALM
    if effect.worker == change.aim:
        return _AIMED
    return _STORE if change.fault.startswith("database") and change.aim is None else _ONE


def _three(seconds: Sequence[float]) -> str:
    if not seconds:
        return "-"
    return "  ".join(f"{rank(seconds, share) * 1_000:.1f}" for share in (0.5, 0.99, 1.0))


def _line(row: Row, figures: Figures) -> str:
    other = figures.asked - figures.accepted - figures.undecided
    answered = _ranks(figures.took, "{:6.1f}{:6.0f}{:5.0f}", 17)
    ending = _ranks(figures.ending, "{:7.1f}{:7.0f}{:7.0f}", 21)
    enabling = _ranks(figures.enabling, "{:7.1f}{:7.0f}{:7.0f}", 21)
    changes = len(figures.ending) + len(figures.enabling)
    return (
        f"{row[0]:30} {row[1]:20} {figures.asked:7} {figures.accepted:7} {figures.undecided:6} "
        f"{other:5} {answered} | {changes:7} {ending} | {enabling}"
    )


def _ranks(seconds: Sequence[float], form: str, width: int) -> str:
    if not seconds:
        return "-".rjust(width)
    return form.format(*(rank(seconds, share) * 1_000 for share in (0.5, 0.99, 1.0)))
