"""Both guards over both stores, called in one way, and a store that a test holds up."""

from __future__ import annotations

import asyncio
import inspect

import pytest

from keybound import AsyncGuard, Guard, Settings
from keybound.clocks import SystemClock
from keybound.engine import Engine
from tests.guard.slow_store import SlowStore


class Blocking:
    """Calls a guard of either kind and waits for its answer."""

    def __init__(self, guard):
        """Wrap ``guard``; an awaiting one gets a loop of its own."""
        self.guard = guard
        self._loop = asyncio.new_event_loop() if isinstance(guard, AsyncGuard) else None

    def __getattr__(self, name):
        """Return the verb ``name``, made to block."""
        verb = getattr(self.guard, name)
        if self._loop is None or not inspect.iscoroutinefunction(verb):
            return verb
        return lambda *given, **named: self._loop.run_until_complete(verb(*given, **named))

    def ask(self, issued, method="GET", path="/", peer="203.0.113.7"):
        """Return the decision on a request with an issued key."""
        raw = b"Bearer " + issued.secret.reveal().encode()
        return self.authorize(method, path, peer, raw)

    def end(self):
        """Close the guard and its loop."""
        self.close()
        self.leave()

    def leave(self):
        """Close the loop alone."""
        if self._loop is not None:
            self._loop.close()


@pytest.fixture(params=["Guard", "AsyncGuard"])
def kind(request):
    """Return the class of a guard."""
    return {"Guard": Guard, "AsyncGuard": AsyncGuard}[request.param]


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
def database(request, tmp_path):
    """Return a setting ``database``."""
    if request.param == "postgresql":
        return request.getfixturevalue("postgres_schema")
    return "memory://" if request.param == "memory" else str(tmp_path / "keys.db")


@pytest.fixture
def make(kind, database):
    """Return a function that makes guards with settings, all of them closed in the end."""
    made = []

    def make_guard(**settings):
        made.append(Blocking(kind.from_settings(**{"database": database, **settings})))
        return made[-1]

    yield make_guard
    for guard in made:
        guard.end()


@pytest.fixture
def guard(make):
    """Return a guard with a secret and a route about tenants and models."""
    from keybound import Route

    return make(
        secret="a-secret-of-the-tests-0123456789-abcdef",
        routes=[Route("/{tenant}/{model}", scopes=()), Route("/scoped", scopes="a b", tenant="~")],
    )


@pytest.fixture
def store():
    """Return a store that counts."""
    return SlowStore()


@pytest.fixture
def engine(store):
    """Return an engine without background syncs over it."""
    return Engine(Settings(database="memory://"), store, SystemClock(), background=False)


@pytest.fixture
def raw(engine):
    """Return the header value of an issued key that the cache does not know."""
    issued = Guard(engine).issue(name="CI")
    engine.renew()
    return b"Bearer " + issued.secret.reveal().encode()
