"""Django's caches around and within the middleware: nobody gets what another one was answered."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from django.core.cache import cache
from django.http import HttpResponse, StreamingHttpResponse
from django.template import engines
from django.template.response import TemplateResponse
from django.urls import path
from django.utils.decorators import method_decorator
from django.views import View
from django.views.decorators.cache import cache_control, cache_page
from django.views.decorators.vary import vary_on_headers

from keybound import Principal
from keybound.core.credentials import parse_forms
from keybound.django import guard, requires
from keybound.testing import TestKey

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.django.conftest import Project

UPDATE = "django.middleware.cache.UpdateCacheMiddleware"
FETCH = "django.middleware.cache.FetchFromCacheMiddleware"
TEMPLATES = [{"BACKEND": "django.template.backends.django.DjangoTemplates"}]

PLACES: dict[str, dict[str, tuple[str, ...]]] = {
    "around": {"before": (UPDATE,), "after": (FETCH,)},
    "behind": {"after": (UPDATE, FETCH)},
    "one": {"after": ("django.middleware.cache.CacheMiddleware",)},
}
served: list[str] = []


@pytest.fixture(autouse=True)
def _empty() -> Iterator[None]:
    served.clear()
    cache.clear()
    yield
    cache.clear()


def tell(request: Any) -> HttpResponse:
    """Say for whom this is."""
    tenant = request.api_key.tenant if request.api_key else "nobody"
    served.append(tenant)
    return HttpResponse(tenant)


async def tell_async(request: Any) -> HttpResponse:
    """Say the same."""
    return tell(request)


def render(request: Any) -> TemplateResponse:
    """Say the same, later."""
    template = engines["django"].from_string("{{ tenant }}")
    return TemplateResponse(request, template, {"tenant": tell(request).content.decode()})


class Telling(View):
    """Says the same."""

    def get(self, request: Any) -> HttpResponse:
        """Answer."""
        return tell(request)


@requires()
class Whole(Telling):
    """Says the same, to those with a key."""


class TellingLater(View):
    """Says the same in a coroutine."""

    async def get(self, request: Any) -> HttpResponse:
        """Answer."""
        return tell(request)


def everybody_gets_their_own(project: Project, *, nobody: bool) -> None:
    """Ask twice with two keys, and without one; the second answer is the cache's."""
    one, other = project.key(tenant="acme"), project.key(tenant="evil")
    asking: list[tuple[str | None, bytes]] = [(None, b"nobody")] if nobody else []
    asking += [(one, b"acme"), (other, b"evil")]
    for key, tenant in [*asking, *asking]:
        answer = project.send("/x", key)
        assert answer.content == tenant
        assert "Authorization" in answer.headers["vary"]
    assert sorted(served) == sorted(tenant.decode() for _, tenant in asking)
    if not nobody:
        assert project.send("/x").status_code == 401


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("view", [tell, tell_async, render], ids=["sync", "async", "template"])
def test_cache_of_the_site_keeps_keys_apart(project: Project, place: str, view: Any):
    """Wherever its middleware stand."""
    project.use(path("x", view), **PLACES[place], TEMPLATES=TEMPLATES)  # type: ignore[arg-type]
    everybody_gets_their_own(project, nobody=False)


FORMS = ["bearer", "basic(username)", "header(X-API-Key)", "cookie(key)", "query(key)"]


@pytest.mark.parametrize("hidden", [False, True], ids=["seen", "hidden"])
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("view", ["tell", "function", "demand outside"])
@pytest.mark.parametrize("form", FORMS)
def test_caches_keep_keys_apart_wherever_they_stand(
    blocking: Project,
    form: str,
    view: str,
    place: str,
    hidden: bool,  # noqa: FBT001
):
    """Also where the application, and its caches, do not see them."""
    settings = {"CREDENTIALS": [form], "HIDE_CREDENTIALS": hidden}
    kind: Any = VIEWS.get(view, tell)
    blocking.use(path("x", kind), **PLACES[place], keybound=settings)
    (parsed,) = parse_forms([form])
    keys = {
        tenant: TestKey(guard().issue(name="CI", tenant=tenant), parsed)
        for tenant in ("acme", "evil")
    }
    for tenant, key in [*keys.items(), *keys.items()]:
        target = f"/x?{key.query}"
        assert blocking.send(target, headers=key.headers).content == tenant.encode()


@pytest.mark.parametrize("hidden", [False, True], ids=["seen", "hidden"])
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("form", FORMS)
def test_nobody_is_taken_for_a_key_by_naming_it(
    blocking: Project,
    form: str,
    place: str,
    hidden: bool,  # noqa: FBT001
):
    """By what caches find in the place of a key that is hidden."""
    view = cache_page(60)(vary_on_headers("Authorization")(tell))
    routes = [{"path": "/x", "auth": "optional"}]
    settings = {"CREDENTIALS": [form], "HIDE_CREDENTIALS": hidden, "ROUTES": routes}
    blocking.use(path("x", view), **PLACES[place], keybound=settings)
    issued = guard().issue(name="CI", tenant="acme")
    key = TestKey(issued, parse_forms([form])[0])
    assert blocking.send(f"/x?{key.query}", headers=key.headers).content == b"acme"
    named = {"Authorization": f"Keybound {issued.id}"}
    assert blocking.send("/x?", headers=named).content == b"nobody"


