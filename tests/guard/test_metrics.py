"""What a process tells OpenTelemetry: numbers about decisions, loads, syncs and messages."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

import pytest

import keybound.metrics
from keybound import Guard
from keybound.caches.local import LocalCache
from keybound.core.decision import Allowed, Denied
from keybound.core.messages import Message, Messages
from keybound.core.secret import Secret
from keybound.core.tally import Tally
from keybound.hearing import Ear
from keybound.testing import FakeClock
from tests import telemetry
from tests.caches.conftest import wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from keybound.core.issuing import IssuedKey

SECRET = "a secret of the tests of metrics"

SELDOM = 10.0
"""Seconds between the syncs of whoever changes something, so that none of them sees the change."""


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch):
    """Tell of the guards of one test alone."""
    telemetry.read()
    monkeypatch.setattr(keybound.metrics, "_watched", WeakSet())


def measured() -> dict[str, dict[tuple[Any, ...], Any]]:
    """Return the points of every instrument by the values of their attributes."""
    told: dict[str, dict[tuple[Any, ...], Any]] = {}
    for name, point in telemetry.points():
        values = tuple(point.attributes.values())
        told.setdefault(name, {})[values] = getattr(point, "value", point)
    return told


def ask(guard: Guard, secret: Secret | None) -> object:
    """Make a request, which is refused as the middleware would."""
    raw = None if secret is None else b"Bearer " + secret.reveal().encode()
    outcome = guard.authorize("GET", "/", None, raw)
    if isinstance(outcome, Denied):
        guard.refuse(outcome)
    return outcome


def test_decisions_loads_and_syncs_are_told(tmp_path: Path):
    """Every request is counted once by its outcome, and what it took to decide it."""
    guard = Guard.from_settings(database=str(tmp_path / "keys.db"))
    key = guard.issue(name="k")
    for _ in range(3):
        assert isinstance(ask(guard, key.secret), Allowed)
    ask(guard, None)
    guard.revoke(key.id)
    ask(guard, key.secret)
    told = measured()
    decisions = told["keybound.decisions"]
    assert decisions["allowed",] == 3
    assert decisions["refused", "missing_credentials"] == 1
    assert decisions["refused", "revoked"] == 1
    assert told["keybound.loads"]["store",] == 2
    assert told["keybound.loads"]["memory",] == 2
    assert told["keybound.lease.lapses"][()] >= 1
    assert told["keybound.cache.entries"]["keys",] == 1
    assert 0 <= told["keybound.sync.age"][()] < 60
    assert told["keybound.store.duration"]["change",].count >= 2
    assert told["keybound.store.duration"]["load",].count >= 2
    guard.close()


def test_records_and_messages_of_redis_are_told(redis_url: str, tmp_path: Path):
    """Where a key came from, and what was heard, shows whether Redis is worth having."""
    settings = {
        "database": str(tmp_path / "keys.db"),
        "secret": SECRET,
    }
    one = Guard.from_settings(**settings, redis=redis_url, redis_timeout=0.5)
    other = Guard.from_settings(**settings, redis=redis_url, redis_timeout=0.5)
    key = one.issue(name="k")
    assert isinstance(ask(other, key.secret), Allowed)
    told = measured()
    assert told["keybound.loads"].get(("redis",), 0) + told["keybound.loads"]["store",] >= 1
    assert told["keybound.redis.duration"][()].count >= 1
    assert {("ahead",), ("behind",), ("refused",)} <= told["keybound.messages"].keys()
    for guard in (one, other):
        guard.close()


def delays(by: str) -> tuple[int, float]:
    """Return how many changes were brought by this, and the seconds of all of them."""
    point = measured().get("keybound.fence.delay", {}).get((by,))
    return (0, 0.0) if point is None else (point.count, point.sum)


def known_to_both(guard: Guard, other: Guard) -> IssuedKey:
    """Issue a key, and let the other one know it and be at rest."""
    key = guard.issue(name="k")
    assert isinstance(ask(other, key.secret), Allowed)
    wait_until(lambda: other.engine.listener is None or other.engine.listener.listens)
    time.sleep(0.3)
    return key


def seen_elsewhere(guard: Guard, other: Guard, key: IssuedKey) -> float:
    """Revoke a key; return the seconds until the other one refuses it."""
    began = time.monotonic()
    guard.revoke(key.id)
    while isinstance(ask(other, key.secret), Allowed):
        assert time.monotonic() - began < 10
        time.sleep(0.001)
    return time.monotonic() - began


def test_time_from_a_commit_to_the_fence_is_told_of_syncs(tmp_path: Path):
    """It is the longest that it can have been, by the clock of whoever syncs alone."""
    settings: dict[str, Any] = {"database": str(tmp_path / "keys.db"), "revoke_within": 30.0}
    one = Guard.from_settings(**settings, sync_every=SELDOM)
    other = Guard.from_settings(**settings, sync_every=0.2)
    key = known_to_both(one, other)
    count, total = delays("sync")
    took = seen_elsewhere(one, other, key)
    time.sleep(0.3)
    now, longest = delays("sync")
    assert now - count == 1
    assert took - 0.2 < longest - total < 2.0
    for guard in (one, other):
        guard.close()


def test_time_from_a_commit_to_the_fence_is_told_of_messages(redis_url: str, tmp_path: Path):
    """By the clocks of both; what a message brought is not told of the sync that comes after it."""
    settings: dict[str, Any] = {
        "database": str(tmp_path / "keys.db"),
        "secret": SECRET,
        "redis": redis_url,
        "redis_timeout": 0.5,
        "revoke_within": 30.0,
    }
    one = Guard.from_settings(**settings, sync_every=SELDOM)
    other = Guard.from_settings(**settings, sync_every=1.0)
    key = known_to_both(one, other)
    synced, (count, total) = delays("sync"), delays("message")
    assert seen_elsewhere(one, other, key) < 0.5
    time.sleep(1.2)
    now, seconds = delays("message")
    assert now - count == 1
    assert 0 <= seconds - total < 0.5
    assert delays("sync") == synced
    for guard in (one, other):
        guard.close()


def test_a_clock_that_is_ahead_makes_no_delay_of_less_than_nothing():
    """Clocks of two machines differ."""
    told: list[tuple[str, float, int]] = []
    clock, messages = FakeClock(), Messages(Secret(SECRET))
    cache = LocalCache(bound=5.0)
    ear = Ear(
        messages,
        cache=lambda: cache,
        clock=clock,
        wake=lambda: None,
        tally=Tally(fenced=lambda *each: told.append(each)),
    )
    cache.fence.reset(b"epoch")
    for rev, seconds in ((1, -3.0), (2, 3.0), (2, 3.0)):
        message = Message(b"epoch", ("key_1",), rev, clock.wall() - seconds)
        ear.hear(messages.encode(message))
    assert told == [("message", 0.0, 1), ("message", 3.0, 1)]  # what is repeated is no news


def test_numbers_of_hits_never_go_back(tmp_path: Path):
    """Whoever reads in the middle of a request sees what was there before."""
    guard = Guard.from_settings(database=str(tmp_path / "keys.db"))
    key = guard.issue(name="k")
    for _ in range(3):
        ask(guard, key.secret)
    assert measured()["keybound.loads"]["memory",] == 2
    guard.engine.tally.missed += 1  # of a request whose use is not counted yet
    assert measured()["keybound.loads"]["memory",] == 2
    ask(guard, key.secret)
    ask(guard, key.secret)
    assert measured()["keybound.loads"]["memory",] == 3
    guard.close()


def test_without_counts_of_uses_hits_are_not_told(tmp_path: Path):
    """Zero would be a lie."""
    guard = Guard.from_settings(database=str(tmp_path / "keys.db"), usage_every=0)
    ask(guard, guard.issue(name="k").secret)
    assert ("memory",) not in measured()["keybound.loads"]
    guard.close()


def test_nothing_of_a_key_or_a_request_is_in_an_attribute(tmp_path: Path):
    """Attributes are few and fixed, whatever clients send."""
    guard = Guard.from_settings(database=str(tmp_path / "keys.db"))
    key = guard.issue(name="unmistakable", tenant="tenant-of-it")
    ask(guard, key.secret)
    shown = repr(measured())
    for text in (key.id, "unmistakable", "tenant-of-it", key.secret.reveal()):
        assert text not in shown
    guard.close()


def test_without_open_telemetry_nothing_is_missing():
    """It is an extra: a guard works where it is not installed."""
    program = (
        "import sys; sys.modules['opentelemetry'] = None\n"
        "from keybound import Guard\n"
        "print(Guard.from_settings(database='memory://').issue(name='k').id)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.startswith("key_")
