"""The subjects of the suites: every framework's shape, over every store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from keybound.stores import open_store
from tests.django.project import forget_guard
from tests.shells.sites import Site
from tests.shells.subjects import ASGI_SUBJECTS, SUBJECTS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture(params=list(SUBJECTS))
def shape(request: pytest.FixtureRequest) -> str:
    """Return the name of a shell."""
    name: str = request.param
    return name


@pytest.fixture(params=ASGI_SUBJECTS)
def asgi_shape(request: pytest.FixtureRequest) -> str:
    """Return the name of a shell for ASGI: there are WebSockets and a lifespan."""
    name: str = request.param
    return name


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Any) -> str:
    """Return a setting ``database``."""
    if request.param == "postgresql":
        url: str = request.getfixturevalue("postgres_schema")
        return url
    return "memory://" if request.param == "memory" else str(tmp_path / "keys.db")


@pytest.fixture
def make(shape: str, database: str) -> Iterator[Callable[..., Site]]:
    """Return a function that makes a site with settings; all are closed in the end."""
    yield from _making(shape, database)


@pytest.fixture
def make_asgi(asgi_shape: str, database: str) -> Iterator[Callable[..., Site]]:
    """Return a function that makes a site of ASGI with settings; all are closed in the end."""
    yield from _making(asgi_shape, database)


@pytest.fixture
def make_plain() -> Callable[..., Site]:
    """Return a function that makes a site without a framework, in memory."""

    def make_site(**settings: Any) -> Site:
        return Site("asgi", open_store("memory://"), **settings)

    return make_site


def _making(shape: str, database: str) -> Iterator[Callable[..., Site]]:
    made: list[Site] = []

    def make_site(**settings: Any) -> Site:
        made.append(Site(shape, open_store(database), **settings))
        return made[-1]

    yield make_site
    for site in made:
        site.guard.close()
    forget_guard()
