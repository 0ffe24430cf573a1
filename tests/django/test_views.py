"""What views ask of a key: found in the URLconf, decided before they run, checked when called."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial, wraps
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest, HttpResponse
from django.urls import include, path, re_path, register_converter
from django.utils.decorators import method_decorator
from django.views import View
from django.views.decorators.cache import cache_page
from django.views.decorators.http import require_POST

from keybound import InputError
from keybound.django import require, requires

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.django.conftest import Project

needs = requires("rest", model="invoice")
READS: dict[str, Any] = {"scopes": ["rest"], "models": {"invoice": "read"}}


def ok(_request: Any, *_args: Any, **_kwargs: Any) -> HttpResponse:
    """Answer."""
    return HttpResponse("ok")


async def ok_async(_request: Any, *_args: Any, **_kwargs: Any) -> HttpResponse:
    """Answer."""
    return HttpResponse("ok")


def passing(view: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap a view as decorators do."""

    @wraps(view)
    def around(*args: Any, **kwargs: Any) -> Any:
        return view(*args, **kwargs)

    return around


class Plain(View):
    """Demands on one method."""

    @method_decorator(needs)
    def get(self, _request: HttpRequest) -> HttpResponse:
        """Answer."""
        return HttpResponse("ok")

    def post(self, _request: HttpRequest) -> HttpResponse:
        """Answer, and ask nothing."""
        return HttpResponse("ok")


class Direct(View):
    """The decorator on the method itself."""

    @needs
    def get(self, _request: HttpRequest) -> HttpResponse:
        """Answer."""
        return HttpResponse("ok")


class Awaiting(View):
    """Coroutines."""

    @method_decorator(needs)
    async def get(self, _request: HttpRequest) -> HttpResponse:
        """Answer."""
        return HttpResponse("ok")


@needs
class Whole(View):
    """The decorator on the class."""

    def get(self, _request: HttpRequest) -> HttpResponse:
        """Answer."""
        return HttpResponse("ok")


@method_decorator([requires("rest"), requires(model="invoice")], name="dispatch")
class Dispatched(View):
    """Several decorators on ``dispatch``."""

    def get(self, _request: HttpRequest) -> HttpResponse:
        """Answer."""
        return HttpResponse("ok")


@needs
class WholeAwaiting(View):
    """The decorator on a class of coroutines."""

    async def get(self, _request: HttpRequest) -> HttpResponse:
        """Answer."""
        return HttpResponse("ok")


class Bare(View):
    """No demands."""

    def get(self, _request: HttpRequest) -> HttpResponse:
        """Answer."""
        return HttpResponse("ok")


VIEWS = {
    "function": needs(ok),
    "coroutine": needs(ok_async),
    "within a decorator": passing(needs(ok)),
    "within two": passing(cache_page(60)(needs(ok))),
    "around a decorator": needs(passing(ok)),
    "two demands": requires("rest")(requires(model="invoice")(ok)),
    "two demands, a decorator between": requires("rest")(passing(requires(model="invoice")(ok))),
    "partial": partial(needs(ok), more=1),
    "method": Plain.as_view(),
    "method itself": Direct.as_view(),
    "coroutine method": Awaiting.as_view(),
    "class": Whole.as_view(),
    "class of coroutines": WholeAwaiting.as_view(),
    "dispatch": Dispatched.as_view(),
    "around as_view": needs(Bare.as_view()),
}


@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)
def test_demands_are_found_however_they_are_written(project: Project, view: Any):
    """Decided before the view: a key without the scope, without the model, and no key at all."""
    project.use(path("x", view), keybound={"PROTECT": ["/api/*"]})
    reasons = [
        project.reason(project.send("/x", key))
        for key in (None, project.key(), project.key(scopes=["rest"], models={"message": "read"}))
    ]
    assert reasons == ["missing_credentials", "insufficient_scope", "model_not_allowed"]
    assert project.send("/x", project.key(**READS)).content == b"ok"


@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)
def test_demands_are_checked_when_a_view_is_called(blocking: Project, view: Any):
    """Also where the URLconf does not show them, since a decorator hides what it wraps."""

    def hiding(request: HttpRequest) -> Any:
        return view(request)

    async def hiding_async(request: HttpRequest) -> Any:
        return await view(request)

    from keybound.django.views import is_async

    shown = hiding_async if is_async(view) else hiding
    blocking.use(path("x", shown))
    assert blocking.reason(blocking.send("/x", blocking.key())) == "insufficient_scope"
    other = blocking.key(scopes=["rest"])
    assert blocking.send("/x", other).content == b"ok"


