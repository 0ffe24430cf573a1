"""What browsers ask before another request: let through if the site says so, in its exact form."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import pytest

from keybound import Limits, Route

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.shells.sites import Site

ORIGIN = (b"origin", b"https://shop.example")
METHOD = (b"access-control-request-method", b"DELETE")
HEADERS = (b"access-control-request-headers", b"authorization")
PREFLIGHT = (ORIGIN, METHOD, HEADERS)


def test_preflight_needs_a_key_unless_it_is_exempt(make_in_memory: Callable[..., Site]):
    """It has none; whoever wants it answered says so."""
    assert make_in_memory().request("OPTIONS", headers=PREFLIGHT).status == 401
    site = make_in_memory(exempt_preflight=True, routes=[Route("/{tenant}", scopes="admin")])
    for path in ("/own", "/a/b"):
        assert site.request("OPTIONS", path, headers=PREFLIGHT).status == 200
    assert [seen["keybound"] for seen in site.served] == [None, None]


@pytest.mark.parametrize(
    ("method", "headers"),
    [
        ("OPTIONS", ()),
        ("OPTIONS", (ORIGIN,)),
        ("OPTIONS", (METHOD,)),
        ("OPTIONS", ((b"origin", b""), METHOD)),
        ("OPTIONS", (ORIGIN, (b"access-control-request-method", b" "))),
        ("GET", PREFLIGHT),
        ("POST", PREFLIGHT),
        ("options", PREFLIGHT),
    ],
    ids=str,
)
def test_what_is_not_exactly_a_preflight_needs_a_key(
    make_in_memory: Callable[..., Site], method: str, headers: Any
):
    """Another method, or one of the two headers missing."""
    site = make_in_memory(exempt_preflight=True)
    assert site.request(method, headers=headers).status == 401
    assert site.served == []


def test_two_lines_of_a_header_are_no_preflight(make_in_memory: Callable[..., Site]):
    """No browser sends them; some servers join them."""
    site = make_in_memory(exempt_preflight=True)
    for twice in (ORIGIN, METHOD):
        assert site.request("OPTIONS", headers=(*PREFLIGHT, twice)).status == 401


def test_preflight_with_a_credential_is_decided_as_ever(make_in_memory: Callable[..., Site]):
    """Browsers send none with it: so it is another client, whose key counts."""
    site = make_in_memory(exempt_preflight=True, credentials=["bearer", "header(X-API-Key)"])
    key = site.issue()
    assert site.request("OPTIONS", headers=PREFLIGHT, key=key).status == 200
    assert site.served[0]["keybound"].key_id == key.id
    limited = site.issue(limits=Limits(methods="GET"))
    assert site.request("OPTIONS", headers=PREFLIGHT, key=limited).status == 403
    assert site.request("OPTIONS", headers=PREFLIGHT, key=b"nonsense").status == 401
    assert site.request("OPTIONS", headers=(*PREFLIGHT, (b"x-api-key", b""))).status == 401


def test_exempt_preflight_asks_for_no_other_method(make_in_memory: Callable[..., Site]):
    """What is taken for another method is no preflight."""
    site = make_in_memory(exempt_preflight=True)
    for more in ((b"x-http-method-override", b"DELETE"), (b"x-http-method", b"get")):
        assert site.request("OPTIONS", headers=(*PREFLIGHT, more)).status == 401
    assert site.request("OPTIONS", headers=PREFLIGHT, query_string=b"_method=PUT").status == 401


def test_preflight_to_a_path_that_nobody_may_ask_for_is_refused(
    make_in_memory: Callable[..., Site],
):
    """That comes before everything."""
    site = make_in_memory(exempt_preflight=True)
    assert site.request("OPTIONS", "/a/../b", headers=PREFLIGHT).status in {400, 401}
    assert site.served == []


class CORSMiddleware:
    """Stands around an application, as its like of many packages does."""

    def __init__(self, app: Any) -> None:
        """Wrap it."""
        self.app = app

    def __call__(self, *given: Any) -> Any:
        """Pass all on."""
        return self.app(*given)


@pytest.mark.parametrize("begins", ["lifespan", "request"])
@pytest.mark.parametrize("exempt", [True, False], ids=["exempt", "guarded"])
def test_cors_inside_of_a_guard_is_pointed_out(
    make_in_memory: Callable[..., Site],
    shape: str,
    caplog: pytest.LogCaptureFixture,
    *,
    exempt: bool,
    begins: str,
):
    """At start, or with the first request; browsers' preflights would never reach it."""
    if shape.startswith("django"):
        return  # it has a system check for the order of middleware
    caplog.set_level(logging.WARNING)
    site = make_in_memory(exempt_preflight=exempt)
    app = site.app
    if shape == "flask":
        app = app.wsgi_app
    if shape in {"starlette", "fastapi"}:
        app.add_middleware(CORSMiddleware)
        app.user_middleware.reverse()  # inside of what was there
    else:
        app.app = CORSMiddleware(app.app)
    if site.application.protocol == "asgi" and begins == "lifespan":
        site.start()
    site.request(key=site.issue())
    site.request(key=site.issue())
    said = caplog.text.count("CORSMiddleware is inside of keybound")
    assert said == (0 if exempt else 1)
