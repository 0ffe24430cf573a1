"""The setting ``KEYBOUND``: names, precedence, errors, and tests that override it."""

from __future__ import annotations

import asyncio
from dataclasses import fields
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpResponse
from django.test import AsyncClient, Client
from django.test.utils import override_settings
from django.urls import path
from webtest import TestApp

import keybound.wsgi
from keybound import Settings, SettingsError
from keybound.django import async_guard, guard, requires
from tests.django.project import MIDDLEWARE

if TYPE_CHECKING:
    from pathlib import Path

    from tests.django.conftest import Project


def ok(request: Any) -> HttpResponse:
    """Answer."""
    return HttpResponse(request.api_key.name if request.api_key else "ok")


@pytest.fixture
def project(blocking: Project) -> Project:
    """Return a project; settings are the same under ASGI."""
    return blocking


def test_every_setting_has_its_name_in_upper_case(project: Project):
    """One vocabulary: what ``Settings`` takes, in capitals."""
    project.use(keybound={"REALM": "shop", "REVOKE_WITHIN": "9s", "SECRET": "0123456789abcdef" * 2})
    settings = guard().settings
    assert (settings.realm, settings.revoke_within) == ("shop", 9.0)
    for field in fields(Settings):
        project.use(keybound={field.name.upper(): object()})
        with pytest.raises(ImproperlyConfigured):
            guard()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"PROTEKT": ["/x"]}, "KEYBOUND['PROTEKT']: is no setting; did you mean 'PROTECT'?"),
        ({"protect": ["/x"]}, "KEYBOUND['protect']: is no setting; did you mean 'PROTECT'?"),
        ({"PROTECT": "/x"}, "KEYBOUND['PROTECT']"),
        ({"ROUTES": [{"path": "x"}]}, "KEYBOUND['ROUTES'][0] (x): path"),
        ({"REVOKE_WITHIN": 0}, "KEYBOUND['REVOKE_WITHIN']"),
        ({"DATABASE": "nosql://x"}, "KEYBOUND['DATABASE']"),
        ({"OWNER": ok}, "KEYBOUND['OWNER']: is function"),
        ({"SECRET": "hunter2"}, "KEYBOUND['SECRET']"),
        ({5: 6}, "KEYBOUND[5]: is no setting"),
    ],
)
def test_error_names_the_setting_as_it_is_written(
    project: Project, given: dict[Any, Any], said: str
):
    """An ``ImproperlyConfigured`` that is a ``SettingsError``, without any secret."""
    project.use(keybound=given)
    with pytest.raises(ImproperlyConfigured) as raised:
        guard()
    assert isinstance(raised.value, SettingsError)
    assert said in str(raised.value)
    assert "hunter2" not in str(raised.value)


def test_setting_that_is_no_dictionary_is_an_error(project: Project):
    """Whatever it is."""
    project.use(KEYBOUND=["/x"])
    with pytest.raises(ImproperlyConfigured, match="KEYBOUND: is list"):
        guard()


