"""Bringing the tables of a store to the version that this keybound needs, with Alembic.

Nobody's ``alembic.ini`` is read, and an application's own migrations know nothing of these: the
version is kept in ``keybound_versions``.
"""

from __future__ import annotations

from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from keybound.stores.databases import Purpose
from keybound.stores.rules import check_not_newer
from keybound.stores.schema import SCHEMA, metadata, versions
from keybound.stores.sql import transaction
from keybound.stores.sql_reads import read_version

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from keybound.stores.sql import SqlStore

_FOLDER = str(Path(__file__).parent / "migrations")


class Upgrade(NamedTuple):
    """The version of the tables before and after; ``None`` where there were none."""

    before: str | None
    after: str


class Checked(NamedTuple):
    """The version of the tables, and in what they differ from those that are needed."""

    version: str | None
    needed: str
    differences: tuple[str, ...]


def upgrade(store: SqlStore) -> Upgrade:
    """Bring the tables to the version that this keybound needs, making them if need be.

    Several may do so at once. Raises ``StoreError``, also for tables of a newer version.
    """
    store.database.create()
    with store.building() as connection:
        store.database.prepare(connection)
        with transaction(connection, Purpose.BUILD):
            before = _version(connection)
            if before != SCHEMA:
                _run(before, connection=connection)
    return Upgrade(before, SCHEMA)


def upgrade_statements(store: SqlStore) -> str:
    """Return the SQL with which ``upgrade`` would do so; nothing is changed."""
    text = StringIO()
    with store.building() as connection, transaction(connection, Purpose.READ):
        before = _version(connection)
        if before != SCHEMA:
            _run(
                before,
                dialect_name=connection.dialect.name,
                output_buffer=text,
                transactional_ddl=True,
            )
    return text.getvalue()


def check_tables(store: SqlStore) -> Checked:
    """Look whether the tables are those that this keybound needs; nothing is changed."""
    with store.building() as connection, transaction(connection, Purpose.READ):
        version = read_version(connection)
        context = MigrationContext.configure(
            connection, opts={"include_name": _is_ours, "include_object": _is_compared}
        )
        told = tuple(_told(each) for each in compare_metadata(context, metadata))
        return Checked(version, SCHEMA, told)


def script() -> ScriptDirectory:
    """Return the migrations that come with this package."""
    return ScriptDirectory(_FOLDER, version_locations=[_FOLDER])


def _version(connection: Connection) -> str | None:
    version = read_version(connection)
    if version is not None:
        location = str(connection.get_execution_options()["location"])
        check_not_newer(location, version, known=SCHEMA)
    return version


def _run(version: str | None, **how: Any) -> None:  # noqa: ANN401 - as Alembic takes it
    migrations = script()

    def steps(_current: object, _context: object) -> Any:  # noqa: ANN401 - Alembic's own
        return migrations._upgrade_revs(SCHEMA, version)  # type: ignore[arg-type]  # noqa: SLF001

    offline = "connection" not in how
    with EnvironmentContext(
        Config(), migrations, fn=steps, as_sql=offline, starting_rev=version if offline else None
    ) as environment:
        environment.configure(version_table=versions.name, **how)
        with environment.begin_transaction():
            environment.run_migrations()


def _is_ours(name: str | None, kind: str, _parents: object) -> bool:
    return kind != "table" or name in metadata.tables


def _is_compared(_object: object, name: str | None, kind: str, *_: object) -> bool:
    return kind != "table" or name != versions.name  # which is Alembic's


def _told(difference: Any) -> str:  # noqa: ANN401 - a tuple, or a list of them for one column
    if isinstance(difference, list):
        return "; ".join(map(_told, cast("list[object]", difference)))
    verb, *what = cast("tuple[object, ...]", difference)
    names = [str(getattr(each, "name", each)) for each in what if each is not None and each != {}]
    return f"{str(verb).replace('_', ' ')}: {' '.join(names)}"
