"""The servers of this folder, once for whoever runs its tests."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from keybound import Guard
from keybound.core.limits.dimensions import DIMENSIONS, register
from tests.wire.mood import Mood
from tests.wire.report import table_of
from tests.wire.servers import sailing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.wire.servers import Fleet

SECRET = "a secret of the tests of raw sockets"

TABLE = "WIRE_TABLE"
"""The variable that names the file to which the table of what servers hand over is written."""

RAISED_BY_US = r'/keybound/[^"]*", line \d+, in .*\n(    .*\n)+(?!  File|    )'
"""A traceback whose last frame is one of keybound."""

KEYS: dict[str, dict[str, object]] = {
    "plain": {},
    "other": {},
    "dead": {},
    "reader": {"read_only": True},
    "here": {"networks": "127.0.0.1"},
    "elsewhere": {"networks": "10.0.0.1"},
    "invoices": {"models": {"invoice": "read"}},
    "moody": {"mood": "good"},
}
"""Keys of acme, and their limits."""


@pytest.fixture(scope="session")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """Serve with every server, over one store."""
    folder = tmp_path_factory.mktemp("wire")
    settings = {"database": str(folder / "keys.db"), "secret": SECRET}
    guard = Guard.from_settings(**settings)
    register(Mood)
    issued = {
        name: guard.issue(name=name, tenant="acme", limits=limits) for name, limits in KEYS.items()
    }
    guard.revoke(issued["dead"].id)
    guard.close()
    del DIMENSIONS[Mood.dimension]  # here; the servers have their own
    keys = {name: each.secret.reveal() for name, each in issued.items()}
    environment = {f"KEYBOUND_{name.upper()}": value for name, value in settings.items()}
    with sailing(folder, keys, environment) as fleet:
        yield fleet
        if path := os.environ.get(TABLE):
            Path(path).write_text(table_of(fleet.recorded), encoding="utf-8")
    said = fleet.said()
    leaks = [line for line in said.splitlines() if any(key in line for key in keys.values())]
    assert [line for line in leaks if "Invalid HTTP Header" not in line] == []  # gunicorn's own
    assert not re.search(RAISED_BY_US, said), said[-20_000:]
