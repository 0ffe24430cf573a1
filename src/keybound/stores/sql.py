"""A store in SQL: one effect is one transaction, on a connection to the file of this moment.

What an effect means is written once against a synchronous connection, so that an asynchronous
engine can be lent the same handlers. SQLite needs none: who awaits asks from a thread.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar, cast
from weakref import WeakSet

from keybound.core.effects import OpenStore
from keybound.stores.rules import HISTORY_MAX
from keybound.stores.sql_reads import READS, read_installation
from keybound.stores.sql_writes import WRITES, install
from keybound.stores.sqlite import BUSY_FOR, READING, WRITING, SQLiteFile, use_wal

if TYPE_CHECKING:
    from collections.abc import Generator

    from sqlalchemy import Connection, Engine

    from keybound.core.effects import Effect, Installation

T = TypeVar("T")


class SqlStore:
    """A store in a SQLite file; safe for threads, for forks and for as many processes as share it.

    ``connections`` is how many one process holds at most, two or more: one writes, so that no
    reader ever waits for a writer. ``busy_for`` is how many seconds a change waits for one of them
    and for other programs (reading: a second at most), ``history_max`` how many revisions the
    change log keeps.
    """

    def __init__(
        self,
        database: str,
        *,
        connections: int = 2,
        busy_for: float = BUSY_FOR,
        history_max: int = HISTORY_MAX,
    ) -> None:
        """Take a path or a ``sqlite:///`` URL; nothing is opened yet. Raises ``SettingsError``."""
        self._file = SQLiteFile(database, busy_for=busy_for, history_max=history_max)
        self.location = str(self._file.path)
        self._reading = self._file.engine(connections=max(connections - 1, 1), reading=True)
        self._writing = self._file.engine(connections=1, reading=False)
        _engines.update((self._reading, self._writing))

    def perform(self, effect: Effect[T]) -> T:
        """Answer one effect in one transaction."""
        reads = type(effect) in READS
        engine = self._reading if reads else self._writing
        with self._file.performing(effect), self._file.connection(engine) as connection:
            answer = _perform(connection, effect)
            if not reads:
                self._file.check_kept(connection)
            return answer

    def close(self) -> None:
        """Close the connections; the next effect opens others."""
        self._reading.dispose()
        self._writing.dispose()


def _perform(connection: Connection, effect: Effect[T]) -> T:
    if isinstance(effect, OpenStore):
        return cast("T", _open(connection, effect))
    kind = type(effect)
    answer: T
    if kind in READS:
        with _transaction(connection, READING):
            answer = READS[kind](connection, effect)
    else:
        with _transaction(connection, WRITING):
            answer = WRITES[kind](connection, effect)
    return answer


def _open(connection: Connection, effect: OpenStore) -> Installation:
    """Look before writing, so that a store which may only be read opens as well."""
    with _transaction(connection, READING):
        installation = read_installation(connection)
    if installation is not None:
        return installation
    use_wal(connection)
    with _transaction(connection, WRITING):  # another process may have been faster
        return read_installation(connection) or install(connection, effect)


@contextmanager
def _transaction(connection: Connection, begin: str) -> Generator[None]:
    with connection.begin():
        connection.exec_driver_sql(begin)
        yield


def _close_all() -> None:
    for engine in tuple(_engines):
        engine.dispose()


def _forget_all() -> None:
    for engine in tuple(_engines):
        engine.dispose(close=False)


_engines: WeakSet[Engine] = WeakSet()

if hasattr(os, "register_at_fork"):
    # A connection to SQLite that went through a fork damages the file, even by being closed.
    os.register_at_fork(before=_close_all, after_in_child=_forget_all)
