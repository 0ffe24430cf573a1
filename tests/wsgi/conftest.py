"""A guard in memory, keys for it, and calls of WSGI applications without a server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from keybound import Guard, Limits, Route

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROUTES = (
    Route("/open", auth="exempt"),
    Route("/d/{tenant}/x"),
    Route("/m/{model}", tenant="~"),
    Route("/own", tenant="~"),
)


@pytest.fixture
def guard() -> Iterator[Guard]:
    """Return a guard in memory."""
    guard = Guard.from_settings(database="memory://", routes=ROUTES)
    yield guard
    guard.close()


@pytest.fixture
def key(guard: Guard) -> Callable[..., str]:
    """Return a function that issues a key of acme and returns the value that carries it."""

    def issue(**limits: Any) -> str:
        issued = guard.issue(name="CI", tenant="acme", limits=Limits(**limits))
        return f"Bearer {issued.secret.reveal()}"

    return issue
