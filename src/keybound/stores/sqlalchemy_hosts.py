"""Transactions of an application that uses SQLAlchemy: of a ``Session``, or of a ``Connection``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from sqlalchemy import Connection, event
from sqlalchemy.orm import Session, scoped_session

from keybound.core.errors import InputError
from keybound.stores.hosting import Host, Loan

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy.orm import SessionTransaction
    from sqlalchemy.pool import ConnectionPoolEntry

    Calls = list[Callable[[], None]]

_PENDING, _DUE = "keybound: once committed", "keybound: committed"


def host_of(given: object) -> Host:
    """Return the host that a session or a connection stands for. Raises ``InputError``."""
    if isinstance(given, Host):
        return given
    if isinstance(given, scoped_session):
        given = cast("scoped_session[Session]", given)()
    if isinstance(given, Session):
        return _SessionHost(given)
    if isinstance(given, Connection):
        return _ConnectionHost(given)
    problem = f"is {type(given).__qualname__}, which has no transactions that can be joined"
    fix = "give a Session or a Connection of SQLAlchemy; of an AsyncSession, within run_sync"
    raise InputError("connection", problem, fix=fix)


class _SessionHost:
    def __init__(self, session: Session) -> None:
        self._session = session

    def lend(self) -> Loan:
        """Begin, if need be, as a session does whenever it is used."""
        self._session.flush()  # what is asked for may depend on what it has not written yet
        return _loan(self._session.connection())

    def after_commit(self, call: Callable[[], None]) -> None:
        """Listen to this session from now on: who listens cannot stop while being called."""
        session = self._session
        if not event.contains(session, "after_commit", _session_committed):
            event.listen(session, "after_commit", _session_committed)
            event.listen(session, "after_transaction_end", _session_ended)
        session.info.setdefault(_PENDING, []).append(call)


def _session_committed(session: Session) -> None:
    if not session.in_nested_transaction():  # the end of a savepoint is called a commit as well
        _call(session.info.pop(_PENDING, []))


def _session_ended(session: Session, ended: SessionTransaction) -> None:
    if ended.parent is None:
        session.info.pop(_PENDING, None)


class _ConnectionHost:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def lend(self) -> Loan:
        """Require a transaction: what somebody else begins later would not be this one."""
        if not self._connection.in_transaction():
            problem = "has no transaction: nothing would ever commit what is written"
            raise InputError("connection", problem, fix="begin one: `with connection.begin():`")
        return _loan(self._connection)

    def after_commit(self, call: Callable[[], None]) -> None:
        """Wait until the connection goes back to its pool: of a commit, only the begin is told."""
        engine = self._connection.engine
        if not event.contains(engine, "commit", _committing):
            event.listen(engine, "commit", _committing)
            event.listen(engine, "rollback", _rolled_back)
        if not event.contains(engine.pool, "checkin", _returned):
            event.listen(engine.pool, "checkin", _returned)
        self._connection.info.setdefault(_PENDING, []).append(call)


def _committing(connection: Connection) -> None:
    info = connection.info
    info.setdefault(_DUE, []).extend(info.pop(_PENDING, []))


def _rolled_back(connection: Connection) -> None:
    connection.info.pop(_PENDING, None)


def _returned(_connection: object, entry: ConnectionPoolEntry) -> None:
    entry.info.pop(_PENDING, None)
    _call(entry.info.pop(_DUE, []))


def _call(calls: Calls) -> None:
    for call in calls:
        call()


def _loan(connection: Connection) -> Loan:
    pooled = connection.connection
    dbapi: Any = pooled.dbapi_connection
    return Loan(
        kind=connection.dialect.name,
        driver=pooled.driver_connection,
        connection=dbapi,
        cursor=dbapi.cursor,
        dialect=connection.dialect,
    )
