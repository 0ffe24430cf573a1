"""Changes of keys within the transactions of a project."""

from __future__ import annotations

import time
from itertools import count
from typing import TYPE_CHECKING, Any, NamedTuple

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


_numbers = count()


class Place(NamedTuple):
    """Where keys are, and under which alias Django has it: one of its own, in every thread."""

    database: str
    alias: str


class WrongError(Exception):
    """What goes wrong in a view."""


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
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
    alias, known = f"keys_{next(_numbers)}", connections.databases
    known[alias] = connections.configure_settings({"default": {}, alias: given})[alias]
    yield Place(database, alias)
    forget_guard()
    connections[alias].close()
    del connections[alias]
    del known[alias]


@pytest.fixture
def other(place: Place) -> Iterator[Guard]:
    """Another worker, which syncs by itself."""
    other = Guard.from_settings(database=place.database, secret=SECRET, sync_every=SYNC_EVERY)
    other.open()
    yield other
    other.close()


def use(project: Project, place: Place, *patterns: Any) -> Project:
    """Have these views, in requests that are transactions."""
    given = {
        "DATABASE": place.database,
        "SECRET": SECRET,
        "SYNC_EVERY": 60,
        "REVOKE_WITHIN": 300,
        "PROTECT": ["/api/*"],
    }
    return project.use(*patterns, keybound=given)


def accepts(worker: Guard, issued: Any) -> bool:
    """Return whether a request with a key is let in by a worker."""
    header = f"Bearer {issued.secret.reveal()}".encode()
    return type(worker.authorize("GET", "/api/x", None, header)).__name__ == "Allowed"


def ending(request: Any, alias: str, key: str) -> HttpResponse:
    """Revoke a key, and fail afterwards if asked to."""
    with joining(alias) as joined:
        joined.revoke(key)
    if request.GET.get("fail"):
        raise WrongError
    transaction.on_commit(connections[alias].close, using=alias)  # nobody else does in this thread
    return HttpResponse("ended")


def fail_after(change: Any, *arguments: Any) -> None:
    """Make a change that is to be undone."""
    change(*arguments)
    raise WrongError


def test_revocation_in_a_request_holds_elsewhere_within_a_sync(
    project: Project, place: Place, other: Guard
):
    """With ATOMIC_REQUESTS, another worker refuses the key within ``sync_every`` of the answer."""
    use(project, place, path("api/<alias>/end/<key>", ending))
    issued = guard().issue(name="CI")
    assert accepts(guard(), issued)
    assert accepts(other, issued)
    caller = project.key()
    assert project.send(f"/api/{place.alias}/end/{issued.id}", caller).content == b"ended"
    answered = time.monotonic()
    assert not accepts(guard(), issued)
    while accepts(other, issued):
        assert time.monotonic() - answered < SYNC_EVERY + 0.25
        time.sleep(0.005)


def test_request_that_fails_ends_nothing(blocking: Project, place: Place):
    """What a view did before it failed is undone, with all that it wrote."""
    use(blocking, place, path("api/<alias>/end/<key>", ending))
    issued = guard().issue(name="CI")
    with pytest.raises(WrongError):
        blocking.send(f"/api/{place.alias}/end/{issued.id}?fail=1", blocking.key())
    assert accepts(guard(), issued)
    assert guard().show(issued.id).rev == 1


def test_block_has_receipts_after_its_commit(blocking: Project, place: Place):
    """An atomic block of a command is a transaction as well; savepoints within it count."""
    use(blocking, place)
    kept, ended = guard().issue(name="kept"), guard().issue(name="ended")
    with transaction.atomic(place.alias), joining(place.alias) as joined:
        with pytest.raises(WrongError), transaction.atomic(place.alias):
            fail_after(joined.revoke, kept.id)
        pending = joined.revoke(ended.id)
        assert (pending.rev, joined.receipts) == (None, ())
        assert accepts(guard(), ended)
    told = {receipt.node.id: receipt.rev for receipt in joined.receipts}
    assert told == {ended.id: 3}  # and none for what was taken back
    assert not accepts(guard(), ended)
    assert accepts(guard(), kept)


def test_rows_of_a_project_may_have_any_form(blocking: Project, place: Place):
    """What a project makes of the rows of its connection concerns nobody else."""
    use(blocking, place)
    issued = guard().issue(name="CI")
    with transaction.atomic(place.alias):
        connections[place.alias].connection.row_factory = lambda *_: pytest.fail("of the project")
        with joining(place.alias) as joined:
            assert joined.disable(issued.id).node.id == issued.id
        connections[place.alias].connection.row_factory = None
        if connections[place.alias].vendor == "postgresql":
            from psycopg.rows import tuple_row

            connections[place.alias].connection.row_factory = tuple_row
    assert not accepts(guard(), issued)


def test_no_transaction_is_refused(blocking: Project, place: Place):
    """Outside of a transaction each statement would be committed by itself."""
    use(blocking, place)
    with pytest.raises(InputError, match=r"atomic\(\)"), joining(place.alias):
        pass
    with transaction.atomic(place.alias), joining(place.alias) as joined:
        pass
    with pytest.raises(InputError, match="is over"):
        joined.list()


def test_alias_of_another_database_is_refused(blocking: Project, place: Place):
    """Keys that are elsewhere are not changed in a transaction of this one."""
    use(blocking, place)
    with (
        transaction.atomic(),
        pytest.raises(InputError, match="where the keys are"),
        joining(),
    ):
        pass
