"""The subjects of the suite: every framework's shape, over every store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from keybound import Guard, Limits
from keybound.fastapi import init_app
from keybound.stores import open_store
from tests.asgi.sites import SUBJECTS, Site

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture(params=list(SUBJECTS))
def shape(request: pytest.FixtureRequest) -> str:
    """Return the name of a framework."""
    name: str = request.param
    return name


@pytest.fixture(params=["memory", "sqlite"])
def database(request: pytest.FixtureRequest, tmp_path: Any) -> str:
    """Return a setting ``database``."""
    return "memory://" if request.param == "memory" else str(tmp_path / "keys.db")


@pytest.fixture
def make(shape: str, database: str) -> Iterator[Callable[..., Site]]:
    """Return a function that makes a site with settings; all are closed in the end."""
    made: list[Site] = []

    def make_site(**settings: Any) -> Site:
        made.append(Site(shape, open_store(database), **settings))
        return made[-1]

    yield make_site
    for site in made:
        site.guard.close()


@pytest.fixture
def make_plain() -> Callable[..., Site]:
    """Return a function that makes a site without a framework, in memory."""

    def make_site(**settings: Any) -> Site:
        return Site("asgi", open_store("memory://"), **settings)

    return make_site


# ------------------------------------------------------------------------- of FastAPI


@pytest.fixture
def guard() -> Guard:
    """Return a guard in memory of what is under /v1."""
    return Guard.from_settings(database="memory://", protect=["/v1/*"])


@pytest.fixture
def app(guard: Guard) -> FastAPI:
    """Return a guarded application without routes."""
    app = FastAPI()
    init_app(app, guard.to_async())
    return app


@pytest.fixture
def client(app: FastAPI) -> TestClient:
    """Return a client; nothing is started, so that the first request finds the routes."""
    return TestClient(app, raise_server_exceptions=False)


@pytest.fixture
def key(guard: Guard) -> Callable[..., dict[str, str]]:
    """Return a function that issues a key with limits and returns its headers."""

    def issue(**limits: Any) -> dict[str, str]:
        issued = guard.issue(name="CI", tenant="acme", limits=Limits(**limits))
        return {"Authorization": f"Bearer {issued.secret.reveal()}"}

    return issue
