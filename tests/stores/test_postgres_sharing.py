"""A PostgreSQL database that many share: threads, processes, forks and killed ones."""

from __future__ import annotations

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import psycopg
import pytest

from keybound.core.effects import LoadByDigest, OpenStore, Put, Sync
from keybound.stores import postgres
from keybound.stores.databases import Purpose
from keybound.stores.postgres import IDLE_FOR, PostgresServer
from keybound.stores.sql import SqlStore
from keybound.testing.records import a_digest, a_group, a_key, commit, load, new
from tests.stores.together import ENTROPY, python, start

if TYPE_CHECKING:
    from collections.abc import Iterator

PROCESSES = 4


@pytest.fixture
def store(postgres_url: str) -> Iterator[SqlStore]:
    """A store that nobody opened yet."""
    store = SqlStore(PostgresServer(postgres_url))
    yield store
    store.close()


def test_processes_share_a_database(store: SqlStore, postgres_url: str):
    """They race to make it and to change it: one store, every change, in one order."""
    names = "abcd"[:PROCESSES]
    writers = [start(WRITER, postgres_url, name) for name in names]
    said = [writer.communicate(timeout=60)[0] for writer in writers]
    assert [writer.returncode for writer in writers] == [0] * PROCESSES, said
    assert len(set(said)) == 1  # one installation
    answer = store.perform(Sync(0))
    assert answer.head.rev == 25 * PROCESSES
    assert [change.rev for change in answer.changes] == list(range(1, 25 * PROCESSES + 1))
    for name in names:
        mine = [change.node for change in answer.changes if change.node[4] == name]
        assert mine == [f"key_{name}{i:02}" for i in range(25)]


WRITER = """
import sys
from keybound.core.effects import OpenStore
from keybound.stores.postgres import PostgresServer
from keybound.stores.sql import SqlStore
from keybound.testing.records import a_key, commit, new

store = SqlStore(PostgresServer(sys.argv[1]))
print(store.perform(OpenStore(sys.argv[2].encode())).id)
for i in range(25):
    commit(store, new(a_key(f"key_{sys.argv[2]}{i:02}")))
store.close()
"""


@pytest.mark.parametrize("table", ["meta", "nodes", "edges", "changes", "revisions"])
def test_process_killed_within_a_commit_leaves_nothing_of_it(
    store: SqlStore, postgres_url: str, table: str
):
    """Whatever a killed process had written of a commit, it never happened, and others go on."""
    store.perform(OpenStore(ENTROPY))
    commit(store, new(a_group("group_a")))
    head = commit(store, new(a_key("key_a", name="before", groups=("group_a",)), a_digest(1)))
    killed = start(KILLED, postgres_url, f"keybound_{table} ", "SIGKILL")
    said, _ = killed.communicate(timeout=60)
    assert killed.returncode == -signal.SIGKILL, said
    put = Put(node=a_key("key_a", name="after"), expected=head.rev, digest=a_digest(2))
    assert commit(store, put).rev == head.rev + 1
    assert set(load(store, "key_a").rows) == {"key_a"}


def test_process_stopped_within_a_commit_does_not_keep_others_waiting(
    store: SqlStore, postgres_url: str
):
    """The server ends its transaction, and when it goes on it does not make half of it."""
    store.perform(OpenStore(ENTROPY))
    commit(store, new(a_group("group_a")))
    commit(store, new(a_key("key_a", name="before", groups=("group_a",)), a_digest(1)))
    stopped = start(KILLED, postgres_url, "keybound_nodes ", "SIGSTOP")
    os.waitid(os.P_PID, stopped.pid, os.WSTOPPED)
    began = time.monotonic()
    assert commit(store, new(a_key("key_c"))).rev == 3
    assert time.monotonic() - began < IDLE_FOR + 1
    stopped.send_signal(signal.SIGCONT)
    said, _ = stopped.communicate(timeout=60)
    assert stopped.returncode == 0, said  # it did it anew
    row = load(store, "key_a").rows["key_a"]
    assert row is not None
    assert (row.rev, row.node.name) == (4, "killed")


