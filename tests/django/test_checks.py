"""What ``manage.py check`` says, and what of it keeps a project from starting."""

from __future__ import annotations

import inspect
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest
from django.core.checks import Error, run_checks
from django.core.checks import Warning as Doubt
from django.core.exceptions import ImproperlyConfigured
from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.wsgi import WSGIHandler
from django.http import HttpResponse
from django.urls import include, path, re_path
from django.views import View

from keybound.django import checks, requires
from keybound.django.middleware import APIKeyMiddleware
from tests.django import parts
from tests.django.project import MIDDLEWARE

if TYPE_CHECKING:
    from tests.django.conftest import Project

DJANGO = "django.middleware."
CSRF = f"{DJANGO}csrf.CsrfViewMiddleware"
FETCH = f"{DJANGO}cache.FetchFromCacheMiddleware"
UPDATE = f"{DJANGO}cache.UpdateCacheMiddleware"
LOGIN = "django.contrib.auth.middleware.LoginRequiredMiddleware"


def ok(_request: Any, **_kwargs: Any) -> HttpResponse:
    """Answer."""
    return HttpResponse("ok")


VIEW = path("x", ok)


class Ours(APIKeyMiddleware):
    """A middleware of ours, with a name of the project's own."""


@pytest.fixture
def project(blocking: Project) -> Project:
    """Return a project; checks are the same under ASGI."""
    return blocking


def said(*, deploy: bool = False) -> dict[str, Any]:
    """Return what is said of keybound, by id."""
    found = run_checks(include_deployment_checks=deploy)
    return {str(each.id): each for each in found if str(each.id).startswith("keybound")}


def start() -> None:
    """Do what servers do: neither of them runs checks."""
    WSGIHandler()


def test_readers_know_of_every_check():
    """The manual has the ids that the code has, each once and in order."""
    source = Path(inspect.getfile(checks)).read_text()
    manual = (Path(__file__).resolve().parents[2] / "docs" / "django.md").read_text()
    raised = set(re.findall(r'"(keybound\.[EW]\d{3})"', source))
    assert raised
    for text in (r"^\| `(keybound\.[EW]\d{3})` \|", manual), (r"^(keybound\.[EW]\d{3})  ", source):
        assert re.findall(*text, re.MULTILINE) == sorted(raised)


# ------------------------------------------------------------------------------------ errors


def test_good_project_has_nothing_to_hear(project: Project):
    """The order that the documentation shows, with what may stand in front."""
    project.use(
        VIEW,
        before=(
            f"{DJANGO}security.SecurityMiddleware",
            f"{DJANGO}gzip.GZipMiddleware",
            UPDATE,
            "django.contrib.sessions.middleware.SessionMiddleware",
            f"{DJANGO}locale.LocaleMiddleware",
        ),
        after=(f"{DJANGO}common.CommonMiddleware", CSRF, LOGIN, FETCH),
        keybound={"SECRET": "0123456789abcdef" * 2, "ROUTES": [{"path": "/x", "model": "m"}]},
    )
    assert said(deploy=True) == {}
    start()
    ASGIHandler()


def test_missing_middleware_is_an_error(project: Project):
    """The application alone guards nothing."""
    project.use(VIEW, MIDDLEWARE=[CSRF])
    error = said()["keybound.E001"]
    assert isinstance(error, Error)
    assert MIDDLEWARE in (error.hint or "")


@pytest.mark.parametrize("second", [MIDDLEWARE, f"{__name__}.{Ours.__name__}"])
def test_second_middleware_is_an_error(
    project: Project, second: str, monkeypatch: pytest.MonkeyPatch
):
    """Also one that is derived from ours."""
    monkeypatch.setitem(sys.modules, __name__, sys.modules.get(__name__) or _this())
    project.use(VIEW, after=(second,))
    assert "keybound.E002" in said()
    with pytest.raises(ImproperlyConfigured, match="twice"):
        start()


def _this() -> ModuleType:
    module = ModuleType(__name__)
    vars(module).update(globals())
    return module


@pytest.mark.parametrize("name", [CSRF, FETCH, f"{DJANGO}cache.CacheMiddleware", LOGIN])
def test_what_answers_must_not_stand_in_front(project: Project, name: str):
    """A cache would answer what nobody decided; a login would be asked of keys."""
    project.use(VIEW, before=(name,))
    error = said()["keybound.E003"]
    assert name in error.msg
    with pytest.raises(ImproperlyConfigured, match="stands before APIKeyMiddleware"):
        start()
    project.use(VIEW, after=(name,))
    assert said() == {}


def test_settings_that_cannot_work_are_an_error(project: Project):
    """They are named, with the fix."""
    project.use(VIEW, keybound={"PROTEKT": []})
    error = said()["keybound.E004"]
    assert "KEYBOUND['PROTEKT']" in error.msg
    assert error.hint == "did you mean 'PROTECT'?"
    with pytest.raises(ImproperlyConfigured, match="PROTEKT"):
        start()


