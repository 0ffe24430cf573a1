"""What the parts of the store contract share: the subject, and threads that start together."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import TYPE_CHECKING, TypeVar

import pytest

from keybound.core.effects import OpenStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from keybound.stores import Store

ENTROPY = bytes(range(32))
THREADS = 8

T = TypeVar("T")


class StoreKit:
    """Says how a store comes to be; everything else is promised of it."""

    history_max = 10_000
    """How many revisions of the change log the subject keeps; fewer make the tests faster."""

    def make_store(self, tmp_path: Path) -> Store:
        """Return a handle of a database that nobody ever opened."""
        raise NotImplementedError

    def make_second(self, store: Store) -> Store:
        """Return another handle of the database of ``store``."""
        raise NotImplementedError

    @pytest.fixture
    def unopened(self, tmp_path: Path) -> Iterator[Store]:
        """Return a store that nobody ever opened."""
        store = self.make_store(tmp_path)
        yield store
        store.close()

    @pytest.fixture
    def store(self, unopened: Store) -> Store:
        """Return an empty store, ready for use."""
        unopened.perform(OpenStore(ENTROPY))
        return unopened

    @pytest.fixture
    def second(self, store: Store) -> Iterator[Store]:
        """Return another handle of the same store."""
        second = self.make_second(store)
        yield second
        second.close()


def together(work: Callable[[int], T]) -> list[T]:
    """Return what ``work`` returns for 0, 1, 2... in as many threads, which start as one."""
    barrier = Barrier(THREADS)

    def start(number: int) -> T:
        barrier.wait(30)
        return work(number)

    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(start, range(THREADS)))
