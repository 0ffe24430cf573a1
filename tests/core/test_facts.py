"""Facts: what a request is, where unknown is never a value that permits."""

from __future__ import annotations

import pytest

from keybound.core.facts import (
    IPV6_BASE,
    RequestFacts,
    default_access,
    own_tenant,
    pack_address,
    unpack_address,
)


@pytest.mark.parametrize(
    ("text", "packed"),
    [
        ("0.0.0.0", 0),  # noqa: S104 - no server binds here
        ("203.0.113.7", 0xCB007107),
        ("::", IPV6_BASE),
        ("::1", IPV6_BASE + 1),
        ("2001:db8::1", IPV6_BASE + (0x20010DB8 << 96) + 1),
        ("2001:DB8:0:0::1", IPV6_BASE + (0x20010DB8 << 96) + 1),
        ("::ffff:203.0.113.7", 0xCB007107),
        ("::ffff:cb00:7107", 0xCB007107),
        ("::203.0.113.7", IPV6_BASE + 0xCB007107),
    ],
)
def test_an_address_is_one_number_whatever_its_spelling(text, packed):
    """IPv4 mapped into IPv6 is IPv4, and IPv6 is never mistaken for it."""
    assert pack_address(text) == packed
    assert pack_address(unpack_address(packed)) == packed


@pytest.mark.parametrize(
    "text",
    [
        *(None, "", " ", "testclient", "/run/app.sock", "1.2.3", "1.2.3.4.5", "256.0.0.1", "1"),
        *("01.2.3.4", "1.2.3.4 ", "1.2.3.4:80", "[::1]", "fe80::1%eth0", "::1%", "::ffff:1.2.3"),
        *("1.2.3.4/32", "٣.2.3.4", ":", ":::", 16_909_060, b"\x01\x02\x03\x04"),
    ],
    ids=repr,
)
def test_what_is_not_exactly_an_address_is_unknown(text):
    """A socket path, a port, a zone or another digit makes it unknown, so networks refuse it."""
    assert pack_address(text) is None


@pytest.mark.parametrize(
    ("method", "access"),
    [
        *(("GET", "read"), ("HEAD", "read"), ("OPTIONS", "read"), ("POST", "write")),
        *(("TRACE", "write"), ("get", "write"), ("QUERY", "write"), ("WEBSOCKET", "write")),
        ("", "write"),
    ],
)
def test_only_safe_methods_read(method, access):
    """Every other one, known or not, writes."""
    assert default_access(method) == access


def test_facts_that_are_not_given_are_unknown_and_writing():
    """No default is a permission, and nobody changes facts under way."""
    facts = RequestFacts(method="GET", path="/")
    assert (facts.address, facts.tenant, facts.model, facts.access) == (None, None, None, "write")
    with pytest.raises(AttributeError, match="immutable"):
        facts.tenant = "acme"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("tenant", "home", "own"),
    [
        ("acme/100", "globex/7", "acme/100"),
        (None, "acme", None),
        ("~", "acme/100", "acme/100"),
        ("~", None, None),
        ("~/~", "acme/100", "acme/100"),
        ("~/200", "acme/100", "acme/200"),
        ("globex/~", "acme/100", "globex/100"),
        ("R1/~/~", "R1/acme/100", "R1/acme/100"),
        ("~/~", "acme", None),
        ("~/~", "acme/100/7", "acme/100"),
        ("acme/~", None, None),
        ("a~/~b", "acme/100", "a~/~b"),
        ("~~", "acme", "~~"),
        ("/".join("~" * 4_000), "acme", None),
    ],
)
def test_a_tilde_is_the_same_segment_of_the_home(tenant, home, own):
    """Alone it is all of it; where the home has no such segment the tenant is not known."""
    assert own_tenant(tenant, home) == own
