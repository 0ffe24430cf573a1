"""A SQLite file that is replaced, deleted or torn from its log while servers have it open."""

from __future__ import annotations

import sqlite3
import sys
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import Engine as Connections
from sqlalchemy import event

from keybound import Guard, Reason, Settings
from keybound.core.decision import Allowed
from keybound.core.effects import Commit, LoadNode, OpenStore, Sync
from keybound.core.errors import ConflictError, StoreError, StoreUnavailableError
from keybound.engine import Engine
from keybound.sparing import PAUSE
from keybound.stores.sql import SqlStore
from keybound.stores.sqlite import SQLiteFile
from keybound.testing import FakeClock
from keybound.testing.records import a_key, commit, load, new
from tests.stores.sqlite_files import raw
from tests.stores.together import ENTROPY, fails, python

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from keybound.core.effects import Effect

if sys.platform == "win32":
    pytest.skip("an open file cannot be replaced there", allow_module_level=True)


def beside(path: Path) -> list[Path]:
    """Return the log of a file and the index of that."""
    return [path.with_name(f"{path.name}-wal"), path.with_name(f"{path.name}-shm")]


def delete(path: Path) -> None:
    """Delete a file with its log."""
    for each in (path, *beside(path)):
        each.unlink()


def back_up(path: Path) -> Path:
    """Return a backup, made in the way that SQLite's manual tells."""
    backup = path.with_name("backup.db")
    with raw(path) as other:
        other.execute("VACUUM INTO ?", (str(backup),))
    return backup


def restore(backup: Path, path: Path) -> None:
    """Put a backup in the place of a file, as the documentation tells."""
    delete(path)
    backup.rename(path)


def move(files: list[Path], folder: Path) -> list[Path]:
    """Move files to a folder and return where they are now."""
    folder.mkdir(exist_ok=True)
    return [each.rename(folder / each.name) for each in files]


def asks_and_changes() -> list[Effect[Any]]:
    """Return effects that read and one that changes."""
    return [Sync(0), LoadNode("key_a"), Commit(puts=(new(a_key("key_z")),), tag=bytes(16))]


def unavailable(store: SqlStore, *, match: str) -> None:
    """Fail unless every effect is refused for now, naming the file and saying ``match``."""
    for effect in asks_and_changes():
        with pytest.raises(StoreUnavailableError, match=match) as caught:
            store.perform(effect)
        assert str(caught.value).startswith(f"{store.location}: ")


def ids(path: Path) -> list[str]:
    """Return the ids of the keys in a file."""
    with raw(path) as other:
        return [name for (name,) in other.execute("SELECT id FROM keybound_nodes ORDER BY id")]


def test_file_that_was_replaced_is_the_one_that_counts(store: SqlStore, path: Path):
    """Reads and changes go to the file that is at the path, not to the one that was."""
    head = commit(store, new(a_key("key_a")))
    backup = back_up(path)
    commit(store, new(a_key("key_b")))
    assert load(store, "key_b").key == "key_b"
    restore(backup, path)
    assert load(store, "key_b").key is None
    assert store.perform(Sync(0)).head == head
    commit(store, new(a_key("key_c")))
    assert ids(path) == ["key_a", "key_c"]


def test_change_is_the_first_to_meet_another_file(store: SqlStore, path: Path):
    """Whatever is asked first after a file was replaced, it is asked of the new one."""
    commit(store, new(a_key("key_a")))
    backup = back_up(path)
    commit(store, new(a_key("key_b")))
    restore(backup, path)
    assert commit(store, new(a_key("key_b"))).rev == 2
    with pytest.raises(ConflictError):
        commit(store, new(a_key("key_b")))


def test_restored_backup_lets_readers_and_writers_go_on_together(store: SqlStore, path: Path):
    """A backup comes without a log; it has one as soon as a server uses it."""
    restore(back_up(path), path)
    store.perform(Sync(0))
    with raw(path) as other:
        assert other.execute("PRAGMA journal_mode").fetchall() == [("wal",)]
        other.execute("BEGIN IMMEDIATE")
        assert store.perform(Sync(0)).head.rev == 0


def test_deleted_file_is_unavailable_until_it_is_back(store: SqlStore, path: Path, tmp_path: Path):
    """Nothing is answered from a file that is nowhere, and nothing is written to it."""
    commit(store, new(a_key("key_a")))
    load(store, "key_a")
    moved = move([path, *beside(path)], tmp_path / "aside")
    unavailable(store, match="vanished .*put it back, or restore a backup")
    assert not path.exists()
    move(moved, tmp_path)
    assert load(store, "key_a").key == "key_a"
    delete(path)
    unavailable(store, match="vanished .*put it back, or restore a backup")
    store.perform(OpenStore(ENTROPY))
    assert load(store, "key_a").key is None


