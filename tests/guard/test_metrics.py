"""What a process tells OpenTelemetry: numbers about decisions, loads, syncs and messages."""

from __future__ import annotations

import subprocess
import sys
from functools import cache
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

import pytest
from opentelemetry import metrics
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

import keybound.metrics
from keybound import Guard
from keybound.core.decision import Allowed, Denied

if TYPE_CHECKING:
    from pathlib import Path

    from keybound.core.secret import Secret

READER = InMemoryMetricReader()
SECRET = "a secret of the tests of metrics"


@cache
def read() -> None:
    """Read what is measured in this process, from now on."""
    metrics.set_meter_provider(MeterProvider([READER]))


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch):
    """Tell of the guards of one test alone."""
    read()
    monkeypatch.setattr(keybound.metrics, "_watched", WeakSet())


def measured() -> dict[str, dict[tuple[Any, ...], Any]]:
    """Return the points of every instrument by the values of their attributes."""
    data = READER.get_metrics_data()
    assert data is not None
    return {
        metric.name: {
            tuple(point.attributes.values()): getattr(point, "value", point)
            for point in metric.data.data_points
        }
        for resource in data.resource_metrics
        for scope in resource.scope_metrics
        if scope.scope.name == "keybound"
        for metric in scope.metrics
    }


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
