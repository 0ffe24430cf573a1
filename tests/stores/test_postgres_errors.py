"""What can be wrong with a PostgreSQL server: an error that says what to do, and no password."""

from __future__ import annotations

import logging
import time
from concurrent.futures import ThreadPoolExecutor
from traceback import TracebackException
from typing import TYPE_CHECKING

import psycopg
import pytest

from keybound import AsyncGuard, Guard
from keybound.core.effects import LoadByDigest, OpenStore, SetFingerprint, Sync
from keybound.core.errors import SettingsError, StoreError, StoreUnavailableError
from keybound.stores import migrating, open_store
from keybound.stores.databases import Purpose
from keybound.stores.postgres import CHANGE_FOR, READ_FOR, PostgresServer
from keybound.stores.sql import SqlStore
from keybound.testing.records import a_digest, a_key, commit, new
from tests.stores.together import ENTROPY, fails, python

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.services.postgres import PostgresServer as Server

PASSWORD = "hunter2"


@pytest.fixture
def database(postgres: Server) -> str:
    """The name of an empty database."""
    return postgres.new_database()


@pytest.fixture
def store(postgres: Server, database: str) -> Iterator[SqlStore]:
    """An opened store in it."""
    store = SqlStore(PostgresServer(postgres.url(database)))
    store.perform(OpenStore(ENTROPY))
    yield store
    store.close()


@pytest.fixture(scope="module")
def role(postgres: Server) -> str:
    """A user who may do nothing yet, and comes with a password."""
    postgres.execute(f"CREATE ROLE little LOGIN PASSWORD '{PASSWORD}'")
    return "little"


@pytest.fixture
def little(postgres: Server, database: str, role: str) -> Callable[[], SqlStore]:
    """Return a handle of this user."""
    url = postgres.url(database, user=f"{role}:{PASSWORD}", host="127.0.0.1")
    return lambda: SqlStore(PostgresServer(url))


# -------------------------------------------------------------------------------------- the setting


@pytest.mark.parametrize(
    ("database", "location"),
    [
        ("postgresql://me:hunter2@db:5433/keys", "postgresql://me@db:5433/keys"),
        ("postgres://me:hunter2@db/keys", "postgresql://me@db/keys"),
        ("PostgreSQL+psycopg://me:hunter2@db/keys", "postgresql://me@db/keys"),
        ("postgresql://me@db/keys?password=hunter2&sslmode=require", "postgresql://me@db/keys"),
        ("postgresql://a:5432,b:5433/keys", "postgresql://a:5432,b:5433/keys"),
        ("postgresql://a,b/keys?port=5433", "postgresql://a:5433,b:5433/keys"),
        ("postgresql:///keys?host=/run/pg&sslpassword=hunter2", "postgresql://%2Frun%2Fpg/keys"),
        ("postgresql://me:hu%2Fnter2@[::1]:5432/a%20b", "postgresql://me@[::1]:5432/a%20b"),
        ("postgresql://", "postgresql://"),
    ],
)
def test_url_is_shown_without_password_and_options(database: str, location: str):
    """Everything that libpq reads is taken; what people see has no secret in it."""
    store = open_store(database)
    assert isinstance(store, SqlStore)
    assert store.location == location
    guard = Guard.from_settings(database=database)
    assert "nter2" not in f"{store!r} {vars(store)!r} {guard!r} {guard.settings!r}"