@pytest.mark.parametrize("number", [[0], [1], [0, 1]], ids=["log", "index", "both"])
@pytest.mark.parametrize("used", [False, True], ids=["alone", "with-another-program"])
def test_log_that_was_moved_is_unavailable_until_it_is_back(
    store: SqlStore, path: Path, tmp_path: Path, number: list[int], *, used: bool
):
    """Who lost its log neither reads nor writes past what others write to a new one."""
    commit(store, new(a_key("key_a")))
    load(store, "key_a")
    with raw(path) as third:  # so that nobody believes to be the last to leave
        third.execute("SELECT 1 FROM keybound_meta").fetchall()
        moved = move([beside(path)[i] for i in number], tmp_path / "aside")
        if used and number != [1]:
            python(LOOK, str(path))
        unavailable(store, match="-wal or .*-shm was deleted, moved or exchanged.*put both back")
        move(moved, tmp_path)
        for each in beside(path):
            assert each.exists()
        assert load(store, "key_a").key == "key_a"


LOOK = """
import sqlite3, sys
sqlite3.connect(sys.argv[1]).execute("SELECT * FROM sqlite_schema").fetchall()
"""


def test_new_file_with_an_old_log_is_not_touched(store: SqlStore, path: Path):
    """The log of the file before would undo parts of a restored one, so somebody must look."""
    commit(store, new(a_key("key_a")))
    backup = back_up(path)
    commit(store, new(a_key("key_b")))
    load(store, "key_b")
    before = backup.read_bytes()
    backup.replace(path)
    unavailable(store, match="is of the file before .*: delete both")
    assert path.read_bytes() == before
    for each in beside(path):
        each.unlink()
    assert load(store, "key_b").key is None
    assert load(store, "key_a").key == "key_a"


def test_link_that_leads_elsewhere_is_followed(store: SqlStore, path: Path, tmp_path: Path):
    """A deployment that switches a link switches the store."""
    commit(store, new(a_key("key_a")))
    backup = back_up(path)
    link = tmp_path / "current.db"
    link.symlink_to(path)
    linked = SqlStore(SQLiteFile(str(link)))
    commit(linked, new(a_key("key_b")))
    assert load(linked, "key_b").key == "key_b"
    link.unlink()
    link.symlink_to(backup)
    assert load(linked, "key_b").key is None
    commit(linked, new(a_key("key_c")))
    assert (ids(path), ids(backup)) == (["key_a", "key_b"], ["key_a", "key_c"])
    linked.close()


def test_change_that_went_to_a_file_just_replaced_is_no_success(store: SqlStore, path: Path):
    """Nobody gets a receipt for a change that the file at the path may not have."""
    backup = back_up(path)

    @event.listens_for(Connections, "commit", once=True)
    def _(_connection: object) -> None:
        restore(backup, path)

    with pytest.raises(StoreUnavailableError, match=r"in the middle of a change.*make it again"):
        commit(store, new(a_key("key_a")))
    assert ids(path) == []
    commit(store, new(a_key("key_a")))
    assert ids(path) == ["key_a"]


@pytest.mark.parametrize("times", [1, 1_000])
def test_file_that_is_replaced_while_it_is_opened_is_opened_again(
    store: SqlStore, path: Path, monkeypatch: pytest.MonkeyPatch, times: int
):
    """A connection counts only if the file was the same before and after; not for ever, though."""
    commit(store, new(a_key("key_a")))
    store.close()
    other, left = path.with_name("other.db"), times
    other.write_bytes(path.read_bytes())
    commit(store, new(a_key("key_b")))
    store.close()
    connect = sqlite3.connect

    def slowly(*arguments: Any, **options: Any) -> sqlite3.Connection:
        nonlocal left
        connection: sqlite3.Connection = connect(*arguments, **options)
        if left:
            left -= 1
            spare = path.rename(path.with_name("spare.db"))
            other.rename(path)
            spare.rename(other)
        return connection

    with monkeypatch.context() as patch:
        patch.setattr("sqlite3.dbapi2.connect", slowly)
        if times > 1:
            assert isinstance(fails(store, Sync(0), match="again and again"), StoreUnavailableError)
            return
        assert store.perform(Sync(0)).head.rev == 1
    commit(store, new(a_key("key_c")))
    assert ids(path) == ["key_a", "key_c"]


