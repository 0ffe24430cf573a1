"""A PostgreSQL server that restarts, hangs, fails over, or whose answer is lost on the way."""

from __future__ import annotations

import signal
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Event
from typing import TYPE_CHECKING

import pytest

from keybound.core.effects import LoadByDigest, OpenStore, ReplaceEpoch, Sync, SyncAnswer
from keybound.core.errors import StoreUnavailableError
from keybound.stores.postgres import (
    ANSWER_FOR,
    CHANGE_FOR,
    CONNECT_FOR,
    IDLE_FOR,
    READ_FOR,
    PostgresServer,
)
from keybound.stores.sql import SqlStore
from keybound.testing.records import a_digest, a_key, commit, load, new
from tests.stores.postgres_proxy import Cut, Proxy
from tests.stores.together import ENTROPY, fails

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from tests.services.postgres import PostgresServer as Server
    from tests.services.postgres import Servers

TERMINATE = """
SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity WHERE datname = '{}'
"""
REVOKE_WITHIN = 5.0
"""What a lease is by default."""

MARGIN = 1.0
"""Seconds of delay that a busy machine may add."""


@pytest.fixture(scope="module")
def server(own_postgres: Servers) -> Server:
    """A server that may be ended and started."""
    return own_postgres.start()


@pytest.fixture
def database(server: Server) -> str:
    """The name of an empty database."""
    return server.new_database()


@pytest.fixture
def store(server: Server, database: str) -> Iterator[SqlStore]:
    """A store in use: with a key, and with connections that wait in its pools."""
    store = SqlStore(PostgresServer(server.url(database)))
    store.perform(OpenStore(ENTROPY))
    commit(store, new(a_key("key_a"), a_digest(1)))
    store.perform(Sync(0))
    yield store
    store.close()


@contextmanager
def paused(server: Server) -> Generator[None]:
    """Let a server hang."""
    server.pause()
    try:
        yield
    finally:
        server.resume()


# -------------------------------------------------------------------------------- lost connections


def test_cut_connections_are_not_noticed(server: Server, database: str, store: SqlStore):
    """Whatever asks first after a failover or a restart is answered, be it a load or a change."""
    for rev in (1, 2, 3):
        server.execute(TERMINATE.format(database))
        assert store.perform(Sync(0)).head.rev == rev
        assert store.perform(LoadByDigest((a_digest(1),))).key == "key_a"
        assert commit(store, new(a_key(f"key_{rev}"))).rev == rev + 1
    server.execute(TERMINATE.format(database))
    epoch = store.perform(Sync(0)).head.epoch
    server.execute(TERMINATE.format(database))
    assert store.perform(ReplaceEpoch(epoch, bytes(16))) == bytes(16)


def test_cut_connections_are_not_noticed_by_many(server: Server, database: str):
    """All connections of a pool are cut at once, and nobody who uses one sees an error."""
    store = SqlStore(PostgresServer(server.url(database)), connections=9)
    store.perform(OpenStore(ENTROPY))
    with ThreadPoolExecutor(8) as pool:
        for _ in range(3):
            answers = list(pool.map(store.perform, [Sync(0)] * 64))
            assert all(answer.head.rev == 0 for answer in answers)
            server.execute(TERMINATE.format(database))
    store.close()


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT], ids=["stopped", "crashed"])
def test_restarted_server_is_used_again(server: Server, store: SqlStore, how: signal.Signals):
    """While it is away the store says so at once; when it is back everything goes on."""
    server.stop(how)
    began = time.monotonic()
    for _ in range(2):
        with pytest.raises(StoreUnavailableError, match="cannot be reached: start the server"):
            store.perform(Sync(0))
        with pytest.raises(StoreUnavailableError) as caught:
            commit(store, new(a_key("key_b")))
        assert "may have been made" not in str(caught.value)  # it was never sent
    assert time.monotonic() - began < MARGIN
    server.start()
    assert store.perform(Sync(0)).head.rev == 1
    assert commit(store, new(a_key("key_b"))).rev == 2


def test_hung_server_is_given_up_within_the_lease(server: Server, store: SqlStore):
    """A server that takes connections and says nothing delays a load, and never for long."""
    with paused(server):
        for bound in (READ_FOR + ANSWER_FOR + CONNECT_FOR, CONNECT_FOR):
            began = time.monotonic()
            with pytest.raises(StoreUnavailableError):
                store.perform(Sync(0))
            assert time.monotonic() - began < bound + MARGIN < REVOKE_WITHIN
    assert store.perform(Sync(0)).head.rev == 1


def test_change_at_a_hung_server_is_given_up(server: Server, store: SqlStore):
    """A change may wait longer, and is not made later when it was reported not to have been."""
    with paused(server):
        began = time.monotonic()
        with pytest.raises(StoreUnavailableError):
            commit(store, new(a_key("key_b")))
        assert time.monotonic() - began < CHANGE_FOR + ANSWER_FOR + CONNECT_FOR + MARGIN
    time.sleep(IDLE_FOR / 4)
    assert store.perform(Sync(0)).head.rev == 1
    assert commit(store, new(a_key("key_b"))).rev == 2


# ------------------------------------------------------------------------------------ lost answers


@pytest.fixture
def proxy(server: Server) -> Iterator[Proxy]:
    """Something between us and the server."""
    with Proxy(server.port) as proxy:
        yield proxy


