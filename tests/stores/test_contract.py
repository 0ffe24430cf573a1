"""Every store keeps every promise of a store."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from keybound.stores.memory import MemoryStore
from keybound.stores.postgres import PostgresServer
from keybound.stores.sql import SqlStore
from keybound.stores.sqlite import SQLiteFile
from keybound.testing.stores import StoreContract

if TYPE_CHECKING:
    from pathlib import Path

    from keybound.stores import Store


class TestMemoryStore(StoreContract):
    """The memory of a process, which is reached in one way only."""

    def make_store(self, tmp_path: Path) -> Store:  # noqa: ARG002 - it needs no place
        """Return a new one."""
        return MemoryStore()

    def make_second(self, store: Store) -> Store:
        """Return the same one."""
        return store


class TestSqlStore(StoreContract):
    """A SQLite file, under a name in which every odd character stands for itself."""

    history_max = 1_100  # so that one sync cannot answer all of it

    def make_store(self, tmp_path: Path) -> Store:
        """Return a handle of a file that is not there."""
        return self._at(str(tmp_path / "kéys #1?%20.db"))

    def make_second(self, store: Store) -> Store:
        """Return another handle of its file."""
        return self._at(store.location)

    def _at(self, path: str) -> Store:
        return SqlStore(SQLiteFile(path), history_max=self.history_max)


class TestPostgresStore(StoreContract):
    """A database of a real PostgreSQL server."""

    history_max = 600  # the file has as many as no sync can answer at all

    @pytest.fixture(autouse=True)
    def _database(self, postgres_url: str) -> None:
        self._url = postgres_url

    def make_store(self, tmp_path: Path) -> Store:  # noqa: ARG002 - it is in a server
        """Return a handle of an empty database."""
        return self.make_second(None)

    def make_second(self, store: Store | None) -> Store:  # noqa: ARG002 - there is one
        """Return another handle of it."""
        return SqlStore(PostgresServer(self._url), history_max=self.history_max)
