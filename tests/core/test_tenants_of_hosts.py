"""The tenant of a request from its host: a name that is plainly one of ours, or nobody's."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keybound.core.errors import InputError
from keybound.core.tenants_of import TenantSource
from tests.core.heads import everybody, head_with, nobody

HOST = "host({tenant}.api.example)"


def by_host(*values, source=HOST):
    """Return the tenant of a request with these lines of ``Host``."""
    return TenantSource.parse(source).of(head_with({"host": values}), nobody)


@pytest.mark.parametrize(
    ("value", "said"),
    [
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
def test_hosts_that_cannot_work_are_refused_at_start(value, said):
    """The setting is named, and what is wrong with it."""
    with pytest.raises(InputError, match="tenant_from") as caught:
        TenantSource.parse(value)
    assert said in str(caught.value)
    assert caught.value.fix


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
