"""What a key may do, decided alike in front of every framework, and over every store."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from keybound import Limits, Route
from tests.shells.sites import DENIAL_RESPONSE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from keybound.core.issuing import IssuedKey
    from tests.shells.fixtures import Shared
    from tests.shells.sites import Site

ROUTES = (
    Route("/d/{tenant}/messages/search", methods="POST", model="message", access="read"),
    Route("/d/{tenant}/messages", model="message"),
    Route("/d/{tenant}/devices", model="device"),
    Route("/d/{tenant}/live", methods="WEBSOCKET", model="message", access="read"),
    Route("/d/{tenant}/calls", methods="WEBSOCKET", model="call"),
    Route("/d/{tenant}/m/{model}"),
    Route("/own/reports", scopes="reports ui", tenant="~"),
    Route("/own/{rest:path}", tenant="~"),
    Route("/own", tenant="~"),
)

A_DAY = 86_400


@dataclass(frozen=True, kw_only=True)
class Case:
    """One request and its answer; ``by`` is the kind of node and the check that refuses."""

    name: str
    limits: Mapping[str, Any] | None = None
    parent: Mapping[str, Any] | None = None
    group: Mapping[str, Any] | None = None
    tenant: str | None = "acme"
    method: str = "GET"
    path: str = "/own"
    peer: str | None = "203.0.113.7"
    after: float = 0
    answer: str = "allowed"
    by: str = ""


def case(name: str, answer: str = "allowed", by: str = "", **members: Any) -> Case:
    """Return a case; what it does not name is a key of acme without limits at ``/own``."""
    return Case(name=name, answer=answer, by=by, **members)


READ_ONLY = {"read_only": True}
MESSAGES = {"models": {"message": "write", "device": "read"}}
OFFICE = {"networks": "10.0.0.0/8, 2001:db8::/32, !10.9.0.0/16"}
GETS = {"methods": ["GET", "POST"]}
DAY = {"not_before": "2026-01-02T00:00:00Z", "expires_at": "2026-01-03T00:00:00Z"}

CASES = [
    # tenants
    case("home tenant", path="/d/acme/messages"),
    case("within the home tenant", path="/d/acme/messages", limits={"tenants": "acme"}),
    case("another tenant", "tenant_mismatch", "key tenants", path="/d/evil/messages"),
    case("tenant with the same start", "tenant_mismatch", "key tenants", path="/d/acme2/messages"),
    case("tenant in other letters", "tenant_mismatch", "key tenants", path="/d/ACME/messages"),
    case("tenant called *", "tenant_unresolved", "key tenants", path="/d/*/messages"),
    case("own tenant by the path", path="/d/~/messages"),
    case("no route names the tenant", "tenant_unresolved", "key tenants", path="/elsewhere"),
    case("all tenants", path="/d/evil/messages", limits={"tenants": "*"}),
    case(
        "all tenants, none named",
        "tenant_unresolved",
        "key tenants",
        path="/elsewhere",
        limits={"tenants": "*"},
    ),
    case(
        "no tenant at all",
        "tenant_mismatch",
        "key tenants",
        path="/d/acme/messages",
        limits={"tenants": []},
    ),
    case("listed tenant", path="/d/beta/messages", limits={"tenants": ["acme", "beta"]}),
    # networks
    case("inside", peer="10.1.2.3", limits=OFFICE),
    case("outside", "network_not_allowed", "key networks", peer="11.0.0.1", limits=OFFICE),
    case("excluded", "network_not_allowed", "key networks", peer="10.9.0.1", limits=OFFICE),
    case("next to what is excluded", peer="10.10.0.0", limits=OFFICE),
    case("IPv6", peer="2001:db8::1", limits=OFFICE),
    case("other IPv6", "network_not_allowed", "key networks", peer="2001:db9::1", limits=OFFICE),
    case("IPv4 written as IPv6", peer="::ffff:10.1.2.3", limits=OFFICE),
    case(
        "no IPv4 network",
        "network_not_allowed",
        "key networks",
        peer="203.0.113.7",
        limits={"networks": "::/0"},
    ),
    case("no network", "network_not_allowed", "key networks", limits={"networks": []}),
    case("no peer", "network_unknown", "key networks", peer=None, limits=OFFICE),
    case("unix socket", "network_unknown", "key networks", peer="", limits=OFFICE),
    case("peer by name", "network_unknown", "key networks", peer="testclient", limits=OFFICE),
    case("peer with a zone", "network_unknown", "key networks", peer="fe80::1%eth0", limits=OFFICE),
    case("no peer, no limit", peer=None),
    # methods
    case("listed method", method="POST", limits=GETS),
    case("other method", "method_not_allowed", "key methods", method="DELETE", limits=GETS),
    case("HEAD is not GET", "method_not_allowed", "key methods", method="HEAD", limits=GETS),
    case("method in small letters", "method_not_allowed", "key methods", method="get", limits=GETS),
    case("no method", "method_not_allowed", "key methods", limits={"methods": []}),
    case(
        "WebSocket is its own method",
        "method_not_allowed",
        "key methods",
        method="WEBSOCKET",
        limits=GETS,
    ),
    case("WebSocket listed", method="WEBSOCKET", limits={"methods": ["WEBSOCKET"]}),
    # read only
    *(
        case(f"reading with {method}", method=method, limits=READ_ONLY)
        for method in ("GET", "HEAD", "OPTIONS")
    ),
    *(
        case(
            f"writing with {method}",
            "method_not_allowed",
            "key read_only",
            method=method,
            limits=READ_ONLY,
        )
        for method in ("POST", "PUT", "PATCH", "DELETE", "get", "BREW", "TRACE")
    ),
    case("POST that reads", method="POST", path="/d/acme/messages/search", limits=READ_ONLY),
    case(
        "WebSocket writes",
        "method_not_allowed",
        "key read_only",
        method="WEBSOCKET",
        path="/d/acme/calls",
        limits=READ_ONLY,
    ),
    case(
        "WebSocket nobody mentions",
        "method_not_allowed",
        "key read_only",
        method="WEBSOCKET",
        limits=READ_ONLY,
    ),
    case("WebSocket that reads", method="WEBSOCKET", path="/d/acme/live", limits=READ_ONLY),
    # models
    case("model to write", method="POST", path="/d/acme/messages", limits=MESSAGES),
    case("write implies read", path="/d/acme/messages", limits=MESSAGES),
    case("model to read", path="/d/acme/devices", limits=MESSAGES),
    case(
        "model to read, written",
        "model_not_allowed",
        "key models",
        method="POST",
        path="/d/acme/devices",
        limits=MESSAGES,
    ),
    case(
        "search reads",
        method="POST",
        path="/d/acme/messages/search",
        limits={"models": {"message": "read"}},
    ),
    case(
        "other model", "model_not_allowed", "key models", path="/d/acme/m/invoice", limits=MESSAGES
    ),
    case("model of the path", path="/d/acme/m/message", limits=MESSAGES),
    case("model called *", "model_not_allowed", "key models", path="/d/acme/m/*", limits=MESSAGES),
    case("every other model to read", path="/d/acme/m/x", limits={"models": {"*": "read"}}),
    case(
        "every other model, written",
        "model_not_allowed",
        "key models",
        method="POST",
        path="/d/acme/m/x",
        limits={"models": {"*": "read", "message": "write"}},
    ),
    case("no route names the model", "model_unresolved", "key models", limits=MESSAGES),
    case(
        "no model",
        "model_not_allowed",
        "key models",
        path="/d/acme/messages",
        limits={"models": []},
    ),
    case("no model, none named", "model_unresolved", "key models", limits={"models": []}),
    # scopes
    case("scopes granted", path="/own/reports", limits={"scopes": ["reports", "ui", "more"]}),
    case(
        "one scope missing",
        "insufficient_scope",
        "key scopes",
        path="/own/reports",
        limits={"scopes": ["reports"]},
    ),
    case("no scope by absence", "insufficient_scope", "key scopes", path="/own/reports"),
    case(
        "* is no scope by itself",
        "insufficient_scope",
        "key scopes",
        path="/own/reports",
        limits={"scopes": ["*"]},
    ),
    case("no scope needed", path="/own/other"),
    # lifetime, from not_before on and until just before expires_at
    case("too early", "not_yet_valid", "key lifetime", after=A_DAY - 0.001, limits=DAY),
    case("from the first moment", after=A_DAY, limits=DAY),
    case("until the last moment", after=2 * A_DAY - 0.001, limits=DAY),
    case("too late", "expired", "key lifetime", after=2 * A_DAY, limits=DAY),
    # every node of the chain
    case("parent permits", parent={}, limits={}),
    case("parent's network", "network_not_allowed", "key networks", parent=OFFICE, limits=OFFICE),
    case("parent expired", "expired", "key lifetime", after=2 * A_DAY, parent=DAY, limits=DAY),
    case("group permits", group=OFFICE, peer="10.1.2.3"),
    case("group refuses", "network_not_allowed", "group networks", group=OFFICE),
    case(
        "group grants nothing",
        "insufficient_scope",
        "key scopes",
        path="/own/reports",
        group={"scopes": ["reports", "ui"]},
    ),
    case(
        "group takes a scope",
        "insufficient_scope",
        "group scopes",
        path="/own/reports",
        limits={"scopes": ["reports", "ui"]},
        group={"scopes": ["ui"]},
    ),
    case("group expired", "expired", "group lifetime", after=2 * A_DAY, group=DAY),
    # order: the first failure in the order of the decision is the reason
    case(
        "tenant before network",
        "tenant_mismatch",
        "key tenants",
        path="/d/evil/messages",
        limits=OFFICE | MESSAGES,
    ),
    case(
        "network before method",
        "network_not_allowed",
        "key networks",
        method="DELETE",
        limits=OFFICE | GETS,
    ),
    case(
        "method before scope",
        "method_not_allowed",
        "key methods",
        method="DELETE",
        path="/own/reports",
        limits=GETS,
    ),
    case(
        "scope before model",
        "insufficient_scope",
        "key scopes",
        path="/own/reports",
        limits=MESSAGES,
    ),
    case(
        "lifetime before tenant",
        "expired",
        "key lifetime",
        after=2 * A_DAY,
        path="/d/evil/messages",
        limits=DAY,
    ),
]

STATUS = {"expired": 401, "not_yet_valid": 401}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_request_is_decided_by_its_key(make: Callable[..., Site], case: Case):
    """A request reaches the application, or is refused for the right reason by the right node."""
    site = make(routes=ROUTES)
    site.skip_handshake(case.method)
    key = issue(site, case)
    site.clock.advance(seconds=case.after)
    check(site, case, key)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_key_from_the_shared_cache_is_decided_alike(shared: Shared, case: Case):
    """What another process read of the store is as good, and the store is not asked again."""
    site = shared.site(routes=ROUTES)
    site.skip_handshake(case.method)
    key = issue(site, case)
    site.clock.advance(seconds=case.after)
    shared.share(site, key)
    loads = site.store.loads
    check(site, case, key)
    assert site.store.loads == loads


def issue(site: Site, case: Case) -> IssuedKey:
    """Return the key of a case, with the parent and the group that it has."""
    options: dict[str, Any] = {}
    if case.parent is not None:
        options["parent"] = site.issue(name="parent", limits=Limits(**case.parent)).id
    if case.group is not None:
        options["groups"] = [site.guard.create_group(name="group", limits=case.group).node.id]
    return site.issue(limits=Limits(**(case.limits or {})), tenant=case.tenant, **options)


def check(site: Site, case: Case, key: IssuedKey) -> None:
    """Send the request of a case, and compare its answer."""
    client = (case.peer, 5000) if case.peer is not None else None
    answer = site.request(
        case.method, case.path, key=key, client=client, extensions=DENIAL_RESPONSE
    )
    if case.answer == "allowed":
        assert answer.status in {200, 101}
        assert [scope["keybound"].key_id for scope in site.served] == [key.id]
        return
    assert site.served == []
    assert answer.status == STATUS.get(case.answer, 403)
    explained = site.guard.explain_denial(answer.denial)
    assert explained.reason == case.answer
    assert explained.key == key.id
    assert explained.step is not None
    assert f"{explained.step.kind} {explained.step.check}" == case.by
    if answer.status == 403 and case.method != "HEAD":
        assert answer.problem["reason"] == case.answer
