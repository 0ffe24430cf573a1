"""What the scope tells the application, and what is taken from it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

import keybound
from keybound import Route
from tests.shells.calls import scope_of, serve
from tests.shells.sites import authorization

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.shells.sites import Site


@pytest.mark.parametrize("name", [b"x-keybound-", b"x-keybound-anything", b"x-keybound-\xff"])
def test_no_header_of_that_kind_is_passed_on(make_plain: Callable[..., Site], name: bytes):
    """It is the beginning of the name that counts, not a list of names."""
    site = make_plain()
    key = site.issue()
    assert site.request(key=key, headers=((name, b"evil"),)).status == 200
    assert site.served[0]["headers"] == [*authorization(key)]


def test_headers_are_passed_on_as_they_are(make_plain: Callable[..., Site]):
    """Without a forgery the application gets the very list that the server made."""
    site = make_plain()
    headers = [(b"x-a", b"1"), *authorization(site.issue()), (b"x-a", b"2")]
    scope = scope_of("http", "/own", headers=headers)
    asyncio.run(serve(site.app, scope))
    assert site.served[0]["headers"] is headers


@pytest.mark.parametrize("method", ["GET", "WEBSOCKET"])
def test_identity_of_somebody_else_is_replaced(make_asgi: Callable[..., Site], method: str):
    """Whatever an outer layer left in the scope, the key's identity is what counts."""
    site = make_asgi()
    key = site.issue()
    stale: dict[str, Any] = dict.fromkeys(("keybound", "user", "auth"), "somebody else")
    assert site.request(method, key=key, **stale).status in {200, 101}
    (scope,) = site.served
    assert scope["keybound"].key_id == key.id
    assert scope["user"] is scope["keybound"]
    assert scope["auth"] is scope["keybound"].auth


def test_user_of_the_site_stays_where_no_key_was_needed(make_asgi: Callable[..., Site]):
    """On exempt paths the site's own authentication goes on, but there is no identity of ours."""
    site = make_asgi(routes=[Route("/open", auth="exempt")])
    site.request(path="/open", keybound="stale", user="theirs", auth="theirs")
    (scope,) = site.served
    assert (scope["keybound"], scope["user"], scope["auth"]) == (None, "theirs", "theirs")


def test_requests_at_the_same_time_never_see_each_other(make_asgi: Callable[..., Site]):
    """However requests are interleaved, each has the identity of its own key throughout."""
    site = make_asgi()
    keys = [site.issue(name=f"key {number}") for number in range(20)]
    seen: list[tuple[Any, ...]] = []

    async def slow(scope: Any, _receive: Any, send: Any) -> None:
        names = []
        for _ in range(5):
            names += [scope["keybound"].name, keybound.current_key().name]
            await asyncio.sleep(0)
        seen.append((scope["expected"], *names))
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body"})

    async def all_at_once() -> None:
        calls = [
            scope_of("http", "/own", headers=[*authorization(key)], expected=f"key {number}")
            for number, key in enumerate(keys)
        ]
        await asyncio.gather(*(serve(site.app, scope) for scope in calls * 3))

    site.application.endpoint = slow
    asyncio.run(all_at_once())
    assert len(seen) == 60
    assert all(len(set(names)) == 1 for names in seen)