def test_renderer_that_cannot_be_imported_is_an_error(project: Project):
    """It is found at start, and not by the first client that is refused."""
    project.use(VIEW, keybound={"RENDERER": "no_such_module:render"})
    assert "KEYBOUND['RENDERER']" in said()["keybound.E004"].msg
    with pytest.raises(ImproperlyConfigured, match="RENDERER"):
        start()


def test_protecting_nothing_is_an_error(project: Project):
    """Patterns that no view is under guard nothing, whatever the operator believes."""
    project.use(path("api/x", ok), keybound={"PROTECT": ["/apis/*"]})
    assert "keybound.E005" in said()
    with pytest.raises(ImproperlyConfigured, match="E005"):
        start()


@pytest.mark.parametrize(
    "pattern",
    [
        path("x/y", ok),
        path("<path:all>", ok),
        path("<str:one>/y", ok),
        re_path(r"^\w+/y$", ok),
        path("x/", include([path("y", ok)])),
        path("elsewhere", requires("rest")(ok)),
        path("", include([path("", include([re_path("^x/", ok)]))])),
    ],
)
def test_protecting_something_is_enough(project: Project, pattern: Any):
    """What may be under a pattern counts, and so does a view that asks for a key."""
    project.use(path("open", ok), pattern, keybound={"PROTECT": ["/x/*"]})
    assert said().keys() <= {"keybound.W004"}
    start()


def test_project_without_views_starts(project: Project):
    """There is nothing to protect yet."""
    project.use()
    start()


@pytest.mark.parametrize(
    ("owner", "text"),
    [
        ("tests.django.owners.nobody", "cannot be imported"),
        ("no.such.module.load_owner", "cannot be imported"),
        ("nonsense", "cannot be imported"),
        ("tests.django.owners.NOTHING", "is NoneType"),
    ],
)
def test_owner_that_cannot_be_called_is_an_error(project: Project, owner: str, text: str):
    """It would refuse every key, one by one."""
    project.use(VIEW, keybound={"OWNER": owner})
    assert text in said()["keybound.E006"].msg
    with pytest.raises(ImproperlyConfigured, match="OWNER"):
        start()


def test_missing_application_is_an_error(project: Project):
    """Without it there are no checks, so the middleware says it."""
    project.use(VIEW, INSTALLED_APPS=["django.contrib.contenttypes"])
    with pytest.raises(ImproperlyConfigured, match=r"INSTALLED_APPS"):
        start()


def test_contradictory_demands_are_an_error(project: Project):
    """They are named with their view."""
    project.use(path("x", requires(model="a")(requires(model="b")(ok))))
    assert "requires a and b" in said()["keybound.E008"].msg


def deleting(**decorated: Any) -> Any:
    """Return a class of views that deletes, and whatever else is given."""
    return type("Deleting", (View,), {"delete": ok, "put": ok, **decorated})


@pytest.mark.parametrize(
    ("view", "methods"),
    [
        (requires(access="read")(deleting()).as_view(), "DELETE and PUT"),
        (requires(access="read")(deleting().as_view()), "DELETE and PUT"),
        (deleting(get=ok, patch=requires(access="read")(ok)).as_view(), "PATCH"),
    ],
    ids=["class", "around", "method"],
)
def test_reading_in_methods_that_change_something_is_an_error(
    project: Project, view: Any, methods: str
):
    """It would hold for no request that the view answers."""
    project.use(path("x", view))
    assert f"access: 'read' for {methods} of /x" in said()["keybound.E008"].msg
    with pytest.raises(ImproperlyConfigured, match="E008"):
        start()


@pytest.mark.parametrize(
    "view",
    [
        requires(access="read")(deleting(post=ok)).as_view(),
        requires(access="read")(ok),
        requires(access="write")(deleting()).as_view(),
        deleting(get=requires(access="read")(ok)).as_view(),
    ],
    ids=["class", "function", "writing", "method"],
)
def test_reading_in_methods_that_may_read_is_fine(project: Project, view: Any):
    """Also where others of the same view change something: it does not hold for those."""
    project.use(path("x", view))
    assert said() == {}
    start()


def test_error_is_found_again_until_it_is_gone(project: Project):
    """Starting a second time is no way around."""
    for _ in range(2):
        project.use(VIEW, before=(CSRF,))
        with pytest.raises(ImproperlyConfigured):
            start()
    project.use(VIEW)
    start()


# ------------------------------------------------------------------------------------ warnings


def test_route_about_nothing_is_pointed_out(project: Project):
    """A path with a typing error would limit nothing."""
    routes = [{"path": "/x"}, {"path": "/y/{tenant}"}, {"path": "/z/*", "auth": "exempt"}]
    project.use(VIEW, path("z/1", ok), keybound={"ROUTES": routes})
    doubt = said()["keybound.W001"]
    assert isinstance(doubt, Doubt)
    assert "/y/{tenant}" in doubt.msg
    start()


