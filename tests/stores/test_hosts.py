"""Changes within a transaction of the application's own, on every kind of database."""

from __future__ import annotations

import asyncio
import signal
import sqlite3
import time
from contextlib import contextmanager
from threading import Thread
from typing import TYPE_CHECKING, Any

import pytest
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy import URL, StaticPool, create_engine, event, text
from sqlalchemy.orm import Session, scoped_session, sessionmaker

from keybound import Guard
from keybound.core.coherence import sync
from keybound.core.effects import LoadByDigest, Sync
from keybound.core.errors import ConflictError, InputError, NotFoundError
from keybound.drivers import run
from tests.stores.together import start

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from sqlalchemy import Engine

SECRET = "a secret of these tests, which is long enough to be one"


class Place:
    """A database that an application shares with its keys."""

    def __init__(self, kind: str, database: str, url: str) -> None:
        """Know how keybound and how SQLAlchemy name it."""
        self.kind = kind
        self.database = database
        self.url = url


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """An empty database."""
    if request.param == "sqlite":
        path = tmp_path / "keys.db"
        return Place("sqlite", str(path), f"sqlite:///{path}")
    url: str = request.getfixturevalue("postgres_url")
    return Place("postgresql", url, of_sqlalchemy(url))


def of_sqlalchemy(url: str) -> str:
    """Return the URL of a server as SQLAlchemy wants it, which reads sockets in another way."""
    given = conninfo_to_dict(url)
    place = {name: str(given[name]) for name in ("host", "port")}
    found = URL.create(
        "postgresql+psycopg", str(given["user"]), database=str(given["dbname"]), query=place
    )
    return found.render_as_string(hide_password=False)


@pytest.fixture
def guards(place: Place) -> Iterator[Callable[[], Guard]]:
    """Return guards as processes of their own have them, which sync when they are told to."""
    made: list[Guard] = []

    def make(**settings: Any) -> Guard:
        given = {"sync_every": 60, "revoke_within": 300, **settings}
        made.append(Guard.from_settings(database=place.database, secret=SECRET, **given))
        made[-1].open()
        return made[-1]

    yield make
    for guard in made:
        guard.close()


@pytest.fixture
def guard(guards: Callable[[], Guard]) -> Guard:
    """The guard of the application."""
    return guards()


@pytest.fixture
def engine(place: Place, guard: Guard) -> Iterator[Engine]:
    """What the application uses, with a table of its own."""
    assert guard.engine.store.location
    engine = create_engine(place.url)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE orders (id INTEGER)"))
    yield engine
    engine.dispose()


@contextmanager
def by_session(engine: Engine) -> Iterator[Session]:
    """Lend a session in a transaction."""
    with Session(engine) as session, session.begin():
        yield session


@pytest.fixture(params=["session", "connection"])
def begin(request: pytest.FixtureRequest, engine: Engine) -> Callable[[], Any]:
    """Begin a transaction, which is committed at the end of its block."""
    return engine.begin if request.param == "connection" else lambda: by_session(engine)


def accepts(guard: Guard, issued: Any) -> bool:
    """Return whether a request with a key is let in."""
    header = f"Bearer {issued.secret.reveal()}".encode()
    return type(guard.authorize("GET", "/", None, header)).__name__ == "Allowed"


def sync_now(guard: Guard) -> None:
    """Ask what changed, as a thread in the background does."""
    run(sync(guard.engine.rules.worker), guard.engine.perform)


def fail_after(change: Any, *arguments: Any) -> None:
    """Make a change that is to be undone."""
    change(*arguments)
    raise RollbackError


def head(guard: Guard) -> Any:
    """Return what a sync is answered."""
    return guard.engine.perform(Sync(0))


class RollbackError(Exception):
    """What makes an application go back."""


