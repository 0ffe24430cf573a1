"""A SQLite file that is locked, busy or tampered with: an error that says what to do, no secret."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Event
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import Engine, event

from keybound.core.effects import (
    Commit,
    ListNodes,
    LoadByDigest,
    LoadNode,
    OpenStore,
    ReplaceEpoch,
    SetFingerprint,
    Sync,
)
from keybound.core.errors import RecordCorruptError, StoreUnavailableError
from keybound.stores.sql import SqlStore
from keybound.stores.sqlite import WRITING, SQLiteFile
from keybound.testing.records import a_digest, a_key, commit, new
from tests.stores.sqlite_files import raw
from tests.stores.together import ENTROPY, fails

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from keybound.core.effects import Effect


def test_locked_file_is_unavailable_and_says_why(store: SqlStore, path: Path):
    """A change waits for others, not for ever, and can be tried again later."""
    with raw(path) as other:
        other.execute("BEGIN IMMEDIATE")
        error = fails(store, SetFingerprint("0" * 16), match="keeps it locked: end what holds it")
        assert isinstance(error, StoreUnavailableError)
    store.perform(SetFingerprint("0" * 16))


def test_readers_do_not_wait_for_writers(path: Path):
    """However many changes wait for a lock, keys are checked."""
    store = SqlStore(SQLiteFile(str(path), busy_for=60))
    store.perform(OpenStore(ENTROPY))
    with raw(path) as other, ThreadPoolExecutor(5) as pool, about_to(WRITING) as waits:
        other.execute("BEGIN IMMEDIATE")
        waiting = [pool.submit(commit, store, new(a_key(f"key_{i}"))) for i in range(4)]
        try:
            assert waits.wait(30)
            assert pool.submit(store.perform, Sync(0)).result(30).head.rev == 0
            assert not any(each.done() for each in waiting)
        finally:
            other.execute("COMMIT")
        assert sorted(each.result().rev for each in waiting) == [1, 2, 3, 4]
    store.close()


@contextmanager
def about_to(statement: str) -> Generator[Event]:
    """Give an event that is set when any connection is about to execute this statement."""
    reached = Event()

    def notice(_connection: object, _cursor: object, said: str, *_: object) -> None:
        if said == statement:
            reached.set()

    event.listen(Engine, "before_cursor_execute", notice)
    try:
        yield reached
    finally:
        event.remove(Engine, "before_cursor_execute", notice)


def test_reading_has_less_patience_than_writing(store: SqlStore, path: Path):
    """Requests that wait for a file which is closed to everybody are all answered, and soon."""
    store.close()
    patient = SqlStore(SQLiteFile(str(path), busy_for=600))
    with raw(path) as other, ThreadPoolExecutor(4) as pool:
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        try:
            waiting = [pool.submit(patient.perform, Sync(0)) for _ in range(4)]
            errors = [each.exception(60) for each in waiting]
        finally:
            other.execute("ROLLBACK")
            other.execute("PRAGMA locking_mode = NORMAL")
            other.execute("SELECT * FROM keybound_meta").fetchall()  # which is what lets go
    assert all(isinstance(error, StoreUnavailableError) for error in errors)
    patient.close()


def test_file_that_nobody_else_may_read_is_unavailable(store: SqlStore, path: Path):
    """A program that keeps everybody out is a reason to try again, not to deny a key."""
    store.close()
    with raw(path) as other:
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        assert isinstance(fails(store, Sync(0), match="locked"), StoreUnavailableError)


def test_exhausted_pool_is_unavailable(path: Path):
    """Who gets no connection in time is told so."""
    store = SqlStore(SQLiteFile(str(path), busy_for=0.1))
    store.perform(OpenStore(ENTROPY))
    with raw(path) as other, ThreadPoolExecutor(8) as pool:
        other.execute("BEGIN IMMEDIATE")
        waiting = [pool.submit(commit, store, new(a_key(f"key_{i}"))) for i in range(8)]
        errors = [each.exception() for each in waiting]
    assert all(isinstance(error, StoreUnavailableError) for error in errors)
    store.close()


def test_error_tells_nothing_that_was_asked(store: SqlStore, path: Path):
    """Neither an error nor what caused it shows a value, but the cause is kept."""
    with raw(path) as other:
        other.execute("ALTER TABLE keybound_nodes RENAME COLUMN tenant TO gone")
    error = fails(store, ListNodes(tenant="hunter2"), match="did not answer")
    assert isinstance(error, StoreUnavailableError)
    assert "gone" not in str(error)
    assert "keybound_nodes.tenant" in str(error.__cause__)
    assert "hunter2" not in f"{error.__cause__} {error.__cause__!r}"


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ("body = x'7b7d'", "key_a: a stored record cannot be read"),
        ("body = 'text'", "key_a: .* of another type"),
        ("body = 5", "key_a: .* of another type"),
        ("body = 1 << 60", "key_a: .* of another type"),
        ("body = CAST(body AS TEXT)", "key_a: .* of another type"),
        ("rev = 'text'", "key_a: .* of another type"),
        ("rev = 1.5", "key_a: .* of another type"),
        ("body = zeroblob(70000)", "key_a: a stored record has 70,000 bytes"),
        ("body = (SELECT body FROM keybound_nodes WHERE id = 'key_b')", "key_a: .*key_b"),
    ],
    ids=[
        "members",
        "text",
        "number",
        "huge-number",
        "record-as-text",
        "text-rev",
        "real-rev",
        "size",
        "swapped",
    ],
)
def test_record_that_is_not_exact_is_corrupt(
    store: SqlStore, path: Path, change: str, problem: str
):
    """A record that was tampered with is no key, and is named wherever it is read."""
    commit(store, new(a_key("key_a"), a_digest(1)), new(a_key("key_b"), a_digest(2)))
    with raw(path) as other:
        other.execute(f"UPDATE keybound_nodes SET {change} WHERE id = 'key_a'")  # noqa: S608
    reading: list[Effect[Any]] = [LoadByDigest((a_digest(1),)), ListNodes()]
    for effect in reading:
        with pytest.raises(RecordCorruptError, match=problem):
            store.perform(effect)
    assert store.perform(LoadByDigest((a_digest(2),))).key == "key_b"


@pytest.mark.parametrize("value", ["5", "'text'"])
def test_digest_of_another_type_is_corrupt(store: SqlStore, path: Path, value: str):
    """What is stored in the place of a digest is never handed on as one."""
    commit(store, new(a_key("key_a"), a_digest(1)))
    with raw(path) as other:
        other.execute(f"UPDATE keybound_nodes SET digest = {value}")  # noqa: S608
    assert store.perform(LoadByDigest((a_digest(1),))).key is None
    reading: list[Effect[Any]] = [LoadNode("key_a"), ListNodes()]
    for effect in reading:
        with pytest.raises(RecordCorruptError, match="key_a: its digest is of another type"):
            store.perform(effect)


READING: list[Effect[Any]] = [Sync(0), LoadNode("key_a"), LoadByDigest((a_digest(9),))]
CHANGING: list[Effect[Any]] = [
    Commit(puts=(new(a_key("key_b")),), tag=bytes(16)),
    ReplaceEpoch(bytes(16), bytes(16)),
]


@pytest.mark.parametrize(
    ("change", "effects"),
    [
        ("meta SET rev = 'text'", [*READING, *CHANGING]),
        ("meta SET rev = 1.5", [*READING, *CHANGING]),
        ("meta SET tag = 5", READING),
        ("meta SET tag = 'text'", READING),
        ("meta SET epoch = 5", [*READING, *CHANGING]),
        ("meta SET epoch = 'text'", [*READING, *CHANGING]),
        ("versions SET version_num = x'01'", [OpenStore(ENTROPY)]),
        ("meta SET installation = 5", [OpenStore(ENTROPY)]),
        ("meta SET installation = 'text'", [OpenStore(ENTROPY)]),
        ("meta SET fingerprint = x'01'", [OpenStore(ENTROPY)]),
        ("revisions SET tag = 'text'", [Sync(0), Sync(1)]),
        ("revisions SET tag = 5", [Sync(0), Sync(1)]),
        ("changes SET rev = 'text'", [Sync(0)]),
        ("changes SET node = x'01'", [Sync(0)]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_store_that_was_tampered_with_is_an_error(
    store: SqlStore, path: Path, change: str, effects: list[Effect[Any]]
):
    """A value of a wrong type is neither compared nor handed on, nor counted on from."""
    commit(store, new(a_key("key_a"), a_digest(1)))
    with raw(path) as other:
        other.execute(f"UPDATE keybound_{change}")
        before = list(other.iterdump())
        for effect in effects:
            fails(store, effect, match="was changed past keybound .*: restore a backup")
        assert list(other.iterdump()) == before