@pytest.mark.parametrize(
    ("database", "problem"),
    [
        ("postgresql+psycopg2://me:hunter2@db/keys", "driver psycopg2, not psycopg; write postgre"),
        ("postgresql+asyncpg://me:hunter2@db/keys", "driver asyncpg, not psycopg"),
        ("postgresql://me:hunter2@db/keys?sslmod=require", "'sslmod'; did you mean 'sslmode'?"),
        ("postgresql://me:hunter2@db/keys?pool_size=5", "unknown option 'pool_size'"),
        ("postgresql://me:hunter2%@db/keys", "is no PostgreSQL URL; write postgresql://"),
        ("postgresql://me:hunter2@db:hunter2/keys", "has a port that cannot work"),
        ("postgresql://me:hun:ter2/x@db/keys", "has an @ that is not escaped"),
        ("postgresql://me:1/hunter2@db/keys", "has an @ that is not escaped"),
        ("postgresql://me:x@hunter2@db/keys", "has an @ that is not escaped; write postgresql://"),
        ("postgresql://db/keys?target_session_attrs=standby", "leave it out"),
        ("postgresql://db/keys?target_session_attrs=read-only", "leave it out"),
        ("postgresql://db/keys?target_session_attrs=prefer-standby", "leave it out"),
        (
            "postgresql://db/keys?replication=database",
            "has a replication that cannot work; leave it out",
        ),
        (
            "postgresql://db/keys?connect_timeout=hunter2",
            "has a connect_timeout that cannot work; write a whole number of",
        ),
        ("postgresql://db/keys?connect_timeout=0", "0 would be for ever"),
        ("postgresql://db/keys?sslmode=hunter2", "has a sslmode that cannot work; write require"),
    ],
)
def test_url_that_cannot_work_is_refused_at_once(database: str, problem: str):
    """The error names the setting and the fix, and shows nothing that may be a password."""
    with pytest.raises(SettingsError) as caught:
        open_store(database)
    assert str(caught.value).startswith("database: ")
    assert problem in str(caught.value)
    assert "ter2" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_driver_that_is_not_installed_names_the_extra():
    """Without psycopg the error says how to get it."""
    code = """
import sys
sys.modules["psycopg"] = None
from keybound.stores import open_store
open_store("keys.db")
try:
    open_store("postgres://db/keys")
except ImportError as error:
    print(error)
"""
    assert python(code) == "psycopg is not installed: pip install 'keybound[postgres]'\n"


# --------------------------------------------------------------------------------------- the server


def test_wrong_password_is_told(postgres: Server, database: str, role: str):
    """Neither the wrong password nor a missing one is shown, nor is the right one."""
    for user in (f"{role}:hunter3", role):
        url = postgres.url(database, user=user, host="127.0.0.1")
        error = fails(SqlStore(PostgresServer(url)), Sync(0), match="refused user or password")
        assert isinstance(error, StoreUnavailableError)
        cause = error.__cause__
        assert cause is not None
        assert "hunter" not in f"{error} {error!r} {cause} {cause!r} {vars(cause)!r}"


@pytest.mark.parametrize(
    ("user", "database", "told"),
    [
        ("postgres", "test_none", "no such database: create it"),
        ("nobody_at_all", "postgres", "refused user or password"),
    ],
)
def test_what_does_not_exist_is_told(postgres: Server, user: str, database: str, told: str):
    """A database is made by whoever runs the server, not in passing."""
    store = SqlStore(PostgresServer(postgres.url(database, user=user)))
    assert isinstance(fails(store, OpenStore(ENTROPY), match=told), StoreUnavailableError)


@pytest.mark.parametrize("host", ["127.0.0.1:1", "no-such-host.invalid", "%2Fno%2Fsuch%2Fplace"])
def test_server_that_is_away_is_told(host: str):
    """Whoever starts before the server hears what to look after, and can try again."""
    store = SqlStore(PostgresServer(f"postgresql://me:{PASSWORD}@{host}/keys"))
    error = fails(store, Sync(0), match="cannot be reached: start the server, check host")
    assert isinstance(error, StoreUnavailableError)
    assert PASSWORD not in f"{error} {error.__cause__}"


def test_empty_database_says_what_makes_a_store(postgres: Server, database: str):
    """A database without our tables is not an answer that there are no keys."""
    fails(SqlStore(PostgresServer(postgres.url(database))), Sync(0), match="`keybound init` makes")


def test_tables_of_others_are_left_alone(postgres: Server, database: str):
    """A store lives beside the tables of an application."""
    postgres.execute("CREATE TABLE recipes (name text)", database=database)
    store = SqlStore(PostgresServer(postgres.url(database)))
    store.perform(OpenStore(ENTROPY))
    commit(store, new(a_key("key_a")))
    store.close()
    assert postgres.execute("SELECT count(*) FROM recipes", database=database) == [(0,)]


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        ("CREATE TABLE keybound_meta (id int)", "is incomplete .*keybound_versions.*restore"),
        ("CREATE TABLE keybound_versions (name text)", "not those that keybound made"),
        ("CREATE TABLE keybound_versions (version_num int)", "was changed past keybound"),
    ],
)
def test_tables_that_are_not_ours_are_not_touched(
    postgres: Server, database: str, statement: str, told: str
):
    """Whoever has tables of our names is told, and nothing is added to them."""
    postgres.execute(statement, database=database)
    fails(SqlStore(PostgresServer(postgres.url(database))), OpenStore(ENTROPY), match=told)
    count = "SELECT count(*) FROM pg_tables WHERE tablename LIKE 'keybound_%'"
    assert postgres.execute(count, database=database) == [(1,)]


