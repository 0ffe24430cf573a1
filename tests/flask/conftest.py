"""A guarded application of Flask, and keys for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from flask import Flask

from keybound import Guard, Limits
from keybound.flask import Keybound

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask.testing import FlaskClient


@pytest.fixture
def guard() -> Guard:
    """Return a guard in memory of what is under /v1."""
    return Guard.from_settings(database="memory://", protect=["/v1/*"])


@pytest.fixture
def bare() -> Flask:
    """Return an application with one view, before it is guarded."""
    bare = Flask("shop", static_folder=None)
    bare.add_url_rule("/v1/home", "home", lambda: "home")
    return bare


@pytest.fixture
def kb(bare: Flask, guard: Guard) -> Keybound:
    """Return what guards the application."""
    return Keybound(bare, guard)


@pytest.fixture
def app(bare: Flask, kb: Keybound) -> Flask:  # noqa: ARG001 - it guards the application
    """Return the application, guarded."""
    return bare


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    """Return a client; nothing was served yet."""
    return app.test_client()


@pytest.fixture
def key(guard: Guard) -> Callable[..., dict[str, str]]:
    """Return a function that issues a key with limits and returns its headers."""

    def issue(**limits: Any) -> dict[str, str]:
        issued = guard.issue(name="CI", tenant="acme", limits=Limits(**limits))
        return {"Authorization": f"Bearer {issued.secret.reveal()}"}

    return issue


@pytest.fixture
def why(guard: Guard) -> Callable[[Any], str]:
    """Return a function that tells why a response is a refusal."""

    def explain(response: Any) -> str:
        denial = response.headers.get("Keybound-Denial")
        if denial is None:
            return "allowed"
        return guard.explain_denial(denial).reason.value

    return explain
