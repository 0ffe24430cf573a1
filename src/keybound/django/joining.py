"""Changes of keys within the transactions of a project: ``atomic()`` and ``ATOMIC_REQUESTS``."""

from __future__ import annotations

import sqlite3
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from django.db import DEFAULT_DB_ALIAS, connections, transaction

from keybound.core.errors import InputError
from keybound.django.projects import current
from keybound.stores.hosting import Loan

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from django.db.backends.base.base import BaseDatabaseWrapper

    from keybound.joined import Joined


@contextmanager
def joining(using: str = DEFAULT_DB_ALIAS) -> Generator[Joined]:
    """Change keys within the transaction of a database alias: with all else of it, or not at all.

    Yields the verbs of ``guard()``. Raises ``InputError`` outside of ``atomic()``, and where the
    alias is not the database of the setting ``DATABASE``.
    """
    with current().given.joining(_DjangoHost(using)) as joined:
        yield joined


class _DjangoHost:
    def __init__(self, using: str) -> None:
        self._using = using

    def lend(self) -> Loan:
        """Return the connection of this thread."""
        wrapper = connections[self._using]
        if not wrapper.in_atomic_block:
            problem = f"{self._using!r} has no transaction here"
            raise InputError("using", problem, fix="use atomic(), or set ATOMIC_REQUESTS")
        wrapper.validate_no_broken_transaction()
        cursor = _CURSORS.get(wrapper.vendor, _no_cursor)(wrapper, self._using)
        given = wrapper.connection
        return Loan(kind=wrapper.vendor, driver=given, connection=given, cursor=cursor)

    def after_commit(self, call: Callable[[], None]) -> None:
        """Have it called by Django."""
        transaction.on_commit(call, using=self._using, robust=True)


def _sqlite_cursor(wrapper: BaseDatabaseWrapper, _using: str) -> Callable[[], Any]:
    driver: sqlite3.Connection = wrapper.connection

    def cursor() -> sqlite3.Cursor:
        made = driver.cursor(sqlite3.Cursor)
        made.row_factory = None  # whatever rows a project likes
        return made

    return cursor


def _postgres_cursor(wrapper: BaseDatabaseWrapper, using: str) -> Callable[[], Any]:
    from psycopg import Connection, Cursor
    from psycopg.rows import tuple_row

    driver: Any = wrapper.connection
    ours: Any = Connection
    if not isinstance(driver, ours):
        problem = f"{using!r} is used with {type(driver).__module__.partition('.')[0]}"
        raise InputError("using", problem, fix="pip install 'psycopg[binary]', and Django takes it")
    return lambda: Cursor(driver, row_factory=tuple_row)


def _no_cursor(wrapper: BaseDatabaseWrapper, using: str) -> Callable[[], Any]:
    problem = f"{using!r} is in {wrapper.vendor}, where keybound keeps no keys"
    raise InputError("using", problem, fix="name an alias in PostgreSQL or SQLite")


_CURSORS: dict[str, Callable[[BaseDatabaseWrapper, str], Callable[[], Any]]] = {
    "postgresql": _postgres_cursor,
    "sqlite": _sqlite_cursor,
}
