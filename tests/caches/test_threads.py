"""Redis where the system has no thread left for a moment: nothing is broken by it for good."""

from __future__ import annotations

import pytest

from keybound import Guard, breaker
from keybound.caches import offers
from keybound.caches.late import Late
from keybound.core.decision import Allowed
from keybound.core.errors import CacheError
from tests.caches.conftest import Fleet, wait_until


@pytest.fixture
def fleet(redis_url):
    """Return a fleet of guards that need no thread to ask the store."""
    made = Fleet(Guard, redis_url)
    yield made
    made.end()


@pytest.fixture
def keys(fleet):
    """Return keys that nobody has announced."""
    return [fleet.join(redis=None).issue(name="CI") for _ in range(6)]


def test_a_process_listens_once_there_are_threads(fleet, keys, no_threads):
    """From the next key on that is asked for."""
    guard = fleet.join(background=True, sync_every=20.0, revoke_within=60.0)
    with no_threads():
        assert isinstance(guard.ask(keys[0]), Allowed)
    listener = guard.guard.engine.listener
    assert not listener.listens
    assert isinstance(guard.ask(keys[1]), Allowed)
    wait_until(lambda: listener.listens)


def test_records_are_offered_once_there_are_threads(
    fleet, keys, no_threads, monkeypatch, redis_client
):
    """As many as may wait until then, however many there were."""
    monkeypatch.setattr(offers, "OFFERS_MAX", 2)
    guard = fleet.join()
    with no_threads():
        assert all(isinstance(guard.ask(key), Allowed) for key in keys[:3])
    assert redis_client.dbsize() == 0
    assert isinstance(guard.ask(keys[3]), Allowed)
    wait_until(lambda: redis_client.dbsize() == 2)
    assert guard.guard.engine.shared.link.offers.dropped == 2
    assert isinstance(guard.ask(keys[4]), Allowed)
    wait_until(lambda: redis_client.dbsize() == 3)


def test_names_are_found_once_there_are_threads(fleet, keys, no_threads, monkeypatch, caplog):
    """Meanwhile the store is asked, and Redis is left alone as when it does not answer."""
    monkeypatch.setattr(breaker, "REST", 0.0)
    fleet.url = fleet.url.replace("127.0.0.1", "localhost")
    guard = fleet.join()
    with no_threads():
        assert isinstance(guard.ask(keys[0]), Allowed)
    link = guard.guard.engine.shared.link
    assert link.breaker.open
    assert "cannot be used (there is no thread to be had for it)" in caplog.text
    assert isinstance(guard.ask(keys[1]), Allowed)
    assert not link.breaker.open


def test_what_may_be_late_is_asked_anew_once_there_are_threads(no_threads):
    """A call that was never made is not waited for."""
    late = Late(lambda: "answer", name="a test")
    with no_threads(), pytest.raises(CacheError, match="no thread"):
        late.within(1.0)
    assert late.within(1.0) == "answer"
