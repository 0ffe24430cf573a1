"""A store in SQL: one effect is one transaction, on a connection to the database of this moment.

What an effect means is written once against a synchronous connection. Who awaits asks from a
thread: that was measured to be faster than an asynchronous engine.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import replace
from hashlib import blake2b
from sqlite3 import Error as SQLiteError
from typing import TYPE_CHECKING, Any, TypeVar, cast
from weakref import WeakSet

from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from keybound.core.effects import Commit, OpenStore, RecordUsage, Sync
from keybound.core.errors import StoreUnavailableError, UnsureError
from keybound.stores.databases import Purpose
from keybound.stores.forking import Uses
from keybound.stores.hosting import HostedStore
from keybound.stores.rules import HISTORY_MAX
from keybound.stores.sql_reads import READS, read_installation
from keybound.stores.sql_writes import WRITES, install, made

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from sqlalchemy import URL, Connection, Dialect, Engine

    from keybound.core.effects import Effect, Installation
    from keybound.core.errors import KeyboundError
    from keybound.stores.databases import Database
    from keybound.stores.hosting import Host

T = TypeVar("T")


class SqlStore:
    """A store in a database; safe for threads, for forks and for as many processes as share it.

    ``connections`` is how many one process holds at most, two or more: one writes, so that no
    reader ever waits for a writer. To a database that may hang, one more is for syncs alone: no
    load keeps this process from finding out what changed. ``history_max`` is how many revisions the
    change log keeps.
    """

    def __init__(
        self, database: Database, *, connections: int = 2, history_max: int = HISTORY_MAX
    ) -> None:
        """Take a database; nothing is opened yet."""
        self.database = database
        self.location = database.location
        self._history_max = history_max
        self._reading = self._engine(Purpose.LOOK, connections=max(connections - 1, 1))
        self._writing = self._engine(Purpose.CHANGE, connections=1)
        self._syncing = self._reading
        if database.hangs:
            self._syncing = self._engine(Purpose.LOOK, connections=1)
        self._uses = Uses()
        self._closed = False
        self.compiled: dict[Any, Any] = {}
        """Statements as they were compiled for hosts, who may have dialects of their own."""
        _stores.add(self)

    @property
    def _engines(self) -> set[Engine]:
        return {self._reading, self._writing, self._syncing}

    def _engine(self, purpose: Purpose, *, connections: int) -> Engine:
        engine = self.database.engine(purpose, connections=connections)
        engine.update_execution_options(  # handlers find theirs in them
            database=self.database, history_max=self._history_max, location=self.location
        )
        return engine

    def perform(self, effect: Effect[T]) -> T:
        """Answer one effect in one transaction, and anew if its connection turns out to be lost.

        A lost connection is what is left of a server that was restarted or that failed over.
        """
        kind = type(effect)
        if kind is not Sync:  # which a thread may begin that nobody has told
            self._closed = False
        if _opens(effect):
            self.database.create()
        unsure = False
        try:
            return self._performed(effect)
        except DBAPIError as error:
            if not error.connection_invalidated:
                raise self.database.explained(error) from error
            unsure = _may_be_made(effect, error)
            if unsure and isinstance(effect, RecordUsage):  # nothing tells whether it was
                raise UnsureError(str(self.database.explained(error))) from error
        except _FOREIGN as error:
            raise self.database.explained(error) from error
        return self._performed_again(effect, unsure=unsure)

    def _performed_again(self, effect: Effect[T], *, unsure: bool) -> T:
        """Make the last attempt; ``unsure`` says that the first one may have made a commit."""
        try:
            return self._performed(effect, again=unsure)
        except (*_FOREIGN, StoreUnavailableError) as error:
            explained: KeyboundError = (
                error
                if isinstance(error, StoreUnavailableError)
                else self.database.explained(error)
            )
            if unsure or _may_be_made(effect, error):
                msg = f"{explained}; the change may have been made: look before you make it again"
                raise UnsureError(msg) from error
            if explained is error:
                raise
            raise explained from error

    def _performed(self, effect: Effect[T], *, again: bool = False) -> T:
        kind = type(effect)
        reads = kind in READS
        engine = self._reading if reads else self._writing
        if kind is Sync:
            engine = self._syncing
        with self._lent(engine) as connection:
            if reads:
                with transaction(connection, Purpose.LOOK):
                    answer: T = READS[kind](connection, effect)
                return answer
            if isinstance(effect, OpenStore):
                answer = cast("T", self._opened(connection, effect))
            else:
                counts = isinstance(effect, RecordUsage)
                with transaction(connection, Purpose.COUNT if counts else Purpose.CHANGE):
                    answer = _changed(connection, effect, again=again)
            self.database.check_kept(connection)
            return answer

    def _opened(self, connection: Connection, effect: OpenStore) -> Installation:
        """Look before writing, so that a store which may only be read opens as well."""
        with transaction(connection, Purpose.READ):
            installation = read_installation(connection)
        if installation is not None:
            return installation
        self.database.prepare(connection)
        with transaction(connection, Purpose.BUILD):  # another process may have been faster
            return read_installation(connection) or install(connection, effect)

    @contextmanager
    def building(self) -> Generator[Connection]:
        """Lend a connection of its own that has all the time that migrations take.

        What goes wrong meanwhile is raised as ``StoreError``.
        """
        engine = self._engine(Purpose.BUILD, connections=1)
        try:
            with self.explaining(), self._lent(engine) as connection:
                yield connection
                self.database.check_kept(connection)
        finally:
            engine.dispose()

    @property
    def dialect(self) -> Dialect:
        """What the database understands; complete once it was asked anything."""
        return self._reading.dialect

    @property
    def url(self) -> URL:
        """What SQLAlchemy has for the place of the database: no password is in it."""
        return self._reading.url

    def within(self, host: Host) -> HostedStore:
        """Return this store as it is within the transaction of a host."""
        return HostedStore(self, host)

    def ask(self, question: Callable[[Connection], T]) -> T:
        """Answer what is no effect, on a connection of our own. Raises ``StoreError``."""
        with (
            self.explaining(),
            self._lent(self._reading) as connection,
            transaction(connection, Purpose.LOOK),
        ):
            return question(connection)

    @contextmanager
    def _lent(self, engine: Engine) -> Generator[Connection]:
        """Lend a connection, which is closed when it comes back to a store that was."""
        pool = engine.pool
        try:
            with self._uses, self.database.connection(engine) as connection:
                yield connection
        finally:
            if self._closed:
                engine.dispose()
            if engine.pool is not pool and pool not in _left_alone:
                pool.dispose()

    @contextmanager
    def explaining(self) -> Generator[None]:
        """Raise what goes wrong in the database as what is to be done about it."""
        try:
            yield
        except _FOREIGN as error:
            raise self.database.explained(error) from error

    def close(self) -> None:
        """Close the connections. The next effect opens others; a sync opens one for itself."""
        with self._uses:
            self._closed = True
            self._dispose()

    def before_fork(self) -> None:
        """Close the connections that must not live on in either process, when all are idle."""
        if not self.database.forks:
            self._uses.pause()
            self._dispose()

    def _dispose(self) -> None:
        for engine in self._engines:
            pool = engine.pool
            engine.dispose()
            pool.dispose()  # of what came back before another took its place

    def after_fork_in_parent(self) -> None:
        """Go on."""
        self._uses.resume()

    def after_fork_in_child(self) -> None:
        """Leave the parent's connections alone: not even closing them is harmless here."""
        self._uses = Uses()
        for engine in self._engines:
            _left_alone.append(engine.pool)
            engine.dispose(close=False)


