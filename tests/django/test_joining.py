"""Changes of keys within the transactions of a project."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest
from django.db import connections, transaction
from django.http import HttpResponse
from django.urls import path

from keybound import Guard
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
    given = {
        "DATABASE": database,
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


def ending(request: Any, key: str) -> HttpResponse:
    """Revoke a key, and fail afterwards if asked to."""
    with joining(ALIAS) as joined:
        joined.revoke(key)
    if request.GET.get("fail"):
        raise WrongError
    transaction.on_commit(connections[ALIAS].close, using=ALIAS)  # nobody else does in this thread
    return HttpResponse("ended")


def fail_after(change: Any, *arguments: Any) -> None:
    """Make a change that is to be undone."""
    change(*arguments)
    raise WrongError


def test_revocation_in_a_request_holds_elsewhere_within_a_sync(
    project: Project, database: str, other: Guard
):
    """With ATOMIC_REQUESTS, another worker refuses the key within ``sync_every`` of the answer."""
    use(project, database, path("api/end/<key>", ending))
    issued = guard().issue(name="CI")
    assert accepts(guard(), issued)
    assert accepts(other, issued)
    caller = project.key()
    assert project.send(f"/api/end/{issued.id}", caller).content == b"ended"
    answered = time.monotonic()