def test_change_holds_once_the_host_has_committed(guard: Guard, begin: Any):
    """What is asked for in a transaction is done with it, and then has a receipt."""
    issued = guard.issue(name="before")
    with begin() as host:
        with guard.joining(host) as joined:
            pending = joined.revoke(issued.id)
            made = joined.issue(name="with the host")
            assert joined.show(issued.id).node.revoked_at is not None
            assert {key.id for key in joined.list()} == {issued.id, made.id}
        host.execute(text("INSERT INTO orders VALUES (1)"))
        assert accepts(guard, issued)
        assert not accepts(guard, made)
        assert (pending.rev, pending.effective_by, joined.receipts) == (None, None, ())
    assert not accepts(guard, issued)
    assert accepts(guard, made)
    revoked, kept = joined.receipts
    assert (revoked.node.id, kept.node.id) == (issued.id, made.id)
    assert revoked.rev == kept.rev == guard.show(issued.id).rev == head(guard).head.rev == 2
    assert revoked.effective_by is not None


def test_change_is_undone_with_the_host(guard: Guard, begin: Any):
    """Nothing happened that the host took back, and it is told of nothing."""
    issued = guard.issue(name="before")
    before = head(guard)
    with pytest.raises(RollbackError), begin() as host, guard.joining(host) as joined:
        fail_after(lambda: (joined.revoke(issued.id), joined.issue(name="with the host")))
    assert accepts(guard, issued)
    assert [key.id for key in guard.list()] == [issued.id]
    assert head(guard) == before
    assert joined.receipts == ()
    with begin():
        pass
    assert joined.receipts == ()


def test_savepoint_takes_back_what_was_changed_in_it(guard: Guard, begin: Any):
    """What a host goes back to a savepoint for is gone, what was before it is not."""
    kept, ended = guard.issue(name="kept"), guard.issue(name="ended")
    with begin() as host, guard.joining(host) as joined:
        joined.disable(ended.id)
        with pytest.raises(RollbackError), host.begin_nested():
            fail_after(joined.disable, kept.id)
        with host.begin_nested():
            joined.update(ended.id, name="renamed")
    assert accepts(guard, kept)
    assert not accepts(guard, ended)
    assert guard.show(ended.id).node.name == "renamed"
    (told,) = joined.receipts
    assert (told.node.id, told.node.enabled, told.node.name) == (ended.id, False, "renamed")


def test_what_is_changed_again_after_a_savepoint_has_its_receipt(guard: Guard, begin: Any):
    """It was taken back once, and changed all the same."""
    issued = guard.issue(name="before")
    with begin() as host, guard.joining(host) as joined:
        with pytest.raises(RollbackError), host.begin_nested():
            fail_after(joined.revoke, issued.id)
        joined.disable(issued.id)
        joined.update(issued.id, name="after")
    (told,) = joined.receipts
    assert (told.node.enabled, told.node.name, told.node.revoked_at) == (False, "after", None)
    assert told.rev == guard.show(issued.id).rev == 2


def test_other_workers_learn_of_it_at_their_next_sync(
    guard: Guard, guards: Callable[[], Guard], begin: Any
):
    """A worker that knows the key lets it in no more once it has synced."""
    other, issued = guards(), guard.issue(name="before")
    assert accepts(other, issued)
    with begin() as host, guard.joining(host) as joined:
        joined.revoke(issued.id)
    assert accepts(other, issued)  # the bound is long here, and nothing told it
    sync_now(other)
    assert not accepts(other, issued)


DYING = """
import os, signal, sys
from sqlalchemy import create_engine, event, text
from sqlalchemy.orm import Session
from keybound import Guard
import keybound.joined

database, url, secret, key, when = sys.argv[1:]
guard = Guard.from_settings(database=database, secret=secret)
def die():
    os.kill(os.getpid(), signal.SIGKILL)
keybound.joined.Joined._committed = lambda self: die()  # it is called right after the commit
with Session(create_engine(url)) as session:
    with guard.joining(session) as joined:
        joined.revoke(key)
        joined.issue(name="with the host")
    if when == "before":
        die()
    session.commit()
print("still here")
"""


