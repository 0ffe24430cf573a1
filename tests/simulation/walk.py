"""Seeded walks through the world: which events happen, and how often."""

from __future__ import annotations

import random
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from keybound.caches import local
from keybound.core import fence
from keybound.stores import memory, rules
from tests.simulation.channel import MISUSES
from tests.simulation.claim import ViolationError
from tests.simulation.scheduler import LINES, Fate
from tests.simulation.shared_cache import MISDEEDS
from tests.simulation.store import SimulatedStore
from tests.simulation.world import Scene, World

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

TASKS_MAX = 10
PASSING = (1 / 64, 0.5, 1.5, 4.0, 20.0, 70.0)
"""Seconds that pass at once; binary fractions, so that adding them up is exact."""

JUMPS = (-3_600.0, -7.0, -0.5, 0.5, 7.0, 3_600.0)
"""Seconds by which a wall clock is moved."""

_VERBS = {"disable": 5, "enable": 9, "restrict": 2, "widen": 4, "rename": 1, "revoke": 0.7}
_FATES = {Fate.ANSWERED: 30, Fate.ANSWERED_LATE: 4, Fate.LOST: 1, Fate.ANSWER_LOST: 1}

_NO_RESTORES = {"restore": 0.0, "back_up": 0.0}
MOODS: Mapping[str, Mapping[str, float]] = {
    "anything": {},
    "changes": _NO_RESTORES | {"switch_several": 6, "change": 2, "clock": 0, "prune": 0.2},
    "restores": {"restore": 6, "back_up": 4, "prune": 0.1, "clock": 0.2, "change": 2},
    "delays": _NO_RESTORES | {"sync": 0.3, "request": 0.6, "change": 2, "issue": 0, "prune": 0},
    "outages": _NO_RESTORES | {"cut_off": 4, "pass_time": 2, "prune": 0.2, "clock": 0.2},
    "misdeeds": _NO_RESTORES | {"misdeed": 8, "restart": 5, "prune": 0.1, "clock": 0, "change": 2},
    "records": _NO_RESTORES | {"sync": 0.1, "prune": 0, "issue": 0, "traffic": 0.2, "misdeed": 0.3},
    "messages": _NO_RESTORES | {"deliver": 4, "sync": 0.4, "change": 2, "prune": 0.1, "clock": 0},
    "misuses": {"misuse": 10, "deliver": 4, "restore": 3, "prune": 0.1, "clock": 0, "change": 2},
    "hosts": _NO_RESTORES | {"host_change": 10, "host_issue": 4, "change": 0.5, "prune": 0.2},
    "losses": {"host_loss": 80, "host_change": 3, "change": 0.5, "clock": 0, "prune": 0.1},
    "overtakings": {"overtake": 80, "change": 0.5, "restore": 0.1, "clock": 0, "prune": 0.1},
    "clocks": _NO_RESTORES | {"clock": 8, "pass_time": 2, "prune": 0.2},
}
"""What is more, or less, frequent than usual: some faults only show while others stay away."""