def test_each_method_has_its_own_demands(project: Project):
    """What is asked for reading is not asked for writing, and HEAD is what GET is."""
    project.use(path("x", Plain.as_view()))
    plain = project.key()
    assert project.send("/x", plain, method="POST").content == b"ok"
    for method in ("GET", "HEAD"):
        assert project.reason(project.send("/x", plain, method=method)) == "insufficient_scope"
    assert project.send("/x", plain, method="DELETE").status_code == 405


def test_view_outside_of_what_is_protected_needs_a_key_if_it_asks(project: Project):
    """A demand guards its view wherever that is, and nothing else."""
    project.use(path("x", needs(ok)), path("y", ok), keybound={"PROTECT": ["/api/*"]})
    assert project.send("/y").content == b"ok"
    assert project.send("/x").status_code == 401


@dataclass
class Page:
    """A view that is compared by what it says, and so has no hash."""

    text: str

    def __call__(self, _request: HttpRequest, **arguments: str) -> HttpResponse:
        """Answer."""
        return HttpResponse(" ".join([self.text, *arguments.values()]))


def test_view_without_a_hash_is_a_view(project: Project):
    """Whether it asks for anything or not, and each by itself, though others are equal to it."""
    project.use(
        path("open", Page("same")),
        path("api/x", Page("same")),
        path("api/<tenant>/x", Page("of")),
        path("<tenant>/scoped", needs(Page("scoped"))),
        path("<tenant>/partial", needs(partial(Page("partial")))),
        keybound={"PROTECT": ["/api/*"]},
    )
    key, other = project.key(**READS), project.key(scopes=["rest"], tenant="evil")
    for _ in range(3):  # remembered or not
        assert project.send("/open").content == b"same"
        assert project.reason(project.send("/api/x")) == "missing_credentials"
        assert project.reason(project.send("/api/acme/x", other)) == "tenant_mismatch"
        assert project.send("/api/acme/x", project.key()).content == b"of acme"
        for name in ("scoped", "partial"):
            assert project.send(f"/acme/{name}", key).content == f"{name} acme".encode()
            refused = project.send(f"/acme/{name}", project.key())
            assert project.reason(refused) == "insufficient_scope"


# ------------------------------------------------------------------------------------ access


def test_post_may_read_where_its_view_says_so(project: Project):
    """A search is a read, for a key that only reads, and for a model that it may only read."""
    project.use(path("x", requires(model="invoice", access="read")(ok)))
    for key in (project.key(read_only=True), project.key(models={"invoice": "read"})):
        assert project.send("/x", key, method="POST").content == b"ok"


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "BREW"])
def test_changing_methods_never_only_read(project: Project, method: str):
    """Whatever the decorator says, a key that only reads changes nothing."""
    project.use(path("x", requires(model="invoice", access="read")(ok)))
    reader, model = project.key(read_only=True), project.key(models={"invoice": "read"})
    assert project.reason(project.send("/x", reader, method=method)) == "method_not_allowed"
    assert project.reason(project.send("/x", model, method=method)) == "model_not_allowed"


def test_get_may_write_where_its_view_says_so(project: Project):
    """A GET that changes something is nothing for a key that only reads."""
    project.use(path("x", requires(access="write")(ok)))
    key = project.key(read_only=True)
    assert project.reason(project.send("/x", key)) == "method_not_allowed"


def test_demands_around_a_view_say_of_it_what_it_does(project: Project):
    """A model from one decorator and the access from another are about one view."""
    project.use(path("x", requires(model="invoice")(requires(access="read")(ok))))
    key = project.key(models={"invoice": "read"})
    assert project.send("/x", key, method="POST").content == b"ok"


def test_configured_route_says_what_a_path_is_about(project: Project):
    """It wins over the view, and what the view asks for holds as well."""
    routes = [{"path": "/x", "methods": "POST", "model": "invoice", "access": "read"}]
    project.use(path("x", requires("rest", model="invoice")(ok)), keybound={"ROUTES": routes})
    reader = project.key(read_only=True, **READS)
    assert project.send("/x", reader, method="POST").content == b"ok"
    other = project.key(models={"invoice": "read"})
    for _ in range(2):  # remembered or not
        assert project.reason(project.send("/x", other, method="POST")) == "insufficient_scope"


