"""The middleware in the stack of a project: what it decides, and what later parts see of it."""

from __future__ import annotations

import asyncio
import io
import threading
from typing import TYPE_CHECKING, Any

import pytest
from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.wsgi import WSGIHandler
from django.http import FileResponse, HttpResponse, StreamingHttpResponse
from django.test import AsyncClient, Client, RequestFactory
from django.urls import path

from keybound import Principal, current_key
from keybound.core.credentials import parse_forms
from keybound.django import guard, require, requires
from keybound.django.middleware import APIKeyMiddleware
from keybound.django.projects import current
from keybound.testing import TestKey

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from django.http import HttpRequest

    from tests.django.conftest import Project

CSRF = "django.middleware.csrf.CsrfViewMiddleware"
SESSIONS = "django.contrib.sessions.middleware.SessionMiddleware"


def show(request: Any) -> HttpResponse:
    """Say who calls, in every way there is."""
    name = request.api_key.name if request.api_key else None
    seen = current_key()
    return HttpResponse(f"{name} {seen.name if seen else None}")


async def show_async(request: Any) -> HttpResponse:
    """Say the same."""
    return show(request)


@pytest.mark.parametrize("view", [show, show_async], ids=["sync", "async"])
def test_identity_is_in_the_request_and_in_the_context(project: Project, view: Any):
    """``request.api_key`` and ``current_key()`` are who calls, in views of either kind."""
    project.use(path("", view), path("open", view), keybound={"PROTECT": ["/"]})
    assert project.send("/", project.key()).content == b"CI CI"
    assert project.send("/open").content == b"None None"
    assert project.send("/").status_code == 401
    assert current_key() is None


def test_later_middleware_see_who_calls(project: Project):
    """The identity is there from the middleware on."""
    project.use(
        path("", lambda request: HttpResponse(request.seen)), after=("tests.django.parts.Current",)
    )
    assert project.send("/", project.key()).content == b"CI"


@pytest.mark.parametrize("view", [show, show_async], ids=["sync", "async"])
@pytest.mark.parametrize("place", ["before", "after"])
def test_a_middleware_that_only_blocks_changes_nothing(project: Project, place: str, view: Any):
    """Django moves requests between threads and loops; the identity goes with them."""
    around: dict[str, Any] = {place: ("tests.django.parts.Blocking",)}
    project.use(path("", view), **around)
    assert project.send("/", project.key()).content == b"CI CI"
    assert project.send("/").status_code == 401
    assert current_key() is None


def test_what_a_later_middleware_answers_was_decided(project: Project):
    """A cache behind us answers nobody who may not ask; one that is wrongly in front would."""
    project.use(path("", show), after=("tests.django.parts.Answering",))
    assert project.send("/").status_code == 401
    assert b"cached" in project.send("/", project.key()).content


def test_refusal_comes_from_the_middleware_and_not_from_an_error_page(project: Project):
    """Problem, challenges and id are those of every shell, with one line a header."""
    project.use(path("", show))
    answer = project.send("/")
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["www-authenticate"].startswith('Bearer realm="api", ApiKey realm=')
    assert answer.headers["cache-control"] == "no-store"
    assert project.reason(answer) == "missing_credentials"


def test_a_later_middleware_that_asks_for_more_is_refused(project: Project):
    """Where no view is, Django itself makes a 403 of it: the request goes no further."""
    project.use(path("", show), after=("tests.django.parts.Requiring",))
    assert project.send("/", project.key()).status_code == 403


def test_forged_headers_are_gone_for_those_who_looked_before(project: Project):
    """What looks like an identity is dropped, also from headers that were read before us."""

    def headers(request: HttpRequest) -> HttpResponse:
        return HttpResponse(
            ",".join(name for name in request.headers if "keybound" in name.lower())
        )

    project.use(path("", headers), before=("tests.django.parts.Reading",))
    sent = {"X-Keybound-Tenant": "evil", "X-Keybound": "mine"}
    assert project.send("/", project.key(), headers=sent).content == b"X-Keybound"


# ------------------------------------------------------------------------------------ streaming


