"""Servers with several workers: each protects by itself, and all hear of a revoked key."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import redis

from keybound import Guard
from tests.processes.servers import SERVERS, WORKERS, serving

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SECRET = "a secret of the tests of processes"
BOUND = 5.0

linux = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """Return where the keys are."""
    return tmp_path / "keys.db"


@pytest.fixture
def guard(database: Path) -> Iterator[Guard]:
    """Return the guard of another process: the one where an operator works."""
    guard = Guard.from_settings(database=str(database), secret=SECRET)
    yield guard
    guard.close()


@pytest.fixture
def shared(request: pytest.FixtureRequest) -> dict[str, str]:
    """Return the settings of servers that share a cache, which is empty."""
    server = request.getfixturevalue("redis_named")("valkey")
    server.ensure()
    number = server.next_database()
    server.client(number).flushdb()
    return {"secret": SECRET, "redis": server.url(number), "redis_timeout": "0.5"}


@pytest.fixture(params=["alone", "with Redis"])
def settings(request: pytest.FixtureRequest) -> dict[str, str]:
    """Return the settings of the servers."""
    if request.param == "alone":
        return {"secret": SECRET}
    settings: dict[str, str] = request.getfixturevalue("shared")
    return settings


@pytest.mark.parametrize("name", SERVERS)
def test_every_worker_decides_and_hears_of_a_revocation(
    name: str, guard: Guard, database: Path, settings: dict[str, str]
):
    """Nobody gets in without a key, everybody with one, and within the bound nobody any more."""
    check_workers(name, guard, str(database), settings)


@pytest.mark.parametrize("name", ["gunicorn, threads, preload", "uvicorn", "granian, WSGI"])
def test_workers_share_a_database_server_and_a_cache(
    name: str, postgres_url: str, shared: dict[str, str]
):
    """It is the same on several hosts as far as anybody can tell: over PostgreSQL and Redis."""
    guard = Guard.from_settings(database=postgres_url, secret=SECRET)
    check_workers(name, guard, postgres_url, shared)
    guard.close()


def check_workers(name: str, guard: Guard, database: str, settings: dict[str, str]) -> None:
    """Start a server and see that every worker decides, shares, and hears of a revocation."""
    issued = guard.issue(name="CI")
    key = issued.secret.reveal()
    with serving(name, database, **settings) as served:
        assert served.get().status == 401
        told = served.workers(key)
        assert {each.status for each in told.values()} == {200}
        assert {each.body["key"] for each in told.values()} == {"CI"}
        assert len(told) == WORKERS
        assert {each.status for each in served.get_many(key, times=24)} == {200}
        if "redis" in settings:
            with redis.Redis.from_url(settings["redis"]) as client:
                assert client.dbsize() == 1
        receipt = guard.revoke(issued.id)
        revoked = time.monotonic()
        # Many at once, so that no worker is left out: each hears of it by itself.
        while {each.status for each in served.get_many(key, times=24)} != {401}:
            assert time.monotonic() < revoked + BOUND
        assert time.time() < receipt.effective_by.timestamp() + 1


@linux
@pytest.mark.parametrize("name", [name for name in SERVERS if "granian" not in name])
def test_nothing_is_started_before_the_first_request(name: str, guard: Guard, database: Path):
    """Neither a thread nor a connection, and never in the process that forks the workers.

    A lifespan is a start that ASGI has, in each worker for itself.
    """
    key = guard.issue(name="CI").secret.reveal()
    with serving(name, str(database), secret=SECRET) as served:
        told = served.workers(None, "/open")
        lifespan = name.startswith("uvicorn")
        for pid, each in told.items():
            assert ("keybound-sync" in each.body["threads"]) is lifespan
            assert opened(pid, database) is lifespan
        served.workers(key)
        parent = served.process.pid
        assert {each.body["parent"] for each in told.values()} == {parent}
        assert not opened(parent, database)
        assert all(opened(pid, database) for pid in told)
        if "gevent" not in name:
            again = served.workers(key)
            assert all("keybound-sync" in each.body["threads"] for each in again.values())


def opened(pid: int, database: Path) -> bool:
    """Return whether a process has the file open."""
    descriptors = Path(f"/proc/{pid}/fd")
    links = (str(each.readlink()) for each in descriptors.iterdir())
    return any(link.startswith(str(database)) for link in links)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_shares_nothing_with_its_parent(guard: Guard, in_child: Callable[..., int]):
    """After a fork in the middle of everything, both go on and hear of each other's changes."""
    issued = guard.issue(name="CI")
    raw = b"Bearer " + issued.secret.reveal().encode()

    def allowed() -> bool:
        outcome = guard.authorize("GET", "/", None, raw)
        return hasattr(outcome, "identity")

    assert allowed()

    def child() -> None:
        assert allowed()
        guard.revoke(issued.id)
        assert not allowed()

    assert in_child(child) == 0
    deadline = time.monotonic() + BOUND
    while allowed():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.fixture
def in_child() -> Callable[..., int]:
    """Return a function that runs another in a forked child and returns its exit status."""

    def run(work: Callable[[], None]) -> int:
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                work()
                status = 0
            finally:
                os._exit(status)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    return run
