"""The owner of a key as ``request.user``, where the project says how to find it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from django.contrib.auth.models import AnonymousUser
from django.http import HttpResponse
from django.urls import path

from keybound.django import guard
from tests.django import owners

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.django.conftest import Project

SESSIONS = "django.contrib.sessions.middleware.SessionMiddleware"
AUTHENTICATION = "django.contrib.auth.middleware.AuthenticationMiddleware"
LOGIN = "django.contrib.auth.middleware.LoginRequiredMiddleware"
COOKIES: dict[str, Any] = {"SESSION_ENGINE": "django.contrib.sessions.backends.signed_cookies"}


def show(request: Any) -> HttpResponse:
    """Say who the user is."""
    return HttpResponse(f"{request.user.get_username() or request.user}")


async def show_async(request: Any) -> HttpResponse:
    """Say the same, as coroutines ask."""
    user = await request.auser()
    assert user == await request.auser()
    return HttpResponse(f"{user.get_username() or user}")


@pytest.fixture
def site(project: Project, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Project]:
    """Return a function that sets up a project whose keys have owners."""
    monkeypatch.setattr(owners, "users", owners.known())
    monkeypatch.setattr(owners, "asked", [])

    def make(view: Any = show, load: str = "load_owner", *after: str) -> Project:
        return project.use(
            path("x", view),
            path("blind", lambda _: HttpResponse("served")),
            path("open", view),
            after=(SESSIONS, AUTHENTICATION, *after),
            keybound={"OWNER": f"tests.django.owners.{load}", "PROTECT": ["/x", "/blind"]},
            **COOKIES,
        )

    return make


@pytest.mark.parametrize("load", ["load_owner", "load_owner_async"])
@pytest.mark.parametrize("view", [show, show_async], ids=["sync", "async"])
def test_user_is_the_owner(site: Any, view: Any, load: str):
    """Found by functions and by coroutines, for views of both kinds, once for each request."""
    project = site(view, load)
    issued = guard().issue(name="CI", tenant="acme", owner="u_1")
    key = f"Bearer {issued.secret.reveal()}"
    for _ in range(2):
        assert project.send("/x", key).content == b"alice"
    assert owners.asked == [("u_1", issued.id)] * 2


def test_user_stays_the_owner_where_a_key_is_not_needed_by_now(site: Any):
    """A middleware behind us serves an open path to a request that needed a key."""
    project = site(show, "load_owner", "tests.django.parts.Rewriting")
    key, served = project.key(owner="u_1"), {"X-Path": "/open"}
    assert project.send("/x", key, headers=served).content == b"alice"
    assert project.send("/open", key, headers=served).content == b"AnonymousUser"


@pytest.mark.parametrize("owner", ["u_2", "u_4", "u_none", None])
def test_key_without_a_living_owner_is_refused(site: Any, owner: str | None):
    """An inactive user, one that is gone, and none at all: also where no view looks at the user."""
    project = site()
    key = project.key(owner=owner)
    for sent in ("/x", "/blind"):
        answer = project.send(sent, key)
        assert answer.status_code == 401
        assert project.reason(answer) == "disabled"


def test_refusal_for_an_owner_tells_the_client_nothing(site: Any, caplog: pytest.LogCaptureFixture):
    """It is that of every dead key; the operator reads in the log which it is."""
    project = site()
    dead = project.send("/x", project.key(owner="u_2"))
    unknown = project.send("/x", "Bearer nonsense")
    assert dead.headers["www-authenticate"] == unknown.headers["www-authenticate"]
    assert len(dead.content) == len(unknown.content)
    with caplog.at_level("INFO", "keybound"):
        for key in (project.key(owner="u_2"), project.key()):
            for _ in range(3):  # told of once
                project.send("/x", key)
    said = [record.getMessage().partition(": ")[2] for record in caplog.records]
    assert said.count("its owner is gone or not active") == 1
    assert said.count("it has no owner") == 1
    assert "u_2" not in caplog.text


def test_site_may_say_that_an_owner_is_nobody(site: Any):
    """What the function returns is the user, ``AnonymousUser`` too."""
    project = site()
    assert project.send("/x", project.key(owner="u_3")).content == b"AnonymousUser"


@pytest.mark.parametrize("load", ["fail", "stop"])
def test_owner_that_cannot_be_found_now_is_no_reason_to_serve(
    site: Any, caplog: pytest.LogCaptureFixture, load: str
):
    """A database that is down is a 503, and what its error says is nowhere."""
    project = site(show, load)
    answer = project.send("/x", project.key(owner="u_1"))
    assert answer.status_code == 503
    assert "hunter2" not in caplog.text + answer.content.decode()


def test_user_of_the_site_stays_where_no_key_is(site: Any):
    """Without a key the user is whoever Django says."""
    project = site()
    assert project.send("/open").content == str(AnonymousUser()).encode()
    assert owners.asked == []


def test_login_is_not_asked_of_who_has_a_key(site: Any):
    """``LoginRequiredMiddleware`` sees the owner."""
    project = site(show, "load_owner", LOGIN)
    assert project.send("/x", project.key(owner="u_1")).content == b"alice"
    assert project.send("/open").status_code == 302


def test_without_the_setting_users_are_not_touched(project: Project):
    """A project that maps no owners keeps its users."""
    project.use(path("x", show), after=(SESSIONS, AUTHENTICATION), **COOKIES)
    assert project.send("/x", project.key(owner="u_1")).content == b"AnonymousUser"
