"""Several processes over one store and one Redis, as engines that share nothing else."""

from __future__ import annotations

import time

import pytest

from keybound import AsyncGuard, Guard, Settings
from keybound.clocks import SystemClock
from keybound.core.effects import LoadByDigest
from keybound.engine import Engine
from tests.guard.conftest import Blocking
from tests.simulation.store import SimulatedStore

SECRET = "a-secret-of-the-tests-0123456789-abcdef"


class CountingStore(SimulatedStore):
    """A store in memory that counts how often it is asked for a key."""

    loads = 0

    def perform(self, effect):
        """Count and answer."""
        self.loads += isinstance(effect, LoadByDigest)
        return super().perform(effect)


class Fleet:
    """Guards of one kind on one store and one Redis; each has an engine, as processes do."""

    def __init__(self, kind, url):
        """Begin with none."""
        self.store = CountingStore()
        self.url = url
        self._kind = kind
        self._guards = []

    def join(self, *, clock=None, background=False, **settings):
        """Return one more guard, which knows nothing yet."""
        given = {"redis": self.url, "redis_timeout": 0.5, "secret": SECRET, **settings}
        engine = Engine(
            Settings(database="memory://", **given),
            self.store,
            clock or SystemClock(),
            background=background,
        )
        self._guards.append(Blocking(self._kind(engine)))
        return self._guards[-1]

    def leave(self):
        """Forget all of them without closing any; only their loops and connections end."""
        for guard in self._guards:
            guard.guard.engine.performer.close()
            guard.leave()
        self._guards.clear()

    def end(self):
        """Close all of them."""
        for guard in self._guards:
            guard.end()


@pytest.fixture(params=[Guard, AsyncGuard], ids=["Guard", "AsyncGuard"])
def new_fleet(request):
    """Return a function that makes a fleet of either kind of guard, with a Redis at a URL."""
    fleets = []

    def new(url):
        fleets.append(Fleet(request.param, url))
        return fleets[-1]

    yield new
    for fleet in fleets:
        fleet.end()


@pytest.fixture
def fleet(new_fleet, redis_url):
    """Return a fleet of either kind of guard."""
    return new_fleet(redis_url)


@pytest.fixture
def redis_client(redis_server, redis_database):
    """Return a client for looking into what the fleet wrote."""
    with redis_server.client(redis_database) as client:
        yield client


def wait_until(condition, *, within=5.0):
    """Wait for something that happens in the background."""
    ends = time.monotonic() + within
    while not condition():
        assert time.monotonic() < ends, "it did not happen in time"
        time.sleep(0.005)
