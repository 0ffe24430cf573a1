"""Trusted proxies: exact networks, unix sockets, or a number; never everybody."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from keybound.core.errors import InputError
from keybound.core.proxies import CHOICES, CLOUDFLARE, FIELD, Proxies, read_trusted


@pytest.mark.parametrize(
    ("value", "trusted"),
    [
        ([], ()),
        (("10.0.0.0/8",), ("10.0.0.0/8",)),
        ([" 10.0.0.1 ", "unix:"], ("10.0.0.1", "unix:")),
        ("10.0.0.0/8, 2001:db8::/32,unix:", ("10.0.0.0/8", "2001:db8::/32", "unix:")),
        (["::ffff:10.0.0.1"], ("::ffff:10.0.0.1",)),
        (1, 1),
        (100, 100),
        ("2", 2),
        (" 2 ", 2),
    ],
)
def test_proxies_are_networks_or_a_number(value: object, trusted: object):
    """A list, or text as the environment has it; blanks around members do not count."""
    assert read_trusted(value) == trusted


@pytest.mark.parametrize(
    ("value", "problem", "fix"),
    [
        (0, "is 0", "write 1 to 100"),
        (-1, "is -1", "write 1 to 100"),
        (101, "is 101", "write 1 to 100"),
        ("0", "is 0", "write 1 to 100"),
        ("9999999999", "'9999999999' is no network", "the number of entries"),
        (True, "is bool", "or 1 if there is one proxy"),
        (1.0, "is float", "or 1 if"),
        (None, "is NoneType", "or 1 if"),
        ({"10.0.0.1"}, "is set", "or 1 if"),
        (b"10.0.0.1", "is bytes", "or 1 if"),
        ("", "empty member", "remove it"),
        (["10.0.0.1", " "], "empty member", "remove it"),
        ([1], "a member that is int", "without a list"),
        ([True], "a member that is bool", "without a list"),
        ([None], "a member that is NoneType", "write it as text"),
        (["2"], "'2' is no network", "without a list"),
        ("10.0.0.1, 2", "'2' is no network", "without a list"),
        (["10.0.0.1"] * 1_001, "has 1001 members", "use at most 1000"),
        ("*", "trusts everybody", "write the networks"),
        (["10.0.0.1", "*"], "trusts everybody", "write the networks"),
        ("0.0.0.0/0", "all of 0.0.0.0/0 trusts everybody", "write the networks"),
        ("0.0.0.0/1, 128.0.0.0/1", "all of 0.0.0.0/0 trusts everybody", "write the networks"),
        (["::/0"], "all of ::/0 trusts everybody", "write the networks"),
        ("10.0.*.*", "has a wildcard", "such as 10.0.0.0/24"),
        ("10.0.0.1/8", "host bits", "write 10.0.0.0/8"),
        ("10.0.0.0/255.0.0.0", "no prefix length", "write 10.0.0.0/8"),
        ("10.0.0.0/0.0.0.0", "no prefix length", "such as 10.0.0.0/8"),
        ("::ffff:10.0.0.0/104", "written as IPv6", "write 10.0.0.0/8"),
        ("fe80::1%eth0", "zone id", "write fe80::1"),
        ("!10.0.0.1", "neither an address", "such as 10.0.0.0/8"),
        ("10.0.0.1:80", "neither an address", "such as 10.0.0.0/8"),
        ("localhost", "neither an address", "such as 10.0.0.0/8"),
        ("unix:/run/app.sock", "neither an address", "such as 10.0.0.0/8"),
        ("UNIX:", "neither an address", "such as 10.0.0.0/8"),
    ],
    ids=lambda value: ascii(value)[:30],
)
def test_what_is_not_exactly_meant_is_an_error_with_the_fix(value: object, problem: str, fix: str):
    """At the start, and the setting is named."""
    with pytest.raises(InputError) as caught:
        read_trusted(value)
    assert caught.value.field == FIELD
    assert problem in caught.value.problem
    assert fix in caught.value.fix


@pytest.mark.parametrize(
    ("peer", "trusted"),
    [
        *((peer, True) for peer in ("10.0.0.0", "10.255.255.255", "::ffff:10.1.2.3", "FD00::1")),
        *((peer, True) for peer in ("192.0.2.7", None, "")),
        *((peer, False) for peer in ("9.255.255.255", "11.0.0.0", "192.0.2.8", "fc00::1")),
        *((peer, False) for peer in ("localhost", "10.0.0.1:80", "fd00::1%eth0", "unix:", " ")),
    ],
)
def test_a_peer_is_trusted_by_its_address(peer: str | None, trusted: bool):  # noqa: FBT001
    """Whatever is no address is no proxy, and mapped addresses are IPv4."""
    proxies = Proxies.of(["10.0.0.0/8", "::ffff:192.0.2.7", "fd00::/8", "unix:"])
    assert proxies.trusts(peer) is trusted


def test_what_is_never_trusted_wins():
    """However it is listed."""
    proxies = Proxies.of(["10.0.0.0/8", "10.0.0.1"], never=["10.0.0.1"])
    assert proxies.trusts("10.0.0.2")
    assert not proxies.trusts("10.0.0.1")
    assert not proxies.trusts(None)


def test_tables_can_be_read_as_settings():
    """What is built in is as exact as what people write, and no network is listed twice."""
    for choice in CHOICES.values():
        for texts in (choice.default, choice.always, choice.never):
            assert read_trusted(texts) == texts
    for version in (4, 6):
        networks = [each for each in map(ip_network, CLOUDFLARE) if each.version == version]
        assert not any(a.overlaps(b) for a in networks for b in networks if a is not b)