@contextmanager
def small_limits(*, changes_max: int) -> Iterator[None]:
    """Let everything that is bounded reach its bound soon."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fence, "CHANGES_MAX", changes_max)
        patch.setattr(memory, "CHANGES_MAX", changes_max)
        patch.setattr(local, "ABSENT_MAX", 2)
        patch.setattr(rules, "_PRUNE_EVERY", 3)
        yield


def walk(
    seed: int,
    steps: int,
    *,
    mood: str | None = None,
    shared: bool | None = None,
    store: type[SimulatedStore] = SimulatedStore,
) -> World:
    """Take that many steps of the scheduler; raises ``ViolationError`` naming the seed."""
    chance = random.Random(seed)
    scene = Scene(
        workers=chance.choice((1, 2, 2, 3)),
        grace=chance.choice((0.0, 10.0)),
        floors_max=chance.choice((3, 50)),
        cache_size_max=chance.choice((1, 3, 50, 50)),
        cache_compiled_max=chance.choice((1, 2, 50)),
        history_max=chance.choice((3, 10_000, 10_000)),
        boot_counts_sleep=chance.random() < 0.5,
        shared=chance.random() < 0.6 if shared is None else shared,
    )
    mood = mood or chance.choice(list(MOODS))
    world = World(seed, scene, store=store)
    factors = MOODS[mood]
    events = [event for event, _ in _EVENTS.values()]
    weights = [weight * factors.get(name, 1) for name, (_, weight) in _EVENTS.items()]
    try:
        with small_limits(changes_max=chance.choice((2, 8))):
            while world.scheduler.steps < steps:
                busy = len(world.scheduler.tasks) >= TASKS_MAX
                event = _step if busy else chance.choices(events, weights)[0]
                event(world, chance)
            world.settle()
    except ViolationError as violation:
        replay = f"pytest tests/simulation/test_walks.py --seed {seed} --sim-steps {steps}"
        history = "\n".join(world.scheduler.events)
        msg = f"seed {seed}, {steps} steps (replay: {replay}): {violation}\nBefore:\n{history}"
        raise ViolationError(msg) from None
    return world


def _any(chance: random.Random) -> int:
    return chance.randrange(1 << 16)


def _step(world: World, chance: random.Random) -> None:
    fate = chance.choices(list(_FATES), list(_FATES.values()))[0]
    line = chance.randint(1, LINES) if chance.random() < 0.3 else 0
    world.step(_any(chance), fate, line=line)
    if len(world.scheduler.tasks) >= TASKS_MAX and chance.random() < 0.05:
        world.kill(_any(chance))  # all may be of a worker that stands still


def _request(world: World, chance: random.Random) -> None:
    world.request(_any(chance), _any(chance), _any(chance))


def _change(world: World, chance: random.Random) -> None:
    verb = chance.choices(list(_VERBS), list(_VERBS.values()))[0]
    world.change(_any(chance), verb, _any(chance))


def _host_change(world: World, chance: random.Random) -> None:
    verb = chance.choices(list(_VERBS), list(_VERBS.values()))[0]
    world.change_with_host(_any(chance), verb, _any(chance), dies=chance.random() < 0.5)


def _host_issue(world: World, chance: random.Random) -> None:
    world.issue(_any(chance), _any(chance), dies=chance.random() < 0.5)


def _host_loss(world: World, chance: random.Random) -> None:
    """Let somebody load what a host has just committed, and the store lose that."""
    worker, credential = _any(chance), _any(chance)
    world.back_up()
    if chance.random() < 0.5:
        world.restart(worker)
        world.scheduler.finish(world.sync(worker))
    _host_change(world, chance)
    world.finish(-1)
    for _ in range(chance.choice((1, 3))):
        world.request(worker, credential, 1)
        world.finish(-1)
    world.traffic(worker)
    world.restore()


def _overtake(world: World, chance: random.Random) -> None:
    verbs = chance.choices(list(_VERBS), list(_VERBS.values()), k=chance.choice((2, 3, 3)))
    world.overtake(_any(chance), _any(chance), verbs, synced=chance.random() < 0.5)


def _switch_several(world: World, chance: random.Random) -> None:
    count = chance.choice((2, 2, 3, 4))
    world.switch_several(_any(chance), _any(chance), count, enabled=chance.random() < 0.6)


def _clock(world: World, chance: random.Random) -> None:
    # One of its two clocks may deceive a machine, not both: then nothing would tell.
    if world.scene.boot_counts_sleep:
        world.set_wall_clock(_any(chance), chance.choice(JUMPS))
    else:
        world.suspend(_any(chance), chance.choice(PASSING))


def _pause(world: World, chance: random.Random) -> None:
    number = _any(chance) % len(world.workers)
    if world.workers[number].paused or chance.random() < 0.3:
        world.pause(number)


def _cut_off(world: World, chance: random.Random) -> None:
    number = _any(chance) % len(world.workers)
    if world.workers[number].cut_off or chance.random() < 0.3:
        world.cut_off(number)


_EVENTS: Mapping[str, tuple[Callable[[World, random.Random], object], float]] = {
    "step": (_step, 140),
    "request": (_request, 50),
    "traffic": (lambda world, chance: world.traffic(_any(chance)), 5),
    "finish": (lambda world, chance: world.finish(_any(chance)), 60),
    "sync": (lambda world, chance: world.sync(_any(chance)), 16),
    "pass_time": (
        lambda world, chance: world.pass_time(chance.choices(PASSING, (3, 4, 6, 6, 1, 0.5))[0]),
        25,
    ),
    "change": (_change, 10),
    "switch_several": (_switch_several, 5),
    "host_change": (_host_change, 3),
    "host_issue": (_host_issue, 0.3),
    "host_loss": (_host_loss, 0.2),
    "overtake": (_overtake, 0.2),
    "issue": (lambda world, chance: world.issue(_any(chance), _any(chance)), 1.5),
    "clock": (_clock, 3),
    "pause": (_pause, 2),
    "cut_off": (_cut_off, 3),
    "kill": (lambda world, chance: world.kill(_any(chance)), 0.5),
    "restart": (lambda world, chance: world.restart(_any(chance)), 0.3),
    "prune": (lambda world, chance: world.prune(chance.choice((1, 2, 3, 5))), 5),
    "back_up": (lambda world, _chance: world.back_up(), 1.5),
    "restore": (lambda world, _chance: world.restore(), 1),
    "write_shared": (lambda world, chance: world.write_shared(_any(chance)), 12),
    "misdeed": (lambda world, chance: world.befall_shared(chance.choice(MISDEEDS)), 3),
    "deliver": (lambda world, chance: world.deliver(_any(chance)), 25),
    "misuse": (lambda world, chance: world.befall_channel(chance.choice(MISUSES)), 2),
    "settle": (lambda world, _chance: world.settle(), 0.5),
}
"""Each event, and how frequent it is when nothing else is said."""
