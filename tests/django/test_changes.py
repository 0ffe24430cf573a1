"""Requests whose view depends on more than method and path: nothing is decided on the wrong one."""

from __future__ import annotations

from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest
from django.conf.urls.i18n import i18n_patterns
from django.http import HttpResponse
from django.urls import path, re_path, register_converter
from django.utils.translation import gettext_lazy, override

from keybound import current_key
from keybound.django import guard, requires
from tests.django import parts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.django.conftest import Project

LOCALE = "django.middleware.locale.LocaleMiddleware"
MOVING = "tests.django.parts.Moving"
REWRITING = "tests.django.parts.Rewriting"
OVERRIDING = "tests.django.parts.Overriding"
HOSTING = "tests.django.parts.Hosting"


def show(request: Any, **kwargs: Any) -> HttpResponse:
    """Say who calls, for which tenant."""
    key = request.api_key
    assert current_key() is key
    return HttpResponse(f"{key and key.name} {key and key.request_tenant} {kwargs}")


def around(place: str, name: str) -> dict[str, Any]:
    """Return what puts a middleware before ours, or after it."""
    return {place: (name,)}


search = requires("rest", model="invoice", access="read")(show)


# ------------------------------------------------------------------------------------ later changes


def test_path_that_is_changed_later_is_decided_again(project: Project):
    """A middleware behind us serves another path: the decision is on that one as well."""
    project.use(
        path("<tenant>/x", show),
        path("open", show),
        path("scoped", requires("rest")(show)),
        after=(REWRITING,),
        keybound={"PROTECT": ["/acme/*", "/evil/*"]},
    )
    key = project.key()

    def send(sent: str, served: str, key: str | None = key) -> Any:
        return project.send(sent, key, headers={"X-Path": served})

    assert send("/acme/x", "/acme/x").content.startswith(b"CI acme")
    for _ in range(2):  # remembered or not
        assert project.reason(send("/acme/x", "/evil/x")) == "tenant_mismatch"
        assert project.reason(send("/open", "/evil/x")) == "tenant_mismatch"
        assert project.reason(send("/open", "/acme/x", None)) == "missing_credentials"
        assert send("/open", "/acme/x").content.startswith(b"CI acme")
        assert send("/acme/x", "/open").content.startswith(b"CI acme")


def test_whoever_was_let_in_by_a_key_stays_who_that_is(project: Project):
    """A middleware behind us takes off what is protected: no key is needed by now, but one came."""
    project.use(
        path("v1/x", show),
        path("me", show),
        after=(MOVING,),
        keybound={"PROTECT": ["/v1/*"]},
    )
    key, served = project.key(), {"X-Path": "/me"}
    for _ in range(2):
        answer = project.send("/v1/me", key, headers=served)
        assert answer.content.startswith(b"CI acme")
        assert answer.headers["vary"] == "Authorization"
        assert project.reason(project.send("/v1/me", headers=served)) == "missing_credentials"
        assert project.send("/me", key, headers=served).content.startswith(b"None")


def test_key_that_is_hidden_stays_who_it_is(project: Project):
    """Caches are still told whose answer it is."""

    def name(request: Any) -> HttpResponse:
        return HttpResponse(f"{request.api_key.name} {request.headers['Authorization']}")

    hiding = {"PROTECT": ["/v1/*"], "HIDE_CREDENTIALS": True}
    project.use(path("v1/me", name), path("me", name), after=(MOVING,), keybound=hiding)
    answer = project.send("/v1/me", project.key(), headers={"X-Path": "/me"})
    (issued,) = guard().list()
    assert answer.content == f"CI Keybound {issued.id}".encode()


def test_key_that_is_not_needed_by_now_does_no_more_than_it_may(project: Project):
    """What a view asks for, and the method that the request is by now."""
    project.use(
        path("scoped", requires("rest")(show)),
        path("x", show),
        after=(MOVING, OVERRIDING),
        keybound={"PROTECT": ["/v1/*"]},
    )
    key = project.key(methods=["GET"])

    def send(served: str, method: str) -> Any:
        headers = {"X-Path": served, "X-Method": method}
        return project.send(f"/v1{served}", key, headers=headers)

    for _ in range(2):
        assert send("/x", "GET").content.startswith(b"CI")
        assert project.reason(send("/scoped", "GET")) == "insufficient_scope"
        assert project.reason(send("/x", "DELETE")) == "method_not_allowed"


