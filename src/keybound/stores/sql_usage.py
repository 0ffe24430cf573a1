"""How effects about usage are answered in SQL. They touch one table, and nobody waits for them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, case, or_, select
from sqlalchemy.dialects import postgresql, sqlite

from keybound.stores.rules import read_usage
from keybound.stores.schema import usage

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Connection

    from keybound.core.effects import ReadUsage, RecordUsage, UsageRow

_READ = select(
    usage.c.id, usage.c.since, usage.c.uses, usage.c.refusals, usage.c.used_at, usage.c.refused_at
).where(usage.c.id.in_(bindparam("keys", expanding=True)))


def record_usage(connection: Connection, effect: RecordUsage) -> int:
    """Add numbers, making rows that are missing."""
    rows = [
        {
            "id": row.key,
            "since": row.since,
            "uses": row.uses,
            "refusals": row.refusals,
            "used_at": row.used_at,
            "refused_at": row.refused_at,
        }
        for row in effect.rows
    ]
    if rows:  # to SQLAlchemy, no rows are one row of defaults
        connection.execute(_RECORD[connection.dialect.name], rows)
    return len(rows)


def read_rows(connection: Connection, effect: ReadUsage) -> dict[str, UsageRow]:
    """Return the rows that there are."""
    location = str(connection.get_execution_options()["location"])
    keys = [key for key in effect.keys if "\0" not in key]  # such a one is stored nowhere
    found = connection.execute(_READ, {"keys": keys}).all()
    return {row.key: row for row in (read_usage(location, *values) for values in found)}


def _record(insert: Any) -> Any:  # noqa: ANN401 - each kind of database has an insert of its own
    new = insert.excluded
    return insert.on_conflict_do_update(
        index_elements=[usage.c.id],
        set_={
            "uses": usage.c.uses + new.uses,
            "refusals": usage.c.refusals + new.refusals,
            "used_at": _later(usage.c.used_at, new.used_at),
            "refused_at": _later(usage.c.refused_at, new.refused_at),
        },
    )


def _later(old: ColumnElement[float], new: ColumnElement[float]) -> ColumnElement[float]:
    return case((or_(new.is_(None), old >= new), old), else_=new)


_RECORD = {
    "postgresql": _record(postgresql.insert(usage)),
    "sqlite": _record(sqlite.insert(usage)),
}
