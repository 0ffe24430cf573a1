"""Where keys are kept: one port with one verb, and the way to it from the setting ``database``."""

from __future__ import annotations

import re
from abc import abstractmethod
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Protocol, TypeVar

from keybound.core.errors import MissingExtraError, SettingsError, nearest

if TYPE_CHECKING:
    from collections.abc import Callable

    from keybound.core.effects import Effect

ENTRY_POINTS = "keybound.stores"
"""The group of entry points in which a package names its stores by the scheme of their URLs."""

T = TypeVar("T")


class Store(Protocol):
    """The truth about keys; safe for threads. ``keybound.testing.stores`` tests every promise."""

    @property
    @abstractmethod
    def location(self) -> str:
        """Where the keys are, as people are told: an absolute path, or a URL without password."""
        ...

    @abstractmethod
    def perform(self, effect: Effect[T]) -> T:
        """Answer one effect in one transaction on the primary, from one snapshot of it.

        Raises ``ConflictError``, and ``StoreError`` when the store cannot answer:
        ``StoreMissingError`` before ``OpenStore`` made it.
        """
        ...

    @abstractmethod
    def close(self) -> None:
        """Let go of connections; the next effect makes new ones."""
        ...


def open_store(database: str, *, connections: int = 2) -> Store:
    """Return the store that a path or a URL names; nothing is read or created before its first use.

    ``connections`` is how many it may hold at once. Raises ``SettingsError`` for a database that
    no store is for, and ``MissingExtraError`` when its package is not installed.
    """
    scheme, separator, _ = database.partition("://")
    name = scheme.partition("+")[0].lower() if separator else "sqlite"
    if not separator and _NO_PATH.search(database):  # as a path, it would be shown
        raise SettingsError(
            "database", "is neither a path nor a URL", fix="write postgresql://user@host/name"
        )
    if name in _BUILT_IN:
        return _BUILT_IN[name](database, connections)
    plugins = entry_points(group=ENTRY_POINTS)
    if name in plugins.names:
        factory: Callable[..., Store] = plugins[name].load()
        return factory(database, connections=connections)
    known = {*_BUILT_IN, *plugins.names}
    raise SettingsError("database", f"no store is for {name}://", fix=nearest(name, known))


def _memory(_database: str, _connections: int) -> Store:
    from keybound.stores.memory import MemoryStore

    return MemoryStore()


def _sqlite(database: str, connections: int) -> Store:
    try:
        from keybound.stores.sql import SqlStore
        from keybound.stores.sqlite import SQLiteFile
    except ModuleNotFoundError as error:
        raise MissingExtraError.of(error, extra="sql") from error
    return SqlStore(SQLiteFile(database), connections=connections)


def _postgresql(database: str, connections: int) -> Store:
    try:
        from keybound.stores.postgres import PostgresServer
        from keybound.stores.sql import SqlStore
    except ImportError as error:  # of psycopg too, where it finds no libpq
        raise MissingExtraError.of(error, extra="postgres") from error
    return SqlStore(PostgresServer(database), connections=connections)


_BUILT_IN: dict[str, Callable[[str, int], Store]] = {
    "memory": _memory,
    "postgres": _postgresql,
    "postgresql": _postgresql,
    "sqlite": _sqlite,
}

_NO_PATH = re.compile(
    rf"\A(?:{'|'.join(_BUILT_IN)})(?:\+\w+)?(?::|//)|\b(?:password|user|host|dbname)\s*=|:[^/\\]*@",
    re.IGNORECASE,
)
"""What looks like a URL that was mistyped, or like what libpq calls a connection string."""