@pytest.mark.parametrize("came", ["o", "open"])
def test_raw_path_says_nothing_of_one_that_the_site_has_made_of_it(project: Project, came: str):
    """It was looked at when the request came; a path that two may read stays one."""
    project.use(
        path("o/<tenant>/items", show),
        path("tenants/<tenant>/items", show),
        before=("tests.django.parts.Telling",),
        after=(MOVING,),
        keybound={
            "PROTECT": ["/o/*", "/tenants/*"],
            "ROUTES": [{"path": "/o/{tenant}/*"}, {"path": "/tenants/{tenant}/*"}],
        },
    )
    key = project.key()

    def send(sent: str, served: str) -> Any:
        return project.send(sent, key, headers={"X-Raw": sent, "X-Path": served})

    for _ in range(2):
        items = "/tenants/acme/items"
        assert send(f"/{came}/acme/items", items).content.startswith(b"CI acme")
        refused = send(f"/{came}/acme/items", "/tenants/evil/items")
        assert project.reason(refused) == "tenant_mismatch"
        assert project.reason(send(f"/{came}/acme%2Fitems", items)) == "tenant_unresolved"
        assert project.reason(send("/tenants/acme%2Fitems", items)) == "tenant_unresolved"


def test_request_stays_that_of_one_key(project: Project):
    """Another one that a middleware behind us puts in its place is not looked at for its paths."""
    project.use(
        path("x", show),
        path("y", show),
        after=(MOVING, "tests.django.parts.Exchanging"),
    )
    key, other = project.key(), project.key()
    for given, refused in ((key, None), (other, "conflicting_credentials")):
        answer = project.send("/x", key, headers={"X-Path": "/y", "X-Authorization": given})
        assert (None if answer.status_code == 200 else project.reason(answer)) == refused


def test_method_that_is_changed_later_is_decided_again(project: Project):
    """A POST that is served as a DELETE is one, and needs what a DELETE needs."""
    project.use(path("x", search), after=(OVERRIDING,))
    key = project.key(read_only=True, scopes=["rest"])
    assert project.send("/x", key, method="POST", headers={"X-Method": "POST"}).status_code == 200
    for _ in range(2):
        answer = project.send("/x", key, method="POST", headers={"X-Method": "DELETE"})
        assert project.reason(answer) == "method_not_allowed"


@pytest.mark.parametrize("place", ["before", "after"])
def test_urlconf_of_a_request_is_decided_without_the_usual_one(
    project: Project, monkeypatch: pytest.MonkeyPatch, place: str
):
    """Which view a path has depends on the host: nothing is taken from the wrong one."""
    other = ModuleType("urls_of_another_host")
    other.urlpatterns = [  # type: ignore[attr-defined]
        path("search", requires("admin")(show)),
        path("d/<domain>", requires(tenant="{domain}")(show)),
        path("open", show),
        path("m", show),
    ]
    monkeypatch.setattr(parts.Hosting, "urlconf", other)
    project.use(
        path("search", requires("rest", tenant="~", access="read")(show)),
        path("d/<tenant>", show),
        path("m", requires(model="invoice")(show)),
        path("open", requires("rest")(show)),
        keybound={"PROTECT": ["/d/*", "/m"]},
        **around(place, HOSTING),
    )
    key, admin = project.key(scopes=["rest"]), project.key(tenants="*", scopes=["admin"])

    def send(path: str, key: str | None, method: str = "GET") -> Any:
        return project.send(path, key, method=method, headers={"X-Urlconf": "other"})

    for _ in range(2):
        assert project.send("/search", key, method="POST").status_code == 200
        reasons = {project.reason(send("/search", each, "POST")) for each in (key, None)}
        assert reasons <= {"insufficient_scope", "missing_credentials", "tenant_unresolved"}
        # Nobody knows whose path it is, so that nobody is let in who is limited to some tenants.
        assert project.reason(send("/d/acme", key)) == "tenant_unresolved"
        assert project.reason(send("/d/acme", admin)) == "tenant_unresolved"
        limited = project.key(models={"invoice": "read"})
        assert project.reason(send("/m", limited)) in {"tenant_unresolved", "model_unresolved"}
    if place == "before":
        assert send("/open", None).content.startswith(b"None")


def test_key_works_under_another_urlconf(project: Project, monkeypatch: pytest.MonkeyPatch):
    """Without tenants, a view of another host has its own demands, and its key is read."""
    other = ModuleType("urls_of_another_host")
    other.urlpatterns = [path("x", requires("admin")(show))]  # type: ignore[attr-defined]
    monkeypatch.setattr(parts.Hosting, "urlconf", other)
    project.use(
        path("api/x", show), path("x", show), before=(HOSTING,), keybound={"PROTECT": ["/api/*"]}
    )
    host = {"X-Urlconf": "other"}
    assert project.send("/x", project.key(scopes=["admin"]), headers=host).content[:2] == b"CI"
    assert project.reason(project.send("/x", project.key(), headers=host)) == "insufficient_scope"
    assert project.reason(project.send("/x", headers=host)) == "missing_credentials"
    assert project.send("/x").content[:4] == b"None"


