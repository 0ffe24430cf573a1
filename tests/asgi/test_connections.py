"""Handshakes of WebSockets, and paths below another application."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from keybound import Limits, Route
from keybound.asgi import APIKeyMiddleware
from tests.shells.calls import call, scope_of
from tests.shells.sites import DENIAL_RESPONSE, authorization

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.shells.sites import Site


def test_request_spelled_like_a_handshake_is_none(make_asgi: Callable[..., Site]):
    """An HTTP request with the method ``WEBSOCKET`` gets nothing that a WebSocket is given."""
    site = make_asgi(
        routes=[
            Route("/v1/events", methods="WEBSOCKET", auth="exempt"),
            Route("/feed", methods="WEBSOCKET", access="read"),
        ]
    )
    key = site.issue(limits=Limits(read_only=True))
    for path, value, status in (("/v1/events", None, 401), ("/feed", key, 403)):
        headers = [] if value is None else [*authorization(value)]
        answer = call(site.app, scope_of("http", path, method="WEBSOCKET", headers=headers))
        assert answer.status == status
    assert site.request("WEBSOCKET", "/feed", key=key).status == 101
    assert len(site.served) == 1


def test_path_that_is_empty_is_refused(make_asgi: Callable[..., Site]):
    """A server that leaves the path out says nothing about what is asked for."""
    site = make_asgi(protect=["/v1/*"])
    assert site.request(path="", key=site.issue()).status == 400
    assert site.request(path="").status == 401
    assert site.served == []


def test_root_path_of_the_server_does_not_count(make_plain: Callable[..., Site]):
    """Behind a prefix, the path that the router sees is the one that is decided on."""
    site = make_plain(protect=["/v1/*"], routes=[Route("/v1/open", auth="exempt")])
    for path, status in (
        ("/api/v1/a", 401),
        ("/api/v1/open", 200),
        ("/v1/a", 401),  # a proxy that took the prefix away
        ("/api", 200),
        ("/apiv1/v1/a", 200),
        ("/api/api/v1/a", 200),
    ):
        assert site.request(path=path, root_path="/api").status == status, path


def test_middleware_under_a_mount_decides_on_the_rest(make_plain: Callable[..., Site]):
    """A guarded application within another one is guarded by paths of its own."""
    site = make_plain(routes=[Route("/open", auth="exempt"), Route("/{tenant}/x")])
    inner = APIKeyMiddleware(site.application, site.guard.to_async())
    outer = Starlette(routes=[Mount("/inner", app=inner)])
    headers = [*authorization(site.issue())]
    for path, status in (("/inner/open", 200), ("/inner/acme/x", 200), ("/inner/evil/x", 403)):
        assert call(outer, scope_of("http", path, headers=headers)).status == status
    assert call(outer, scope_of("http", "/inner/acme/x")).status == 401


def test_refused_handshake_is_answered_in_full_where_the_server_can(make_asgi: Callable[..., Site]):
    """A WebSocket gets the whole refusal with the denial response extension."""
    answer = make_asgi().request("WEBSOCKET", extensions=DENIAL_RESPONSE)
    assert answer.status == 401
    assert [message["type"] for message in answer.messages] == [
        "websocket.http.response.start",
        "websocket.http.response.body",
    ]
    assert answer.problem["status"] == 401


@pytest.mark.parametrize("extensions", [None, {}, {"tls": {}}], ids=str)
def test_refused_handshake_is_closed_before_it_is_accepted(
    make_asgi: Callable[..., Site], extensions: Any
):
    """Without the extension a refused WebSocket is closed as a violation of policy."""
    more = {} if extensions is None else {"extensions": extensions}
    site = make_asgi()
    answer = site.request("WEBSOCKET", **more)
    assert answer.messages == ({"type": "websocket.close", "code": 1008},)
    assert site.served == []
