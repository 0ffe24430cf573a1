"""The test of the test: every way to weaken the protocol is found."""

from __future__ import annotations

import pytest

from tests.simulation.claim import ViolationError
from tests.simulation.host_weakenings import HOST_WEAKENINGS
from tests.simulation.message_weakenings import MESSAGE_WEAKENINGS
from tests.simulation.shared_weakenings import SHARED_WEAKENINGS
from tests.simulation.walk import walk
from tests.simulation.weakenings import STEPS, WALKS_MAX, WEAKENINGS

_MOODS = ("records", "misdeeds", "restores")
"""Moods in which what comes from the shared cache matters most."""

_LOUD = ("messages", "misuses", "records")
"""Moods in which what is announced matters most."""


@pytest.mark.usefixtures("_untraced")
@pytest.mark.parametrize("weaken", WEAKENINGS, ids=lambda weaken: weaken.__name__)
def test_every_weakening_is_found(weaken, patch):
    """A protocol that lacks any one of its rules does not get through the simulation."""
    store = weaken(patch)
    for seed in range(WALKS_MAX):
        try:
            walk(seed, STEPS, store=store)
        except ViolationError:
            return
    pytest.fail(f"not found in {WALKS_MAX} walks: {weaken.__doc__}")


@pytest.mark.usefixtures("_untraced")
@pytest.mark.parametrize("weaken", SHARED_WEAKENINGS, ids=lambda weaken: weaken.__name__)
def test_every_belief_in_the_shared_cache_is_found(weaken, patch):
    """A worker that believes Redis in anything does not get through the simulation."""
    weaken(patch)
    for seed in range(WALKS_MAX):
        try:
            walk(seed, STEPS, shared=True, mood=_MOODS[seed % len(_MOODS)])
        except ViolationError:
            return
    pytest.fail(f"not found in {WALKS_MAX} walks: {weaken.__doc__}")


@pytest.mark.usefixtures("_untraced")
@pytest.mark.parametrize("weaken", MESSAGE_WEAKENINGS, ids=lambda weaken: weaken.__name__)
def test_every_belief_in_messages_is_found(weaken, patch):
    """A worker that takes a message for a proof, or does not heed it, is found."""
    weaken(patch)
    for seed in range(WALKS_MAX):
        try:
            walk(seed, STEPS, shared=True, mood=_LOUD[seed % len(_LOUD)])
        except ViolationError:
            return
    pytest.fail(f"not found in {WALKS_MAX} walks: {weaken.__doc__}")


@pytest.mark.usefixtures("_untraced")
@pytest.mark.parametrize("weaken", HOST_WEAKENINGS, ids=lambda weaken: weaken.__name__)
def test_every_neglect_of_what_hosts_commit_is_found(weaken, patch):
    """A protocol that lacks a rule about host transactions does not get through the simulation."""
    store = weaken(patch)
    for seed in range(WALKS_MAX):
        try:
            walk(seed, STEPS, mood=("hosts", "losses")[seed % 2], store=store)
        except ViolationError:
            return
    pytest.fail(f"not found in {WALKS_MAX} walks: {weaken.__doc__}")