KILLED = """
import os, signal, sys
from sqlalchemy import Engine, event
from keybound.core.effects import Put, Sync
from keybound.stores.postgres import PostgresServer
from keybound.stores.sql import SqlStore
from keybound.testing.records import a_digest, a_key, commit, new

done = []

@event.listens_for(Engine, "after_cursor_execute")
def die(connection, cursor, statement, *_):
    if statement.startswith(("INSERT", "UPDATE", "DELETE")) and sys.argv[2] in statement:
        if not done:
            done.append(True)
            os.kill(os.getpid(), getattr(signal, sys.argv[3]))

put = Put(node=a_key("key_a", name="killed", groups=("group_b",)), expected=2, digest=a_digest(2))
store = SqlStore(PostgresServer(sys.argv[1]))
commit(store, put)
store.close()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no forks on this system")
def test_store_survives_a_fork(store: SqlStore, postgres_url: str):
    """Workers that are forked make connections of their own; the parent keeps and uses its own."""
    store.perform(OpenStore(ENTROPY))
    assert python(FORKED, postgres_url) == "0 True\n"
    assert store.perform(Sync(0)).head.rev == 4 * 26


FORKED = """
import os, sys
from keybound.core.effects import Sync
from keybound.stores.postgres import PostgresServer
from keybound.stores.sql import SqlStore
from keybound.testing.records import a_key, commit, new

def backends(store):
    found = []
    for engine in (store._reading, store._writing):
        with engine.connect() as connection:
            found.append(connection.connection.driver_connection.info.backend_pid)
    return found

store = SqlStore(PostgresServer(sys.argv[1]))
mine = backends(store)
workers = []
for worker in range(4):
    commit(store, new(a_key(f"key_{worker}")))
    store.perform(Sync(0))
    pid = os.fork()
    if pid:
        workers.append(pid)
        continue
    for i in range(24):
        commit(store, new(a_key(f"key_{worker}_{i}")))
    apart = not set(mine) & set(backends(store))
    store.close()
    os._exit(0 if apart else 1)
statuses = sum(os.waitpid(pid, 0)[1] for pid in workers)
for i in range(4):
    commit(store, new(a_key(f"key_after_{i}")))
print(statuses, backends(store) == mine)
store.close()
"""


def test_readers_never_wait_behind_writers(postgres_url: str):
    """However many changes wait for a lock, keys are checked."""
    store = SqlStore(PostgresServer(postgres_url))
    store.perform(OpenStore(ENTROPY))
    commit(store, new(a_key("key_a"), a_digest(1)))
    with psycopg.connect(postgres_url) as other, ThreadPoolExecutor(8) as pool:
        other.execute("UPDATE keybound_meta SET rev = rev")
        waiting = [pool.submit(commit, store, new(a_key(f"key_{i}"))) for i in range(4)]
        for _ in range(50):
            assert pool.submit(store.perform, LoadByDigest((a_digest(1),))).result(5).key == "key_a"
        assert not any(each.done() for each in waiting)
        other.rollback()
        assert sorted(each.result().rev for each in waiting) == [2, 3, 4, 5]
    store.close()


@pytest.mark.parametrize("connections", [2, 5])
def test_process_holds_no_more_connections_than_it_may(
    postgres_url: str, connections: int, monkeypatch: pytest.MonkeyPatch
):
    """``store_connections`` is the number that the server sees, and one for syncs."""
    monkeypatch.setitem(postgres._WORK_FOR, Purpose.LOOK, 60.0)  # noqa: SLF001 - sixteen wait
    store = SqlStore(PostgresServer(postgres_url), connections=connections)
    store.perform(OpenStore(ENTROPY))
    with ThreadPoolExecutor(16) as pool:
        for i in range(3):
            pool.submit(commit, store, new(a_key(f"key_{i}")))
        list(pool.map(store.perform, [Sync(0)] * 200))
    with psycopg.connect(postgres_url) as other:
        seen = other.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'keybound'"
            " AND datname = current_database()"
        ).fetchone()
    store.close()
    assert seen is not None
    assert 2 <= seen[0] <= connections + 1