def test_project_wins_over_the_environment_and_that_over_the_file(
    project: Project, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    """As everywhere: Python, environment, TOML."""
    file = tmp_path / "some.toml"
    file.write_text("[keybound]\nrealm = 'c'\nprefix = 'file'\nrevoke_within = 7\n")
    monkeypatch.setenv("KEYBOUND_SETTINGS", str(file))
    monkeypatch.setenv("KEYBOUND_REALM", "b")
    monkeypatch.setenv("KEYBOUND_PREFIX", "env")
    project.use(keybound={"REALM": "a"})
    settings = guard().settings
    assert (settings.realm, settings.prefix, settings.revoke_within) == ("a", "env", 7.0)
    monkeypatch.setenv("KEYBOUND_NONSENSE", "1")
    project.use(keybound={})
    with pytest.raises(ImproperlyConfigured, match="KEYBOUND_NONSENSE: is no setting"):
        guard()


def test_project_without_the_setting_has_the_defaults(project: Project, monkeypatch: Any):
    """Nothing needs to be said."""
    monkeypatch.setenv("KEYBOUND_DATABASE", "memory://")
    project.use(KEYBOUND={})
    assert guard().settings.protect == ("/*",)


def test_both_guards_are_over_one_engine(project: Project):
    """There is one cache in a process, and one store."""
    project.use()
    assert guard() is guard()
    assert async_guard() is async_guard()
    assert guard().engine is async_guard().engine


def test_guard_of_a_project_decides_another_application_by_itself(project: Project):
    """What the URLconf asks of a path is no favour to who has the same path elsewhere."""
    asks = requires("a", model="invoice", access="read")
    project.use(path("x", asks(lambda _: HttpResponse("served"))))
    key = project.key(scopes=["a"], read_only=True)

    def plain(_environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"wrote"]

    other = TestApp(keybound.wsgi.APIKeyMiddleware(plain, guard()))
    for _ in range(2):
        assert project.send("/x", key, method="POST").content == b"served"
        answer = other.post("/x", headers={"Authorization": key}, expect_errors=True)
        assert answer.json["reason"] == "method_not_allowed"


def test_nothing_is_opened_before_the_first_request(project: Project, tmp_path: Path):
    """A process that is forked after the start shares nothing."""
    database = tmp_path / "keys.db"
    project.use(path("x", ok), keybound={"DATABASE": str(database)})
    client = Client()
    client.handler.load_middleware()
    assert not database.exists()
    assert client.get("/x", headers={"Authorization": project.key()}).content == b"CI"
    assert database.exists()


def test_overridden_settings_hold_at_once(project: Project):
    """``override_settings`` makes another guard, also for a client that is there already."""
    project.use(path("x", ok), path("y", ok), keybound={"PROTECT": ["/x"]})
    client = Client()
    before = guard()
    assert client.get("/y").content == b"ok"
    with override_settings(KEYBOUND={"DATABASE": "memory://", "PROTECT": ["/y"]}):
        assert guard() is not before
        assert client.get("/y").status_code == 401
        assert client.get("/x").content == b"ok"
        key = project.key()
        assert client.get("/y", headers={"Authorization": key}).content == b"CI"
    assert client.get("/y").content == b"ok"
    assert client.get("/x", headers={"Authorization": key}).status_code == 401


def test_overridden_urls_keep_the_keys(project: Project):
    """Another URLconf is read anew; the store, in memory too, is the same."""
    project.use(path("x", ok))
    key = {"Authorization": project.key()}
    client, before = Client(), guard()
    assert client.get("/x", headers=key).content == b"CI"
    urls = ModuleType("other_urls")
    urls.urlpatterns = [path("<tenant>/z", lambda request, **_: ok(request))]  # type: ignore[attr-defined]
    with override_settings(ROOT_URLCONF=urls, MIDDLEWARE=[MIDDLEWARE]):
        assert client.get("/acme/z", headers=key).content == b"CI"
        assert client.get("/evil/z", headers=key).status_code == 403
    assert client.get("/x", headers=key).content == b"CI"
    assert guard() is before


def test_urls_that_cannot_be_read_later_are_no_way_in(project: Project):
    """Demands that contradict each other, under a server that runs already: a 503 for everyone."""
    urls = ModuleType("contradictory_urls")
    view = requires(model="a")(requires(model="b")(ok))
    urls.urlpatterns = [path("x", view)]  # type: ignore[attr-defined]
    project.use(path("x", ok))
    client, asynchronous = Client(), AsyncClient()
    headers = {"Authorization": project.key()}

    async def ask() -> int:
        answer: Any = await asynchronous.get("/x", headers=headers)
        return int(answer.status_code)

    assert client.get("/x", headers=headers).status_code == asyncio.run(ask()) == 200
    with override_settings(ROOT_URLCONF=urls):
        assert client.get("/x", headers=headers).status_code == asyncio.run(ask()) == 503


def test_tenancy_of_the_urls_is_known_to_the_verbs(project: Project):
    """A key without a tenant is not issued where paths name tenants, before any request."""
    project.use(path("<tenant>/x", ok))
    with pytest.raises(ValueError, match="tenant"):
        project.key(tenant=None)
