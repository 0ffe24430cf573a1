"""What tests of SQLite files share: a way past keybound."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def raw(path: Path) -> closing[sqlite3.Connection]:
    """Reach into a file past keybound."""
    return closing(sqlite3.connect(path, isolation_level=None))
