"""Networks: addresses and networks of both families, exclusions, and the traps of `ipaddress`."""

from __future__ import annotations

import pytest

from keybound.core.errors import LimitError
from keybound.core.facts import IPV6_BASE, RequestFacts, pack_address
from keybound.core.limits import Limits, Methods, Networks
from keybound.core.reasons import Reason


def passes(networks: str, address: str | None) -> bool:
    """Say whether a request from this address passes these networks."""
    facts = RequestFacts(method="GET", path="/", address=pack_address(address))
    return Limits(networks=networks).permits(facts, 0.0)


def clause(networks: object) -> Networks:
    """Return the clause for a value that has one."""
    parsed = Networks.parse(networks)
    assert parsed is not None
    return parsed


@pytest.mark.parametrize(
    ("networks", "inside", "outside"),
    [
        ("10.0.0.0/8", ["10.0.0.0", "10.255.255.255"], ["9.255.255.255", "11.0.0.0", "::a00:1"]),
        ("127.0.0.1", ["127.0.0.1", "::ffff:127.0.0.1"], ["127.0.0.2", "::1", None]),
        ("127.0.0.1/32", ["127.0.0.1"], ["127.0.0.2"]),
        ("2001:db8::/32", ["2001:db8::1"], ["2001:db9::", "32.1.13.184", None]),
        ("2001:DB8::1", ["2001:db8:0:0::1"], ["2001:db8::2"]),
        ("0.0.0.0/0", ["0.0.0.1", "255.255.255.255", "::ffff:1.2.3.4"], ["::", "::1", None]),
        ("::/0", ["::", "::1", "ffff::"], ["0.0.0.1", "10.0.0.1", "::ffff:10.0.0.1", None]),
        ("10.0.0.0/8, !10.1.2.3", ["10.1.2.2", "10.1.2.4"], ["10.1.2.3", "::ffff:10.1.2.3"]),
        ("10.0.0.0/8, !10.1.0.0/16", ["10.0.255.255", "10.2.0.0"], ["10.1.0.0", "10.1.255.255"]),
        ("*, !10.0.0.1", ["10.0.0.2", "::1"], ["10.0.0.1", "::ffff:10.0.0.1", None]),
        ("*, !::1", ["10.0.0.1", "::2"], ["::1"]),
        ("10.0.0.1, !10.0.0.0/8", [], ["10.0.0.1"]),
        ("10.0.0.0/9, 10.128.0.0/9", ["10.127.255.255", "10.128.0.0"], ["11.0.0.0"]),
        ("10.0.0.0/8, 10.1.0.0/16, !10.1.2.0/24, !10.1.2.3", ["10.1.1.1"], ["10.1.2.3"]),
        ("::ffff:10.0.0.1", ["10.0.0.1", "::ffff:a00:1"], ["10.0.0.2", "::a00:1"]),
    ],
)
def test_an_address_is_allowed_and_not_excluded(
    networks: str, inside: list[str], outside: list[str | None]
):
    """Exclusions win, families are apart, and a mapped address is the IPv4 address it maps."""
    assert [address for address in inside if not passes(networks, address)] == []
    assert [address for address in outside if passes(networks, address)] == []


def test_a_mapped_address_cannot_pass_as_ipv6():
    """Not even if somebody packs it by hand."""
    mapped = IPV6_BASE + 0xFFFF0A000001
    facts = RequestFacts(method="GET", path="/", address=mapped)
    assert not Limits(networks="::/0").permits(facts, 0.0)
    assert not Limits(networks="*, !10.0.0.1").permits(facts, 0.0)


def test_an_unknown_address_has_its_own_reason():
    """The operator sees whether the client is elsewhere or the proxy not trusted."""
    networks = clause("10.0.0.0/8")
    unknown = RequestFacts(method="GET", path="/")
    elsewhere = RequestFacts(method="GET", path="/", address=1)
    assert networks.reason(unknown, 0.0) is Reason.NETWORK_UNKNOWN
    assert networks.reason(elsewhere, 0.0) is Reason.NETWORK_NOT_ALLOWED


