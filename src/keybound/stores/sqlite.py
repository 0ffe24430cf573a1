"""SQLite's own ways: where the file is, how it is opened, and what its errors mean.

One file serves many threads and many processes: write-ahead logging lets everybody read while
one writes, and a writer waits for the other one.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import contextmanager, suppress
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from sqlalchemy import URL, create_engine, event
from sqlalchemy.exc import DBAPIError, NoResultFound
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from keybound.core.errors import (
    SettingsError,
    StoreBusyError,
    StoreError,
    StoreUnavailableError,
)
from keybound.stores.databases import Purpose
from keybound.stores.rules import not_opened
from keybound.stores.schema import meta
from keybound.stores.sqlite_held import Files, is_current, look, same_or_grown

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

    from sqlalchemy import Connection, Dialect, Engine
    from sqlalchemy.engine.interfaces import DBAPIConnection
    from sqlalchemy.pool import ConnectionPoolEntry

BUSY_FOR = 5.0
"""Seconds that a change waits for another program's writing, and for a connection of its own."""

READ_BUSY_FOR = 1.0
"""Seconds that a reading effect does. Readers wait only for who keeps everybody out; requests that
wait for it one after the other must not hold all the threads of a server."""

WRITING = "BEGIN IMMEDIATE"
"""Begins a transaction that waits for its turn now: one that read first could only fail."""

_FILE_MODE = 0o600
_CONNECT_ATTEMPTS = 10
_WAL_ATTEMPTS = 50
_HELD = "files that it has open"
_ELSEWHERE = "or choose another file with the setting `database` (KEYBOUND_DATABASE)"


class SQLiteFile:
    """A file. ``busy_for`` is how many seconds a change waits for a connection and for others.

    Whoever reads waits a second at most. Nothing is read or created until something is performed.
    """

    begins: Mapping[Purpose, tuple[str, ...]] = MappingProxyType(
        {
            Purpose.LOOK: (),
            Purpose.READ: ("BEGIN",),
            Purpose.CHANGE: (WRITING,),
            Purpose.COUNT: (WRITING,),
            Purpose.BUILD: (WRITING,),
        }
    )
    elsewhere = _ELSEWHERE
    shared = False
    forks = False  # a connection that went through a fork damages the file, even by being closed
    hangs = False

    def __init__(self, database: str, *, busy_for: float = BUSY_FOR) -> None:
        """Take a path or ``sqlite:///`` and a path; a relative one counts from here and now."""
        scheme, separator, rest = database.partition("://")
        text = rest.removeprefix("/") if separator else database
        if text in {"", ":memory:"}:
            raise SettingsError("database", "is no file", fix="write memory:// to keep nothing")
        if "\0" in text:
            raise SettingsError("database", "has a zero character in it", fix="leave it out")
        if separator and ("?" in text or not rest.startswith("/")):
            fix = f"write {scheme}:/// and a path without '?'"
            raise SettingsError("database", "names a host or has options", fix=fix)
        self.path = Path(text).expanduser().absolute()
        self.location = str(self.path)
        self._busy_for = busy_for

    def engine(self, purpose: Purpose, *, connections: int) -> Engine:
        """Return an engine that opens what is there and never creates a file."""
        busy_for = self._busy_for
        if purpose in {Purpose.LOOK, Purpose.READ}:
            busy_for = min(busy_for, READ_BUSY_FOR)
        query = {"mode": "rw", "uri": "true"}
        engine = create_engine(
            URL.create("sqlite+pysqlite", database=f"file:{quote(str(self.path))}", query=query),
            # No isolation level: the driver would begin transactions of its own, too late.
            connect_args={"isolation_level": None, "timeout": busy_for},
            hide_parameters=True,  # digests are nobody's business
            max_overflow=0,
            pool_size=connections,
            pool_timeout=busy_for,
        )
        event.listen(engine, "do_connect", self._connect)
        return engine

    @contextmanager
    def connection(self, engine: Engine) -> Generator[Connection]:
        """Lend a connection to the file that is at the path now.

        Raises ``StoreUnavailableError`` when it vanished, or cannot be told from the one before.
        """
        for _ in range(_CONNECT_ATTEMPTS):
            with engine.connect() as connection:
                if is_current(connection.info[_HELD], str(self.path)):
                    yield connection
                    return
                connection.invalidate()  # the next attempt opens what is there now
        raise self._restless()

    def prepare(self, connection: Connection) -> None:
        """Switch an empty file to write-ahead logging, for good and for everybody."""
        for attempt in range(1, _WAL_ATTEMPTS + 1):
            cursor = connection.connection.cursor()
            try:
                cursor.execute("PRAGMA journal_mode = WAL")
            except sqlite3.OperationalError as error:
                busy = error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
                if not busy or attempt == _WAL_ATTEMPTS:
                    raise
            else:
                return
            finally:
                cursor.close()
            # Another process is at the same. The switch itself does not wait for it; this does.
            with connection.begin():
                connection.exec_driver_sql(WRITING)

    def check_kept(self, connection: Connection) -> None:
        """Raise ``StoreUnavailableError`` unless the file just committed to is still at the path.

        Who replaces it between the look before a change and the commit takes the change away.
        """
        held: Files = connection.info[_HELD]
        if not same_or_grown(held, look(str(self.path), real=held.real)):
            msg = f"{self.path}: was replaced or deleted in the middle of a change, which may be "
            msg += "lost: look whether it is there, and make it again"
            raise StoreUnavailableError(msg)

    def _connect(
        self,
        dialect: Dialect,
        record: ConnectionPoolEntry,
        arguments: tuple[Any, ...],
        options: dict[str, Any],
    ) -> DBAPIConnection:
        """Connect, and note which files that opened: those which were there before and after."""
        path = str(self.path)
        for _ in range(_CONNECT_ATTEMPTS):
            before = look(path)
            connection = dialect.connect(*arguments, **options)
            try:
                _prepare(connection)
                after = look(path)
            except BaseException:
                connection.close()  # the pool does not know of it yet
                raise
            if same_or_grown(before, after):
                record.info[_HELD] = after
                return connection
            connection.close()
        raise self._restless()

    def _restless(self) -> StoreError:
        return StoreUnavailableError(f"{self.path}: is replaced again and again")

    def create(self) -> None:
        """Make an empty file that only its owner may read, unless there is one."""
        try:
            # Exclusively: to open and close a file that is there would drop SQLite's locks on it.
            created = os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_RDWR, _FILE_MODE)
        except FileExistsError:
            return
        except OSError as error:
            raise self._cannot_open(error.strerror) from error
        os.close(created)

    def explained(self, error: BaseException) -> StoreError:
        """Return what to do about an error; its own text may hold anything and stays its cause."""
        cause = error.orig if isinstance(error, DBAPIError) else error
        if isinstance(cause, OSError):
            return self._cannot_open(cause.strerror)
        if isinstance(cause, NoResultFound):
            return not_opened(self.location)
        if isinstance(cause, PoolTimeoutError):
            msg = f"{self.path}: all connections of this process are busy: raise store_connections"
            return StoreBusyError(msg)
        code: int = getattr(cause, "sqlite_errorcode", 0) & 0xFF
        name = getattr(cause, "sqlite_errorname", type(cause).__name__)
        if code == sqlite3.SQLITE_CANTOPEN:
            return self._cannot_open(name)
        if code == sqlite3.SQLITE_ERROR and str(cause).startswith("no such table"):
            return not_opened(self.location)
        kind, advice = _ADVICE.get(code, (StoreUnavailableError, "did not answer"))
        return kind(f"{self.path}: {advice} ({name})")

    def _cannot_open(self, reason: str | None) -> StoreError:
        """Look for what SQLite does not tell; ``reason`` is what it or the system did tell."""
        path, folder = self.path, self.path.parent
        if not os.access(folder, os.F_OK):
            fix = f"the directory {folder} does not exist: create it"
        elif not os.access(folder, os.X_OK):
            fix = f"the directory {folder} is closed to this user: give access"
        elif path.is_dir():
            fix = f"is a directory: name a file in it, such as {path / 'keybound.db'}"
        elif path.exists() and not os.access(path, os.R_OK):
            fix = "is not readable for this user: give access"
        elif not os.access(folder, os.W_OK):
            fix = f"the directory {folder} is not writable for this user, and SQLite keeps files "
            fix += "there while it reads: give access"
        elif not path.exists() and reason == "SQLITE_CANTOPEN":
            fix = "does not exist (any more): restore it, run `keybound init`"
        else:  # too many open files, a full disk: it may pass
            return StoreUnavailableError(f"{path}: cannot be opened ({reason})")
        return StoreError(f"{path}: {fix}, {_ELSEWHERE}")