def pieces() -> Iterator[bytes]:
    """Yield who calls, while it is sent."""
    for _ in range(2):
        key = current_key()
        yield f"{key.name if key else None} ".encode()


async def pieces_async() -> AsyncIterator[bytes]:
    """Yield the same."""
    for piece in pieces():
        await asyncio.sleep(0)
        yield piece


def test_pieces_of_a_stream_are_made_with_the_identity(blocking: Project):
    """A view that streams goes on knowing who calls after the middleware is done."""
    blocking.use(path("", lambda _: StreamingHttpResponse(pieces())))
    answer: Any = Client().get("/", headers={"Authorization": blocking.key()})
    assert answer.getvalue() == b"CI CI "
    assert current_key() is None


def test_pieces_of_an_async_stream_are_made_with_the_identity(blocking: Project):
    """The same under ASGI; another request in between changes nothing."""

    async def view(_request: HttpRequest) -> StreamingHttpResponse:
        return StreamingHttpResponse(pieces_async())

    blocking.use(path("", view))
    key = blocking.key()

    async def ask() -> list[bytes]:
        answers: Any = [
            await AsyncClient().get("/", headers={"Authorization": key}) for _ in range(2)
        ]
        streams = [aiter(answer) for answer in answers]
        made = [await anext(stream) for _ in range(2) for stream in streams]
        assert current_key() is None
        return made

    assert asyncio.run(ask()) == [b"CI "] * 4


# ------------------------------------------------------------------------------------ coroutines


def test_a_warm_request_under_asgi_leaves_the_loop_alone(
    blocking: Project, monkeypatch: pytest.MonkeyPatch
):
    """Decided and served in the thread of the loop: no hop to another thread for our sake."""
    threads: set[int] = set()

    async def view(_request: HttpRequest) -> HttpResponse:
        threads.add(threading.get_ident())
        return HttpResponse()

    blocking.use(path("", view))
    headers = {"Authorization": blocking.key()}
    decided_in: list[int] = []

    async def ask() -> int:
        await AsyncClient().get("/", headers=headers)
        mine = current().guard
        real = mine.decide

        def noting(*args: Any) -> Any:
            decided_in.append(threading.get_ident())
            return real(*args)

        monkeypatch.setattr(mine, "decide", noting)
        await AsyncClient().get("/", headers=headers)
        return threading.get_ident()

    loop = asyncio.run(ask())
    assert decided_in
    assert {*decided_in, *threads} == {loop}


def test_it_is_a_coroutine_function_where_django_awaits(blocking: Project):
    """Django wraps nothing of it: neither the call nor ``process_view``."""
    blocking.use(path("", show))
    handler = ASGIHandler()
    (process_view,) = handler._view_middleware  # type: ignore[attr-defined] # noqa: SLF001
    assert isinstance(process_view.__self__, APIKeyMiddleware)
    assert asyncio.iscoroutinefunction(process_view)


# ------------------------------------------------------------------------------------ forgery


def test_request_with_a_key_needs_no_csrf_token(project: Project):
    """No browser sends a key of its own accord, so nobody can make one send it."""
    project.use(path("", show), after=(SESSIONS, CSRF))
    answer = project.send("/", project.key(), method="POST", enforce_csrf_checks=True)
    assert answer.content == b"CI CI"


@pytest.mark.parametrize("auth", ["optional", "exempt"])
def test_request_without_a_key_needs_a_csrf_token(project: Project, auth: str):
    """A session's cookie is sent by any page of any site: a forged POST is refused as ever."""
    routes = [{"path": "/", "auth": auth}]
    project.use(
        path("", show), path("x", show), after=(SESSIONS, CSRF), keybound={"ROUTES": routes}
    )
    forged = {"Origin": "https://evil.example", "Cookie": "sessionid=abc; csrftoken=" + "a" * 32}
    for key in (None, "Bearer of.the.site"):
        answer = project.send("/", key, method="POST", headers=forged, enforce_csrf_checks=True)
        assert answer.status_code == 403
        assert "keybound-denial" not in answer.headers


