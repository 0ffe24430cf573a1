"""The setting ``database``: what it may name, and what a wrong one is told."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from keybound.core.errors import SettingsError
from keybound.stores import open_store
from keybound.stores.memory import MemoryStore
from keybound.stores.sql import SqlStore


@pytest.mark.parametrize(
    ("database", "location"),
    [
        ("keys.db", "{folder}/keys.db"),
        ("./a b/k?y#s%20.db", "{folder}/a b/k?y#s%20.db"),
        ("{folder}/keys.db", "{folder}/keys.db"),
        ("~/keys.db", "{home}/keys.db"),
        ("sqlite:///keys.db", "{folder}/keys.db"),
        ("sqlite:///{folder}/keys.db", "{folder}/keys.db"),
        ("sqlite+pysqlite:///keys.db", "{folder}/keys.db"),
    ],
)
def test_path_and_url_name_a_file(
    database: str, location: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """A path may be written plainly or as a URL; it is shown as an absolute one, and untouched."""
    monkeypatch.chdir(tmp_path)
    places = {"folder": tmp_path, "home": Path.home()}
    store = open_store(database.format(**places))
    assert isinstance(store, SqlStore)
    assert store.location == location.format(**places)
    assert list(tmp_path.iterdir()) == []


def test_memory_is_new_each_time():
    """A store in memory belongs to whoever made it."""
    first, second = open_store("memory://"), open_store("memory://")
    assert isinstance(first, MemoryStore)
    assert first is not second
    assert first.location == "memory://"


@pytest.mark.parametrize(
    ("database", "problem"),
    [
        ("", "is no file; write memory://"),
        (":memory:", "write memory://"),
        ("sqlite://", "write memory://"),
        ("sqlite:///:memory:", "write memory://"),
        ("sqlite://host/keys.db", "names a host"),
        ("sqlite:///keys.db?mode=ro", "without '?'"),
        ("keys\0.db", "zero"),
        ("sqlit:///keys.db", "no store is for sqlit://; did you mean 'sqlite'"),
        ("postgresql:/me:hunter2@host/keys", "neither a path nor a URL; write postgresql://"),
        ("Postgres+psycopg//me:hunter2@host/keys", "neither a path nor a URL"),
        ("postgresqll:me:hunter2@host/keys", "neither a path nor a URL"),
        ("host=localhost user=me password=hunter2", "neither a path nor a URL"),
        (
            "mongodb://me:hunter2@host/keys",
            "no store is for mongodb://; known are memory, postgres, ",
        ),
    ],
)
def test_wrong_database_is_refused_with_what_is_right(database: str, problem: str):
    """The error names the setting and the fix, and never shows a password."""
    with pytest.raises(SettingsError) as caught:
        open_store(database)
    assert str(caught.value).startswith("database: ")
    assert problem in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_package_may_bring_a_store(tmp_path: Path):
    """A store of another package is found by the scheme of its URL."""
    made = tmp_path / "shelf-1.0.dist-info"
    made.mkdir()
    (made / "METADATA").write_text("Metadata-Version: 2.1\nName: shelf\nVersion: 1.0\n")
    (made / "entry_points.txt").write_text("[keybound.stores]\nshelf = shelf:Shelf\n")
    (tmp_path / "shelf.py").write_text(
        "class Shelf:\n"
        "    def __init__(self, database, *, connections):\n"
        "        self.location = f'{database} over {connections}'\n"
    )
    code = "import keybound.stores as s; print(s.open_store('shelf://top', connections=3).location)"
    assert python(code, folder=tmp_path) == "shelf://top over 3\n"


def test_store_that_is_not_installed_names_the_extra():
    """Without SQLAlchemy the error says how to get it; nothing else of keybound needs it."""
    code = """
import sys
sys.modules["sqlalchemy"] = None
from keybound.stores import open_store
open_store("memory://")
try:
    open_store("keys.db")
except ImportError as error:
    print(error)
"""
    assert python(code) == "sqlalchemy is not installed: pip install 'keybound[sql]'\n"


def test_port_loads_no_client():
    """Knowing what a store is loads neither SQLAlchemy nor SQLite."""
    code = "import keybound.stores, keybound.stores.memory, sys; print(*sys.modules)"
    assert not {"sqlalchemy", "sqlite3"} & set(python(code).split())


def python(code: str, *, folder: Path | None = None) -> str:
    """Return what another interpreter prints, with ``folder`` among its packages."""
    packages = [*([str(folder)] if folder else []), *sys.path]
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(packages)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
