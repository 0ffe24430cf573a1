"""Every store keeps every promise of a store."""

from __future__ import annotations

import asyncio
from threading import Lock, Thread
from typing import TYPE_CHECKING, TypeVar

from keybound.stores.memory import MemoryStore
from keybound.stores.sql import AsyncSqlStore, SqlStore
from keybound.testing.stores import StoreContract

if TYPE_CHECKING:
    from pathlib import Path

    from keybound.core.effects import Effect
    from keybound.stores import Store

T = TypeVar("T")


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
        return SqlStore(path, history_max=self.history_max)


class TestAsyncSqlStore(TestSqlStore):
    """A SQLite file under an event loop."""

    history_max = 200  # so that it can

    def _at(self, path: str) -> Store:
        return Blocking(AsyncSqlStore(path, history_max=self.history_max))


class Blocking:
    """An awaiting store for tests that block; it has a loop in a thread of its own while open."""

    def __init__(self, store: AsyncSqlStore) -> None:
        """Start nothing yet."""
        self.location = store.location
        self._store = store
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = Thread()
        self._lock = Lock()

    def perform(self, effect: Effect[T]) -> T:
        """Answer one effect on the loop."""
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = Thread(target=self._loop.run_forever)
                self._thread.start()
        return asyncio.run_coroutine_threadsafe(self._store.perform(effect), self._loop).result(60)

    def close(self) -> None:
        """Close the store, and end the loop and its thread."""
        if self._loop is None:
            return
        asyncio.run_coroutine_threadsafe(self._store.close(), self._loop).result(60)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._loop = None