def test_user_without_rights_is_told_who_has_them(
    postgres: Server, database: str, little: Callable[[], SqlStore], role: str
):
    """A server may run with few rights: the owner makes the tables and grants what is needed."""
    fails(
        little(), OpenStore(ENTROPY), match="as the owner .* run `keybound db upgrade`, and GRANT"
    )
    owner = SqlStore(PostgresServer(postgres.url(database)))
    migrating.upgrade(owner)
    fails(little(), OpenStore(ENTROPY), match="GRANT SELECT, INSERT, UPDATE, DELETE on the tables")
    tables = "keybound_meta, keybound_nodes, keybound_edges, keybound_changes, keybound_revisions"
    rights = f"GRANT SELECT, INSERT, UPDATE, DELETE ON keybound_versions, {tables} TO {role}"
    postgres.execute(rights, database=database)
    store = little()
    store.perform(OpenStore(ENTROPY))
    assert commit(store, new(a_key("key_a"), a_digest(1))).rev == 1
    store.close()
    owner.close()


def test_user_who_may_only_read_still_serves(
    postgres: Server, database: str, store: SqlStore, little: Callable[[], SqlStore], role: str
):
    """A server that only checks keys needs no right to change any."""
    commit(store, new(a_key("key_a"), a_digest(1)))
    postgres.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}", database=database)
    reader = little()
    reader.perform(OpenStore(ENTROPY))
    assert reader.perform(LoadByDigest((a_digest(1),))).key == "key_a"
    fails(reader, SetFingerprint("0" * 16), match="this user lacks a right")


def test_full_server_is_told(postgres: Server, database: str, store: SqlStore, role: str):
    """Who gets no connection hears which two numbers to look at."""
    postgres.execute(f"ALTER ROLE {role} CONNECTION LIMIT 1")
    url = postgres.url(database, user=f"{role}:{PASSWORD}", host="127.0.0.1")
    try:
        with psycopg.connect(url):
            other = SqlStore(PostgresServer(url))
            assert isinstance(fails(other, Sync(0), match="max_connections"), StoreUnavailableError)
    finally:
        postgres.execute(f"ALTER ROLE {role} CONNECTION LIMIT -1")
    assert store.perform(Sync(0)).head.rev == 0


def test_primary_that_was_made_read_only_is_not_trusted(postgres: Server, database: str):
    """Whoever was replaced and fenced off knows of no revocation."""
    postgres.execute(f"ALTER DATABASE {database} SET default_transaction_read_only = on")
    store = SqlStore(PostgresServer(postgres.url(database)))
    fails(store, OpenStore(ENTROPY), match="takes no changes .*read-only.*name the primary")
    chosen = SqlStore(PostgresServer(f"{postgres.url(database)}?target_session_attrs=primary"))
    fails(chosen, OpenStore(ENTROPY), match="takes no changes")


@pytest.mark.parametrize("host", ["127.0.0.1:{port}", "127.0.0.1:1", "nowhere.invalid"])
def test_no_traceback_shows_a_password(postgres: Server, role: str, host: str):
    """Not even one that shows the variables of every call, back to where it began."""
    where = host.format(port=postgres.port)
    store = open_store(f"postgresql://{role}:not-{PASSWORD}@{where}/keys")
    with pytest.raises(StoreUnavailableError) as caught:
        store.perform(Sync(0))
    shown = "".join(TracebackException.from_exception(caught.value, capture_locals=True).format())
    assert "psycopg" in shown
    assert PASSWORD not in shown