@pytest.mark.parametrize(
    ("member", "problem", "fix"),
    [
        ("10.0.0.1/8", "host bits", "write 10.0.0.0/8, or 10.0.0.1 for the one address"),
        ("2001:db8::1/32", "host bits", "write 2001:db8::/32, or 2001:db8::1 for"),
        ("10.0.0.0/255.0.0.0", "no prefix length", "write 10.0.0.0/8"),
        ("10.9.9.9/255.255.0.0", "no prefix length", "write 10.9.0.0/16"),
        ("10.0.0.0/0.0.0.0", "no prefix length", "such as 10.0.0.0/8"),
        ("10.0.0.0/0.255.255.255", "no prefix length", "such as 10.0.0.0/8"),
        ("10.0.0.0/255.0.255.0", "no prefix length", "such as 10.0.0.0/8"),
        ("::/255.0.0.0", "no prefix length", "such as 10.0.0.0/8"),
        ("10.0.0.0/", "no prefix length", "such as 10.0.0.0/8"),
        ("10.0.0.0/-8", "no prefix length", "such as 10.0.0.0/8"),
        ("10.0.0.0/ 8", "no prefix length", "such as 10.0.0.0/8"),
        ("10.0.0.0/\u0668", "no prefix length", "such as 10.0.0.0/8"),
        ("10.0.0.0/8/8", "no prefix length", "such as 10.0.0.0/8"),
        ("10.0.0.0/33", "above 32", "such as 10.0.0.0/8"),
        ("::/129", "above 128", "such as 10.0.0.0/8"),
        ("10.0.0.0/08", "leading zeros", "write 10.0.0.0/8"),
        ("0.0.0.0/00", "leading zeros", "write 0.0.0.0/0"),
        ("fe80::1%eth0", "zone id", "write fe80::1"),
        ("fe80::%1/64", "zone id", "write fe80::"),
        ("::ffff:10.0.0.0/8", "written as IPv6", "write 10.0.0.0/8"),
        ("::ffff:10.0.0.0/104", "written as IPv6", "write 10.0.0.0/8"),
        ("::ffff:10.0.0.1/128", "written as IPv6", "write 10.0.0.1/32"),
        ("::ffff:0:0/96", "written as IPv6", "write 0.0.0.0/0"),
        ("::ffff:10.0.0.1/64", "written as IPv6", "write 10.0.0.1/32"),
        ("10.0.0.0-10.0.0.255", "neither an address", "write 10.0.0.0/24"),
        ("10.0.0.1-10.0.0.4", "neither an address", "write 10.0.0.1/32, 10.0.0.2/31, 10.0.0.4/32"),
        ("10.0.0.1-10.0.9.9", "neither an address", "such as 10.0.0.0/8"),
        ("10.0.0.4-10.0.0.1", "neither an address", "such as 10.0.0.0/8"),
        ("10.0.0.4-::1", "neither an address", "such as 10.0.0.0/8"),
        ("10.0.0.1-9", "neither an address", "such as 10.0.0.0/8"),
        ("167772161", "neither an address", "such as 10.0.0.0/8"),
        ("010.0.0.1", "neither an address", "such as 10.0.0.0/8"),
        ("10", "neither an address", "such as 10.0.0.0/8"),
        ("10/8", "neither an address", "such as 10.0.0.0/8"),
        ("localhost", "neither an address", "such as 10.0.0.0/8"),
        ("[::1]", "neither an address", "such as 10.0.0.0/8"),
        ("10.0.0.1:80", "neither an address", "such as 10.0.0.0/8"),
        ("!!10.0.0.1", "neither an address", "such as 10.0.0.0/8"),
        ("! 10.0.0.1", "neither an address", "such as 10.0.0.0/8"),
        ("!", "neither an address", "such as 10.0.0.0/8"),
        ("10.0.*.*", "wildcard", "or '*' alone"),
        ("!*", "wildcard", "or '*' alone"),
    ],
)
def test_what_is_no_exact_network_is_an_error_with_the_fix(member: str, problem: str, fix: str):
    """`ipaddress` would take some of these for far more than was meant."""
    with pytest.raises(LimitError, match=problem) as caught:
        Networks.parse([member])
    assert caught.value.field == "networks"
    assert fix in caught.value.fix
    with pytest.raises(LimitError):
        Networks.parse(f"10.0.0.0/8, {member}")