@pytest.mark.parametrize("hidden", [False, True], ids=["seen", "hidden"])
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("form", ["header(X-API-Key)", "cookie(key)", "query(key)"])
@pytest.mark.parametrize("named", [False, True], ids=["of everybody", "naming a key"])
def test_caches_keep_keys_apart_whatever_else_is_sent(
    blocking: Project,
    form: str,
    place: str,
    *,
    hidden: bool,
    named: bool,
):
    """A password that all clients have in common, or the name of somebody else's key."""
    settings = {"CREDENTIALS": [form], "HIDE_CREDENTIALS": hidden}
    blocking.use(path("x", tell), **PLACES[place], keybound=settings)
    (parsed,) = parse_forms([form])
    issued = {tenant: guard().issue(name="CI", tenant=tenant) for tenant in ("acme", "evil")}
    other = f"Keybound {issued['acme'].id}" if named else "Basic Z2F0ZTp3YXk="
    for tenant in ("acme", "evil", "acme"):
        key = TestKey(issued[tenant], parsed)
        headers = {**key.headers, "Authorization": other}
        answer = blocking.send(f"/x?{key.query}", headers=headers)
        assert answer.content == tenant.encode()


@pytest.mark.parametrize("sent", ["Token abc", "Keybound key_0"])
def test_tokens_of_the_site_are_seen_and_names_of_keys_are_not(blocking: Project, sent: str):
    """Where an authenticator knows who calls."""
    seen: list[str] = []

    def note(request: Any) -> HttpResponse:
        seen.append(request.headers["Authorization"])
        return HttpResponse()

    settings = {"AUTHENTICATORS": [lambda _: Principal(id="user_1")]}
    blocking.use(path("x", note), keybound=settings)
    assert blocking.send("/x", headers={"Authorization": sent}).status_code == 200
    assert seen == ["Token abc" if sent == "Token abc" else "Keybound user_1"]


@pytest.mark.parametrize("place", PLACES)
def test_caches_keep_sessions_of_an_authenticator_apart(blocking: Project, place: str):
    """Whoever is known by a cookie gets their own, and other caches are told."""

    def session(head: Any) -> Principal | None:
        name = b"".join(head.lines("cookie")).decode().removeprefix("session=")
        return Principal(id=f"user_{name}", tenant=name) if name else None

    settings = {"AUTHENTICATORS": [session]}
    blocking.use(path("x", tell), **PLACES[place], keybound=settings)
    for tenant in ("acme", "evil", "acme", "evil"):
        answer = blocking.send("/x", headers={"Cookie": f"session={tenant}"})
        assert answer.content == tenant.encode()
        assert {"Authorization", "Cookie"} <= {*answer.headers["vary"].split(", ")}


@pytest.mark.parametrize("public", [False, True])
def test_cache_of_the_site_knows_that_a_key_was_optional(project: Project, public: bool):  # noqa: FBT001
    """What those without a key get is not for those with one, nor the other way round.

    That somebody calls an answer public changes nothing.
    """
    view = cache_control(public=True)(tell) if public else tell
    routes = [{"path": "/x", "auth": "optional"}]
    project.use(path("x", view), **PLACES["around"], keybound={"ROUTES": routes})
    everybody_gets_their_own(project, nobody=True)


def test_answer_for_which_no_key_counts_is_for_all(project: Project):
    """It does not vary, so that one is stored for all."""
    routes = [{"path": "/x", "auth": "exempt"}]
    project.use(path("x", tell), path("y", tell), **PLACES["around"], keybound={"ROUTES": routes})
    for _ in range(2):
        assert "vary" not in project.send("/x").headers
    assert served == ["nobody"]


VIEWS = {
    "function": cache_page(60)(requires()(tell)),
    "coroutine": requires()(tell_async),
    "template": cache_page(60)(requires()(render)),
    "method": cache_page(60)(method_decorator(requires(), name="get")(Telling).as_view()),
    "class": cache_page(60)(Whole.as_view()),
    "coroutine method": requires()(TellingLater).as_view(),
    "demand outside": requires()(cache_page(60)(tell)),
    "public": cache_page(60)(requires()(cache_control(public=True)(tell))),
}


@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)
def test_cache_of_a_view_keeps_keys_apart(project: Project, view: Any):
    """Whichever kind of view it is, and whatever stands outside."""
    project.use(path("x", view), TEMPLATES=TEMPLATES, **PLACES["around"])  # type: ignore[arg-type]
    everybody_gets_their_own(project, nobody=False)


@pytest.mark.parametrize("view", [tell_async, TellingLater.as_view()], ids=["function", "class"])
def test_coroutine_that_requires_marks_its_own_answer(blocking: Project, view: Any):
    """Before any middleware sees it."""
    seen: list[str] = []

    def outer(around: Any) -> Any:
        async def noting(request: Any) -> HttpResponse:
            answer = await around(request)
            seen.append(answer.headers["vary"])
            return answer  # type: ignore[no-any-return]

        return noting

    blocking.use(path("x", outer(requires()(view))))
    assert blocking.send("/x", blocking.key()).status_code == 200
    assert seen == ["Authorization"]


def test_cache_of_a_view_knows_that_a_key_is_optional_if_told(project: Project):
    """As the documentation shows it: the view is marked beneath its cache."""
    view = cache_page(60)(vary_on_headers("Authorization")(tell))
    routes = [{"path": "/x", "auth": "optional"}]
    project.use(path("x", view), keybound={"ROUTES": routes})
    everybody_gets_their_own(project, nobody=True)


def test_stream_varies_and_what_a_view_said_stays(project: Project):
    """Other caches, between here and the client, read it too."""

    def stream(_request: Any) -> StreamingHttpResponse:
        return StreamingHttpResponse([b"x"], headers={"Vary": "Accept"})

    project.use(path("x", stream))
    assert project.send("/x", project.key()).headers["vary"] == "Accept, Authorization"