# ------------------------------------------------------------------------------------ arguments


class Word:
    """A converter that makes something else of what is written."""

    regex = "[a-z]+"

    def to_python(self, value: str) -> object:
        """Return no text."""
        return [value]

    def to_url(self, value: object) -> str:
        """Return the text."""
        return str(value)


register_converter(Word, "word")


ARGUMENTS = [
    ("<tenant>/x", "/acme/x", "/evil/x"),
    ("<slug:tenant>/x", "/acme/x", "/acm/x"),
    ("<path:tenant>/x", "/acme/x", "/evil/acme/x"),
]


@pytest.mark.parametrize(("route", "own", "other"), ARGUMENTS)
def test_argument_called_tenant_is_the_tenant(project: Project, route: str, own: str, other: str):
    """As the view gets it."""
    project.use(path(route, ok))
    key = project.key()
    assert project.send(own, key).content == b"ok"
    assert project.reason(project.send(other, key)) == "tenant_mismatch"


@pytest.mark.parametrize(
    ("route", "sent", "tenant"),
    [
        ("<int:number>", "/007", "7"),
        ("<uuid:number>", f"/{UUID(int=7)}", str(UUID(int=7))),
    ],
)
def test_number_is_the_tenant_as_the_view_gets_it(
    project: Project, route: str, sent: str, tenant: str
):
    """``007`` is 7 for the view, and so it is for the decision."""
    project.use(path(route, requires(tenant="{number}")(ok)))
    assert project.send(sent, project.key(tenant=tenant)).content == b"ok"
    assert project.reason(project.send(sent, project.key(tenant="007"))) == "tenant_mismatch"


def test_what_else_a_converter_makes_is_not_known(project: Project):
    """An object has no text that a limit could name: the request is refused."""
    project.use(path("<word:tenant>/x", ok), path("<word:kind>/y", requires(model="{kind}")(ok)))
    assert project.reason(project.send("/acme/x", project.key())) == "tenant_unresolved"
    key = project.key(tenant=None, tenants="*", models={"acme": "read"})
    assert project.reason(project.send("/acme/y", key)) in {"tenant_unresolved", "model_unresolved"}


def test_model_may_be_an_argument(project: Project):
    """``model="{kind}"`` is what the path has there."""
    project.use(path("m/<kind>", requires(model="{kind}")(ok)))
    key = project.key(models={"invoice": "read"})
    assert project.send("/m/invoice", key).content == b"ok"
    assert project.reason(project.send("/m/message", key)) == "model_not_allowed"


def test_named_group_of_an_expression_is_an_argument_and_others_are_not(project: Project):
    """``re_path`` gives what is named; what has no name is not known."""
    project.use(
        re_path(r"^n/(?P<tenant>\w+)/$", ok),
        re_path(r"^o/(?:(?P<tenant>\w+)/)?$", ok),
        re_path(r"^p/(\w+)/$", ok),
    )
    key = project.key()
    assert project.send("/n/acme/", key).content == b"ok"
    assert project.reason(project.send("/n/evil/", key)) == "tenant_mismatch"
    assert project.reason(project.send("/o/", key)) == "tenant_unresolved"
    assert project.reason(project.send("/p/acme/", key)) == "tenant_unresolved"


def test_included_urls_have_the_arguments_around_them(project: Project):
    """``include`` under an argument, and arguments that the URLconf itself adds."""
    inner = [path("x", requires(model="{kind}")(ok), {"kind": "invoice"})]
    project.use(path("<tenant>/", include(inner)))
    key = project.key(models={"invoice": "read"})
    assert project.send("/acme/x", key).content == b"ok"
    assert project.reason(project.send("/evil/x", key)) == "tenant_mismatch"
    other = project.key(models={"message": "read"})
    assert project.reason(project.send("/acme/x", other)) == "model_not_allowed"


