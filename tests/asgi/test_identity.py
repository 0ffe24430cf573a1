"""What the application is told of who is calling, and that nobody else can tell it."""

from __future__ import annotations

import asyncio
import dataclasses
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

import keybound
from keybound import Limits, Route
from tests.asgi.calls import scope_of, serve
from tests.asgi.sites import DENIAL_RESPONSE, authorization

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.asgi.sites import Site

ROUTES = (Route("/{tenant}/x", model="invoice"), Route("/own", tenant="~"))


def test_identity_says_everything_about_the_key(make: Callable[..., Site]):
    """Id, name, tenants, owner, role, groups, scopes, environment, expiry and metadata."""
    site = make(routes=ROUTES)
    group = site.guard.create_group(name="group", limits={"scopes": ["rest", "ui"]}).node.id
    parent = site.issue(limits=Limits(scopes=["rest", "more"]), groups=[group])
    key = site.issue(
        name="CI",
        tenant="acme",
        owner="u_42",
        role="clerk",
        parent=parent.id,
        expires_in="1d",
        limits=Limits(tenants="acme", scopes=["rest"], models={"invoice": "read"}),
        metadata={"team": {"name": "billing", "members": ["a"]}},
    )
    assert site.request(path="/acme/x", key=key).status == 200
    (scope,) = site.served
    identity = scope["keybound"]
    assert identity.key_id == key.id
    assert identity.name == "CI"
    assert identity.tenant == "acme"
    assert identity.request_tenant == "acme"
    assert identity.owner == "u_42"
    assert identity.role == "clerk"
    assert identity.groups == (group,)
    assert identity.scopes == {"rest"}
    assert identity.environment == "live"
    assert identity.expires_at == site.clock.now + timedelta(days=1)
    assert identity.metadata["team"]["name"] == "billing"
    assert identity.has_scope("rest")
    assert not identity.has_scope("ui")
    assert identity.permits(model="invoice", access="read")
    assert not identity.permits(model="invoice")
    assert not identity.permits(model="message", access="read")
    assert scope["user"] is identity
    assert (identity.is_authenticated, identity.display_name, identity.identity) == (
        True,
        "CI",
        key.id,
    )
    assert scope["auth"].scopes == ("authenticated", "rest")
    assert scope["current"] is identity


def test_identity_tells_the_tenant_of_the_request_from_that_of_the_key(make: Callable[..., Site]):
    """Data is to be filtered by the tenant that the request is about."""
    site = make(routes=ROUTES)
    key = site.issue(limits=Limits(tenants=["acme", "beta"]))
    for path in ("/acme/x", "/beta/x", "/own", "/~/x"):
        assert site.request(path=path, key=key).status == 200
    tenants = [(s["keybound"].tenant, s["keybound"].request_tenant) for s in site.served]
    assert tenants == [("acme", "acme"), ("acme", "beta"), ("acme", "acme"), ("acme", "acme")]


def test_read_only_key_may_not_write_any_model(make: Callable[..., Site]):
    """What a view asks about narrows with the chain: a group that only reads counts as well."""
    site = make()
    group = site.guard.create_group(name="group", limits={"read_only": True}).node.id
    site.request(key=site.issue(groups=[group]))
    site.request(key=site.issue())
    reader, writer = (scope["keybound"] for scope in site.served)
    assert reader.read_only
    assert reader.permits(model="invoice", access="read")
    assert not reader.permits(model="invoice", access="write")
    assert not writer.read_only
    assert writer.permits(model="invoice", access="write")


def test_identity_cannot_be_changed(make: Callable[..., Site]):
    """One identity serves many requests, so no request can change it."""
    site = make()
    site.request(key=site.issue(metadata={"a": {"b": [1]}}))
    (scope,) = site.served
    identity = scope["keybound"]
    with pytest.raises(dataclasses.FrozenInstanceError):
        identity.tenant = "evil"
    with pytest.raises(TypeError):
        identity.metadata["a"] = 1
    with pytest.raises(TypeError):
        identity.metadata["a"]["b"] = 1
    assert identity.metadata["a"]["b"] == (1,)
    with pytest.raises(AttributeError):
        identity.scopes.add("more")
    with pytest.raises(dataclasses.FrozenInstanceError):
        scope["auth"].scopes = ("more",)


def test_identity_holds_no_secret(make: Callable[..., Site]):
    """Whatever an application prints of it, neither key nor digest is in it."""
    site = make()
    key = site.issue()
    site.request(key=key)
    shown = repr(site.served[0]["keybound"])
    secret = key.secret.reveal()
    assert secret[8:] not in shown
    assert site.guard.engine.peppers.digest(secret).hex() not in shown


@pytest.mark.parametrize("path", ["/own", "/open"])
def test_headers_that_look_like_an_identity_are_dropped(make: Callable[..., Site], path: str):
    """What a client says of itself does not reach the application, with a key or without."""
    site = make(routes=[*ROUTES, Route("/open", auth="exempt")])
    names = ["key-id", "key", "name", "tenant", "request-tenant", "owner", "role", "groups", "id"]
    names += ["scopes", "scope", "environment", "expires-at", "metadata", "user", "identity"]
    names += ["", "tenant-id", "0", "zzz", "-", "\xff"]
    forged = tuple((f"x-keybound-{name}".encode("latin-1"), b"evil") for name in names)
    kept = ((b"x-keybound", b"1"), (b"x-keybound.a", b"2"), (b"x-other", b"3"), (b"a", b"4"))
    key = site.issue()
    assert site.request(path=path, key=key, headers=(*forged, *kept)).status == 200
    (scope,) = site.served
    assert scope["headers"] == [*kept, *authorization(key)]


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
def test_identity_of_somebody_else_is_replaced(make: Callable[..., Site], method: str):
    """Whatever an outer layer left in the scope, the key's identity is what counts."""
    site = make()
    key = site.issue()
    stale: dict[str, Any] = dict.fromkeys(("keybound", "user", "auth"), "somebody else")
    assert site.request(method, key=key, **stale).status in {200, 101}
    (scope,) = site.served
    assert scope["keybound"].key_id == key.id
    assert scope["user"] is scope["keybound"]
    assert scope["auth"] is scope["keybound"].auth


def test_user_of_the_site_stays_where_no_key_was_needed(make: Callable[..., Site]):
    """On exempt paths the site's own authentication goes on, but there is no identity of ours."""
    site = make(routes=[Route("/open", auth="exempt")])
    site.request(path="/open", keybound="stale", user="theirs", auth="theirs")
    (scope,) = site.served
    assert (scope["keybound"], scope["user"], scope["auth"]) == (None, "theirs", "theirs")


def test_current_key_is_that_of_the_request_and_of_no_other(make: Callable[..., Site]):
    """``keybound.current_key()`` is set while the application runs, and reset after."""
    site = make(routes=[Route("/open", auth="exempt")])
    key = site.issue()

    async def one_after_the_other() -> list[Any]:
        seen = []
        for path, headers in (("/own", authorization(key)), ("/open", ()), ("/own", ())):
            scope = scope_of("http", path, headers=[*headers], extensions=DENIAL_RESPONSE)
            await serve(site.app, scope)
            seen.append(keybound.current_key())
        return seen

    assert asyncio.run(one_after_the_other()) == [None, None, None]
    assert [scope["current"] and scope["current"].key_id for scope in site.served] == [key.id, None]


def test_requests_at_the_same_time_never_see_each_other(make: Callable[..., Site]):
    """However requests are interleaved, each has the identity of its own key throughout."""
    site = make()
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
