"""The tests of a project: the fixture, Django's clients and test cases, and ``RequestFactory``."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from django.http import HttpResponse
from django.test import AsyncClient, AsyncRequestFactory, Client, RequestFactory, SimpleTestCase
from django.test.utils import override_settings
from django.urls import path

from keybound import Limits, current_key
from keybound.django import guard, require, requires
from tests.django import owners
from tests.django.project import forget_guard

if TYPE_CHECKING:
    from keybound.testing import Harness
    from tests.django.conftest import Project


@requires(model="{kind}")
def show(request: Any, **_arguments: str) -> HttpResponse:
    """Answer who calls."""
    return HttpResponse(request.api_key.name)


@pytest.fixture
def project(blocking: Project) -> Project:
    """Return a project whose guard nobody asked for yet."""
    return blocking.use(
        path("<tenant>/<kind>", show),
        path("open", lambda _: HttpResponse("open")),
        keybound={"PROTECT": ["/acme/*"]},
    )


@pytest.mark.usefixtures("project")
def test_fixture_takes_over_the_guard_of_a_project(keybound: Harness):
    """Keys, clock and reasons, with real decisions; no request is needed before."""
    key = keybound.issue(tenant="acme", limits=Limits(read_only=True), expires_in="90d")
    client = Client()
    keybound.assert_allowed(client.get("/acme/x", headers=key.headers))
    keybound.assert_denied(client.post("/acme/x", headers=key.headers), "method_not_allowed")
    keybound.assert_denied(client.get("/evil/x", headers=key.headers), "tenant_mismatch")
    keybound.clock.advance(days=91)
    keybound.assert_denied(client.get("/acme/x", headers=key.headers), "expired")


@pytest.mark.usefixtures("project")
def test_fixture_works_with_the_async_client(keybound: Harness):
    """A revocation holds at once for both guards."""
    key = keybound.issue(tenant="acme")

    async def ask() -> None:
        client = AsyncClient()
        answer: Any = await client.get("/acme/x", headers=key.headers)
        keybound.assert_allowed(answer)
        keybound.revoke(key)
        answer = await client.get("/acme/x", headers=key.headers)
        keybound.assert_denied(answer, "revoked")

    asyncio.run(ask())


@pytest.mark.usefixtures("project")
def test_fixture_follows_overridden_settings(keybound: Harness):
    """Another guard has the same store and clock, and its own settings."""
    key = keybound.issue(tenant="acme")
    client = Client()
    keybound.assert_allowed(client.get("/acme/x", headers=key.headers))
    keybound.assert_allowed(client.get("/open"))
    with override_settings(KEYBOUND={"DATABASE": "memory://"}):
        keybound.assert_allowed(client.get("/acme/x", headers=key.headers))
        keybound.assert_denied(client.get("/open"), "missing_credentials")
    keybound.assert_allowed(client.get("/open"))


@pytest.mark.usefixtures("project")
def test_fixture_leaves_the_real_guard_as_it_was(request: pytest.FixtureRequest):
    """Keys of a test are good nowhere else."""
    real = guard().engine
    harness = request.getfixturevalue("keybound")
    assert guard().engine is not real
    assert harness.issue(tenant="acme").headers["Authorization"].startswith("Bearer kb_test_")


class TestOfDjango(SimpleTestCase):
    """Django's own test cases, under pytest without a plugin."""

    @pytest.fixture(autouse=True)
    def _fixture(self, project: Project, keybound: Harness) -> None:
        self.project, self.keybound = project, keybound

    def test_case_has_a_client(self):
        """``self.client`` is guarded like any other."""
        key = self.keybound.issue(tenant="acme")
        self.keybound.assert_allowed(self.client.get("/acme/x", headers=key.headers))
        assert self.client.get("/acme/x").status_code == 401


# ------------------------------------------------------------------------------------ attach


@pytest.mark.parametrize("factory", [RequestFactory, AsyncRequestFactory])
@pytest.mark.usefixtures("project")
def test_attached_key_is_in_the_request(keybound: Harness, factory: Any):
    """A view can be called by itself, and ask for more."""
    key = keybound.issue(tenant="acme", name="CI", limits=Limits(models={"x": "read"}))
    request: Any = keybound.attach(factory().get("/acme/x"), key)
    assert request.api_key.key_id == key.id
    assert show(request, tenant="acme", kind="x").content == b"CI"
    assert require(request, model="{kind}").name == "CI"
    assert current_key() is None


@pytest.mark.usefixtures("project")
def test_attached_key_that_is_refused_fails_the_test(keybound: Harness):
    """With the reason, in words."""
    key = keybound.issue(tenant="acme", limits=Limits(models={"y": "read"}))
    with pytest.raises(AssertionError, match="tenant_mismatch"):
        keybound.attach(RequestFactory().get("/evil/y"), key)
    with pytest.raises(AssertionError, match="refused: model_not_allowed"):
        keybound.attach(RequestFactory().get("/acme/x"), key)
    with pytest.raises(AssertionError, match="no key is needed"):
        keybound.attach(RequestFactory().get("/open"), key)
    with pytest.raises(TypeError, match="no request of Django"):
        keybound.attach(object(), key)


@pytest.mark.parametrize(
    "form", ["header(X-API-Key)", "cookie(key)", "query(key)", "basic(username)"]
)
def test_attached_key_stands_where_the_project_reads_it(
    blocking: Project, keybound: Harness, form: str
):
    """Besides what the test has in its request."""
    blocking.use(path("x", lambda _: HttpResponse()), keybound={"CREDENTIALS": [form]})
    assert guard().settings.credentials == (form,)  # it is there, whatever other tests left
    made = RequestFactory().get("/x?page=2", headers={"Cookie": "a=b"})
    request: Any = keybound.attach(made, keybound.issue())
    assert request.api_key.name == "test"
    assert request.GET == {"page": ["2"]}
    assert request.COOKIES["a"] == "b"


def test_attached_key_brings_its_owner(
    blocking: Project, keybound: Harness, monkeypatch: pytest.MonkeyPatch
):
    """``request.user`` is the owner, and a key whose owner is gone is refused."""
    monkeypatch.setattr(owners, "users", owners.known())
    blocking.use(
        path("x", lambda _: HttpResponse()), keybound={"OWNER": "tests.django.owners.load_owner"}
    )
    # With a tenant: other tests' guards that are alive yet may have routes about tenants.
    request: Any = keybound.attach(
        RequestFactory().get("/none"), keybound.issue(owner="u_1", tenant="acme")
    )
    assert request.user.username == "alice"
    other = keybound.issue(owner="u_2", tenant="acme")
    with pytest.raises(AssertionError, match="disabled"):
        keybound.attach(RequestFactory().get("/none"), other)


def test_nothing_of_a_project_is_left_for_other_tests(keybound: Harness):
    """A test without a project has a guard of its own."""
    forget_guard()
    assert keybound.issue(tenant="acme").id