@pytest.mark.parametrize(
    ("form", "status"),
    [
        ("header(X-API-Key)", 200),
        ("query(key)", 200),
        ("cookie(key)", 403),
        ("basic(username)", 403),
    ],
)
def test_key_that_browsers_send_by_themselves_needs_a_csrf_token(
    blocking: Project, form: str, status: int
):
    """A page of another site can make a browser send a cookie, or a password that it keeps."""
    blocking.use(path("", show), after=(CSRF,), keybound={"CREDENTIALS": [form]})
    (parsed,) = parse_forms([form])
    key = TestKey(guard().issue(name="CI", tenant="acme"), parsed)
    target = f"/?{key.query}"
    assert blocking.send(target, headers=key.headers).content == b"CI CI"
    answer = blocking.send(target, method="POST", headers=key.headers, enforce_csrf_checks=True)
    assert answer.status_code == status
    assert "keybound-denial" not in answer.headers


def by_session(head: Any) -> Principal | None:
    """Know one session."""
    known = b"sessionid=abc" in b"".join(head.lines("cookie"))
    return Principal(id="u_1", name="CI") if known else None


def test_session_of_an_authenticator_needs_a_csrf_token(project: Project):
    """Whom a cookie stands for is told by the browser, whatever another site adds to the URL."""
    settings = {"AUTHENTICATORS": [by_session], "CREDENTIALS": ["bearer", "query(key)"]}
    project.use(path("", show), after=(CSRF,), keybound=settings)
    headers = {"Cookie": "sessionid=abc"}
    for target in ("/", "/?key=x"):
        assert project.send(target, headers=headers).status_code == 200
        answer = project.send(target, method="POST", headers=headers, enforce_csrf_checks=True)
        assert answer.status_code == 403
        assert "keybound-denial" not in answer.headers


def test_good_key_on_an_exempt_path_excuses_nothing(project: Project):
    """Where no key is read, none authenticates: the token is needed."""
    project.use(
        path("", show),
        path("x", show),
        after=(CSRF,),
        keybound={"ROUTES": [{"path": "/", "auth": "exempt"}]},
    )
    answer = project.send("/", project.key(), method="POST", enforce_csrf_checks=True)
    assert answer.status_code == 403


# ------------------------------------------------------------------------------------ secrets


def test_error_page_shows_no_secret(project: Project):
    """Django's own page for developers has frames, headers and settings, and no key in them."""

    @requires("rest")
    def failing(request: Any) -> HttpResponse:
        require(request, "rest")
        msg = "a mistake of the project"
        raise ValueError(msg)

    secret = "0123456789abcdef" * 2
    project.use(path("", failing), keybound={"SECRET": secret}, DEBUG=True)
    key = project.key(scopes=["rest"])
    for _ in range(2):
        answer = project.send("/", key, raise_request_exception=False)
        page = answer.content.decode()
        assert answer.status_code == 500
        assert "a mistake of the project" in page
        assert key.removeprefix("Bearer ") not in page
        assert secret not in page


def test_file_is_left_to_the_server(blocking: Project):
    """Servers send files in ways of their own, which wrapping would take from them."""
    blocking.use(path("", lambda _: FileResponse(io.BytesIO(b"content"))))
    environ = RequestFactory().get("/", headers={"Authorization": blocking.key()}).environ
    environ["wsgi.file_wrapper"] = lambda file, _size: file
    serve: Any = WSGIHandler()
    sent = serve(environ, lambda *_: None)
    assert isinstance(sent, io.BytesIO)


def test_server_that_rewrites_its_peer_is_pointed_out_once(
    project: Project, caplog: pytest.LogCaptureFixture
):
    """Under ASGI, where it shows: Django's client has no port there, as the peer of a proxy."""
    project.use(path("", show))
    project.send("/", project.key())
    assert "X-Forwarded-For" not in caplog.text
    for _ in range(3):
        project.send("/", project.key(), headers={"X-Forwarded-For": "192.0.2.1"})
    said = "the server has put an address of X-Forwarded-For"
    assert caplog.text.count(said) == project.awaits
