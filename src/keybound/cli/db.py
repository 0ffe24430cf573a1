"""``keybound db``: the tables of a store, and bringing them to the version that is needed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from keybound.cli.bundles import NO_TYPE
from keybound.cli.commands import command
from keybound.cli.exits import Ended, Exit
from keybound.cli.render import Whole, card
from keybound.cli.session import Session, missing
from keybound.core.errors import InputError, MissingExtraError

if TYPE_CHECKING:
    from keybound.stores.sql import SqlStore

db = typer.Typer(name="db", help="Look after the tables of a store, after keybound was upgraded.")


@command(db)
def upgrade(
    session: Session,
    *,
    sql: Annotated[
        bool,
        typer.Option("--sql", metavar=NO_TYPE, help="Print the SQL for it, and change nothing."),
    ] = False,
) -> None:
    """Bring the tables to the version that this keybound needs, making them if need be.

    Run it as the owner of the database, after a backup. Nothing happens where nothing is to do.
    """
    store = _sql_store(session)
    from keybound.stores import migrating

    if sql:
        text = migrating.upgrade_statements(store)
        session.out.result({"store": store.location, "sql": text}, Whole(text.rstrip()))
        return
    before, after = migrating.upgrade(store)
    data = {"store": store.location, "before": before, "version": after}
    if before == after:
        told = f"nothing to do: the tables have version {after}"
    else:
        told = f"upgraded from {'nothing' if before is None else before} to {after}"
    session.out.result(data, Whole(f"{told}: {store.location}"))


@command(db)
def check(session: Session) -> None:
    """Compare the tables with those that this keybound needs; exit status 1 if they differ."""
    store = _sql_store(session)
    from keybound.stores import migrating

    version, needed, differences = migrating.check_tables(store)
    problems = list(differences)
    if version is None:
        problems = ["there are no tables: `keybound init` or `keybound db upgrade` makes them"]
    elif version < needed:
        problems.insert(0, f"version {needed} is needed: run `keybound db upgrade`")
    elif version > needed:
        problems.insert(0, f"version {needed} is the newest known here: upgrade keybound")
    data = {"ok": not problems, "store": store.location, "version": version, "needed": needed}
    shown = [("store", store.location), ("version", version), ("needed", needed)]
    shown += [("problem", text) for text in problems]
    session.out.result(
        {**data, "problems": problems}, card([*shown, ("ok", "no" if problems else "yes")])
    )
    if problems:
        raise Ended(Exit.NO)


def _sql_store(session: Session) -> SqlStore:
    """Return the store, which must be in SQL and, if it is a file, be there."""
    store = session.find_guard().engine.store
    try:
        from keybound.stores.sql import SqlStore
    except ModuleNotFoundError as error:
        raise MissingExtraError.of(error, extra="sql") from error
    if not isinstance(store, SqlStore):
        raise InputError("database", f"{store.location} has no tables", fix="name one in SQL")
    if "://" not in store.location and not Path(store.location).exists():
        raise missing(store.location)
    return store
