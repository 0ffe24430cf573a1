"""The claim, under the real procedures: 120,000 steps in seeded walks."""

from __future__ import annotations

import pytest

from tests.simulation.claim import ViolationError
from tests.simulation.walk import small_limits, walk
from tests.simulation.world import BOUND, Scene, World


def test_no_decision_is_older_than_the_bound(seed, sim_steps):
    """Whatever fails, every decision was right within the last five seconds (and the grace)."""
    world = walk(seed, sim_steps)
    assert world.scheduler.steps >= sim_steps


def test_the_claim_could_not_be_stated_tighter():
    """The walks come right up to the bound, so that they would notice anything beyond it."""
    worlds = [walk(seed, 400) for seed in range(240)]
    assert sum(world.claim.accepts for world in worlds) > 1_000
    assert max(world.claim.latest for world in worlds if not world.scene.grace) >= 0.9 * BOUND


def test_the_same_seed_walks_the_same_way():
    """A violation can be replayed: nothing depends on anything but the seed."""
    first, second = walk(7, 500), walk(7, 500)
    assert first.scheduler.events == second.scheduler.events
    assert first.claim.accepts == second.claim.accepts


def test_a_violation_says_how_to_repeat_it(patch):
    """A failing walk names its seed and its steps, and shows what happened last."""
    patch.setattr("keybound.caches.local.LocalCache.holds", lambda *_: True)
    with pytest.raises(ViolationError, match="--seed 0 --sim-steps 2000") as violation:
        walk(0, 2_000)
    assert len(str(violation.value).splitlines()) == 32


def test_a_change_is_seen_after_the_next_sync():
    """While nothing fails, no worker needs the bound: one sync is enough."""
    with small_limits(changes_max=3):
        world = World(0, Scene(workers=3))
        for verb, target in (("disable", 0), ("enable", 0), ("restrict", 2), ("revoke", 2)):
            world.change(0, verb, target)
            world.finish(0)
            world.settle()
    assert world.claim.latest == 0
    assert world.claim.accepts > 0