def test_one_view_under_two_paths_is_decided_for_each(project: Project):
    """What is remembered of the open path excuses nothing on the guarded one."""
    project.use(path("a", show), path("b", show), after=(REWRITING,), keybound={"PROTECT": ["/b"]})
    for _ in range(3):
        assert project.send("/a", headers={"X-Path": "/a"}).content[:4] == b"None"
        changed = project.send("/a", headers={"X-Path": "/b"})
        assert project.reason(changed) == "missing_credentials"


def test_one_view_for_two_methods_is_decided_for_each(project: Project):
    """What a route says in favour of a POST holds for no DELETE that it is made into."""
    routes = [{"path": "/x", "methods": "POST", "access": "read"}]
    project.use(path("x", show), after=(OVERRIDING,), keybound={"ROUTES": routes})
    key = project.key(read_only=True)
    for _ in range(3):
        sent = project.send("/x", key, method="POST", headers={"X-Method": "POST"})
        assert sent.content[:2] == b"CI"
        changed = project.send("/x", key, method="POST", headers={"X-Method": "DELETE"})
        assert project.reason(changed) == "method_not_allowed"


def test_one_view_of_two_urlconfs_is_decided_for_each(
    project: Project, monkeypatch: pytest.MonkeyPatch
):
    """Under another URLconf it has another name, and a key is limited to the one it has here."""
    other = ModuleType("urls_of_another_host")
    other.urlpatterns = [path("x", show, name="theirs")]  # type: ignore[attr-defined]
    monkeypatch.setattr(parts.Hosting, "urlconf", other)
    project.use(
        path("x", show, name="ours"),
        after=(HOSTING,),
        keybound={"ROUTES": [{"path": "/x", "model": "{view_name}"}]},
    )
    key = project.key(models={"ours": "read"})
    for _ in range(3):
        assert project.send("/x", key).content[:2] == b"CI"
        changed = project.send("/x", key, headers={"X-Urlconf": "other"})
        assert project.reason(changed) == "model_unresolved"


def test_urlconf_that_is_taken_back_is_decided_with_its_views(
    project: Project, monkeypatch: pytest.MonkeyPatch
):
    """Decided without the URLconf, and served with it: the demands of its views hold."""
    monkeypatch.setattr(parts.Hosting, "urlconf", ModuleType("urls_of_nobody"))
    project.use(
        path("x", requires("rest")(show)),
        before=(HOSTING,),
        after=("tests.django.parts.Resetting",),
    )
    key, other = project.key(scopes=["rest"]), project.key()
    for sent in ({}, {"X-Urlconf": "other"}, {"X-Urlconf": "other"}):
        assert project.send("/x", key, headers=sent).content[:2] == b"CI"
        assert project.reason(project.send("/x", other, headers=sent)) == "insufficient_scope"


# ------------------------------------------------------------------------------------ languages


LANGUAGES: dict[str, Any] = {
    "LANGUAGE_CODE": "en",
    "LANGUAGES": [("en", "English"), ("de", "German")],
}


@pytest.mark.parametrize("place", ["before", "after"])
@pytest.mark.parametrize("prefixed", [True, False])
def test_view_of_a_language_is_decided_when_it_is_known(
    project: Project,
    place: str,
    prefixed: bool,  # noqa: FBT001 - a parameter of the test
):
    """``i18n_patterns``: the view's demands hold in every language, and nothing is remembered."""
    with override("en"):
        patterns = i18n_patterns(
            path("x", requires("rest")(show)),
            path("m", requires(model="invoice")(show)),
            path("s", requires(access="read")(show)),
            path("o", show),
            prefix_default_language=prefixed,
        )
    project.use(
        path("api/y", requires(model="message")(show)),
        *patterns,
        keybound={"PROTECT": ["/api/*"]},
        **around(place, LOCALE),
        **LANGUAGES,
    )
    key, other = project.key(scopes=["rest"]), project.key()
    english = "/en" if prefixed else ""
    for _ in range(2):
        for prefix in (english, "/de"):
            assert project.send(f"{prefix}/x", key).content[:2] == b"CI"
            assert project.reason(project.send(f"{prefix}/x", other)) == "insufficient_scope"
            assert project.reason(project.send(f"{prefix}/x")) == "missing_credentials"
            assert project.send(f"{prefix}/o").content[:4] == b"None"
            # A key that is limited in models is refused where the model is known too late.
            limited = project.key(models={"invoice": "read"})
            assert project.reason(project.send(f"{prefix}/m", limited)) == "model_unresolved"
            # And what a view says in favour of a key is heard too late.
            reader = project.key(read_only=True)
            answer = project.send(f"{prefix}/s", reader, method="POST")
            assert project.reason(answer) == "method_not_allowed"
        # What comes before the languages does not depend on them.
        model = project.key(models={"message": "read"})
        assert project.send("/api/y", model).content[:2] == b"CI"


