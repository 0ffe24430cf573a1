"""What the application is told of who is calling, and that nobody else can tell it."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

import keybound
from keybound import Limits, Route
from tests.shells.sites import authorization

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.shells.sites import Site

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
    assert (identity.is_authenticated, identity.display_name, identity.identity) == (
        True,
        "CI",
        key.id,
    )
    assert identity.auth.scopes == ("authenticated", "rest")
    assert scope["current"] is identity
    if site.application.kind == "asgi":
        assert scope["user"] is identity
        assert scope["auth"] is identity.auth


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
    with pytest.raises(AttributeError, match="immutable"):
        identity.tenant = "evil"
    with pytest.raises(TypeError):
        identity.metadata["a"] = 1
    with pytest.raises(TypeError):
        identity.metadata["a"]["b"] = 1
    assert identity.metadata["a"]["b"] == (1,)
    with pytest.raises(AttributeError):
        identity.scopes.add("more")
    with pytest.raises(AttributeError, match="cannot assign"):
        identity.auth.scopes = ("more",)


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
    assert site.headers == [*kept, *authorization(key)]


def test_current_key_is_that_of_the_request_and_of_no_other(make: Callable[..., Site]):
    """``keybound.current_key()`` is set while the application runs, and reset after."""
    site = make(routes=[Route("/open", auth="exempt")])
    key = site.issue()

    for path, value in (("/own", key), ("/open", None), ("/own", None)):
        site.request(path=path, key=value)
        assert keybound.current_key() is None
    assert [scope["current"] and scope["current"].key_id for scope in site.served] == [key.id, None]
