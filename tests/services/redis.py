"""Real servers for tests: Valkey and Redis, as their wheels bring them.

``tests/conftest.py`` gives the fixtures to every test. Each server lives for a session.
"""

from __future__ import annotations

import time
from contextlib import contextmanager, suppress
from itertools import count
from typing import TYPE_CHECKING

import pytest

from keybound.core.effects import OfferShared
from tests.canary import look
from tests.services.redis_process import WHEELS, Process, server_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import redis

    from keybound.engine import Engine

DATABASES = 64


class RedisServer(Process):
    """A server by itself, with many databases, that listens on a socket as well."""

    def __init__(self, name: str, folder: Path) -> None:
        """Find the binary and a free port; nothing is started."""
        super().__init__(server_of(name), folder, "--databases", str(DATABASES))
        self.name = name
        self.socket = self.folder / "redis.sock"
        self._arguments += ("--unixsocket", str(self.socket))
        self._databases = count()

    def url(self, database: int = 0, *, user: str = "", host: str = "127.0.0.1") -> str:
        """Return the URL of one of its databases."""
        return f"redis://{user}{host}:{self.port}/{database}"

    def next_database(self) -> int:
        """Return a database that was not used for long; it is flushed by whoever takes it."""
        return next(self._databases) % DATABASES


@pytest.fixture(scope="session")
def redis_named(tmp_path_factory):
    """Return a function that returns the server of a name, started when it is first asked for."""
    servers = {}

    def named(name):
        if name not in servers:
            server = RedisServer(name, tmp_path_factory.mktemp(name))
            server.start()
            servers[name] = server
        return servers[name]

    yield named
    for server in servers.values():
        server.stop()


@pytest.fixture(scope="session", params=sorted(WHEELS))
def _redis_of_the_session(request, redis_named):
    return redis_named(request.param)


@pytest.fixture
def redis_server(_redis_of_the_session):
    """Return a server that runs, also after tests that ended it."""
    server = _redis_of_the_session
    server.ensure()
    yield server
    server.ensure()


@pytest.fixture
def redis_database(redis_server):
    """Return the number of a database that is empty."""
    database = redis_server.next_database()
    with redis_server.client(database) as client:
        client.flushdb()
        yield database
        redis_server.go_on()
        look_into(client)


def look_into(client: redis.Redis) -> None:
    """Look for keys in a database, if its server can be asked."""
    import redis

    with suppress(redis.RedisError):
        for name in client.scan_iter():
            look("Redis", name, client.dump(name))


@contextmanager
def sharing(engine: Engine, client: redis.Redis) -> Iterator[None]:
    """Wait in the end until a database has everything that an engine offered it meanwhile."""
    names: set[bytes] = set()
    performers = engine.performer.blocking
    offer = performers[OfferShared]

    def noted(effect: OfferShared) -> None:
        names.update(each.name for each in effect.offers)
        offer(effect)

    performers[OfferShared] = noted
    try:
        yield
    finally:
        performers[OfferShared] = offer
    ends = time.monotonic() + 30
    while names and client.exists(*names) < len(names):
        assert time.monotonic() < ends, "nothing was shared"
        time.sleep(0.0005)


@pytest.fixture
def redis_url(redis_server, redis_database):
    """Return the URL of a database that is empty."""
    return redis_server.url(redis_database)