@pytest.mark.parametrize("when", ["before", "after"])
def test_host_that_is_killed_loses_nothing_it_committed(
    guard: Guard, guards: Callable[[], Guard], place: Place, when: str
):
    """Killed right after its commit, others stamp it; killed right before, nothing happened."""
    other, issued = guards(), guard.issue(name="before")
    assert accepts(other, issued)
    process = start(DYING, place.database, place.url, SECRET, issued.id, when)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL, said
    found = head(other)
    assert (found.head.rev, found.unstamped) == (1, when == "after")
    sync_now(other)
    assert accepts(other, issued) is (when == "before")
    found = head(other)
    assert (found.head.rev, found.unstamped) == (2 if when == "after" else 1, False)
    assert len(guard.list()) == (2 if when == "after" else 1)


def test_load_stamps_what_it_finds(guard: Guard, place: Place):
    """A worker that never knew the key does not keep what has no revision yet."""
    issued = guard.issue(name="before")
    process = start(DYING, place.database, place.url, SECRET, issued.id, "after")
    process.communicate(timeout=60)
    digest = guard.engine.peppers.digest(issued.secret.reveal())
    loaded = guard.engine.perform(LoadByDigest((digest,)))
    assert loaded.unstamped
    assert loaded.rows[issued.id].rev < 0
    assert guard.show(issued.id).rev == 2
    assert not guard.engine.perform(LoadByDigest((digest,))).unstamped
    assert not accepts(guard, issued)


def test_host_holds_no_revision(
    guard: Guard, guards: Callable[[], Guard], begin: Any, place: Place
):
    """Others change other keys while a transaction is open, where the database has many writers."""
    if place.kind == "sqlite":
        pytest.skip("SQLite has one writer")
    other = guards()
    mine, yours = guard.issue(name="mine"), guard.issue(name="yours")
    with begin() as host, guard.joining(host) as joined:
        joined.disable(mine.id)
        assert other.disable(yours.id).rev == 3
        sync_now(other)
        assert head(other).unstamped is False
    assert [receipt.rev for receipt in joined.receipts] == [4]


def test_host_that_is_slow_holds_up_its_own_keys_alone(
    guard: Guard, guards: Callable[[], Guard], begin: Any, place: Place
):
    """Who changes a key that a host is changing waits, and keeps nobody else waiting for that."""
    if place.kind == "sqlite":
        pytest.skip("SQLite has one writer")
    other, third = guards(), guards()
    mine, yours = guard.issue(name="mine"), guard.issue(name="yours")
    with begin() as host, guard.joining(host) as joined:
        joined.update(mine.id, name="by the host")
        waiting = Thread(target=other.disable, args=(mine.id,))
        waiting.start()
        _until(lambda: _waits_for_a_row(host))
        began = time.monotonic()
        third.disable(yours.id)
        assert time.monotonic() - began < 1
        assert waiting.is_alive()
    waiting.join(20)
    node = guard.show(mine.id).node
    assert (node.name, node.enabled) == ("by the host", False)  # read again, not written over