def test_namespace_and_name_of_a_view_may_be_the_model(project: Project):
    """``{namespace}`` and ``{view_name}`` of a configured route are what Django's match says."""
    inner = ([path("a", ok, name="all"), path("b", ok)], "billing")
    project.use(
        path("v1/", include(inner, namespace="v1")),
        path("plain", ok, name="plain"),
        keybound={
            "ROUTES": [
                {"path": "/v1/*", "model": "{namespace}"},
                {"path": "/*", "model": "{view_name}"},
            ]
        },
    )
    key = project.key(models={"v1": "read", "plain": "read"})
    assert project.send("/v1/a", key).content == b"ok"
    assert project.send("/plain", key).content == b"ok"
    other = project.key(models={"v2": "read"})
    assert project.reason(project.send("/v1/a", other)) == "model_not_allowed"
    assert project.reason(project.send("/none", key)) == "model_unresolved"


def test_path_without_a_view_is_decided_like_any_other(project: Project):
    """What Django does not find is a 404 for those who may ask, and a 401 for the others."""
    project.use(path("x", ok))
    assert project.send("/none", project.key()).status_code == 404
    assert project.send("/none").status_code == 401


# ------------------------------------------------------------------------------------ in a view


def test_view_may_ask_for_more(project: Project):
    """``require`` returns who calls, or the request is refused as everywhere."""

    def view(request: HttpRequest, kind: str) -> HttpResponse:
        key = require(request, "rest", model="{kind}")
        return HttpResponse(f"{key.name} {kind}")

    project.use(path("m/<kind>", view))
    assert project.send("/m/invoice", project.key(scopes=["rest"])).content == b"CI invoice"
    answer = project.send("/m/invoice", project.key())
    assert answer.status_code == 403
    assert project.reason(answer) == "insufficient_scope"


def test_view_that_asks_for_a_key_refuses_who_has_none(project: Project):
    """Where no key was needed, ``require`` needs one."""

    def view(request: HttpRequest) -> HttpResponse:
        require(request)
        return HttpResponse("ok")

    project.use(path("x", view), path("api/x", ok), keybound={"PROTECT": ["/api/*"]})
    answer = project.send("/x")
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"]


def test_asking_without_the_middleware_is_an_error():
    """A request that nobody decided must not look like one that was."""
    with pytest.raises(RuntimeError, match="add it to the setting MIDDLEWARE"):
        require(HttpRequest())
    with pytest.raises(RuntimeError, match="MIDDLEWARE"):
        needs(ok)(HttpRequest())


# ------------------------------------------------------------------------------------ mistakes


@pytest.mark.parametrize(
    ("view", "said"),
    [
        (requires(model="a")(requires(model="b")(ok)), "requires a and b"),
        (requires(tenant="{domain}")(ok), "{domain} is not a field of /x"),
    ],
)
def test_contradiction_keeps_a_project_from_starting(blocking: Project, view: Any, said: str):
    """Demands that no request can meet, or that name no argument, are found at start."""
    blocking.use(path("x", view))
    with pytest.raises(ImproperlyConfigured, match=said):
        blocking.send("/x")


def test_mistakes_are_found_where_they_are_written():
    """Scopes that are no names, an access that there is not, and classes that are no views."""
    with pytest.raises(InputError):
        requires("a b", access="sometimes")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="no View"):
        requires("a")(dict)


def test_decorator_leaves_a_view_what_it_is():
    """Name, attributes and kind stay; a class that is derived from goes on as it was."""
    exempt: Any = require_POST(ok)
    exempt.csrf_exempt = True
    decorated = needs(exempt)
    assert (decorated.__name__, decorated.csrf_exempt) == ("ok", True)

    class Base(View):
        pass

    @needs
    class Derived(Base):
        pass

    assert "dispatch" in vars(Derived)
    assert Base.dispatch is View.dispatch


def test_method_that_a_decorator_changes_is_checked_when_the_view_is_called(project: Project):
    """Decided as a GET, called as a DELETE: what was decided excuses nothing."""

    def turning(view: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(view)
        def around(request: HttpRequest) -> Any:
            request.method = request.headers.get("X-Method", request.method)
            return view(request)

        return around

    project.use(path("x", turning(requires(model="invoice")(ok))))
    key = project.key(models={"invoice": "read"})
    for _ in range(3):  # remembered or not
        assert project.send("/x", key).content == b"ok"
        turned = project.send("/x", key, headers={"X-Method": "DELETE"})
        assert project.reason(turned) == "model_not_allowed"
