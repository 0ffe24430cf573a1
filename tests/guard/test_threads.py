"""A system that has no thread left for a moment: nobody is refused for it, then or later."""

from __future__ import annotations

import random
import time

import pytest

from keybound import Guard
from keybound.core.decision import Allowed
from keybound.threads import begin
from tests.caches.conftest import wait_until


def test_work_is_begun_or_not_and_nothing_is_raised(no_threads):
    """Whoever wants a thread is told whether there is one."""
    done: list[int] = []
    with no_threads():
        assert begin(done.append, 1, name="a test") is None
    thread = begin(done.append, 2, name="a test")
    assert thread.daemon
    thread.join()
    assert done == [2]


def test_the_generator_of_an_application_is_left_alone(guards):
    """Who seeds it, as tests do, gets what that promises, whatever happens in our threads."""
    guard, other = guards
    issued = other.issue(name="CI")
    random.seed(1)
    before = random.getstate()
    assert accepts(guard, issued)
    other.revoke(issued.id)
    wait_until(lambda: not accepts(guard, issued))
    assert random.getstate() == before


@pytest.fixture
def guards(tmp_path):
    """Return a guard whose lease lasts for long, and another one that makes the changes."""
    database = str(tmp_path / "keys.db")
    made = [
        Guard.from_settings(database=database, sync_every=0.05, revoke_within=60) for _ in range(2)
    ]
    yield made
    for guard in made:
        guard.close()


def accepts(guard, issued):
    """Return whether a guard lets a key in."""
    raw = b"Bearer " + issued.secret.reveal().encode()
    return isinstance(guard.authorize("GET", "/", None, raw), Allowed)


def test_syncs_begin_once_there_are_threads(guards, no_threads):
    """Good keys are let in meanwhile; from the next key that is asked for on, changes are seen."""
    guard, other = guards
    keys = [other.issue(name="CI") for _ in range(3)]
    with no_threads():
        assert all(accepts(guard, key) for key in keys[:2])
    other.revoke(keys[0].id)
    time.sleep(0.3)
    assert accepts(guard, keys[0])  # within the lease, with nobody who syncs
    assert accepts(guard, keys[2])
    wait_until(lambda: not accepts(guard, keys[0]))


def test_uses_are_recorded_once_there_are_threads(tmp_path, no_threads):
    """What was counted meanwhile is recorded with what comes later."""
    guard = Guard.from_settings(database=str(tmp_path / "keys.db"), usage_every=0.05)
    issued = guard.issue(name="CI")
    with no_threads():
        assert accepts(guard, issued)
    guard.disable(issued.id)
    assert not accepts(guard, issued)
    wait_until(lambda: guard.show(issued.id).usage.refusals == 1)
    assert guard.show(issued.id).usage.uses == 1
    guard.close()
