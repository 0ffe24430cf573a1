"""A SQLite file for a test."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from keybound.core.effects import OpenStore
from keybound.stores.sql import SqlStore
from keybound.stores.sqlite import SQLiteFile
from tests.stores.together import ENTROPY

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the file is."""
    return tmp_path / "keys.db"


@pytest.fixture
def store(path: Path) -> Iterator[SqlStore]:
    """An opened store that has no patience."""
    store = SqlStore(SQLiteFile(str(path), busy_for=0.2))
    store.perform(OpenStore(ENTROPY))
    yield store
    store.close()
