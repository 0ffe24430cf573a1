"""The tenant of a request from a header or a function: in one way, or not at all."""

from __future__ import annotations

from enum import StrEnum

import pytest

from keybound.core.errors import FactError, InputError
from keybound.core.facts import OWN_TENANT, RequestFacts
from keybound.core.limits.tenants import Tenants
from keybound.core.tenants_of import TenantSource
from tests.core.heads import FakeHead, everybody, head_with, nobody

HOST = "host({tenant}.api.example)"


def by_header(*values, source="header(X-Tenant)", trusts=everybody):
    """Return the tenant of a request with these lines of ``X-Tenant``."""
    return TenantSource.parse(source).of(head_with({"x-tenant": values}), trusts)


# -------------------------------------------------------------------------------------- settings


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (None, "no text, list of texts or function"),
        (7, "no text, list of texts or function"),
        ([], "no text, list of texts or function"),
        ([HOST, 7], "a member that is no text"),
        ("host", "names nothing"),
        ("", "cannot read"),
        ("host(", "cannot read"),
        ("hots({tenant}.example)", "did you mean 'host'"),
        (["header(X-A)", "header(X-B)"], "not one kind"),
        (["header(X-A)", HOST], "not one kind"),
        ([HOST, "forwarded_host({tenant}.example)"], "not one kind"),
        ("header(X_Tenant)", "no header for a tenant"),
        ("header(X Tenant)", "no header for a tenant"),
        ("header(authorization)", "no header for a tenant"),
        ("header(Host)", "no header for a tenant"),
        ("header(X-Forwarded-Host)", "no header for a tenant"),
        ("header(X-Tenant, anybody)", "anybody is unknown"),
        ("header(X-Tenant, any, any)", "any, any is unknown"),
        ("header(X-Tenant)=acme", "cannot read"),
        ("host(a.example) acme", "cannot read"),
        ("host(a.example)x=acme", "cannot read"),
        ("host(a.example)=", "empty member"),
        ("host(a.example)=a*", "inside a segment"),
    ],
    ids=str,
)
def test_a_source_that_cannot_work_is_refused_at_start(value, said):
    """The setting is named, and what is wrong with it."""
    with pytest.raises(InputError, match="tenant_from") as caught:
        TenantSource.parse(value)
    assert said in str(caught.value)
    assert caught.value.fix


def test_a_function_that_must_be_awaited_is_refused_at_start():
    """Nobody would await it, so every tenant would be unknown."""

    async def load(_head):
        """Be awaited."""

    class Loader:
        """One that only looks like a plain function."""

        async def __call__(self, _head):
            """Be awaited."""

    for function in (load, Loader()):
        with pytest.raises(InputError, match="async"):
            TenantSource.parse(function)


def test_what_an_answer_varies_by_is_known():
    """Caches keep answers apart by what the tenant was read from."""
    varies = {
        "header(X-Tenant)": ("X-Tenant",),
        HOST: (),
        "forwarded_host({tenant}.example)": ("X-Forwarded-Host",),
    }
    assert {source: TenantSource.parse(source).varies for source in varies} == varies
    assert TenantSource.parse(lambda _head: None).varies == ()


# ---------------------------------------------------------------------------------------- header


def test_a_header_is_believed_from_trusted_proxies_alone():
    """Unless a site says that anybody may name a tenant."""
    assert by_header(b"acme") == "acme"
    assert by_header(b"acme", trusts=nobody) is None
    assert by_header(b"acme", source="header(x-tenant, any)", trusts=nobody) == "acme"


def test_the_peer_of_the_request_is_who_must_be_trusted():
    """Of a unix socket there is none to show."""
    source = TenantSource.parse("header(X-Tenant)")
    for peer, tenant in (("10.0.0.1", "acme"), ("10.0.0.2", None), (None, None)):
        head = head_with({"x-tenant": [b"acme"]}, peer=peer)
        assert source.of(head, lambda given: given == "10.0.0.1") == tenant


