"""A project of its own for every test, served under WSGI and under ASGI."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest
from django.test import AsyncClient, Client
from django.test.utils import override_settings

from keybound import Limits
from keybound.django import guard
from tests.django.project import MIDDLEWARE, forget_guard

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.http import HttpResponse


class Project:
    """Settings and a URLconf that hold for one test, and clients."""

    def __init__(self, stack: ExitStack, *, awaits: bool) -> None:
        """Begin with what all tests share."""
        self._stack = stack
        self.awaits = awaits

    def use(
        self,
        *patterns: Any,
        before: tuple[str, ...] = (),
        after: tuple[str, ...] = (),
        keybound: dict[str, Any] | None = None,
        **settings: Any,
    ) -> Project:
        """Have this URLconf, these middleware around ours, and these settings."""
        urls = ModuleType("urls_of_a_test")
        urls.urlpatterns = list(patterns)  # type: ignore[attr-defined]
        given = {
            "KEYBOUND": {"DATABASE": "memory://", **(keybound or {})},
            "MIDDLEWARE": [*before, MIDDLEWARE, *after],
            "ROOT_URLCONF": urls,
        }
        self._stack.enter_context(override_settings(**{**given, **settings}))
        return self

    def key(self, *, tenant: str | None = "acme", owner: str | None = None, **limits: Any) -> str:
        """Issue a key and return the value of the header that carries it."""
        issued = guard().issue(name="CI", tenant=tenant, owner=owner, limits=Limits(**limits))
        return f"Bearer {issued.secret.reveal()}"

    def send(
        self, path: str = "/", key: str | None = None, *, method: str = "GET", **more: Any
    ) -> HttpResponse:
        """Send a request through Django's own handler."""
        headers = {**more.pop("headers", {}), **({"Authorization": key} if key else {})}
        if not self.awaits:
            return Client(**more).generic(method, path, headers=headers)  # type: ignore[return-value]
        request = AsyncClient(**more).generic(method, path, headers=headers)
        return asyncio.run(request)  # type: ignore[arg-type]

    def reason(self, response: HttpResponse) -> str:
        """Return why a response is a refusal."""
        return guard().explain_denial(response.headers["keybound-denial"]).reason.value


@pytest.fixture(params=["wsgi", "asgi"])
def project(request: pytest.FixtureRequest) -> Iterator[Project]:
    """Return a project without routes."""
    forget_guard()
    with ExitStack() as stack:
        yield Project(stack, awaits=request.param == "asgi")
    forget_guard()


@pytest.fixture
def blocking() -> Iterator[Project]:
    """Return a project that is served under WSGI alone."""
    forget_guard()
    with ExitStack() as stack:
        yield Project(stack, awaits=False)
    forget_guard()
