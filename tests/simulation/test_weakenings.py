"""The test of the test: every way to weaken the protocol is found."""

from __future__ import annotations

import pytest

from tests.simulation.claim import ViolationError
from tests.simulation.host_weakenings import HOST_WEAKENINGS
from tests.simulation.message_weakenings import MESSAGE_WEAKENINGS
from tests.simulation.shared_weakenings import SHARED_WEAKENINGS
from tests.simulation.store import SimulatedStore
from tests.simulation.walk import walk
from tests.simulation.weakenings import OUT_OF_ORDER, SHOWN_BY, STEPS, WALKS_MAX, WEAKENINGS


@pytest.mark.usefixtures("_untraced")
@pytest.mark.parametrize("weaken", WEAKENINGS, ids=lambda weaken: weaken.__name__)
def test_every_weakening_is_found(weaken, patch):
    """A protocol that lacks any one of its rules does not get through the simulation."""
    find(weaken, patch, moods=(None, "changes"))


@pytest.mark.usefixtures("_untraced")
@pytest.mark.parametrize("weaken", OUT_OF_ORDER, ids=lambda weaken: weaken.__name__)
def test_every_sync_that_is_taken_in_too_late_is_found(weaken, patch):
    """What a store lost does not come back because its answer came late."""
    find(weaken, patch, shared=True, moods=("overtakings",))


@pytest.mark.usefixtures("_untraced")
@pytest.mark.parametrize("weaken", SHARED_WEAKENINGS, ids=lambda weaken: weaken.__name__)
def test_every_belief_in_the_shared_cache_is_found(weaken, patch):
    """A worker that believes Redis in anything does not get through the simulation."""
    find(weaken, patch, shared=True, moods=("records", "misdeeds", "restores"))


@pytest.mark.usefixtures("_untraced")
@pytest.mark.parametrize("weaken", MESSAGE_WEAKENINGS, ids=lambda weaken: weaken.__name__)
def test_every_belief_in_messages_is_found(weaken, patch):
    """A worker that takes a message for a proof, or does not heed it, is found."""
    find(weaken, patch, shared=True, moods=("messages", "misuses", "records"))


@pytest.mark.usefixtures("_untraced")
@pytest.mark.parametrize("weaken", HOST_WEAKENINGS, ids=lambda weaken: weaken.__name__)
def test_every_neglect_of_what_hosts_commit_is_found(weaken, patch):
    """A protocol that lacks a rule about host transactions does not get through the simulation."""
    find(weaken, patch, moods=("hosts", "losses"))


def find(weaken, patch, *, shared=None, moods=(None,)):
    """Take walks, in the moods in which this matters most, until one shows the weakening."""
    store = weaken(patch) or SimulatedStore
    for seed in [*SHOWN_BY.get(weaken.__name__, ()), *range(WALKS_MAX)]:
        try:
            walk(seed, STEPS, shared=shared, mood=moods[seed % len(moods)], store=store)
        except ViolationError:
            return
    pytest.fail(f"not found in {WALKS_MAX} walks: {weaken.__doc__}")
