"""Changes of keys within the transactions of a project."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest
from django.db import connections, transaction
from django.http import HttpResponse
from django.urls import path

from keybound import Guard
from keybound.core.errors import InputError
from keybound.django import guard, joining
from tests.django.project import forget_guard

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.django.conftest import Project

SECRET = "a secret of these tests, which is long enough to be one"
SYNC_EVERY = 0.3
ALIAS = "keys"


class WrongError(Exception):
    """What goes wrong in a view."""


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A database of the project, with transactions around its requests, in which keys are."""
    if request.param == "sqlite":
        database = str(tmp_path / "keys.db")
        given: dict[str, Any] = {"ENGINE": "django.db.backends.sqlite3", "NAME": database}
    else:
        from psycopg.conninfo import conninfo_to_dict

        database = request.getfixturevalue("postgres_url")
        found = conninfo_to_dict(database)
        given = {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": found["dbname"],
            "USER": found["user"],
            "HOST": found["host"],
            "PORT": found["port"],
        }
    given["ATOMIC_REQUESTS"] = True
    known = connections.databases
    known[ALIAS] = connections.configure_settings({"default": {}, ALIAS: given})[ALIAS]
    yield database
    forget_guard()
    connections[ALIAS].close()
    del connections[ALIAS]
    del known[ALIAS]


@pytest.fixture
def other(database: str) -> Iterator[Guard]:
    """Another worker, which syncs by itself."""
    other = Guard.from_settings(database=database, secret=SECRET, sync_every=SYNC_EVERY)
    other.open()
    yield other
    other.close()


def use(project: Project, database: str, *patterns: Any) -> Project:
    """Have these views, in requests that are transactions."""
    given = {"DATABASE": database, "SECRET": SECRET, "SYNC_EVERY": 60, "PROTECT": ["/api/*"]}
    return project.use(*patterns, keybound=given)


def accepts(worker: Guard, issued: Any) -> bool:
    """Return whether a request with a key is let in by a worker."""
    header = f"Bearer {issued.secret.reveal()}".encode()
    return type(worker.authorize("GET", "/api/x", None, header)).__name__ == "Allowed"


def ending(request: Any, key: str) -> HttpResponse:
    """Revoke a key, and fail afterwards if asked to."""
    with joining(ALIAS) as joined:
        joined.revoke(key)
    if request.GET.get("fail"):
        raise WrongError
    connections[ALIAS].close_if_unusable_or_obsolete()
    return HttpResponse("ended")


def test_revocation_in_a_request_holds_elsewhere_within_a_sync(
    project: Project, database: str, other: Guard
):
    """With ATOMIC_REQUESTS, another worker refuses the key within ``sync_every`` of the answer."""
    use(project, database, path("end/<key>", ending))
    issued = guard().issue(name="CI")
    assert accepts(guard(), issued)
    assert accepts(other, issued)
    assert project.send(f"/end/{issued.id}").content == b"ended"
    answered = time.monotonic()
    assert not accepts(guard(), issued)
    while accepts(other, issued):
        assert time.monotonic() - answered < SYNC_EVERY + 0.25
        time.sleep(0.005)


def test_request_that_fails_ends_nothing(blocking: Project, database: str):
    """What a view did before it failed is undone, with all that it wrote."""
    use(blocking, database, path("end/<key>", ending))
    issued = guard().issue(name="CI")
    with pytest.raises(WrongError):
        blocking.send(f"/end/{issued.id}?fail=1")
    assert accepts(guard(), issued)
    assert guard().show(issued.id).rev == 1


def test_block_has_receipts_after_its_commit(blocking: Project, database: str):
    """An atomic block of a command is a transaction as well; savepoints within it count."""
    use(blocking, database)
    kept, ended = guard().issue(name="kept"), guard().issue(name="ended")
    with transaction.atomic(ALIAS), joining(ALIAS) as joined:
        with pytest.raises(WrongError), transaction.atomic(ALIAS):
            joined.revoke(kept.id)
            raise WrongError
        pending = joined.revoke(ended.id)
        assert (pending.rev, joined.receipts) == (None, ())
        assert accepts(guard(), ended)
    told = {receipt.node.id: receipt.rev for receipt in joined.receipts}
    assert told == {kept.id: 1, ended.id: 3}
    assert not accepts(guard(), ended)
    assert accepts(guard(), kept)


def test_rows_of_a_project_may_have_any_form(blocking: Project, database: str):
    """What a project makes of the rows of its connection concerns nobody else."""
    use(blocking, database)
    issued = guard().issue(name="CI")
    with transaction.atomic(ALIAS):
        connections[ALIAS].connection.row_factory = lambda *_: pytest.fail("of the project")
        with joining(ALIAS) as joined:
            assert joined.disable(issued.id).node.id == issued.id
        connections[ALIAS].connection.row_factory = None
        if connections[ALIAS].vendor == "postgresql":
            from psycopg.rows import tuple_row

            connections[ALIAS].connection.row_factory = tuple_row
    assert not accepts(guard(), issued)


def test_no_transaction_is_refused(blocking: Project, database: str):
    """Outside of a transaction each statement would be committed by itself."""
    use(blocking, database)
    with pytest.raises(InputError, match=r"atomic\(\)"), joining(ALIAS):
        pass
    with transaction.atomic(ALIAS), joining(ALIAS) as joined:
        pass
    with pytest.raises(InputError, match="is over"):
        joined.list()


def test_alias_of_another_database_is_refused(blocking: Project, database: str):
    """Keys that are elsewhere are not changed in a transaction of this one."""
    use(blocking, database)
    with (
        transaction.atomic(),
        pytest.raises(InputError, match="where the keys are"),
        joining(),
    ):
        pass
