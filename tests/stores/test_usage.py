"""How keys are used, in databases that many processes share."""

from __future__ import annotations

import signal
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import TYPE_CHECKING

import psycopg
import pytest
from sqlalchemy import text

from keybound import Guard
from keybound.core.effects import OpenStore, ReadUsage, RecordUsage, Sync, UsageRow
from keybound.core.errors import StoreError, StoreUnavailableError, UnsureError
from keybound.stores import open_store
from keybound.stores.postgres import COUNT_TURN_FOR, PostgresServer
from keybound.stores.sql import SqlStore
from keybound.testing.records import a_key, commit, new
from tests.stores.postgres_proxy import Cut, Proxy
from tests.stores.together import ENTROPY, start

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.services.postgres import PostgresServer as Server

AT = 1_780_000_000.5
SECRET = "a secret of the tests of how keys are used"

BUSY = f"""
import sys, time
from keybound import Guard

database, key, requests, every, end = sys.argv[1:]
guard = Guard.from_settings(database=database, secret={SECRET!r}, usage_every=float(every))
raw = b"Bearer " + key.encode()
guard.authorize("GET", "/", None, raw)
for _ in range(int(requests) - 1):
    guard.decide("GET", "/", None, raw)
print("done", flush=True)
if end == "wait":
    while True:
        time.sleep(0.05)
        guard.authorize("GET", "/", None, raw)
"""
"""A process that makes requests and then ends as processes do, without closing anything."""


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The setting of an empty database."""
    if request.param == "sqlite":
        return str(tmp_path / "keys.db")
    return str(request.getfixturevalue("postgres_url"))


@pytest.fixture
def store(database: str) -> Iterator[SqlStore]:
    """An opened store."""
    store = open_store(database)
    assert isinstance(store, SqlStore)
    store.perform(OpenStore(ENTROPY))
    yield store
    store.close()


@pytest.fixture
def guard(database: str) -> Iterator[Guard]:
    """The guard of the process where an operator works."""
    guard = Guard.from_settings(database=database, secret=SECRET)
    yield guard
    guard.close()


def uses(store: SqlStore, key: str) -> int:
    """Return how many uses of a key are recorded."""
    rows = store.perform(ReadUsage((key,)))
    return rows[key].uses if key in rows else 0


def test_processes_add_up(guard: Guard, database: str):
    """Each records by itself, be it only when it ends, and all of it is one number."""
    issued = guard.issue(name="a key")
    key = issued.secret.reveal()
    processes = [start(BUSY, database, key, str(n), "0.05", "end") for n in (100, 200, 300)]
    said = [process.communicate(timeout=60)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], said
    assert guard.usage([issued.id])[issued.id].uses == 600


def test_killed_process_loses_what_it_had_not_recorded_and_no_more(guard: Guard, database: str):
    """Everything up to the last interval is there, and nothing is counted that did not happen."""
    issued = guard.issue(name="a key")
    began = time.time()
    with start(BUSY, database, issued.secret.reveal(), "500", "0.2", "wait") as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "done\n"
            deadline = time.monotonic() + 30
            while (usage := guard.usage([issued.id])[issued.id]).uses < 505:
                assert time.monotonic() < deadline
                time.sleep(0.02)
        finally:
            process.send_signal(signal.SIGKILL)
    killed = time.time()
    usage = guard.usage([issued.id])[issued.id]
    assert usage.last_used_at is not None
    assert killed - usage.last_used_at.timestamp() < 0.2 + 2.0  # what a busy machine may add
    assert 505 <= usage.uses <= 500 + (killed - began) / 0.05


def test_recording_at_once_never_stands_still(store: SqlStore, database: str):
    """Handles of many processes, with keys in common and each in order: no deadlock, none lost."""
    names = sorted(f"key_{number:03}" for number in range(300))
    with ExitStack() as stack:
        handles = [store]
        for _ in range(3):
            handle = open_store(database)
            stack.callback(handle.close)
            handles.append(handle)  # type: ignore[arg-type]

        def work(number: int) -> None:
            mine = names[number * 40 : number * 40 + 180]
            for _ in range(10):
                rows = tuple(UsageRow(name, AT, 1, 0, AT) for name in mine)
                _until_taken(handles[number], RecordUsage(rows))

        with ThreadPoolExecutor(len(handles)) as pool:
            list(pool.map(work, range(len(handles))))
    found = store.perform(ReadUsage(tuple(names)))
    expected = {
        name: 10 * sum(number * 40 <= place < number * 40 + 180 for number in range(4))
        for place, name in enumerate(names)
    }
    assert {name: row.uses for name, row in found.items()} == expected


def _until_taken(store: SqlStore, effect: RecordUsage) -> None:
    """Record as a process does, which comes again when others were in its way for too long."""
    for _ in range(20):
        try:
            store.perform(effect)
        except UnsureError:
            raise
        except StoreUnavailableError:
            continue
        return
    pytest.fail("it was never taken")


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE keybound_usage SET uses = 'many'",
        "UPDATE keybound_usage SET refusals = x'00'",
        "UPDATE keybound_usage SET since = 'then'",
        "UPDATE keybound_usage SET used_at = 1e300",
        "UPDATE keybound_usage SET refused_at = -1.0",
    ],
)
def test_what_was_changed_past_us_is_an_error(tmp_path: Path, change: str):
    """A file may hold anything; whoever reads it is told, and nothing is made of it."""
    store = open_store(str(tmp_path / "keys.db"))
    assert isinstance(store, SqlStore)
    store.perform(OpenStore(ENTROPY))
    store.perform(RecordUsage((UsageRow("key_a", AT, 1, 1, AT, AT),)))
    with store.building() as connection, connection.begin():
        connection.execute(text(change))
    with pytest.raises(StoreError, match="was changed past keybound"):
        store.perform(ReadUsage(("key_a",)))
    store.close()


# ------------------------------------------------------------------------------------- PostgreSQL


@pytest.fixture
def server_store(postgres_url: str) -> Iterator[SqlStore]:
    """A store in a server, with a key of which something is recorded."""
    store = SqlStore(PostgresServer(postgres_url))
    store.perform(OpenStore(ENTROPY))
    commit(store, new(a_key("key_a")))
    store.perform(RecordUsage((UsageRow("key_a", AT, 1),)))
    yield store
    store.close()


@pytest.fixture
def other(postgres_url: str) -> Iterator[psycopg.Connection]:
    """A connection of somebody else."""
    with psycopg.connect(postgres_url) as connection:
        yield connection


def test_recording_waits_for_no_change(server_store: SqlStore, other: psycopg.Connection):
    """Neither for the counter that changes take turns at, nor for the node of the key itself."""
    with other.transaction():
        other.execute("UPDATE keybound_meta SET rev = rev")
        other.execute("UPDATE keybound_nodes SET rev = rev")
        assert server_store.perform(RecordUsage((UsageRow("key_a", AT, 1),))) == 1
    assert uses(server_store, "key_a") == 2


def test_change_waits_for_no_recording(server_store: SqlStore, other: psycopg.Connection):
    """Who holds the numbers of a key holds up nobody but who records, and those not for long."""
    with other.transaction():
        other.execute("UPDATE keybound_usage SET uses = uses")
        began = time.monotonic()
        with pytest.raises(StoreUnavailableError) as caught:
            server_store.perform(RecordUsage((UsageRow("key_a", AT, 1),)))
        assert COUNT_TURN_FOR <= time.monotonic() - began < COUNT_TURN_FOR + 1.0
        assert not isinstance(caught.value, UnsureError)
        commit(server_store, new(a_key("key_b")))
    assert uses(server_store, "key_a") == 1
    assert server_store.perform(Sync(0)).head.rev == 2


@pytest.mark.parametrize(
    ("cut", "recorded"), [(Cut.BEFORE, 1), (Cut.AFTER, 2)], ids=["before", "after"]
)
def test_lost_answer_is_told(
    postgres: Server, server_store: SqlStore, postgres_url: str, cut: Cut, recorded: int
):
    """Nobody knows whether the server made it, so it is said, and not made again."""
    with Proxy(postgres.port) as proxy:
        name = postgres_url.rpartition("/")[2]
        there = f"postgresql://postgres@127.0.0.1:{proxy.port}/{name}"
        through = SqlStore(PostgresServer(there))
        through.perform(RecordUsage((UsageRow("key_b", AT, 1),)))
        proxy.cut = cut
        with pytest.raises(UnsureError):
            through.perform(RecordUsage((UsageRow("key_a", AT, 1),)))
        assert uses(server_store, "key_a") == recorded
        through.close()


def test_lost_connection_is_made_anew(postgres: Server, server_store: SqlStore, postgres_url: str):
    """What is left of a server that was restarted is no reason to wait for the next interval."""
    terminate = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = '{}'"
    postgres.execute(terminate.format(postgres_url.rpartition("/")[2]))
    assert server_store.perform(RecordUsage((UsageRow("key_a", AT, 1),))) == 1
    assert uses(server_store, "key_a") == 2
