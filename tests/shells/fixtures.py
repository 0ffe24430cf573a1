"""The subjects of the suites: every framework's shape, over every store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from keybound import Guard
from keybound.engine import Engine
from keybound.stores import open_store
from tests.django.project import forget_guard
from tests.services.redis import look_into, sharing
from tests.shells.sites import Site
from tests.shells.subjects import ASGI_SUBJECTS, SUBJECTS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from redis import Redis

    from keybound.core.issuing import IssuedKey
    from keybound.stores import Store

SECRET = "a secret that all processes of a test have"


_OVER_ALL = {"asgi", "wsgi"}
_SUBJECTS = [
    (shape, store)
    for shape in SUBJECTS
    for store in ("memory", "sqlite", "postgresql")
    if store == "memory" or shape in _OVER_ALL
]
_SHARED = [
    (shape, server)
    for shape in SUBJECTS
    for server in ("valkey", "redis")
    if server == "valkey" or shape in _OVER_ALL
]
_ASGI_SUBJECTS = [(shape, store) for shape, store in _SUBJECTS if shape in ASGI_SUBJECTS]


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


@pytest.fixture(params=_SUBJECTS, ids="-".join)
def make(request: pytest.FixtureRequest) -> Iterator[Callable[..., Site]]:
    """Return a function that makes a site: of every shell, and over every store under two of them.

    What is decided does not know of the store, and the store of no shell.
    """
    shape, name = request.param
    yield from _making(shape, _database(name, request))


@pytest.fixture
def make_in_memory(shape: str) -> Iterator[Callable[..., Site]]:
    """Return a function that makes a site of every shell, in memory."""
    yield from _making(shape, "memory://")


@pytest.fixture
def make_asgi_in_memory(asgi_shape: str) -> Iterator[Callable[..., Site]]:
    """Return a function that makes a site of ASGI, in memory."""
    yield from _making(asgi_shape, "memory://")


@pytest.fixture(params=_ASGI_SUBJECTS, ids="-".join)
def make_asgi(request: pytest.FixtureRequest) -> Iterator[Callable[..., Site]]:
    """Return a function that makes a site of ASGI: there are WebSockets and a lifespan."""
    shape, name = request.param
    yield from _making(shape, _database(name, request))


@pytest.fixture
def make_plain() -> Callable[..., Site]:
    """Return a function that makes a site without a framework, in memory."""

    def make_site(**settings: Any) -> Site:
        return Site("asgi", open_store("memory://"), **settings)

    return make_site


class Shared:
    """Sites over one store and one Redis, and a process beside them that reads keys first."""

    def __init__(self, shape: str, store: Store, url: str, client: Redis) -> None:
        """Begin without a site."""
        self.made: list[Guard] = []
        self._shape = shape
        self._store = store
        self._url = url
        self._client = client

    def site(self, **settings: Any) -> Site:
        """Return a guarded application that uses the Redis."""
        cache = {"redis": self._url, "redis_timeout": 2, "secret": SECRET}
        site = Site(self._shape, self._store, **settings, **cache)
        self.made.append(site.guard)
        return site

    def share(self, site: Site, key: IssuedKey) -> None:
        """Let the other process read a key; afterwards all of it is in Redis."""
        settings, clock = site.guard.settings, site.clock
        beside = Guard(Engine(settings, site.store, clock, background=False))
        self.made.append(beside)
        with sharing(beside.engine, self._client):
            beside.authorize("GET", "/", None, b"Bearer " + key.secret.reveal().encode())


@pytest.fixture(params=_SHARED, ids="-".join)
def shared(request: pytest.FixtureRequest, tmp_path: Any, redis_named: Any) -> Iterator[Shared]:
    """Return what makes sites over SQLite and Redis: of every shell, and over both for two."""
    shape, name = request.param
    server = redis_named(name)
    server.ensure()
    database = server.next_database()
    with server.client(database) as client:
        client.flushdb()
        store = open_store(str(tmp_path / "keys.db"))
        found = Shared(shape, store, server.url(database), client)
        yield found
        look_into(client)
        for guard in found.made:
            guard.close()
        forget_guard()


def _database(store: str, request: pytest.FixtureRequest) -> str:
    if store == "postgresql":
        url: str = request.getfixturevalue("postgres_schema")
        return url
    folder: Path = request.getfixturevalue("tmp_path")
    return "memory://" if store == "memory" else str(folder / "keys.db")


def _making(shape: str, database: str) -> Iterator[Callable[..., Site]]:
    made: list[Site] = []

    def make_site(**settings: Any) -> Site:
        made.append(Site(shape, open_store(database), **settings))
        return made[-1]

    yield make_site
    for site in made:
        site.guard.close()
    forget_guard()
