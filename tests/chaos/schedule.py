"""What happens when, made of a seed and nothing else."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.chaos.changes import KINDS
from tests.chaos.faults import FAULTS, NOTHING

if TYPE_CHECKING:
    from collections.abc import Sequence

MANY = 200
"""Changes from which on everything is tried, and under full load as well."""

CALM = 0.2
"""The share of all changes that are made while nothing is wrong, at each load."""

TOGETHER = 6
"""Changes during one fault, at most."""

GAP = 0.15
"""Seconds between two changes while nothing is wrong, on average."""


@dataclass(frozen=True, slots=True)
class Planned:
    """A change of a kind, so many seconds after the fault began; it may be before that."""

    at: float
    kind: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Episode:
    """A fault, at whom it is aimed, how long it lasts, and what is changed meanwhile."""

    fault: str
    aim: int
    lasts: float
    full_load: bool
    changes: tuple[Planned, ...]


def schedule(
    seed: int, changes: int, workers: int, faults: Sequence[str] | None = None
) -> list[Episode]:
    """Return what is to happen, with that many changes in all."""
    chance = random.Random(seed)
    several = list(faults or _usual(changes))
    episodes = list[Episode]()
    if NOTHING in several:
        several.remove(NOTHING)
        calm = round(changes * CALM)
        loads = (False, True) if changes >= MANY else (False,)
        for at, full in enumerate(loads):
            share = calm if several else -(-changes // (len(loads) - at))
            episodes.append(_episode(chance, NOTHING, share, share * GAP, workers, full_load=full))
            changes -= share
    while changes > 0 and several:
        chance.shuffle(several)
        for at, name in enumerate(several):
            count = min(TOGETHER, -(-changes // (len(several) - at)))
            if count:
                lasts = FAULTS[name].lasts * chance.uniform(0.9, 1.1)
                episodes.append(_episode(chance, name, count, lasts, workers))
                changes -= count
    return episodes


def _usual(changes: int) -> list[str]:
    several = [name for name, fault in FAULTS.items() if not fault.watched]
    return several if changes >= MANY else [name for name in several if FAULTS[name].essential]


def _episode(
    chance: random.Random,
    fault: str,
    count: int,
    lasts: float,
    workers: int,
    *,
    full_load: bool = False,
) -> Episode:
    # The first is committed about when the fault begins: what was under way then is what is lost.
    later = [chance.uniform(0, lasts) for _ in range(count - 1)]
    moments = [chance.uniform(-0.05, 0.05), *later][:count]
    kinds = list(KINDS)
    planned = [Planned(at, chance.choice(kinds)) for at in sorted(moments)]
    return Episode(
        fault=fault,
        aim=chance.randrange(workers),
        lasts=lasts,
        full_load=full_load,
        changes=tuple(planned),
    )
