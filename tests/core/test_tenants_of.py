"""The tenant of a request from a header, the host or a function: in one way, or not at all."""

from __future__ import annotations

from enum import StrEnum

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keybound.core.errors import FactError, InputError
from keybound.core.facts import OWN_TENANT, RequestFacts
from keybound.core.limits.tenants import Tenants
from keybound.core.tenants_of import TenantSource
from tests.core.heads import FakeHead, everybody, head_with, nobody

HOST = "host({tenant}.api.example)"


def by_host(*values, source=HOST):
    """Return the tenant of a request with these lines of ``Host``."""
    return TenantSource.parse(source).of(head_with({"host": values}), nobody)


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
        ("header(X-Tenant, anybody)", "anybody is unknown"),
        ("header(X-Tenant, any, any)", "any, any is unknown"),
        ("header(X-Tenant)=acme", "cannot read"),
        ("host(a.example) acme", "cannot read"),
        ("host(a.example)x=acme", "cannot read"),
        ("host(a.example)=", "empty member"),
        ("host(a.example)=a*", "inside a segment"),
        ("host(a.example, b.example)=x", "is not one host"),
        ("host({tenant}.example)=x", "is no host name"),
        ("host(a.example)", "is no host name with one label {tenant}"),
        ("host({tenant}.{tenant}.example)", "is no host name"),
        ("host({Tenant}.example)", "is no host name"),
        ("host(x{tenant}.example)", "is no host name"),
        ("host({tenant})", "does not end with the name of a domain"),
        ("host(api.{tenant})", "does not end with the name of a domain"),
        ("host({tenant}.0.0.1)", "does not end with the name of a domain"),
        ("host(10.0.0.1)=acme", "does not end with the name of a domain"),
        ("host(a.example:80)=acme", "is no host name"),
        ("host(-a.example)=acme", "is no host name"),
        (f"host({'a.' * 130}example)=acme", "is no host name"),
        (["host(a.example)=x", "host(A.example)=y"], "is 'x' and 'y'"),
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


# ------------------------------------------------------------------------------------------ host


@pytest.mark.parametrize(
    ("value", "tenant"),
    [
        (b"acme.api.example", "acme"),
        (b"ACME.API.Example", "acme"),
        (b"acme.api.example:8443", "acme"),
        (b"acme.api.example.", "acme"),
        (b"acme.api.example.:443", "acme"),
        (b"xn--cme-8cd.api.example", "xn--cme-8cd"),
        (b"1.api.example", "1"),
        (b"a" * 63 + b".api.example", "a" * 63),
    ],
)
def test_a_host_has_one_label_for_the_tenant(value, tenant):
    """Case, port and one dot at the end do not count."""
    assert by_host(value) == tenant


@pytest.mark.parametrize(
    "lines",
    [
        (),
        (b"",),
        (b"acme.api.example", b"acme.api.example"),
        (b"acme.api.example,globex.api.example",),
        (b"acme.api.example, globex.api.example",),
        *(
            (text.encode("latin-1"),)
            for text in (
                "api.example",
                ".api.example",
                "a.acme.api.example",
                "acme.api.example.evil.example",
                "acme.api.example..",
                "acme..api.example",
                "acme.api.examplee",
                "acmeapi.example",
                "acme.api.example:",
                "acme.api.example:0",
                "acme.api.example:65536",
                "acme.api.example:+80",
                "acme.api.example:8 0",
                "acme.api.example:globex.api.example",
                "acme.api.example:80:80",
                "acme.api.example:000080",
                "user@acme.api.example",
                "acme.api.example@globex.api.example",
                "acme.api.example/",
                "acme.api.example?",
                "acme.api.example#.globex.api.example",
                "acme.api.example\\",
                " acme.api.example",
                "acme.api.example ",
                "ac me.api.example",
                "acme.api.example\n",
                "acme.api.example\x00",
                "acmé.api.example",
                "*.api.example",
                "~.api.example",
                "-acme.api.example",
                "acme-.api.example",
                "a_b.api.example",
                "%61cme.api.example",
                "[::1]",
                "[::1]:8000",
                "[acme.api.example]",
                "127.0.0.1",
                "127.0.0.1:80",
                "http://acme.api.example",
                "a" * 64 + ".api.example",
                "a." * 8_000 + "api.example",
            )
        ),
    ],
    ids=lambda lines: str(lines)[:60],
)
def test_a_host_that_is_not_plainly_one_of_ours_tells_nothing(lines):
    """Missing, twice, joined, with anything that is no host name, or another host."""
    assert by_host(*lines) is None


