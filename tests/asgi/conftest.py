"""What the tests of the shells for ASGI share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from keybound import Guard, Limits
from keybound.fastapi import init_app
from tests.shells.fixtures import asgi_shape, make_asgi, make_plain

__all__ = ["asgi_shape", "make_asgi", "make_plain"]

if TYPE_CHECKING:
    from collections.abc import Callable


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
