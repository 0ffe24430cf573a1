"""Migrations make exactly the tables that are written down, on every kind of database."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import text

from keybound.core.effects import ListNodes, OpenStore, RecordUsage, Sync, UsageRow
from keybound.core.errors import StoreError
from keybound.stores import migrating, open_store
from keybound.stores.schema import SCHEMA, metadata
from keybound.stores.sql import SqlStore
from keybound.testing.records import a_digest, a_key, commit, new
from keybound.testing.store_kit import together
from tests.stores.together import ENTROPY, start

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.services.postgres import PostgresServer as Server

DESCRIBED = {
    "sqlite": "SELECT type, name, sql FROM sqlite_schema WHERE name LIKE 'keybound%' ORDER BY name",
    "postgresql": """
SELECT 'column', c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull,
    a.attidentity, l.collname
FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
LEFT JOIN pg_collation l ON l.oid = a.attcollation
WHERE c.relname LIKE 'keybound%' AND c.relkind = 'r'
UNION ALL
SELECT 'index', indexname, indexdef, '', false, '', '' FROM pg_indexes
WHERE tablename LIKE 'keybound%'
UNION ALL
SELECT 'constraint', conname, pg_get_constraintdef(oid), '', false, '', '' FROM pg_constraint
WHERE conname LIKE 'keybound%'
ORDER BY 1, 2, 3
""",
}


@pytest.fixture(params=["sqlite", "postgresql"])
def kind(request: pytest.FixtureRequest) -> str:
    """The kind of database."""
    return str(request.param)


@pytest.fixture
def database(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> str:
    """The path or the URL of an empty database."""
    if kind == "sqlite":
        return str(tmp_path / "keys.db")
    server: Server = request.getfixturevalue("postgres")
    return server.url(server.new_database())


@pytest.fixture
def other(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> str:
    """Another one."""
    if kind == "sqlite":
        return str(tmp_path / "other.db")
    server: Server = request.getfixturevalue("postgres")
    return server.url(server.new_database())


@pytest.fixture
def store_in() -> Iterator[Callable[[str], SqlStore]]:
    """Return a store in a file or a server; it is closed in the end."""
    stores: list[SqlStore] = []

    def make(database: str) -> SqlStore:
        store = open_store(database)
        assert isinstance(store, SqlStore)
        stores.append(store)
        return store

    yield make
    for store in stores:
        store.close()


@pytest.fixture
def store(database: str, store_in: Callable[[str], SqlStore]) -> SqlStore:
    """A store in the empty database, which nobody opened yet."""
    return store_in(database)


def described(store: SqlStore, kind: str) -> list[tuple[Any, ...]]:
    """Return all tables, columns, indexes and constraints, as the database itself has them."""
    with store.building() as connection:
        found = connection.execute(text(DESCRIBED[kind])).all()
    # How a statement is laid out means nothing.
    return [
        tuple(" ".join(each.split()) if isinstance(each, str) else each for each in row)
        for row in found
    ]


def test_migrations_make_the_tables_that_opening_makes(
    store: SqlStore, other: str, store_in: Callable[[str], SqlStore], kind: str
):
    """From nothing to the newest version is the same as beginning there, to the last index."""
    migrated, opened = store, store_in(other)
    assert migrating.upgrade(migrated) == (None, SCHEMA)
    opened.perform(OpenStore(ENTROPY))
    for each in (migrated, opened):
        assert migrating.check_tables(each) == (SCHEMA, SCHEMA, ())
    tables = described(migrated, kind)
    assert len(tables) > len(metadata.tables)
    assert tables == described(opened, kind)


def test_text_is_compared_by_code_points(store: SqlStore, kind: str):
    """A page of ids that ends here begins there, whatever the language of a database."""
    store.perform(OpenStore(ENTROPY))
    names = ["key_Z", "key_a", "key_-", "key_:", "key_0", "key_B", "key__", "key_b"]
    commit(store, *(new(a_key(name)) for name in names))
    assert [row.node.id for row in store.perform(ListNodes())] == sorted(names)
    if kind == "postgresql":
        columns = [row for row in described(store, kind) if row[0] == "column"]
        texts = [row for row in columns if "character" in row[3] and row[1] != "keybound_versions"]
        assert len(texts) > len(metadata.tables)
        assert {row[6] for row in texts} == {"C"}


def test_newest_migration_is_the_version_of_the_tables():
    """Who adds one counts on, in numbers of one length, in one line without branches."""
    revisions = list(migrating.script().walk_revisions())
    assert revisions[0].revision == SCHEMA
    numbers = [int(each.revision) for each in reversed(revisions)]
    assert numbers == list(range(1, len(revisions) + 1))
    assert {len(each.revision) for each in revisions} == {len(SCHEMA)}


def test_upgrade_keeps_every_key(store: SqlStore):
    """What is there stays there, and a store that is up to date is not touched."""
    store.perform(OpenStore(ENTROPY))
    head = commit(store, new(a_key("key_a"), a_digest(1)))
    assert migrating.upgrade_statements(store) == ""
    assert migrating.upgrade(store) == (SCHEMA, SCHEMA)
    assert store.perform(Sync(0)).head == head


def test_upgrade_of_the_first_tables_adds_usage(
    store: SqlStore, monkeypatch: pytest.MonkeyPatch, kind: str
):
    """A store of the first version keeps its keys and its revisions, and begins to count."""
    with monkeypatch.context() as first:
        first.setattr(migrating, "SCHEMA", "0001")
        assert migrating.upgrade(store) == (None, "0001")
    with store.building() as connection, connection.begin():
        for statement in FILLED:
            connection.execute(
                text(statement.replace("x''", r"'\\x'::bytea"))
                if kind == "postgresql"
                else text(statement)
            )
    with pytest.raises(StoreError, match="was made by an older keybound"):
        store.perform(OpenStore(ENTROPY))
    assert "keybound_usage" in migrating.upgrade_statements(store)
    assert migrating.upgrade(store) == ("0001", SCHEMA)
    assert migrating.check_tables(store) == (SCHEMA, SCHEMA, ())
    store.perform(OpenStore(ENTROPY))
    assert store.perform(Sync(0)).head.rev == 7
    assert store.perform(RecordUsage((UsageRow("key_a", 1.0, 1),))) == 1


FILLED = [
    "INSERT INTO keybound_meta (id, rev, tag, epoch, installation) VALUES (1, 7, x'', x'', x'')",
    "INSERT INTO keybound_revisions (rev, tag) VALUES (7, x'')",
]
"""What makes a store of tables, as an earlier version left it."""


def test_tables_without_a_store_are_filled_at_opening(
    store: SqlStore, database: str, store_in: Callable[[str], SqlStore]
):
    """The owner of a database makes the tables, and whoever opens first begins in them."""
    migrating.upgrade(store)
    with pytest.raises(StoreError, match="`keybound init` makes one"):
        store.perform(Sync(0))
    ids = together(lambda number: store_in(database).perform(OpenStore(bytes([number]) * 32)))
    assert len(set(ids)) == 1
    assert store.perform(Sync(0)).head.rev == 0


def test_processes_that_upgrade_at_once_do_not_collide(store: SqlStore, database: str):
    """A deployment may let every server upgrade, and open the store, as it starts."""
    processes = [start(UPGRADING, database, str(number)) for number in range(4)]
    said = [process.communicate(timeout=60)[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * 4, said
    done = sorted(each.split()[0] for each in said)
    assert len({each.split()[1] for each in said}) == 1
    assert done in ([SCHEMA] * 3 + ["None"], [SCHEMA] * 4)
    assert migrating.check_tables(store).differences == ()


UPGRADING = """
import sys
from keybound.core.effects import OpenStore
from keybound.stores import migrating, open_store