def _prepare(connection: DBAPIConnection) -> None:
    """Make a connection check references and keep what it committed, and open all of its files."""
    cursor = connection.cursor()
    cursor.execute("PRAGMA foreign_keys = ON")
    # NORMAL may lose the last commits when power fails: a revocation would be undone.
    cursor.execute("PRAGMA synchronous = FULL")
    # The log is opened by the first that reads. A backup made by VACUUM INTO has none.
    cursor.execute("SELECT 1 FROM sqlite_schema WHERE name = ?", (meta.name,))
    if cursor.fetchone() is not None:
        with suppress(sqlite3.OperationalError):  # locked or read-only: it works without, slower
            cursor.execute("PRAGMA journal_mode = WAL")
    cursor.close()


_LOCKED = (
    "another program keeps it locked: end what holds it, such as a sqlite3 shell in the middle of "
    "a transaction"
)
_READ_ONLY = (
    "is read-only for this user, so keys can be checked but not changed: make the file and its "
    f"directory writable, {_ELSEWHERE}"
)
_ADVICE: dict[int, tuple[type[StoreError], str]] = {
    sqlite3.SQLITE_BUSY: (StoreUnavailableError, _LOCKED),
    sqlite3.SQLITE_CORRUPT: (StoreError, "is damaged: restore a backup of it"),
    sqlite3.SQLITE_FULL: (StoreUnavailableError, "the disk is full: make room"),
    sqlite3.SQLITE_NOTADB: (StoreError, f"is not a SQLite file: move it away, {_ELSEWHERE}"),
    sqlite3.SQLITE_READONLY: (StoreError, _READ_ONLY),
}
