"""Which paths are guarded, which are not, and which nobody may ask for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from keybound import Limits, Route
from tests.shells.sites import DENIAL_RESPONSE, authorization

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.shells.sites import Site

ROUTES = (
    Route("/v1/health", auth="exempt"),
    Route("/v1/posts", methods="GET", auth="exempt"),
    Route("/v1/catalog", auth="optional"),
    Route("/v1/events", methods="WEBSOCKET", auth="exempt"),
    Route("/admin", scopes="admin"),
)


def site_of(make: Callable[..., Site]) -> Site:
    """Return a site that guards what is under /v1, and the one route elsewhere that it names."""
    return make(protect=["/v1/*"], routes=ROUTES)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/"),
        ("GET", "/v1x"),
        ("GET", "/V1/a"),
        ("GET", "/x/v1/a"),
        ("DELETE", "/v1/health"),
        ("GET", "/v1/posts"),
        ("HEAD", "/v1/posts"),
        ("GET", "/v1/catalog"),
        ("WEBSOCKET", "/v1/events"),
        ("WEBSOCKET", "/chat"),
    ],
)
def test_open_path_needs_no_key(make_in_memory: Callable[..., Site], method: str, path: str):
    """What is not protected, exempt or optional passes without a credential and has no identity."""
    site = site_of(make_in_memory)
    site.skip_handshake(method)
    assert site.request(method, path).status in {200, 101}
    (scope,) = site.served
    assert scope["keybound"] is None
    assert scope["current"] is None
    if site.application.kind == "asgi":
        assert not scope["user"].is_authenticated
        assert scope["auth"].scopes == ()


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1"),
        ("GET", "/v1/"),
        ("GET", "/v1/a"),
        ("GET", "/v1/health/"),
        ("GET", "/v1/HEALTH"),
        ("GET", "/v1/health/more"),
        ("POST", "/v1/posts"),
        ("get", "/v1/posts"),
        ("WEBSOCKET", "/v1/health"),
        ("WEBSOCKET", "/v1/catalog"),
        ("WEBSOCKET", "/v1/a"),
        ("GET", "/v1/events"),
        ("GET", "/admin"),
    ],
)
def test_guarded_path_needs_a_key(make_in_memory: Callable[..., Site], method: str, path: str):
    """Everything else needs a key, however the path is written."""
    site = site_of(make_in_memory)
    site.skip_handshake(method)
    assert site.request(method, path, extensions=DENIAL_RESPONSE).status == 401
    assert site.served == []


def test_exempt_path_reads_no_key(make_in_memory: Callable[..., Site]):
    """Where no key is needed, none is looked at: neither a good one nor a bad one."""
    site = site_of(make_in_memory)
    for value in (site.issue(), b"Bearer nonsense", b"a,b"):
        assert site.request(path="/v1/health", key=value).status == 200
    assert [scope["keybound"] for scope in site.served] == [None, None, None]


def test_optional_path_reads_a_key_of_ours(make_in_memory: Callable[..., Site]):
    """With a key there is an identity; what is no key of ours is left to the site."""
    site = site_of(make_in_memory)
    key = site.issue()
    assert site.request(path="/v1/catalog", key=key).status == 200
    assert site.request(path="/v1/catalog", key=b"Basic dTpw").status == 200
    assert site.request(path="/v1/catalog", key=b"Bearer eyJhbGciOiJub25lIn0.e30.").status == 200
    assert [scope["keybound"] and scope["keybound"].key_id for scope in site.served] == [
        key.id,
        None,
        None,
    ]


def test_optional_path_refuses_a_bad_key_of_ours(make_in_memory: Callable[..., Site]):
    """A key that is recognised and dead, unknown, limited or sent twice is refused."""
    site = site_of(make_in_memory)
    dead, limited = site.issue(), site.issue(limits=Limits(networks="10.0.0.1"))
    site.guard.revoke(dead.id)
    unknown = site.guard.engine.format.generate(bytes(32)).reveal().encode()
    assert site.request(path="/v1/catalog", key=dead).status == 401
    assert site.request(path="/v1/catalog", key=b"Bearer " + unknown).status == 401
    for mistyped in (unknown[:-1], unknown.replace(b"live", b"test"), b"kb_"):
        assert site.request(path="/v1/catalog", key=b"Bearer " + mistyped).status == 401
    assert site.request(path="/v1/catalog", key=limited).status == 403
    twice = authorization(dead) * 2
    assert site.request(path="/v1/catalog", headers=twice).status == 400
    assert site.served == []


@pytest.mark.parametrize(
    "path",
    [
        "v1/a",
        "*",
        "http://evil/v1/a",
        "/.",
        "/..",
        "/v1/./a",
        "/v1/../v1/a",
        "/v1/a/..",
        "/v1/a/.",
        "/open/../v1/a",
        "/v1\\a",
        "/v1/a\x00",
        "/v1/a\n",
        "/v1/\r\nx",
        "/v1/\x7f",
        "/v1/health\ufffd",
        "/\tv1/a",
        "//v1/a",
        "/v1//a",
        "/open//v1/a",
        "/open/a//",
        "/v1/" + "a" * 9_000,
    ],
    ids=lambda path: repr(path[:20]),
)
def test_path_that_can_be_read_in_two_ways_is_refused(
    make_in_memory: Callable[..., Site], path: str
):
    """A relative path, dot segments, backslashes and control characters are a 400 for every key.

    Who has none is told that first, as everywhere.
    """
    site = site_of(make_in_memory)
    answer = site.request(path=path, key=site.issue())
    assert (answer.status, answer.problem["reason"]) == (400, "invalid_path")
    assert site.request(path=path).status == 401
    assert site.served == []


@pytest.mark.parametrize("sent", [b"/v1/\xff", b"/v1/\xc3%A9", b"/v1/\xc3\xa9\xff", b"/open/\xff"])
def test_path_that_is_not_utf_8_is_refused(make_in_memory: Callable[..., Site], sent: bytes):
    """Servers of WSGI hand its bytes on, and those of ASGI put something in their place."""
    site = site_of(make_in_memory)
    bytewise = site.application.protocol == "wsgi"
    path = sent.decode("utf-8", "surrogateescape" if bytewise else "replace")
    answer = site.request(path=path, key=site.issue())
    assert (answer.status, answer.problem["reason"]) == (400, "invalid_path")
    assert site.request(path=path).status == 401
    assert site.served == []


@pytest.mark.parametrize(
    "path",
    [
        "/v1/...",
        "/v1/a..b",
        "/v1/.well-known",
        "/v1/é",
        "/v1/a b%2f",
        "/v1/%FF",
        "/v1/é%FF",
    ],
)
def test_unusual_path_is_a_path(make_in_memory: Callable[..., Site], path: str):
    """Names with dots, letters of all languages and what was decoded once are fine."""
    site = site_of(make_in_memory)
    assert site.request(path=path, key=site.issue()).status == 200


def test_long_path_is_decided_like_any_other(make_in_memory: Callable[..., Site]):
    """Paths too long to be remembered are decided every time."""
    site = make_in_memory(routes=[Route("/{tenant}/{rest:path}")])
    key = site.issue()
    for _ in range(2):
        assert site.request(path="/acme/" + "x" * 5_000, key=key).status == 200
        assert site.request(path="/evil/" + "x" * 5_000, key=key).status == 403
