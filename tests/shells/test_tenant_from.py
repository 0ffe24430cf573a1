"""The tenant of a request where a setting tells it: through every shell, and never guessed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from keybound import Limits, Route
from tests.shells import site_functions

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.shells.sites import Site

PROXY = ("10.0.0.1", 5000)
PROXIED = {"client_ip": "x-forwarded-for", "trusted_proxies": ["10.0.0.0/24"]}


def outcome(site: Site, *lines: bytes, name: bytes = b"host", **sent: Any) -> str:
    """Return the tenant that a request was about, or why it was refused."""
    headers = tuple((name, line) for line in lines)
    answer = site.request(headers=headers, **sent)
    if answer.status == 200:
        tenant: str = site.served[-1]["keybound"].request_tenant
        return tenant
    reason: str = answer.problem["reason"]
    return reason


def test_header_of_a_proxy_tells_the_tenant(make_in_memory: Callable[..., Site]):
    """Of anybody else it tells nothing, and then nobody knows."""
    site = make_in_memory(tenant_from="header(X-Tenant)", **PROXIED)
    key, wide = site.issue(), site.issue(limits=Limits(tenants=["acme", "globex"]))
    for _ in range(2):
        for given in (key, wide):
            said: Any = {"name": b"x-tenant", "key": given}
            assert outcome(site, b"acme", client=PROXY, **said) == "acme"
            assert outcome(site, b"evil", client=PROXY, **said) == "tenant_mismatch"
            assert outcome(site, b"acme", **said) == "tenant_unresolved"
            assert outcome(site, client=PROXY, **said) == "tenant_unresolved"
            assert outcome(site, b"acme", b"acme", client=PROXY, **said) == "tenant_unresolved"
        assert outcome(site, b"globex", name=b"x-tenant", client=PROXY, key=wide) == "globex"
        assert outcome(site, b"globex", name=b"x-tenant", client=PROXY, key=key) == (
            "tenant_mismatch"
        )
        assert outcome(site, b"~", name=b"x-tenant", client=PROXY, key=key) == "acme"


def test_header_of_anybody_tells_it_where_that_was_chosen(make_in_memory: Callable[..., Site]):
    """And answers vary with it."""
    site = make_in_memory(tenant_from="header(X-Tenant, any)")
    key = site.issue()
    assert outcome(site, b"acme", name=b"x-tenant", key=key) == "acme"
    assert outcome(site, b"evil", name=b"x-tenant", key=key) == "tenant_mismatch"
    assert ", ".join(site.request(key=key).all("vary")) == "Authorization, X-Tenant"


def test_host_is_the_tenant(make_in_memory: Callable[..., Site]):
    """One label, whatever its case or port; another domain, or two hosts, are none."""
    site = make_in_memory(tenant_from=["host({tenant}.api.example)", "host(acme.example)=acme"])
    key = site.issue()
    for host in (b"acme.api.example", b"ACME.api.example:8443", b"acme.example"):
        assert outcome(site, host, key=key) == "acme"
    assert outcome(site, b"evil.api.example", key=key) == "tenant_mismatch"
    for hosts in (
        (),
        (b"acme.evil.example",),
        (b"acme.api.example", b"acme.api.example"),
        (b"a.acme.api.example",),
        (b"acme.api.example@evil",),
    ):
        assert outcome(site, *hosts, key=key) == "tenant_unresolved"


def test_forwarded_host_counts_from_a_proxy(make_in_memory: Callable[..., Site]):
    """From others it is the host that counts."""
    site = make_in_memory(tenant_from="forwarded_host({tenant}.api.example)", **PROXIED)
    key = site.issue()
    both = ((b"host", b"evil.api.example"), (b"x-forwarded-host", b"acme.api.example"))
    assert site.request(headers=both, key=key, client=PROXY).status == 200
    answer = site.request(headers=both, key=key)
    assert answer.problem["reason"] == "tenant_mismatch"
    assert ", ".join(answer.all("vary")) == "Authorization, X-Forwarded-Host"


@pytest.mark.parametrize("by_name", [True, False])
def test_function_tells_the_tenant(make_in_memory: Callable[..., Site], *, by_name: bool):
    """Given itself or by its name; it is shown the head of the request."""
    name = "tests.shells.site_functions:tenant"
    site = make_in_memory(tenant_from=name if by_name else site_functions.tenant)
    key = site.issue()
    assert outcome(site, b"acme.example", key=key) == "acme"
    assert outcome(site, b"evil.example", key=key) == "tenant_mismatch"
    assert outcome(site, key=key) == "tenant_unresolved"


def test_function_that_fails_ends_the_request(
    make_in_memory: Callable[..., Site], caplog: pytest.LogCaptureFixture
):
    """With a 503 and a line for the operator, without what it said."""

    def failing(_head: object) -> str:
        msg = "kb_live_secret"
        raise LookupError(msg)

    site = make_in_memory(tenant_from=failing)
    answer = site.request(key=site.issue())
    assert answer.status == 503
    assert site.served == []
    assert "tenant_from" in caplog.text


def test_route_and_setting_must_agree(make_in_memory: Callable[..., Site]):
    """What two of them name as two tenants is about nobody."""
    site = make_in_memory(
        tenant_from="host({tenant}.api.example)",
        routes=[Route("/of/{tenant}"), Route("/me", tenant="~")],
    )
    key = site.issue()
    wide = site.issue(limits=Limits(tenants=["acme", "globex"]))
    acme, globex = b"acme.api.example", b"globex.api.example"
    for given in (key, wide):
        assert outcome(site, acme, path="/of/acme", key=given) == "acme"
        assert outcome(site, globex, path="/of/acme", key=given) == "tenant_unresolved"
        assert outcome(site, acme, path="/of/globex", key=given) == "tenant_unresolved"
        assert outcome(site, b"other.example", path="/of/acme", key=given) == "acme"
        assert outcome(site, acme, path="/me", key=given) == "acme"
        assert outcome(site, globex, path="/me", key=given) == "tenant_unresolved"
    assert outcome(site, globex, path="/of/globex", key=wide) == "globex"