def test_file_that_gets_its_log_later_is_no_other_file(path: Path):
    """A server that looked at a file too early goes on when it has become a store."""
    path.touch()
    early, other = SqlStore(SQLiteFile(str(path))), SqlStore(SQLiteFile(str(path)))
    with pytest.raises(StoreError, match="keybound init"):
        early.perform(Sync(0))
    other.perform(OpenStore(ENTROPY))
    assert early.perform(Sync(0)).head.rev == 0
    commit(early, new(a_key("key_a")))
    assert load(other, "key_a").key == "key_a"
    early.close()
    other.close()


# ------------------------------------------------------------------------------ for whole guards


@pytest.fixture
def clock() -> FakeClock:
    """Return a clock that is told the time."""
    return FakeClock()


@pytest.fixture
def make(path: Path, clock: FakeClock) -> Iterator[Callable[[], Guard]]:
    """Return a function that makes guards on the one file, each with a store of its own."""
    made: list[Guard] = []

    def make_guard() -> Guard:
        settings = Settings(database=str(path), revoke_within=5)
        made.append(
            Guard(Engine(settings, SqlStore(SQLiteFile(str(path))), clock, background=False))
        )
        return made[-1]

    yield make_guard
    for guard in made:
        guard.close()


REVOKE = """
import sys
from keybound import Guard
Guard.from_settings(database=sys.argv[1]).revoke(sys.argv[2])
"""


@pytest.mark.parametrize("changes", [0, 1, 3])
def test_revocation_in_a_restored_file_is_not_missed(make, clock, path, changes):
    """Servers that had the file before refuse a key within the bound of its end in the new one."""
    here, there = make(), make()
    issued = here.issue(name="CI")
    backup = back_up(path)
    lost = [here.issue(name="lost") for _ in range(changes)]  # the store goes back by as much
    for guard in (here, there):
        for each in (issued, *lost):
            assert isinstance(ask(guard, each), Allowed)
    restore(backup, path)
    python(REVOKE, str(path), issued.id)
    clock.advance(seconds=5.1)
    for guard in (here, there):
        assert ask(guard, issued).reason is Reason.REVOKED
        for each in lost:
            assert ask(guard, each).reason is Reason.UNKNOWN_KEY


def test_revocation_by_one_server_in_a_restored_file_reaches_the_others(make, clock, path):
    """Every server leaves the old file by itself, without a restart."""
    here, there = make(), make()
    issued = here.issue(name="CI")
    for guard in (here, there):
        assert isinstance(ask(guard, issued), Allowed)
    restore(back_up(path), path)
    there.revoke(issued.id)
    with raw(path) as other:
        assert other.execute("SELECT rev FROM keybound_meta").fetchall() == [(2,)]
    clock.advance(seconds=5.1)
    assert ask(here, issued).reason is Reason.REVOKED


def test_warm_keys_end_with_their_file(make, clock, path):
    """Without a file known keys live for the bound, and then it is 503, until there is one."""
    here, there = make(), make()
    issued = here.issue(name="CI")
    backup = back_up(path)
    for guard in (here, there):
        assert isinstance(ask(guard, issued), Allowed)
    delete(path)
    clock.advance(seconds=4.9)
    assert isinstance(ask(here, issued), Allowed)
    clock.advance(seconds=0.2)
    for guard in (here, there):
        denied = ask(guard, issued)
        assert denied.reason is Reason.STORE_UNAVAILABLE
        assert guard.refuse(denied).status == 503
    with pytest.raises(StoreUnavailableError, match="vanished"):
        here.revoke(issued.id)
    backup.rename(path)
    clock.advance(seconds=PAUSE)
    for guard in (here, there):
        assert isinstance(ask(guard, issued), Allowed)


@pytest.mark.parametrize("torn", ["log", "file"])
def test_warm_keys_end_when_the_log_is_another(make, clock, path, tmp_path, torn):
    """Who has another log than whoever changes keys now answers 503 within the bound."""
    here, there = make(), make()
    issued = here.issue(name="CI")
    with raw(path) as other:
        other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    for guard in (here, there):
        assert isinstance(ask(guard, issued), Allowed)
    if torn == "log":
        move(beside(path), tmp_path / "aside")
        python(REVOKE, str(path), issued.id)
    else:
        back_up(path).replace(path)
    clock.advance(seconds=5.1)
    for guard in (here, there):
        denied = ask(guard, issued)
        assert denied.reason is Reason.STORE_UNAVAILABLE
        assert guard.refuse(denied).status == 503


def ask(guard, issued):
    """Return the decision on a request with an issued key."""
    return guard.authorize("GET", "/", None, b"Bearer " + issued.secret.reveal().encode())