@pytest.fixture
def through(proxy: Proxy, database: str, store: SqlStore) -> Iterator[SqlStore]:
    """The same store, by way of it."""
    assert store.perform(Sync(0)).head.rev == 1
    there = SqlStore(PostgresServer(f"postgresql://postgres@127.0.0.1:{proxy.port}/{database}"))
    there.perform(OpenStore(ENTROPY))
    yield there
    there.close()


@pytest.mark.parametrize("cut", Cut)
def test_commit_is_made_once_wherever_its_connection_is_cut(
    proxy: Proxy, through: SqlStore, store: SqlStore, cut: Cut
):
    """Its random tag tells whether it was made; the answer is as if nothing had happened."""
    proxy.cut = cut
    head = commit(through, new(a_key("key_b"), a_digest(2)))
    assert proxy.cut is None
    assert store.perform(Sync(0)).head == head
    assert [change.rev for change in store.perform(Sync(1)).changes] == [2, 2]
    assert set(load(store, "key_b").rows) == {"key_b"}


def test_commit_of_unknown_end_says_so(proxy: Proxy, through: SqlStore, store: SqlStore):
    """Whoever revokes a key and cannot be told that it is revoked is told to look."""
    proxy.cut, proxy.refuses = Cut.AFTER, True
    with pytest.raises(StoreUnavailableError, match=r"cannot be reached.*may have been made: look"):
        commit(through, new(a_key("key_b")))
    assert proxy.cut is None
    assert store.perform(Sync(0)).head.rev == 2


def test_later_commit_hides_no_lost_one(proxy: Proxy, through: SqlStore, store: SqlStore):
    """Its revision is answered even when somebody else has changed something since."""
    reached, go_on = Event(), Event()
    connect = through.database.connection

    @contextmanager
    def slowly(engine):
        if proxy.cut is None:  # the second attempt
            reached.set()
            assert go_on.wait(30)
        with connect(engine) as connection:
            yield connection

    proxy.cut = Cut.AFTER
    through.database.connection = slowly
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(commit, through, new(a_key("key_b")))
        assert reached.wait(30)
        assert commit(store, new(a_key("key_c"))).rev == 3
        go_on.set()
        head = waiting.result(30)
    assert head.rev == 2
    assert store.perform(Sync(2)).tags[2] == head.tag


def test_commit_that_is_made_anew_bears_another_name(
    server: Server, database: str, proxy: Proxy, through: SqlStore, store: SqlStore
):
    """A worker that saw it at a server which was lost is not told that it missed nothing since."""
    server.execute(TERMINATE.format(database))
    behind = server.copy(database)  # like a standby, and it is not told of the next commit
    through.perform(ReplaceEpoch(b"of nobody", b"nothing"))  # so that it has a connection
    other, connect = SqlStore(PostgresServer(server.url(behind))), through.database.connection
    seen: list[SyncAnswer] = []

    @contextmanager
    def failing_over(engine):
        if proxy.cut is not None:
            with connect(engine) as connection:
                yield connection
            return
        seen.append(store.perform(Sync(1)))  # the commit, which somebody saw before it was lost
        with other.database.connection(other._writing) as connection:  # noqa: SLF001
            yield connection

    proxy.cut = Cut.AFTER
    through.database.connection = failing_over
    head = commit(through, new(a_key("key_b")))
    assert (seen[0].head.rev, head.rev) == (2, 2)
    assert head.tag != seen[0].head.tag
    assert other.perform(Sync(2)).tags == {2: head.tag}
    other.close()


# ----------------------------------------------------------------------------------------- failover


def test_standby_is_refused_until_it_is_promoted(own_postgres: Servers):
    """What a standby says may be old; after a failover the new primary is found by itself."""
    primary = own_postgres.start()
    database = primary.new_database()
    standby = own_postgres.start(primary=primary)
    hosts = ",".join(f"127.0.0.1:{each.port}" for each in (standby, primary))
    store = SqlStore(PostgresServer(f"postgresql://postgres@{hosts}/{database}"))
    store.perform(OpenStore(ENTROPY))
    head = commit(store, new(a_key("key_a"), a_digest(1)))
    while not standby.execute(
        "SELECT pg_last_wal_replay_lsn() >= '{}'".format(
            primary.execute("SELECT pg_current_wal_lsn()")[0][0]
        )
    )[0][0]:
        time.sleep(0.01)

    refusing = {"": "takes no changes", "?target_session_attrs=any": "is a standby"}
    for options, told in refusing.items():
        url = standby.url(database) + options
        error = fails(SqlStore(PostgresServer(url)), Sync(0), match=told)
        assert isinstance(error, StoreUnavailableError)

    # A pooler in between may not hand on what a server says of itself; then it is asked.
    for server in (primary, standby):
        with Proxy(server.port) as proxy:
            proxy.hides = b"in_hot_standby"
            where = f"postgresql://postgres@127.0.0.1:{proxy.port}/{database}"
            behind = SqlStore(PostgresServer(f"{where}?target_session_attrs=any"))
            if server is standby:
                fails(behind, Sync(0), match="is a standby")
            else:
                assert behind.perform(Sync(0)).head == head
            behind.close()

    primary.stop(signal.SIGQUIT)
    with pytest.raises(StoreUnavailableError):
        store.perform(Sync(0))
    standby.promote()
    assert store.perform(Sync(0)).head == head
    assert store.perform(LoadByDigest((a_digest(1),))).key == "key_a"
    assert commit(store, new(a_key("key_b"))).rev == 2
    store.close()
    primary.start()
