"""A SQLite file that is missing, foreign, damaged, newer or read-only says what to do about it."""

from __future__ import annotations

import sqlite3
import stat
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from keybound.core.effects import LoadByDigest, OpenStore, Sync
from keybound.stores.sql import SqlStore
from keybound.stores.sqlite import SQLiteFile
from keybound.testing.records import a_digest, a_key, commit, new
from tests.stores.sqlite_files import raw
from tests.stores.together import ENTROPY, fails, python

if TYPE_CHECKING:
    from sqlalchemy import Connection


def test_file_is_the_owners_alone(store: SqlStore, path: Path):
    """Nobody else on the machine reads digests, names and limits; nor what SQLite keeps beside."""
    commit(store, new(a_key("key_a")))
    modes = {each.name: stat.S_IMODE(each.stat().st_mode) for each in path.parent.iterdir()}
    assert modes == dict.fromkeys(["keys.db", "keys.db-wal", "keys.db-shm"], 0o600)


def test_path_counts_from_where_the_store_was_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A process that changes its directory later keeps its store, and shows the whole path."""
    monkeypatch.chdir(tmp_path)
    store = SqlStore(SQLiteFile("keys.db"))
    monkeypatch.chdir("/")
    store.perform(OpenStore(ENTROPY))
    store.close()
    assert store.location == str(tmp_path / "keys.db")
    assert (tmp_path / "keys.db").exists()


def test_empty_file_becomes_a_store(path: Path):
    """A file that a deployment made beforehand, with its own mode, is used."""
    path.touch(0o640)
    store = SqlStore(SQLiteFile(str(path)))
    store.perform(OpenStore(ENTROPY))
    commit(store, new(a_key("key_a")))
    store.close()
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE(0o640)


def test_opening_waits_for_whoever_writes(path: Path):
    """Somebody who is just writing to the new file delays its opening and does not prevent it."""
    path.touch()
    store = SqlStore(SQLiteFile(str(path)))
    with raw(path) as other, ThreadPoolExecutor(1) as pool:
        other.execute("BEGIN IMMEDIATE")
        opening = pool.submit(store.perform, OpenStore(ENTROPY))
        with pytest.raises(TimeoutError):
            opening.result(0.2)
        other.execute("COMMIT")
        opening.result(60)
    with raw(path) as other:
        assert other.execute("PRAGMA journal_mode").fetchall() == [("wal",)]
    store.close()


def test_missing_directory_is_named(tmp_path: Path):
    """The directory is not made in passing: it may be a volume that is not mounted."""
    store = SqlStore(SQLiteFile(str(tmp_path / "no" / "keys.db")))
    fails(store, OpenStore(ENTROPY), match=f"directory {tmp_path}/no does not exist: create it")
    assert not (tmp_path / "no").exists()


def test_directory_is_no_file(tmp_path: Path):
    """Whoever names a directory is told what to name in it."""
    fails(
        SqlStore(SQLiteFile(str(tmp_path))),
        OpenStore(ENTROPY),
        match=f"such as {tmp_path}/keybound.db",
    )


def test_file_that_is_not_sqlite_is_left_alone(path: Path):
    """Somebody's notes are not overwritten."""
    path.write_text("not a database, but long enough to look at\n" * 100)
    before = path.read_bytes()
    fails(
        SqlStore(SQLiteFile(str(path))),
        OpenStore(ENTROPY),
        match="not a SQLite file: move it away, or",
    )
    assert path.read_bytes() == before


def test_file_of_another_program_is_left_alone(path: Path):
    """No table is added to a database that is not ours, and its way of locking stays."""
    with raw(path) as other:
        other.execute("CREATE TABLE recipes (name TEXT)")
    before = path.read_bytes()
    fails(
        SqlStore(SQLiteFile(str(path))),
        OpenStore(ENTROPY),
        match="another program .*recipes.*choose",
    )
    assert path.read_bytes() == before
    fails(SqlStore(SQLiteFile(str(path))), Sync(0), match="keybound init")


def test_file_of_a_newer_version_is_left_alone(store: SqlStore, path: Path):
    """What a newer keybound wrote may mean something that this one does not know."""
    store.close()
    with raw(path) as newer:
        newer.execute("UPDATE keybound_versions SET version_num = '0999'")
    fails(SqlStore(SQLiteFile(str(path))), OpenStore(ENTROPY), match="newer keybound .*: upgrade")


def test_missing_file_is_not_made_anew(store: SqlStore, path: Path):
    """A file that went away is an error, not a store without keys; only opening makes one."""
    store.close()
    path.unlink()
    fails(store, Sync(0), match="does not exist")
    assert not path.exists()


def test_damaged_file_says_so(store: SqlStore, path: Path):
    """A broken disk is told from a key that does not exist."""
    commit(store, *(new(a_key(f"key_{i}"), a_digest(i)) for i in range(100)))
    store.close()
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (path.stat().st_size - 4096))
    fails(store, LoadByDigest((a_digest(1),)), match="damaged: restore a backup")


def test_file_that_may_only_be_read_still_serves():
    """A server whose file was mounted read-only checks keys; a change says why it cannot be."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        path = Path(folder, "keys.db")
        store = SqlStore(SQLiteFile(str(path)))
        store.perform(OpenStore(ENTROPY))
        commit(store, new(a_key("key_a"), a_digest(1)))
        for file in path.parent.iterdir():
            file.chmod(0o444)
        said = python(READ_ONLY, str(path))
        store.close()
        assert (
            said
            == f"""key_a
{path}: is read-only for this user, so keys can be checked but not changed: make the file and its \
directory writable, or choose another file with the setting `database` (KEYBOUND_DATABASE) \
(SQLITE_READONLY)
"""
        )
        path.chmod(0o000)
        assert "not readable for this user: give access" in python(READ_ONLY, str(path))
        Path(folder).chmod(0o700)
        assert f"{folder} is closed to this user" in python(READ_ONLY, str(path))


READ_ONLY = """
import os, sys
from keybound.core.effects import LoadByDigest, OpenStore
from keybound.core.errors import StoreError
from keybound.stores.sql import SqlStore
from keybound.stores.sqlite import SQLiteFile
from keybound.testing.records import a_digest, a_key, commit, new

store = SqlStore(SQLiteFile(sys.argv[1]))
if os.getuid() == 0:  # whom no mode of a file stops
    os.setuid(65534)
try:
    store.perform(OpenStore(bytes(32)))
    print(store.perform(LoadByDigest((a_digest(1),))).key)
    commit(store, new(a_key("key_b")))
except StoreError as error:
    print(error)
"""


def test_connection_that_was_in_use_while_the_store_was_closed_is_closed_as_well(store: SqlStore):
    """And one that is opened even later: nobody would come back to it, until it is used again."""

    def closing(connection: Connection) -> sqlite3.Connection:
        store.close()
        driver = connection.connection.dbapi_connection
        assert isinstance(driver, sqlite3.Connection)
        assert driver.execute("SELECT 1").fetchone() == (1,)
        return driver

    def late(connection: Connection) -> sqlite3.Connection:
        driver = connection.connection.dbapi_connection
        assert isinstance(driver, sqlite3.Connection)
        return driver

    for driver in (store.ask(closing), store.ask(late)):
        with pytest.raises(sqlite3.ProgrammingError, match="closed"):
            driver.execute("SELECT 1")
    store.perform(OpenStore(ENTROPY))
    assert store.ask(late) is store.ask(late)