def test_a_name_that_is_too_long_tells_nothing():
    """253 characters are the longest."""
    label = "a" * 61
    source = f"host({{tenant}}.{label}.{label}.{label}.example)"
    rest = f".{label}.{label}.{label}.example".encode()
    assert by_host(b"b" * (253 - len(rest)) + rest, source=source) == "b" * (253 - len(rest))
    assert by_host(b"b" * (254 - len(rest)) + rest, source=source) is None


def test_hosts_may_be_written_out():
    """Exact names win over patterns; ``~`` is the caller's own."""
    source = [HOST, "host(www.api.example) = ~/www", "host(Acme.example)=R1/acme"]
    hosts = (b"acme.example:80", b"www.api.example", b"other.api.example", b"x.example")
    tenants = [by_host(host, source=source) for host in hosts]
    assert tenants == ["R1/acme", "~/www", "other", None]


def test_a_host_that_two_patterns_read_in_two_ways_tells_nothing():
    """Where both say the same, they agree."""
    source = ["host({tenant}.b.example)", "host(a.{tenant}.example)", "host({tenant}.b.example)"]
    assert by_host(b"a.b.example", source=source) is None
    assert by_host(b"c.b.example", source=source) == "c"
    assert by_host(b"a.c.example", source=source) == "c"


def test_what_stands_around_the_label_does_not_overlap():
    """A host that begins and ends as it should may still lack the label itself."""
    source = "host(x.{tenant}.x.example)"
    assert by_host(b"x.x.example", source=source) is None
    assert by_host(b"x.y.x.example", source=source) == "y"


def test_a_forwarded_host_is_believed_from_trusted_proxies_alone():
    """From others, and where a proxy sent none, the host is what ``Host`` says."""
    source = TenantSource.parse("forwarded_host({tenant}.api.example)")
    both = {"host": [b"acme.api.example"], "x-forwarded-host": [b"globex.api.example"]}
    assert source.of(head_with(both), everybody) == "globex"
    assert source.of(head_with(both), nobody) == "acme"
    assert source.of(head_with({"host": [b"acme.api.example"]}), everybody) == "acme"


@pytest.mark.parametrize(
    "forwarded",
    [[b""], [b"a.api.example, b.api.example"], [b"a.api.example", b"a.api.example"], [b"evil"]],
)
def test_a_forwarded_host_that_cannot_be_read_is_not_made_up_for(forwarded):
    """``Host`` is no second try."""
    source = TenantSource.parse("forwarded_host({tenant}.api.example)")
    head = head_with({"host": [b"acme.api.example"], "x-forwarded-host": forwarded})
    assert source.of(head, everybody) is None


_CASES = st.lists(st.booleans(), min_size=40, max_size=40)


@given(st.from_regex(r"[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?", fullmatch=True), _CASES)
def test_case_port_and_dot_change_nothing(label, upper):
    """A host is the same in every spelling that HTTP takes for the same."""
    written = f"{label}.api.example"
    cased = "".join(c.upper() if up else c for c, up in zip(written, upper, strict=False))
    for text in (cased, f"{cased}:8443", f"{cased}.", f"{cased}.:1"):
        assert by_host(text.encode()) == label


@given(
    st.integers(0, len("acme.api.example")),
    st.text(st.characters(max_codepoint=255), min_size=1, max_size=6),
)
def test_added_characters_never_make_another_tenant_s_host(at, added):
    """What resolves is spelled out whole in front of the domain, as a slow reference reads it."""
    host = "acme.api.example"
    text = host[:at] + added + host[at:]
    found = by_host(text.encode("latin-1"))
    if found is None:
        return
    name, _, port = text.partition(":")
    name = name.removesuffix(".").lower()
    assert name == f"{found}.api.example"
    assert set(found) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")
    assert port == "" or 0 < int(port) <= 65_535


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
