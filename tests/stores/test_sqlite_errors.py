"""A SQLite file that is locked, busy or tampered with: an error that says what to do, no secret."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from keybound.core.effects import ListNodes, LoadByDigest, OpenStore, SetFingerprint, Sync
from keybound.core.errors import RecordCorruptError, StoreUnavailableError
from keybound.stores.sql import SqlStore
from keybound.testing.records import a_digest, a_key, commit, new
from tests.stores.sqlite_files import ENTROPY, fails, raw

if TYPE_CHECKING:
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
    store = SqlStore(str(path))
    store.perform(OpenStore(ENTROPY))
    with raw(path) as other, ThreadPoolExecutor(4) as pool:
        other.execute("BEGIN IMMEDIATE")
        waiting = [pool.submit(commit, store, new(a_key(f"key_{i}"))) for i in range(4)]
        time.sleep(0.05)
        begun = time.monotonic()
        assert store.perform(Sync(0)).head.rev == 0
        assert time.monotonic() - begun < 1
        other.execute("COMMIT")
        assert sorted(each.result().rev for each in waiting) == [1, 2, 3, 4]
    store.close()


def test_file_that_nobody_else_may_read_is_unavailable(store: SqlStore, path: Path):
    """A program that keeps everybody out is a reason to try again, not to deny a key."""
    store.close()
    with raw(path) as other:
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        assert isinstance(fails(store, Sync(0), match="locked"), StoreUnavailableError)


def test_exhausted_pool_is_unavailable(path: Path):
    """Who gets no connection in time is told so."""
    store = SqlStore(str(path), busy_for=0.1)
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
        ("body = 'text'", "key_a: "),
        ("body = zeroblob(70000)", "key_a: a stored record has 70,000 bytes"),
        ("body = (SELECT body FROM keybound_nodes WHERE id = 'key_b')", "key_a: .*key_b"),
    ],
    ids=["members", "text", "size", "swapped"],
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
