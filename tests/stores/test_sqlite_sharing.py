"""A SQLite file that many share: threads, processes, forks and killed ones."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

from keybound.core.effects import Put, Sync
from keybound.testing.records import a_digest, a_group, a_key, commit, load, new
from tests.stores.sqlite_files import raw
from tests.stores.together import python, start

if TYPE_CHECKING:
    from pathlib import Path

    from keybound.stores.sql import SqlStore


def test_processes_share_a_file(store: SqlStore, path: Path):
    """Two processes change keys at once: every change is there, in one order, and seen here."""
    store.close()
    path.unlink()  # so that they race to make it, too
    writers = [start(WRITER, str(path), name) for name in ("a", "b")]
    answers = [writer.communicate(timeout=60) for writer in writers]
    assert [writer.returncode for writer in writers] == [0, 0], answers
    answer = store.perform(Sync(0))
    assert answer.head.rev == 100
    assert [change.rev for change in answer.changes] == list(range(1, 101))
    for name in ("a", "b"):
        mine = [change.node for change in answer.changes if change.node[4] == name]
        assert mine == [f"key_{name}{i:02}" for i in range(50)]


WRITER = """
import sys
from keybound.core.effects import OpenStore
from keybound.stores.sql import SqlStore
from keybound.stores.sqlite import SQLiteFile
from keybound.testing.records import a_key, commit, new

store = SqlStore(SQLiteFile(sys.argv[1]))
store.perform(OpenStore(sys.argv[2].encode()))
for i in range(50):
    commit(store, new(a_key(f"key_{sys.argv[2]}{i:02}")))
store.close()
"""


@pytest.mark.parametrize("table", ["meta", "nodes", "edges", "changes", "revisions"])
def test_process_killed_within_a_commit_leaves_nothing_of_it(
    store: SqlStore, path: Path, table: str
):
    """Whatever a killed process had written of a commit, it never happened, and others go on."""
    commit(store, new(a_group("group_a")))
    head = commit(store, new(a_key("key_a", name="before", groups=("group_a",)), a_digest(1)))
    killed = start(KILLED, str(path), f"keybound_{table} ")
    killed.communicate(timeout=60)
    assert killed.returncode == -signal.SIGKILL
    answer = store.perform(Sync(0))
    assert answer.head == head
    assert max(change.rev for change in answer.changes) == head.rev
    assert set(load(store, "key_a").rows) == {"key_a", "group_a"}
    put = Put(node=a_key("key_a", name="after"), expected=head.rev, digest=a_digest(2))
    assert commit(store, put).rev == head.rev + 1
    with raw(path) as other:
        assert other.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert other.execute("PRAGMA foreign_key_check").fetchall() == []


KILLED = """
import os, signal, sys
from sqlalchemy import Engine, event
from keybound.core.effects import Put
from keybound.stores.sql import SqlStore
from keybound.stores.sqlite import SQLiteFile
from keybound.testing.records import a_digest, a_key, commit, new

@event.listens_for(Engine, "after_cursor_execute")
def die(connection, cursor, statement, *_):
    if statement.startswith(("INSERT", "UPDATE", "DELETE")) and sys.argv[2] in statement:
        os.kill(os.getpid(), signal.SIGKILL)

put = Put(node=a_key("key_a", name="killed", groups=("group_b",)), expected=2, digest=a_digest(2))
commit(SqlStore(SQLiteFile(sys.argv[1])), put)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no forks on this system")
def test_store_survives_a_fork(store: SqlStore, path: Path):
    """A server that forks its workers after it used the store may go on in all of them."""
    commit(store, new(a_key("key_a")))
    assert python(FORKED, str(path)) == "0\n"
    assert store.perform(Sync(0)).head.rev == 101
    with raw(path) as other:
        assert other.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


FORKED = """
import os, sys
from sqlalchemy import Pool, event
from keybound.core.effects import Sync
from keybound.stores.sql import SqlStore
from keybound.stores.sqlite import SQLiteFile
from keybound.testing.records import a_key, commit, new

alive = set()
event.listen(Pool, "connect", lambda connection, record: alive.add(connection))
event.listen(Pool, "close", lambda connection, record: alive.discard(connection))

store = SqlStore(SQLiteFile(sys.argv[1]))
workers = []
for worker in range(4):
    commit(store, new(a_key(f"key_{worker}")))
    store.perform(Sync(0))
    assert len(alive) == 2
    pid = os.fork()
    if pid:
        workers.append(pid)
        continue
    if alive:  # SQLite forbids even to close what went through a fork
        os._exit(1)
    for i in range(24):
        commit(store, new(a_key(f"key_{worker}_{i}")))
    os._exit(0)
print(sum(os.waitpid(pid, 0)[1] for pid in workers))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no forks on this system")
def test_child_of_a_fork_in_the_middle_of_a_change_can_change_as_well(store: SqlStore, path: Path):
    """What another thread is about ends before the fork, so that no lock of it is copied."""
    assert python(FORKED_WITHIN, str(path)) == "0\n"
    assert store.perform(Sync(0)).head.rev == 3
    with raw(path) as other:
        assert other.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


FORKED_WITHIN = """
import os, sys, threading, time, warnings
warnings.simplefilter("ignore", DeprecationWarning)  # that threads and forks do not go together
from sqlalchemy import Engine, event
from keybound.stores.sql import SqlStore
from keybound.stores.sqlite import SQLiteFile
from keybound.testing.records import a_key, commit, new

within = threading.Event()

@event.listens_for(Engine, "after_cursor_execute")
def linger(connection, cursor, statement, *_):
    if statement.startswith("UPDATE") and not within.is_set():
        within.set()
        time.sleep(0.3)

store = SqlStore(SQLiteFile(sys.argv[1]))
thread = threading.Thread(target=commit, args=(store, new(a_key("key_a"))))
thread.start()
within.wait()
pid = os.fork()
if not pid:
    commit(store, new(a_key("key_child")))
    os._exit(0)
thread.join()
commit(store, new(a_key("key_parent")))
print(os.waitpid(pid, 0)[1])
"""
