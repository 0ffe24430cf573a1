"""What tests of the core share: a store in memory, a clock that stands, and a driver of both."""

from __future__ import annotations

import secrets

import pytest

from keybound import Guard
from keybound.core.effects import (
    LogHead,
    Moment,
    OpenStore,
    ReadClock,
    ReadEntropy,
    Sleep,
    Uninterrupted,
)
from keybound.core.keys import KeyFormat, Peppers
from keybound.core.lifecycle import Site
from keybound.core.secret import Secret
from keybound.core.terms import ChainPolicy
from keybound.drivers import run
from keybound.stores.memory import MemoryStore
from keybound.testing.clock import FakeClock

SETTLE_FOR = 5.0


class World:
    """Answers every effect of a procedure: from a store, a clock, and real chance."""

    def __init__(self, store=None, **policy):
        """Open the store; ``policy`` is what the settings mean for chains."""
        self.store = store or MemoryStore()
        self.store.perform(OpenStore(secrets.token_bytes(32)))
        self.clock = FakeClock()
        self.floors: list[tuple[tuple[str, ...], LogHead]] = []
        self.site = Site(
            format=KeyFormat(),
            peppers=Peppers(Secret("a-secret-of-the-tests-0123456789-abcdef")),
            policy=ChainPolicy(**policy),
            settle_for=SETTLE_FOR,
            raise_floors=lambda names, head: self.floors.append((tuple(names), head)),
        )

    def __call__(self, effect):
        """Answer one effect."""
        if isinstance(effect, ReadClock):
            return Moment(self.clock.boot(), self.clock.wall())
        if isinstance(effect, ReadEntropy):
            return secrets.token_bytes(effect.size)
        if isinstance(effect, Sleep):
            return self.clock.sleep(effect.seconds)
        if isinstance(effect, Uninterrupted):
            return self.do(effect.steps)
        return self.store.perform(effect)

    def do(self, steps):
        """Drive a procedure to its end."""
        return run(steps, self)


@pytest.fixture
def world():
    """Return a world with an empty store, without tenancy."""
    return World()


@pytest.fixture
def make_world():
    """Return what makes a world over a store of the test's own, or under another policy."""
    return World


@pytest.fixture
def guard():
    """Return a guard over a store in memory."""
    guard = Guard.from_settings(database="memory://")
    yield guard
    guard.close()
