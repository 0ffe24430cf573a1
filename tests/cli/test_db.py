"""``keybound db``: what it says of tables and does with them, on a file and on a server."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from keybound.stores.schema import SCHEMA

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.cli.conftest import Ran
    from tests.services.postgres import PostgresServer

NOTHING_YET = "there are no tables: `keybound init` or `keybound db upgrade` makes them"


@pytest.fixture
def server(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Let commands use an empty database of a server, and return its URL."""
    monkeypatch.setenv("KEYBOUND_DATABASE", postgres_url)
    return postgres_url


@pytest.mark.usefixtures("server")
def test_only_what_may_make_a_store_does(run: Callable[..., Ran]):
    """In the wrong database, people see that there are no keys, and no tables are left there."""
    listed = run("list --json")
    assert (listed.status, listed.out) == (5, "")
    assert "keybound init" in listed.error["message"]
    assert "keybound init" in run("check --json").data["problems"][0]
    assert run("db check --json").data["problems"] == [NOTHING_YET]
    assert [run("init --json").data["created"] for _ in range(2)] == [True, False]
    assert run("list --json").data == []


@pytest.mark.usefixtures("server")
def test_tables_are_made_before_the_store_is(run: Callable[..., Ran]):
    """The owner of a database makes the tables, and whoever comes then makes the store in them."""
    checked = run("db check --json")
    assert checked.status == 1
    assert checked.data["ok"] is False
    assert checked.data["problems"] == [NOTHING_YET]
    done = run("db upgrade --json")
    assert done.status == 0
    assert (done.data["before"], done.data["version"]) == (None, SCHEMA)
    checked = run("db check --json")
    assert (checked.status, checked.data["ok"], checked.data["problems"]) == (0, True, [])
    assert run("issue --name CI --tenant acme").status == 0
    assert run("check --json").data["keys"] == 1


def test_sql_that_is_printed_makes_the_same_tables(
    run: Callable[..., Ran], server: str, postgres: PostgresServer
):
    """What somebody else executes is what ``db upgrade`` would have done."""
    printed = run("db upgrade --sql")
    assert printed.status == 0
    assert run("db check").status == 1  # nothing was changed
    postgres.execute(printed.out, database=server.rpartition("/")[2])
    assert run("db check --json").data["ok"] is True
    again = run("db upgrade --sql --json")
    assert (again.status, again.data["sql"]) == (0, "")
    assert run("init").status == 0


def test_nothing_is_done_twice(site: Callable[..., Ran]):
    """A store that is up to date stays as it is, and people are told so."""
    said = site("db upgrade")
    assert said.status == 0
    assert f"nothing to do: the tables have version {SCHEMA}" in said.out
    assert site("db check").status == 0


def test_tables_that_differ_are_named(site: Callable[..., Ran], folder: Path):
    """An index that somebody dropped is missed."""
    with closing(sqlite3.connect(folder / "keybound.db")) as file:
        file.execute("DROP INDEX keybound_nodes_kind")
    checked = site("db check --json")
    assert checked.status == 1
    assert checked.data["problems"] == ["add index: keybound_nodes_kind"]
    assert "keybound_nodes_kind" in site("db check").out


@pytest.mark.parametrize(
    ("version", "status", "told"),
    [("0000", 1, "run `keybound db upgrade`"), ("0999", 1, "upgrade keybound")],
    ids=["older", "newer"],
)
def test_other_version_is_told(
    site: Callable[..., Ran], folder: Path, version: str, status: int, told: str
):
    """Tables of another version are refused at opening, and a check says what to do."""
    with closing(sqlite3.connect(folder / "keybound.db")) as file, file:
        file.execute("UPDATE keybound_versions SET version_num = ?", (version,))
    checked = site("db check --json")
    assert checked.status == status
    assert told in checked.data["problems"][0]
    opened = site("list --json")
    assert (opened.status, opened.error["kind"]) == (5, "store")
    assert told in opened.error["message"]


def test_newer_tables_are_not_touched(site: Callable[..., Ran], folder: Path):
    """There is no way back in a migration."""
    with closing(sqlite3.connect(folder / "keybound.db")) as file, file:
        file.execute("UPDATE keybound_versions SET version_num = '0999'")
    for arguments in ("db upgrade --json", "db upgrade --sql --json"):
        refused = site(arguments)
        assert (refused.status, refused.out) == (5, "")
        assert "newer keybound" in refused.error["message"]


@pytest.mark.parametrize("arguments", ["db check", "db upgrade", "db upgrade --sql"])
def test_file_that_is_not_there_is_not_made(run: Callable[..., Ran], folder: Path, arguments: str):
    """In the wrong directory nothing is left behind."""
    missing = run(f"{arguments} --json")
    assert (missing.status, missing.out) == (5, "")
    assert "keybound init" in missing.error["message"]
    assert list(folder.iterdir()) == []


def test_store_without_tables_says_so(run: Callable[..., Ran]):
    """What is in memory has nothing to upgrade."""
    refused = run("db upgrade --database memory:// --json")
    assert refused.status == 2
    assert "has no tables" in refused.error["message"]


def test_server_that_is_away_is_an_error_of_the_store(run: Callable[..., Ran]):
    """Scripts see the exit status of a store, and nobody the password."""
    gone = run("db check --json --database postgresql://me:hunter2@127.0.0.1:1/keys")
    assert gone.status == 5
    assert "postgresql://me@127.0.0.1:1/keys: cannot be reached" in gone.error["message"]
    assert "hunter2" not in gone.err