def test_a_header_with_underscores_names_no_tenant_and_leaves_none():
    """It is never believed, and beside the other one nobody knows which the application reads."""
    source, line = TenantSource.parse("header(X-Tenant)"), {"x_tenant": [b"acme"]}
    assert source.of(head_with(line), everybody) is None
    assert source.of(head_with({"x-tenant": [b"acme"], **line}), everybody) is None


@pytest.mark.parametrize(
    ("value", "tenant"),
    [
        (b"acme", "acme"),
        (b" \tacme\t ", "acme"),
        (b"ACME", "ACME"),
        (b"R1/acme/100", "R1/acme/100"),
        (b"~", OWN_TENANT),
        (b"~/100", "~/100"),
        (b"a" * 256, "a" * 256),
    ],
)
def test_a_header_names_a_tenant_as_it_is_written(value, tenant):
    """Case is not folded; blanks around it are no part of a header's value."""
    assert by_header(value) == tenant


@pytest.mark.parametrize(
    "lines",
    [
        (),
        (b"",),
        (b" ",),
        (b"acme", b"acme"),
        (b"acme,globex",),
        (b"acme, acme",),
        (b"ac me",),
        (b"ac\tme",),
        (b"acme\x00",),
        (b"acme\xa0",),
        ("acmé".encode(),),
        (b"\xc2\xa0acme",),
        (b"a" * 257,),
        (b"/acme",),
        (b"acme/",),
        (b"a//b",),
        (b"a/../b",),
        (b"./a",),
        (b"~a/",),
        (b"*",),
        (b"*/acme",),
        (b"ac*",),
    ],
    ids=str,
)
def test_a_header_that_names_no_tenant_in_one_way_tells_nothing(lines):
    """Twice, joined, with blanks, not ASCII, too long, or with segments that nothing is called."""
    assert by_header(*lines) is None


@pytest.mark.parametrize("pattern", ["acme", "*/acme", "R1/*"])
def test_a_star_in_a_request_is_never_a_wildcard(pattern):
    """It is a name that no tenant has, whoever the caller is."""
    clause = Tenants.parse(pattern)
    for tenant in ("*", "*/acme/x", "ac*"):
        if not (pattern == "*/acme" and tenant == "*/acme/x"):
            assert not clause.permits(RequestFacts(method="GET", path="/", tenant=tenant), 0)
    assert by_header(b"*") is None


# -------------------------------------------------------------------------------------- function


def test_a_function_is_asked_for_the_tenant():
    """It sees the head, and returns a tenant, ``~``, or that it cannot tell."""
    source = TenantSource.parse(lambda head: head.path.partition("-")[2] or None)
    tenants = [source.of(FakeHead(path=path), nobody) for path in ("/x-acme", "/x-~", "/x")]
    assert tenants == ["acme", OWN_TENANT, None]


@pytest.mark.parametrize(
    "answer",
    [b"acme", 7, True, ["acme"], "", " acme", "a b", "*", "a" * 257, "a\nb"],
    ids=repr,
)
def test_an_answer_that_is_no_tenant_tells_nothing(answer):
    """Text that is a tenant's name, exactly."""
    assert TenantSource.parse(lambda _head: answer).of(FakeHead(), nobody) is None


def test_a_member_of_an_enumeration_is_the_text_that_it_is():
    """Whatever it prints as."""

    class Tenant(StrEnum):
        """Tenants of a site."""

        ACME = "acme"

    found = TenantSource.parse(lambda _head: Tenant.ACME).of(FakeHead(), nobody)
    assert (found, type(found)) == ("acme", str)


def test_an_answer_that_must_be_awaited_tells_nothing():
    """And is not left behind without being awaited."""

    async def load():
        """Be awaited by nobody."""

    assert TenantSource.parse(lambda _head: load()).of(FakeHead(), nobody) is None


def test_a_function_that_fails_is_told_by_its_name_and_kind_of_error():
    """The text of the error, in which anything may stand, is not repeated."""

    def load(_head):
        """Fail with something that nobody should read."""
        raise KeyError("hunter2")

    with pytest.raises(FactError, match=r"tenant_from: .*load raised KeyError$") as caught:
        TenantSource.parse(load).of(FakeHead(), nobody)
    assert "hunter2" not in str(caught.value)
    assert isinstance(caught.value.__cause__, KeyError)