store = open_store(sys.argv[1])
if sys.argv[2] != "0":
    print(migrating.upgrade(store).before, end=" ")
else:
    print(migrating.SCHEMA, end=" ")
print(store.perform(OpenStore(sys.argv[2].encode())).id.hex())
store.close()
"""


def test_failed_migration_leaves_nothing(store: SqlStore, monkeypatch: pytest.MonkeyPatch):
    """All of it is one transaction: what fails in the middle can be tried again."""

    def fail(*_: object, **__: object) -> None:
        message = "in the middle"
        raise RuntimeError(message)

    with monkeypatch.context() as patched:
        patched.setattr("alembic.op.create_index", fail)
        with pytest.raises(RuntimeError, match="in the middle"):
            migrating.upgrade(store)
    assert migrating.check_tables(store).version is None
    assert migrating.upgrade(store).before is None
    assert migrating.check_tables(store).differences == ()


def test_tables_that_differ_are_found(store: SqlStore, kind: str):
    """A missing index, a column too many: whoever looks is told of each by name."""
    store.perform(OpenStore(ENTROPY))
    with store.building() as connection, connection.begin():
        connection.execute(text("DROP INDEX keybound_nodes_kind"))
        connection.execute(text("ALTER TABLE keybound_meta ADD COLUMN mine INTEGER"))
        if kind == "postgresql":  # the other one cannot do this
            connection.execute(text("ALTER TABLE keybound_nodes ALTER COLUMN kind TYPE text"))
        connection.execute(text("CREATE TABLE recipes (name TEXT)"))  # which is nobody's business
    found = " / ".join(migrating.check_tables(store).differences)
    assert "add index: keybound_nodes_kind" in found
    assert "remove column" in found
    assert "mine" in found
    assert ("modify type: keybound_nodes kind" in found) is (kind == "postgresql")
    assert "recipes" not in found