def _opens(effect: Effect[Any]) -> bool:
    return isinstance(effect, OpenStore)


def _may_be_made(effect: Effect[Any], error: Exception) -> bool:
    """Return whether it was the answer to a commit that got lost, and not one to a statement."""
    return (
        isinstance(effect, Commit | RecordUsage)
        and isinstance(error, DBAPIError)
        and error.connection_invalidated
        and error.statement is None
    )


def _changed(connection: Connection, effect: Effect[T], *, again: bool) -> T:
    """Change what is asked, unless it was done before the answer of a first attempt was lost."""
    if again and isinstance(effect, Commit):
        head = made(connection, effect)
        if head is not None:
            return cast("T", head)
        # It may have been seen in a server that was lost since: what replaces it is another one.
        renamed = blake2b(effect.tag, digest_size=len(effect.tag)).digest()
        effect = cast("Effect[T]", replace(effect, tag=renamed))
    answer: T = WRITES[type(effect)](connection, effect)
    return answer


@contextmanager
def transaction(connection: Connection, purpose: Purpose) -> Generator[None]:
    """Begin as this kind of database does, and commit unless something is raised."""
    database: Database = connection.get_execution_options()["database"]
    with connection.begin():
        for statement in database.begins[purpose]:
            connection.exec_driver_sql(statement)
        yield


_FOREIGN = (SQLAlchemyError, SQLiteError, OSError)
"""What may go wrong in a database: all but what is ours to raise."""

_left_alone: list[object] = []
"""Pools of a parent process. Nothing may be done with them, not even by whoever tidies memory."""

_stores: WeakSet[SqlStore] = WeakSet()


_forks = Uses()
"""One fork at a time: while one thread closes its connections, no other may fork."""


def _before_fork() -> None:
    _forks.pause()
    for store in tuple(_stores):
        store.before_fork()


def _after_fork_in_parent() -> None:
    for store in tuple(_stores):
        store.after_fork_in_parent()
    _forks.resume()


def _after_fork_in_child() -> None:
    global _forks  # noqa: PLW0603 - its lock may be held by a thread that is not here
    _forks = Uses()
    for store in tuple(_stores):
        store.after_fork_in_child()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork,
        after_in_parent=_after_fork_in_parent,
        after_in_child=_after_fork_in_child,
    )