def _waits_for_a_row(host: Any) -> bool:
    found = text("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
    return bool(host.execute(found).scalar())


def _until(done: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not done():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_two_hosts_do_not_overwrite_each_other(guard: Guard, engine: Engine, place: Place):
    """Of two transactions that change one key, the later goes on from what the first made."""
    issued = guard.issue(name="before")
    with Session(engine) as one, Session(engine) as two:
        with guard.joining(one) as joined:
            joined.update(issued.id, name="by one")
        one.commit()
        with guard.joining(two) as joined:
            read = joined.show(issued.id)
            assert read.node.name == "by one"
            joined.update(issued.id, metadata={"by": "two"}, if_revision=read.rev)
            with pytest.raises(ConflictError):
                joined.update(issued.id, name="late", if_revision=read.rev)
        two.commit()
    node = guard.show(issued.id).node
    assert (node.name, node.metadata) == ("by one", {"by": "two"})
    if place.kind == "postgresql":
        _race(guard, engine, issued.id)


def _race(guard: Guard, engine: Engine, key: str) -> None:
    """Let a host read a key, which another one then changes and commits."""
    with Session(engine) as one, Session(engine) as two:
        with guard.joining(one) as first, guard.joining(two) as second:
            first.update(key, name="by one again")
            done = Thread(target=second.update, args=(key,), kwargs={"metadata": {"by": "both"}})
            done.start()
            _until(lambda: _waits_for_a_row(one))
            one.commit()
            done.join(20)
        two.commit()
    node = guard.show(key).node
    assert (node.name, node.metadata) == ("by one again", {"by": "both"})


@pytest.mark.parametrize("level", ["REPEATABLE READ", "SERIALIZABLE"])
def test_snapshot_that_is_too_old_is_a_conflict(
    guards: Callable[[], Guard], place: Place, level: str
):
    """Where the host sees what was, it is told that something else came between, and may go on."""
    if place.kind == "sqlite":
        pytest.skip("SQLite has one writer")
    guard = guards()
    engine = create_engine(place.url, isolation_level=level)
    issued = guard.issue(name="before")
    with Session(engine) as session, guard.joining(session) as joined:
        assert joined.show(issued.id).node.enabled
        guard.disable(issued.id)
        assert joined.show(issued.id).node.enabled
        with pytest.raises(ConflictError):
            joined.update(issued.id, name="late")
        joined.issue(name="another")
        session.commit()
    assert guard.show(issued.id).node.name == "before"
    assert len(guard.list()) == 2
    engine.dispose()


def test_failed_change_leaves_the_transaction_alone(guard: Guard, begin: Any):
    """Who asks for what cannot be is told, and goes on with everything else."""
    issued = guard.issue(name="before")
    with begin() as host, guard.joining(host) as joined:
        host.execute(text("INSERT INTO orders VALUES (1)"))
        with pytest.raises(NotFoundError):
            joined.revoke("key_0000000000000000")
        with pytest.raises(InputError, match="wait"):
            joined.revoke(issued.id, wait=True)
        joined.disable(issued.id)
        assert host.execute(text("SELECT count(*) FROM orders")).scalar() == 1
    assert not guard.show(issued.id).node.enabled


def refuses(guard: Guard, host: Any, said: str) -> None:
    """See that a guard does not join what is no transaction of its database."""
    with pytest.raises(InputError, match=said), guard.joining(host):
        pass


def test_no_transaction_is_refused(guard: Guard, engine: Engine, place: Place):
    """What each statement would commit by itself, or nobody would, is not begun."""
    with engine.connect() as connection:
        refuses(guard, connection, r"with connection\.begin")
    each = create_engine(place.url, isolation_level="AUTOCOMMIT")
    with Session(each) as session:
        refuses(guard, session, "committed by itself")
    each.dispose()


def test_another_database_is_refused(guard: Guard, tmp_path: Path):
    """A change in a database that holds no keys would be none."""
    for url in (f"sqlite:///{tmp_path / 'other.db'}", "sqlite://"):
        engine = create_engine(url)
        with Session(engine) as session:
            refuses(guard, session, "where the keys are")
        engine.dispose()


def test_another_database_of_the_server_is_refused(
    postgres_url: str, postgres: Any, guards: Callable[[], Guard], place: Place
):
    """A copy of the keys beside them has their names, and is another place all the same."""
    if place.kind == "sqlite":
        pytest.skip("it is about servers")
    guard = guards()
    guard.close()
    copy = postgres.copy(postgres_url.rpartition("/")[2])
    engine = create_engine(of_sqlalchemy(postgres.url(copy)))
    with Session(engine) as session:
        refuses(guard, session, "where the keys are")
    engine.dispose()


def test_what_has_no_transactions_is_refused(guard: Guard):
    """Keys in memory have nothing in common with anybody's transaction."""
    refuses(guard, "a session", "str")
    nowhere = Guard.from_settings(database="memory://")
    with Session() as session:
        refuses(nowhere, session, "memory://")


def test_verbs_end_with_the_block(guard: Guard, engine: Engine):
    """What is asked for later would be told to nobody."""
    issued = guard.issue(name="before")
    with Session(engine) as session:
        with guard.joining(session) as joined:
            pass
        with pytest.raises(InputError, match="is over"):
            joined.revoke(issued.id)
        session.commit()


def test_session_goes_on_with_its_next_transaction(guard: Guard, engine: Engine):
    """Each transaction of a block counts for itself, and nothing is told twice."""
    key = guard.issue(name="before").id
    session = scoped_session(sessionmaker(engine))
    with guard.joining(session) as joined:
        joined.disable(key)
        session.commit()
        assert [receipt.rev for receipt in joined.receipts] == [2]
        joined.enable(key)
        session.rollback()
        joined.update(key, name="renamed")
        session.commit()
    assert [receipt.rev for receipt in joined.receipts] == [2, 3]
    assert not guard.show(key).node.enabled
    session.remove()


def test_what_no_thread_can_stamp_the_next_sync_does(
    guard: Guard,
    engine: Engine,
    no_threads: Callable[[], AbstractContextManager[None]],
    caplog: pytest.LogCaptureFixture,
):
    """The host, which has committed in an event loop, is not told otherwise."""
    issued = guard.issue(name="before")
    assert accepts(guard, issued)

    async def commits() -> None:
        with Session(engine) as session, guard.joining(session) as joined, no_threads():
            joined.revoke(issued.id)
            session.commit()

    asyncio.run(commits())
    assert "the next sync has to stamp what was committed: there is no thread" in caplog.text
    sync_now(guard)
    assert not accepts(guard, issued)


def test_sqlite_driver_begins_late(guard: Guard, engine: Engine, place: Place):
    """A savepoint where nothing was written yet is part of the transaction, not one of its own."""
    issued = guard.issue(name="before")
    if place.kind != "sqlite":
        pytest.skip("it is about SQLite's driver")
    connection = sqlite3.connect(place.database)
    late = create_engine("sqlite://", creator=lambda: connection, poolclass=StaticPool)
    with Session(late) as session, guard.joining(session) as joined:
        joined.revoke(issued.id)
        session.rollback()
    assert accepts(guard, issued)
    late.dispose()
    assert engine.dialect.name == "sqlite"


def test_who_watches_the_host_sees_no_digest(
    guard: Guard, engine: Engine, caplog: pytest.LogCaptureFixture
):
    """Neither its log nor its listeners are shown what is asked over its connection."""
    seen: list[object] = []
    event.listen(engine, "before_cursor_execute", lambda *given: seen.append(given[2:4]))
    engine.echo = True
    with Session(engine) as session, guard.joining(session) as joined:
        issued = joined.issue(name="with the host")
        session.commit()
    digest = guard.engine.peppers.digest(issued.secret.reveal())
    shown = f"{seen} {caplog.text}"
    assert repr(digest) not in shown
    assert "keybound_nodes" not in shown


def test_stamp_does_not_wait_for_a_host(guard: Guard, guards: Any, engine: Engine, place: Place):
    """A key that is without a revision while another host writes it gets one all the same."""
    if place.kind == "sqlite":
        pytest.skip("SQLite has one writer")
    issued = guard.issue(name="before")
    process = start(DYING, place.database, place.url, SECRET, issued.id, "after")
    process.communicate(timeout=60)
    other = guards()
    with Session(engine) as session:
        with guard.joining(session) as joined:
            joined.update(issued.id, name="by the host")
        began = time.monotonic()
        sync_now(other)
        assert time.monotonic() - began < 1
        assert head(other).unstamped is False
        assert other.show(issued.id).node.revoked_at is not None
        session.rollback()
    other.update(issued.id, name="later")  # what it has for a version is as good as a revision
    assert other.show(issued.id).rev == 3
