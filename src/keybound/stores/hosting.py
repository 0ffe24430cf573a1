"""A store as it is within a transaction of its host: on the connection that the host has.

What is written there is committed, or not, with all that the host writes. The host's connection is
only borrowed: nothing here commits, rolls back, or closes it, or shows what is asked over it.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar, cast, runtime_checkable

from sqlalchemy import Engine, StaticPool

from keybound.core.effects import HostCommit, Loaded
from keybound.core.errors import InputError
from keybound.stores.sql_reads import READS
from keybound.stores.sql_writes import host_commit

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from sqlalchemy import Connection, Dialect

    from keybound.core.effects import Effect
    from keybound.stores.sql import SqlStore

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Loan:
    """A connection in the middle of a transaction.

    ``kind`` is what SQLAlchemy calls such databases. ``cursor`` makes what ``dialect`` (that of the
    store, if none is said) can use, ``connection`` is for that dialect as well, and ``driver`` is
    the same as the driver itself has it.
    """

    kind: str
    driver: Any
    connection: Any
    cursor: Callable[[], Any]
    dialect: Dialect | None = None


@runtime_checkable
class Host(Protocol):
    """An application that has transactions."""

    def lend(self) -> Loan:
        """Return the connection of its transaction. Raises ``InputError`` where there is none."""
        ...

    def after_commit(self, call: Callable[[], None]) -> None:
        """Call this once the transaction of now was committed; never, if it is rolled back."""
        ...


class HostedStore:
    """A store on the connection of a host; for one thread, like that."""

    def __init__(self, store: SqlStore, host: Host) -> None:
        """Ask nothing yet."""
        self._store = store
        self._host = host

    def check(self) -> None:
        """Raise ``InputError`` unless the host has a transaction in the very database of this."""
        ours = self._store.ask(lambda connection: _KINDS[connection.dialect.name].place(connection))
        with self._connection() as (connection, _):
            same = _KINDS[connection.dialect.name].place(connection) == ours
        if not same:
            raise _elsewhere(self._store)

    def perform(self, effect: Effect[T]) -> T:
        """Answer what may be asked within a transaction; what fails leaves nothing written."""
        with self._connection() as (connection, loan):
            if not isinstance(effect, HostCommit):
                answer: T = READS[type(effect)](connection, effect)
                if isinstance(answer, Loaded):  # no revision can be had before the host commits
                    return replace(answer, unstamped=False)
                return answer
            _KINDS[loan.kind].begin(connection, loan.driver)
            with connection.begin_nested():
                host_commit(connection, effect)
            return None  # type: ignore[return-value] # which is what it is answered with

    @contextmanager
    def _connection(self) -> Generator[tuple[Connection, Loan]]:
        loan = self._host.lend()
        if loan.kind != self._store.dialect.name:
            raise _elsewhere(self._store)
        if not _KINDS[loan.kind].begun(loan):
            problem = "has no transaction: each statement is committed by itself"
            raise InputError("connection", problem, fix="begin one, without AUTOCOMMIT")
        with self._store.explaining(), _borrowed(loan, self._store) as connection:
            yield connection, loan


class _Borrowed:
    """What SQLAlchemy is given for a connection of its own; ending it ends nothing."""

    def __init__(self, loan: Loan) -> None:
        self.cursor = loan.cursor
        self._connection = loan.connection

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - such as whether it was lost
        return getattr(self._connection, name)

    def commit(self) -> None:
        """Leave that to the host."""

    rollback = close = commit


@contextmanager
def _borrowed(loan: Loan, store: SqlStore) -> Generator[Connection]:
    """Yield a connection which nobody listens to, and which has its own transactions in mind.

    The host's would show what is asked to whoever watches it, digests included.
    """
    dialect = loan.dialect or store.dialect
    pool = StaticPool(lambda: cast("Any", _Borrowed(loan)), dialect=dialect, reset_on_return=None)
    engine = Engine(pool, dialect, store.url, hide_parameters=True)
    with engine.connect() as connection:
        yield connection.execution_options(
            compiled_cache=store.compiled, location=store.location, database=store.database
        )


def _elsewhere(store: SqlStore) -> InputError:
    fix = "join transactions of the database that the setting `database` names"
    return InputError("connection", f"is not to {store.location}, where the keys are", fix=fix)


class _Kind(NamedTuple):
    """What differs between databases.

    ``place`` returns what no two databases have in common, ``begun`` whether there is a
    transaction, or one as soon as something is written, and ``begin`` sees to that.
    """

    place: Callable[[Connection], object]
    begun: Callable[[Loan], bool]
    begin: Callable[[Connection, Any], None]


def _file(connection: Connection) -> object:
    for _, name, path in connection.exec_driver_sql("PRAGMA database_list"):
        if name == "main" and path:
            found = os.stat(path)  # noqa: PTH116 - as everywhere in this package
            return found.st_dev, found.st_ino
    return None


def _begun_in_sqlite(loan: Loan) -> bool:
    puts_off = loan.driver.isolation_level is not None  # then it begins before it writes
    if getattr(loan.driver, "autocommit", None) is True:  # from Python 3.12
        puts_off = False
    return bool(loan.driver.in_transaction or puts_off)


def _begin_in_sqlite(connection: Connection, driver: Any) -> None:  # noqa: ANN401 - of any driver
    if not driver.in_transaction:  # a savepoint outside of a transaction would be one by itself
        connection.exec_driver_sql("BEGIN IMMEDIATE")


_SERVER = """
SELECT current_database(), pg_postmaster_start_time()::text, to_regclass('keybound_meta')::oid::int8
"""


def _server(connection: Connection) -> object:
    return tuple(connection.exec_driver_sql(_SERVER).one())


def _begin_in_postgres(_connection: Connection, _driver: object) -> None:
    """Do nothing: the driver begins with the first statement."""


def _begun_in_postgres(loan: Loan) -> bool:
    return getattr(loan.driver, "autocommit", False) is not True


_KINDS: dict[str, _Kind] = {
    "sqlite": _Kind(_file, _begun_in_sqlite, _begin_in_sqlite),
    "postgresql": _Kind(_server, _begun_in_postgres, _begin_in_postgres),
}
