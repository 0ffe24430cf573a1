"""Requests that ask to be taken for another method: they must be permitted as both."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from keybound import Limits, Route

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.shells.sites import Site

ROUTES = [
    Route("/search", methods="POST", access="read"),
    Route("/open", methods="GET", auth="exempt"),
    Route("/maybe", methods="GET", auth="optional"),
    Route("/admin", methods="DELETE", scopes="admin"),
]

ASKING: dict[str, Callable[[bytes], dict[str, Any]]] = {
    "X-HTTP-Method-Override": lambda method: {"headers": ((b"x-http-method-override", method),)},
    "X-Method-Override": lambda method: {"headers": ((b"x-method-override", method),)},
    "X-HTTP-Method": lambda method: {"headers": ((b"x-http-method", method),)},
    "query": lambda method: {"query_string": b"a=1&_method=" + method},
    "encoded query": lambda method: {
        "query_string": b"%5Fmeth%6Fd=" + method.hex("%").join(["%", ""]).encode()
    },
    "second of two": lambda method: {
        "headers": ((b"x-http-method", b"GET"), (b"x-http-method", method))
    },
}


@pytest.fixture(params=ASKING)
def asking(request: pytest.FixtureRequest) -> Callable[[str], dict[str, Any]]:
    """Return what a client sends to be taken for another method."""
    make = ASKING[request.param]
    return lambda method: make(method.encode())


def test_limited_key_does_no_more_by_asking(
    make_in_memory: Callable[..., Site], asking: Callable[[str], dict[str, Any]]
):
    """One that only reads, or has some methods, has these whatever a header says."""
    site = make_in_memory(routes=ROUTES)
    reader = site.issue(limits=Limits(read_only=True))
    some = site.issue(limits=Limits(methods=["GET", "POST", "PUT"]))
    full = site.issue()
    for _ in range(2):
        for method in ("DELETE", "delete", "PATCH", "nonsense", "\xe9"):
            for key in (reader, some):
                answer = site.request("GET", key=key, **asking(method))
                assert answer.problem["reason"] == "method_not_allowed"
        assert site.request("GET", key=reader, **asking("HEAD")).status == 200
        assert site.request("GET", key=some, **asking("PUT")).status == 200
        assert site.request("POST", key=some, **asking("DELETE")).status == 403
        assert site.request("POST", path="/search", key=reader).status == 200
        assert site.request("POST", path="/search", key=reader, **asking("PUT")).status == 403
        # Nor does a write become a read by saying so.
        assert site.request("POST", key=reader, **asking("GET")).status == 403
        for method in ("GET", "DELETE", "nonsense"):
            assert site.request("POST", key=full, **asking(method)).status == 200


def test_open_route_is_none_for_what_is_asked_for(
    make_in_memory: Callable[..., Site], asking: Callable[[str], dict[str, Any]]
):
    """Where one of the methods needs a key, the request does."""
    site = make_in_memory(routes=ROUTES)
    for path in ("/open", "/maybe"):
        assert site.request("GET", path=path).status == 200
        assert site.request("GET", path=path, **asking("GET")).status == 200
        assert site.request("GET", path=path, **asking("DELETE")).status == 401
        assert site.request("GET", path=path, key=site.issue(), **asking("DELETE")).status == 200


def test_scopes_of_what_is_asked_for_are_needed(
    make_in_memory: Callable[..., Site], asking: Callable[[str], dict[str, Any]]
):
    """As if the request had that method."""
    site = make_in_memory(routes=ROUTES)
    key, admin = site.issue(), site.issue(limits=Limits(scopes="admin"))
    assert site.request("POST", path="/admin", key=key).status == 200
    answer = site.request("POST", path="/admin", key=key, **asking("DELETE"))
    assert answer.problem["type"].endswith("insufficient_scope")
    assert site.request("POST", path="/admin", key=admin, **asking("DELETE")).status == 200


def test_nothing_is_asked_by_what_only_looks_like_it(make_in_memory: Callable[..., Site]):
    """An empty value, another name, the same method, a value somewhere else."""
    site = make_in_memory(routes=ROUTES)
    reader = site.issue(limits=Limits(read_only=True))
    for sent in (
        {"headers": ((b"x-http-method-override", b""),)},
        {"headers": ((b"x-http-method-override", b"GET"),)},
        {"headers": ((b"x-http-methods", b"DELETE"),)},
        {"headers": ((b"x-method", b"DELETE"),)},
        {"query_string": b"method=DELETE"},
        {"query_string": b"x_method=DELETE&_methods=DELETE"},
        {"query_string": b"x=_method%3DDELETE"},
        {"query_string": b"_method="},
    ):
        assert site.request("GET", key=reader, **sent).status == 200


def test_handshake_asks_for_nothing_more_either(make_asgi_in_memory: Callable[..., Site]):
    """A key for WebSockets alone makes no request by one."""
    site = make_asgi_in_memory()
    key = site.issue(limits=Limits(methods="WEBSOCKET"))
    assert site.request("WEBSOCKET", key=key).status == 101
    asks = ((b"x-http-method-override", b"DELETE"),)
    assert site.request("WEBSOCKET", key=key, headers=asks).status == 403


@pytest.mark.parametrize("header", [b"x_http_method_override", b"x-http_method-override"])
def test_header_with_underscores_asks_as_well(
    make_asgi_in_memory: Callable[..., Site], header: bytes
):
    """Servers of ASGI hand it on, and an application of WSGI behind ours reads it as any other."""
    site = make_asgi_in_memory(routes=ROUTES)
    some = site.issue(limits=Limits(methods=["GET", "POST"]))
    for _ in range(2):
        refused = site.request("POST", key=some, headers=((header, b"DELETE"),))
        assert refused.problem["reason"] == "method_not_allowed"
        assert site.request("POST", key=some, headers=((header, b"GET"),)).status == 200
    assert site.request("GET", path="/open", headers=((header, b"DELETE"),)).status == 401
