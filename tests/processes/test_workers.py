"""Servers with several workers: each protects by itself, and all hear of a revoked key."""

from __future__ import annotations

import os
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import redis

from keybound import Guard
from keybound.clocks import SystemClock
from tests.processes.servers import LIFESPANS, SERVERS, WORKERS, Served, serving

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

AT_ONCE = 8
SECRET = "a secret of the tests of processes"
BOUND = 5.0

boot = SystemClock().boot


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


@pytest.mark.parametrize("name", SERVERS)
def test_every_worker_decides_and_hears_of_a_revocation(name: str, guard: Guard, database: Path):
    """Nobody gets in without a key, everybody with one, and within the bound nobody any more."""
    check_workers(name, guard, str(database), {"secret": SECRET}, untouched=database)


@pytest.mark.parametrize("name", SERVERS)
def test_every_worker_shares_a_cache(
    name: str, guard: Guard, database: Path, shared: dict[str, str]
):
    """Also one whose guard was in use before the fork, with threads, connections, and a memory."""
    if "preload" in name:
        shared["used_with"] = guard.issue(name="before").secret.reveal()
    check_workers(name, guard, str(database), shared)


@pytest.mark.parametrize("name", ["gunicorn, threads, preload", "hypercorn, trio", "granian, WSGI"])
def test_workers_share_a_database_server_and_a_cache(
    name: str, postgres_url: str, shared: dict[str, str]
):
    """It is the same on several hosts as far as anybody can tell: over PostgreSQL and Redis."""
    guard = Guard.from_settings(database=postgres_url, secret=SECRET)
    check_workers(name, guard, postgres_url, shared)
    guard.close()


def check_workers(
    name: str,
    guard: Guard,
    database: str,
    settings: dict[str, str],
    *,
    untouched: Path | None = None,
) -> None:
    """Start a server and see that every worker decides, shares, and hears of a revocation."""
    issued = guard.issue(name="CI")
    key = issued.secret.reveal()
    with serving(name, database, **settings) as served:
        if untouched is not None and sys.platform == "linux" and "granian" not in name:
            check_nothing_is_started(served, untouched, lifespan=name in LIFESPANS)
        assert served.get().status == 401
        told = served.workers(key)
        assert {each.status for each in told.values()} == {200}
        assert {each.body["key"] for each in told.values()} == {"CI"}
        assert len(told) == WORKERS
        assert {each.status for each in served.get_many(key, times=24)} == {200}
        if "gevent" not in name:
            again = served.workers(key)
            assert all("keybound-sync" in each.body["threads"] for each in again.values())
        if "redis" in settings:
            with redis.Redis.from_url(settings["redis"]) as client:
                assert client.dbsize() == 1 + ("used_with" in settings)
        receipt = guard.revoke(issued.id)
        revoked = time.monotonic()
        # Many at once, so that no worker is left out: each hears of it by itself.
        while {each.status for each in served.get_many(key, times=24)} != {401}:
            assert time.monotonic() < revoked + BOUND
        assert time.time() < receipt.effective_by.timestamp() + 1


def check_nothing_is_started(served: Served, database: Path, *, lifespan: bool) -> None:
    """See that there is neither a thread nor a connection before the first request with a key.

    Never in the process that forks the workers; a lifespan is a start in each worker for itself.
    """
    told = served.workers(None, "/open")
    parent = served.process.pid
    assert {each.body["parent"] for each in told.values()} == {parent}
    assert not opened(parent, database)
    for pid, each in told.items():
        assert ("keybound-sync" in each.body["threads"]) is lifespan
        assert opened(pid, database) is lifespan


HALTS = {
    "stopped": [
        "gunicorn, sync",
        "gunicorn, threads",
        "uvicorn",
        "hypercorn, trio",
        "granian, WSGI",
    ],
    "blocked": ["gunicorn, gevent", "uvicorn, uvloop", "hypercorn, trio"],
}


@pytest.mark.skipif(sys.platform == "win32", reason="processes cannot be stopped there")
@pytest.mark.parametrize(("how", "name"), [(how, name) for how in HALTS for name in HALTS[how]])
def test_workers_that_stood_still_accept_nothing_that_ended_meanwhile(
    how: str, name: str, guard: Guard, database: Path
):
    """A process may be stopped, or its loop blocked, for longer than the bound: no key outlives it.

    Those whose requests stand in line by then are refused as well.
    """
    issued, other = guard.issue(name="CI"), guard.issue(name="other")
    key = issued.secret.reveal()
    bound = 1.2
    with (
        serving(name, str(database), secret=SECRET, revoke_within=str(bound)) as served,
        ThreadPoolExecutor(2 * AT_ONCE) as pool,
    ):
        served.workers(key)
        others = [
            pool.submit(served.get, other.secret.reveal(), "/block")
            for _ in range(WORKERS + 1 if how == "blocked" else 0)
        ]
        if how == "stopped":  # first: what is decided already may be answered when it goes on
            os.killpg(served.process.pid, signal.SIGSTOP)
        waiting = [pool.submit(served.get, key) for _ in range(AT_ONCE)]
        guard.revoke(issued.id)
        revoked = boot()
        waiting += [pool.submit(served.get, key) for _ in range(AT_ONCE)]
        time.sleep(bound + 0.3)
        if how == "stopped":
            os.killpg(served.process.pid, signal.SIGCONT)
        told = [each.result() for each in waiting] + served.get_many(key, times=3 * AT_ONCE)
        accepted = [each.body["at"] for each in told if each.status == 200]
        assert all(at < revoked + bound for at in accepted)
        assert {each.status for each in told[-AT_ONCE:]} == {401}
        assert {each.result().status for each in others} <= {200}
        assert served.get(other.secret.reveal()).status == 200


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