def test_missing_secret_is_pointed_out_for_deployment(project: Project):
    """Without one, digests are plain SHA-256."""
    project.use(VIEW)
    assert said() == {}
    assert "keybound.W002" in said(deploy=True)


OPENING = [
    re_path(r"v1/a\Z", ok),
    re_path("v1/in/", include([path("b", ok)])),
    re_path("(?i)^v1/in/", include([path("b", ok)])),
    re_path("(?i)v1/a$", ok),
    re_path(r"^open|v1/b\Z", ok),
    re_path("v/", include([path("1/a", ok)])),
    re_path("(?i)^v1/", include([path("b", ok)])),
    re_path("^(?i:v1/)a$", ok),
    re_path("^(?i:v1)/", include([path("b", ok)])),
    re_path("^(?i:v1/)", include([path("b", ok)])),
    re_path("(?P<v>v1)/", include([path("b", ok)])),
    re_path("(?:^|/)v1/", include([path("b", ok)])),
    re_path("v?1/", include([path("b", ok)])),
    re_path("^v1", ok),
]


@pytest.mark.parametrize("pattern", OPENING)
def test_pattern_that_answers_outside_of_what_is_guarded_is_an_error(
    project: Project, pattern: Any
):
    """Django searches for an expression from anywhere: ``/x/v1/a`` would need no key."""
    protect = ["/v/1/*"] if "v/" in str(pattern.pattern) else ["/v1/*"]
    project.use(path("v1/ok", ok), path("v/1/ok", ok), pattern, keybound={"PROTECT": protect})
    assert "keybound.E009" in said()
    with pytest.raises(ImproperlyConfigured, match="E009"):
        start()
    project.use(path("v1/ok", ok), pattern, keybound={"PROTECT": ["/*"]})
    start()


FITTING = [
    re_path("v1/a$", ok),
    re_path(r"^v1/(?:a|b)\Z", ok),
    re_path(r"^v1/[|]\Z", ok),
    re_path("", include([path("v1/a", ok)])),
    re_path("^v1/in/", include([re_path("^b$", ok)])),
    re_path(".*", ok),
    re_path("open/", include([path("b", ok)])),
    re_path("v1-open/", include([path("b", ok)])),
    re_path("(?i)^v1docs/$", ok),
    re_path("^v1/a/|^v1/b/", include([path("c", ok)])),
    path("v1/", include([re_path("a/", ok), re_path(".*", ok), re_path("(?i)^b/$", ok)])),
    path("v1/", include([re_path("a/", include([path("b", ok)]))])),
    re_path("^v1/a", ok),
    re_path("^static/(?P<path>.*)$", ok),
    re_path("^users/(?P<pk>[^/.]+)/$", ok),
]


@pytest.mark.parametrize("pattern", FITTING)
def test_pattern_that_answers_what_it_shows_is_no_error(project: Project, pattern: Any):
    """Neither is one that shows nothing of what is guarded, or is beneath what is."""
    project.use(path("v1/ok", ok), pattern, keybound={"PROTECT": ["/v1/*", "/{tenant}/v1/*"]})
    assert said().keys() <= {"keybound.W004"}
    start()


@pytest.mark.parametrize(
    ("written", "loose"),
    [
        ("^v1/admin", True),
        ("(?i)^v1/admin$", True),
        (r"v1/admin\Z", True),
        ("^v1/admin$", False),
        (r"^v1/a\Z", False),
    ],
)
def test_pattern_that_answers_more_than_it_shows_is_pointed_out(
    project: Project,
    written: str,
    loose: bool,  # noqa: FBT001 - a case
):
    """A configured route is about whole paths: ``/v1/adminx`` would get by it."""
    project.use(re_path(written, ok), keybound={"ROUTES": [{"path": "/v1/admin"}]})
    assert ("keybound.W004" in said()) is loose
    project.use(re_path(written, ok), keybound={"PROTECT": ["/*"]})
    assert "keybound.W004" not in said()


def test_cors_behind_us_is_pointed_out(project: Project, monkeypatch: pytest.MonkeyPatch):
    """Browsers ask first, without a key: they would be refused."""
    module = ModuleType("corsheaders.middleware")
    kind = type("CorsMiddleware", (parts.Reading,), {"__module__": module.__name__})
    vars(module)["CorsMiddleware"] = kind
    monkeypatch.setitem(sys.modules, "corsheaders", ModuleType("corsheaders"))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    name = "corsheaders.middleware.CorsMiddleware"
    project.use(VIEW, after=(name,))
    assert "keybound.W003" in said()
    project.use(VIEW, before=(name,))
    assert said() == {}
