"""The claim holds in every state of a small machine, and every weakening of it is found."""

from __future__ import annotations

import os

import pytest

from tests.model.fence import BOUND, Machine, State
from tests.model.search import FoundError, search

DEEP = os.environ.get("HYPOTHESIS_PROFILE") == "deep"
SIZES = ((1, 1), (2, 1), (1, 2)) if DEEP else ((1, 1), (2, 1))
"""Commits after the first, and syncs under way at once; more of both takes minutes."""

WEAKENINGS = (
    "lease_from_answer",
    "proof_from_answer",
    "no_lease",
    "floors_unchecked",
    "message_proves",
    "own_unfenced",
    "own_dropped_by_any_sync",
)


def explore(machine: Machine) -> int:
    """Visit every state of a machine."""
    return search(State(), machine.successors, machine.broken)


@pytest.mark.parametrize(("commits", "syncs"), SIZES)
def test_no_state_accepts_a_key_after_the_bound(commits: int, syncs: int):
    """Whatever order things happen in, a key that ended is not accepted for longer than that."""
    assert explore(Machine(commits=commits, syncs=syncs)) > 30_000


@pytest.mark.parametrize("weakening", WEAKENINGS)
def test_every_weakening_is_found(weakening: str):
    """The machine has what each rule of the protocol is there for."""
    with pytest.raises(FoundError, match="accepted"):
        explore(Machine(commits=2, syncs=1, **{weakening: True}))


def test_the_bound_is_reached():
    """A claim of one tick less is broken: the machine is as late as it may be."""
    with pytest.raises(FoundError, match=f"accepted {BOUND} ticks after"):
        explore(Machine(commits=1, syncs=1, claim=BOUND - 1))