def test_translated_path_is_decided_when_the_language_is_known(project: Project):
    """A route that is a text of its language matches now this path, and now that one."""
    lazy = gettext_lazy("about")
    project.use(
        path(lazy, requires("rest")(show)),
        re_path(gettext_lazy("^more$"), requires("rest")(show)),
        path("after", requires("rest")(show)),
        keybound={"PROTECT": ["/api/*"]},
    )
    for sent in ("/about", "/more", "/after"):
        assert project.reason(project.send(sent, project.key())) == "insufficient_scope"
        assert project.send(sent, project.key(scopes=["rest"])).content[:2] == b"CI"
        assert project.reason(project.send(sent)) == "missing_credentials"


# ------------------------------------------------------------------------------------ converters


class Moving:
    """A converter that answers something else every time, as one that asks a database may."""

    regex = "[a-z]+"
    answers: Iterator[object] = iter(())

    def to_python(self, value: str) -> object:
        """Return the next answer; ``None`` does not match."""
        answer = next(self.answers, value)
        if answer is None:
            raise ValueError
        return answer

    def to_url(self, value: object) -> str:
        """Return the text."""
        return str(value)


class Failing(Moving):
    """A converter that fails."""

    def to_python(self, value: str) -> object:
        """Fail."""
        raise RuntimeError(value)


register_converter(Moving, "moving")
register_converter(Failing, "failing")


def test_converter_that_changes_its_mind_changes_no_tenant(
    project: Project, monkeypatch: pytest.MonkeyPatch
):
    """The decision is about what the view gets, and not about what an earlier one got."""
    project.use(path("<moving:tenant>/x", show))
    key = project.key()
    project.send("/b/x", key)  # whatever is looked at when a project starts
    monkeypatch.setattr(Moving, "answers", iter(["acme", "acme", "acme", "evil", "evil"]))
    assert project.send("/a/x", key).content[:7] == b"CI acme"
    assert project.send("/a/x", key).content[:7] == b"CI acme"
    for _ in range(2):
        assert project.reason(project.send("/a/x", key)) == "tenant_unresolved"


def test_converter_that_changes_its_mind_changes_no_view(
    project: Project, monkeypatch: pytest.MonkeyPatch
):
    """What was no path when it was decided is a view by now: its demands hold."""
    project.use(
        path("<moving:name>", requires("rest")(show)),
        path("<str:name>", requires(access="read", model="invoice")(show)),
        keybound={"PROTECT": ["/api/*"]},
    )
    key = project.key(models={"invoice": "read"})
    project.send("/b", key)
    monkeypatch.setattr(Moving, "answers", iter([None, None, None, *"aaaa"]))
    assert project.send("/a", key, method="POST").content[:2] == b"CI"
    assert project.send("/a", key, method="POST").content[:2] == b"CI"
    for _ in range(3):
        refused = project.send("/a", key, method="POST")
        assert project.reason(refused) in {"insufficient_scope", "model_unresolved"}


def test_converter_that_fails_is_the_projects_own_error(project: Project):
    """Who may not ask is told so; for the others it is what it is without us."""
    project.use(path("<failing:name>/x", show), path("y", show))
    assert project.send("/a/x").status_code == 401
    with pytest.raises(RuntimeError, match="a"):
        project.send("/a/x", project.key())


# ------------------------------------------------------------------------------------ memory


def test_what_is_remembered_is_bounded(blocking: Project):
    """Paths of attackers fill no memory, and long ones are decided every time."""
    from keybound.django import projects

    blocking.use(path("<path:name>", show))
    key = blocking.key()
    for number in range(50):
        blocking.send(f"/{number}", key)
        blocking.send("/" + "x" * 300, key)
    remembered = projects.current().views
    assert 0 < len(remembered) <= 50
    assert max(len(path) for _, path in remembered) < 300


def test_keys_are_revoked_for_remembered_views_as_well(project: Project):
    """Only the view is remembered: the key is looked at every time."""
    project.use(path("x", requires("rest")(show)))
    issued = guard().issue(name="CI", tenant="acme", limits={"scopes": ["rest"]})
    key = f"Bearer {issued.secret.reveal()}"
    for _ in range(3):
        assert project.send("/x", key).status_code == 200
    guard().revoke(issued.id)
    assert project.reason(project.send("/x", key)) == "revoked"
