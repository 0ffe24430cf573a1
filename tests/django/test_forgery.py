"""Requests that another site makes a browser send: keys that it keeps open nothing."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from typing import TYPE_CHECKING, Any

import pytest
from django.http import HttpRequest, HttpResponse
from django.test import AsyncClient, Client
from django.urls import path

from keybound.core.principals import Principal
from keybound.django import requires

if TYPE_CHECKING:
    from keybound.core.head import Head
    from tests.django.conftest import Project

CSRF = "django.middleware.csrf.CsrfViewMiddleware"


def served(_request: HttpRequest) -> HttpResponse:
    """Answer."""
    return HttpResponse("served")


def by_session(head: Head) -> Principal | None:
    """Return whom a session is of."""
    lines = b";".join(head.lines("cookie"))
    return Principal(id="u_1", tenant="acme") if b"sessionid=abc" in lines else None


def status(
    project: Project, key: str | None = None, *, cookie: str = "", url: str = "/x", **headers: str
) -> int:
    """Return what becomes of a form that another site sends."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    sent = {"Origin": "https://evil.example", **named, **({"Authorization": key} if key else {})}
    client = (AsyncClient if project.awaits else Client)(enforce_csrf_checks=True)
    client.cookies.load(cookie)
    answer: Any = client.generic("POST", url, headers=sent)
    status: int = (asyncio.run(answer) if project.awaits else answer).status_code
    return status


@pytest.mark.parametrize("hides", [False, True])
def test_key_that_a_browser_keeps_needs_a_csrf_token(project: Project, *, hides: bool):
    """In a cookie, or as a password of Basic: no page has to know it to use it."""
    forms = ["bearer", "basic(password)", "cookie(api_key)", "header(X-API-Key)"]
    keybound = {"CREDENTIALS": forms, "HIDE_CREDENTIALS": hides}
    project.use(path("x", served), after=(CSRF,), keybound=keybound)
    key = project.key().removeprefix("Bearer ")
    basic = b64encode(f"user:{key}".encode()).decode()
    assert status(project, f"Basic {basic}") == 403
    assert status(project, f"basic  {basic}") == 403
    assert status(project, cookie=f"api_key={key}") == 403
    assert status(project, f"Bearer {key}") == 200
    assert status(project, X_API_Key=key) == 200


def test_basic_alone_needs_a_csrf_token(project: Project):
    """Where nothing else of a request is read."""
    project.use(path("x", served), after=(CSRF,), keybound={"CREDENTIALS": ["basic(username)"]})
    key = project.key().removeprefix("Bearer ")
    assert status(project, f"Basic {b64encode(f'{key}:'.encode()).decode()}") == 403


def test_session_needs_a_csrf_token(project: Project):
    """What an authenticator went by may be a cookie; a header of a script is none."""
    forms = ["bearer", "query(api_key)"]
    keybound = {"AUTHENTICATORS": [by_session], "CREDENTIALS": forms}
    project.use(path("x", served), after=(CSRF,), keybound=keybound)
    assert status(project, cookie="sessionid=abc") == 403
    assert status(project, "Negotiate abc", cookie="sessionid=abc") == 403
    assert status(project, "Bearer eyJ.of.another", cookie="sessionid=abc") == 200
    assert status(project, project.key()) == 200
    assert status(project, cookie="sessionid=abc", url="/x?api_key=junk") == 403


PREFLIGHT = {"Origin": "https://evil.example", "Access-Control-Request-Method": "DELETE"}


def test_preflight_that_becomes_another_request_needs_a_key(project: Project):
    """By whatever header somebody within takes the method from."""
    project.use(
        path("x", served),
        after=("tests.django.parts.Overriding",),
        keybound={"EXEMPT_PREFLIGHT": True},
    )
    headers = {**PREFLIGHT, "X-Method": "DELETE"}
    assert project.send("/x", method="OPTIONS", headers=headers).status_code == 401
    headers = {**PREFLIGHT, "X-Method": "OPTIONS"}
    assert project.send("/x", method="OPTIONS", headers=headers).status_code == 200


def test_preflight_is_not_answered_by_a_view_that_requires_a_key(project: Project):
    """Whoever asked with one before."""
    view = requires("reports")(served)
    project.use(path("x", view), keybound={"EXEMPT_PREFLIGHT": True})
    for _ in range(2):
        assert project.send("/x", method="OPTIONS", headers=PREFLIGHT).status_code == 401
        answer = project.send("/x", project.key(scopes="reports"), method="OPTIONS")
        assert answer.status_code == 200