def test_nothing_is_logged_of_a_password(
    postgres: Server, database: str, role: str, caplog: pytest.LogCaptureFixture
):
    """Neither we nor the driver nor SQLAlchemy write it, however much they are to say."""
    caplog.set_level(logging.DEBUG)
    postgres.execute(f"GRANT CREATE ON SCHEMA public TO {role}", database=database)
    url = postgres.url(database, user=f"{role}:{PASSWORD}", host="127.0.0.1")
    guard = Guard.from_settings(database=url)
    guard.open()
    guard.close()
    with pytest.raises(StoreError):
        Guard.from_settings(database=url.replace(PASSWORD, f"{PASSWORD}x")).open()
    # As with a file: digests there are only as good as the keys are long.
    assert "no secret is set: keys in postgresql://little@127.0.0.1" in caplog.text
    assert PASSWORD not in caplog.text


# ----------------------------------------------------------------------------------------- patience


def test_change_waits_for_its_turn_and_not_for_ever(
    postgres: Server, database: str, store: SqlStore
):
    """Whoever holds the counter row delays changes; no reader notices, and the error says why."""
    with psycopg.connect(postgres.url(database)) as other, ThreadPoolExecutor(1) as pool:
        other.execute("UPDATE keybound_meta SET rev = rev")
        began = time.monotonic()
        waiting = pool.submit(commit, store, new(a_key("key_a")))
        while not waiting.done():
            asked = time.monotonic()
            assert store.perform(Sync(0)).head.rev == 0
            assert time.monotonic() - asked < READ_FOR
            time.sleep(0.05)
        assert time.monotonic() - began < CHANGE_FOR + 1
        error = waiting.exception()
        other.rollback()
    assert isinstance(error, StoreUnavailableError)
    assert "another program keeps a lock" in str(error)
    assert commit(store, new(a_key("key_a"))).rev == 1


def test_reading_gives_up_well_within_the_lease(postgres: Server, database: str, store: SqlStore):
    """Who keeps everybody out of a table makes requests fail soon, and all of them."""
    with psycopg.connect(postgres.url(database)) as other, ThreadPoolExecutor(4) as pool:
        other.execute("LOCK TABLE keybound_meta")
        began = time.monotonic()
        waiting = [pool.submit(store.perform, Sync(0)) for _ in range(4)]
        errors = [each.exception(30) for each in waiting]
        assert time.monotonic() - began < 3 * READ_FOR
        other.rollback()
    assert all(isinstance(error, StoreUnavailableError) for error in errors)
    assert any("another program keeps a lock" in str(error) for error in errors)
    assert store.perform(Sync(0)).head.rev == 0


def test_limits_are_those_of_every_connection(postgres: Server, database: str):
    """What a user chooses in the URL wins over what we set."""
    url = postgres.url(database)
    names = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout")
    asked = ", ".join(f"current_setting('{name}')" for name in (*names, "application_name"))
    expected = {
        "": ("5s", "4s", "2s", "keybound"),
        "?options=-c%20lock_timeout%3D7s&application_name=mine": ("5s", "7s", "2s", "mine"),
    }
    for options, values in expected.items():
        engine = PostgresServer(url + options).engine(Purpose.CHANGE, connections=1)
        with engine.connect() as connection:
            assert connection.exec_driver_sql(f"SELECT {asked}").one() == values
        engine.dispose()


def test_answered_commits_outlive_a_crash(postgres: Server, database: str):
    """Where a database was set to answer before it wrote, a change waits for it all the same."""
    postgres.execute(f"ALTER DATABASE {database} SET synchronous_commit = off")
    engine = PostgresServer(postgres.url(database)).engine(Purpose.CHANGE, connections=1)
    with engine.connect() as connection:
        assert connection.exec_driver_sql("SHOW synchronous_commit").scalar_one() == "on"
    engine.dispose()


async def _served(guard: AsyncGuard) -> str:
    issued = await guard.issue(name="CI", tenant="acme")
    shown = await guard.show(issued.id)
    await guard.close()
    return shown.node.name


def test_guards_work_over_a_server(postgres_url: str):
    """Issued by one guard, shown by the other: what is true of a file is true of a server."""
    import asyncio

    assert asyncio.run(_served(AsyncGuard.from_settings(database=postgres_url))) == "CI"
    guard = Guard.from_settings(database=postgres_url)
    assert [node.name for node in guard.list()] == ["CI"]
    guard.close()