@pytest.mark.parametrize("member", ["10.0.0.0/8 ", " 10.0.0.1", "::1\t", "! 10.0.0.1"])
def test_a_member_of_a_list_has_no_blanks(member: str):
    """Around the commas of a text they are how people write; in a list somebody cut wrongly."""
    with pytest.raises(LimitError) as caught:
        Networks.parse(["192.0.2.1", member])
    assert caught.value.field == "networks"
    assert Networks.parse(" 10.0.0.0/8 , 192.0.2.1\t") == Networks.parse(
        ["10.0.0.0/8", "192.0.2.1"]
    )


def test_what_only_excludes_is_an_error_with_the_fix():
    """Excluding one address means all others to people, and none to a machine."""
    with pytest.raises(LimitError, match="only excludes") as caught:
        Networks.parse("!10.0.0.1, !::1")
    assert caught.value.fix == "write '*, !10.0.0.1, !::1' for all others"
    assert passes("*, !10.0.0.1, !::1", "10.0.0.2")


@pytest.mark.parametrize(
    ("networks", "described", "dumped"),
    [
        (
            "::1, 10.0.0.0/8, 9.0.0.1/32",
            "9.0.0.1, 10.0.0.0/8, ::1",
            ["9.0.0.1", "10.0.0.0/8", "::1"],
        ),
        ("10.0.0.0/8,!10.1.2.3", "10.0.0.0/8 except 10.1.2.3", ["10.0.0.0/8", "!10.1.2.3"]),
        ("*, !::1", "any address except ::1", ["0.0.0.0/0", "::/0", "!::1"]),
        ("0.0.0.0/0, ::/0", "any address", ["0.0.0.0/0", "::/0"]),
        ("::ffff:10.0.0.1", "10.0.0.1", ["10.0.0.1"]),
        ([], "none", []),
    ],
)
def test_networks_are_described_and_stored_in_order(
    networks: object, described: str, dumped: list[str]
):
    """IPv4 first, by address, exclusions last; every network in its shortest spelling."""
    assert clause(networks).describe() == described
    assert clause(networks).dump() == dumped


@pytest.mark.parametrize(
    ("ceiling", "below", "covered"),
    [
        ("10.0.0.0/8", "10.1.0.0/16, 10.2.3.4", True),
        ("10.0.0.0/8", "10.0.0.0/8, 11.0.0.0", False),
        ("10.0.0.0/9, 10.128.0.0/9", "10.0.0.0/8", True),
        ("10.0.0.0/8, !10.1.2.3", "10.0.0.0/8", False),
        ("10.0.0.0/8, !10.1.2.3", "10.1.2.0/24, !10.1.2.2/31", True),
        ("10.0.0.0/8", "*, !0.0.0.0/0", False),
        ("::/0", "10.0.0.1", False),
        ("0.0.0.0/0", "::1", False),
        ("0.0.0.0/0, ::/0", "*, !10.0.0.1", True),
        ("10.0.0.1", [], True),
        ([], "10.0.0.1", False),
    ],
)
def test_covering_is_inclusion(ceiling: object, below: object, covered: bool):  # noqa: FBT001
    """However the networks are cut into pieces."""
    assert clause(ceiling).covers(clause(below)) is covered
    assert not clause(ceiling).covers(Methods(frozenset()))
