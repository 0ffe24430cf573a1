"""The client's address: the peer, or whom trusted proxies name, or unknown."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from keybound.core.clients import PEER_REMEMBERED_MAX, VALUE_REMEMBERED_MAX, ClientAddress
from keybound.core.errors import InputError
from keybound.core.proxies import CHOICES, CLOUDFLARE
from tests.core.heads import FakeHead
from tests.core.proxied import asked

INNER = ClientAddress.parse(None, ["10.0.0.0/8"])


@pytest.mark.parametrize(
    ("peer", "client"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("::ffff:cb00:7107", "203.0.113.7"),
        ("2001:DB8:0::7", "2001:db8::7"),
        *((peer, None) for peer in (None, "", "testclient", "localhost", "fe80::1%eth0", "1.2.3")),
    ],
)
def test_the_peer_is_the_client_where_nothing_else_is_said(peer: str | None, client: str | None):
    """No header is read, and what is no address is unknown."""
    head = asked(peer, b"198.51.100.9")
    for found in (
        ClientAddress.parse(),
        ClientAddress.parse("peer"),
        ClientAddress.parse(None, []),
    ):
        assert found.plain
        assert found.header is None
        assert found.of(head) == client
        assert not found.trusts(peer)


@pytest.mark.parametrize(
    ("peer", "lines", "client"),
    [
        ("198.51.100.1", ["203.0.113.7"], "198.51.100.1"),  # not trusted: not read
        ("10.0.0.1", ["203.0.113.7"], "203.0.113.7"),
        ("::ffff:10.0.0.1", ["203.0.113.7"], "203.0.113.7"),
        ("10.0.0.1", ["198.51.100.9, 203.0.113.7"], "203.0.113.7"),
        ("10.0.0.1", ["203.0.113.7, 10.0.0.2"], "203.0.113.7"),
        ("10.0.0.1", ["203.0.113.7, ::ffff:10.0.0.2"], "203.0.113.7"),
        ("10.0.0.1", ["203.0.113.7, 198.51.100.9, 10.0.0.2"], "198.51.100.9"),
        ("10.0.0.1", ["203.0.113.7,198.51.100.9"], "198.51.100.9"),
        ("10.0.0.1", ["203.0.113.7", "198.51.100.9"], "198.51.100.9"),
        ("10.0.0.1", ["203.0.113.7", "10.0.0.3 ,\t10.0.0.2"], "203.0.113.7"),
        ("10.0.0.1", ["10.0.0.4, 10.0.0.3"], "10.0.0.4"),  # all are trusted: the left-most
        ("10.0.0.1", ["junk, 203.0.113.7, 10.0.0.2"], "203.0.113.7"),  # nobody gets as far as junk
        ("10.0.0.1", ["203.0.113.7, junk, 10.0.0.2"], None),
        ("10.0.0.1", ["203.0.113.7,,10.0.0.2"], None),
        ("10.0.0.1", ["203.0.113.7,"], None),
        ("10.0.0.1", ["203.0.113.7, unknown"], None),
        ("10.0.0.1", [""], None),
        ("10.0.0.1", [], "10.0.0.1"),  # the proxy itself asks
        ("testclient", ["203.0.113.7"], None),
        (None, ["203.0.113.7"], None),
        ("", ["203.0.113.7"], None),
    ],
)
def test_the_chain_is_walked_from_the_right(peer: str | None, lines: list[str], client: str | None):
    """Trusted entries are passed, the first other one is the client, and nobody looks further."""
    assert INNER.of(asked(peer, *(line.encode() for line in lines))) == client
    assert INNER.of(asked(peer, *(line.encode() for line in lines))) == client  # as remembered


def test_only_the_configured_header_counts():
    """What other headers say is nothing to anybody, however they are spelled."""
    others = ("x-real-ip", "forwarded", "x_forwarded_for", "cf-connecting-ip", "true-client-ip")
    noise = tuple((name, b"203.0.113.7") for name in others)
    assert INNER.of(FakeHead(noise, peer="10.0.0.1")) == "10.0.0.1"
    assert (
        INNER.of(FakeHead((*noise, ("x-forwarded-for", b"198.51.100.9")), peer="10.0.0.1"))
        == "198.51.100.9"
    )
    elements = ClientAddress.parse("forwarded", ["10.0.0.0/8"])
    both = (("x-forwarded-for", b"203.0.113.7"), ("forwarded", b"for=198.51.100.9"))
    assert elements.header == "forwarded"
    assert elements.of(FakeHead(both, peer="10.0.0.1")) == "198.51.100.9"


def test_elements_of_forwarded_are_walked_like_entries():
    """Several lines are one list, and an element that does not say for whom is unknown."""
    clients = ClientAddress.parse("forwarded", ["10.0.0.0/8", "fd00::/8"])

    def of(*lines: bytes) -> str | None:
        return clients.of(asked("10.0.0.1", *lines, header="forwarded"))

    assert of(b"for=203.0.113.7;proto=https") == "203.0.113.7"
    assert of(b"For=203.0.113.7, for=198.51.100.9") == "198.51.100.9"
    assert of(b"for=203.0.113.7", b"for=198.51.100.9") == "198.51.100.9"
    assert of(b'for=203.0.113.7, for="[fd00::1]:80";by=_x, for=10.0.0.2') == "203.0.113.7"
    assert of(b"for=203.0.113.7, proto=https") is None
    assert of(b'for=203.0.113.7, for="') is None


def test_unix_sockets_are_trusted_where_they_are_listed():
    """A peer without an address is a proxy only if somebody said so; alone it is unknown."""
    sockets = ClientAddress.parse(None, ["unix:"])
    for peer in (None, ""):
        assert sockets.trusts(peer)
        assert sockets.of(asked(peer, b"203.0.113.7")) == "203.0.113.7"
        assert sockets.of(asked(peer)) is None
        assert not INNER.trusts(peer)
    assert sockets.of(asked("10.0.0.1", b"203.0.113.7")) == "10.0.0.1"


@pytest.mark.parametrize(
    ("hops", "line", "client"),
    [
        (1, b"198.51.100.9, 203.0.113.7", "203.0.113.7"),
        (2, b"junk, 203.0.113.7, 10.0.0.2", "203.0.113.7"),
        (2, b"203.0.113.7", None),
        (1, b"203.0.113.7, unknown", None),
        (2, b"203.0.113.7, unknown", "203.0.113.7"),
        (1, b"", None),
        (1, None, None),
    ],
)
def test_a_number_of_proxies_counts_entries(hops: int, line: bytes | None, client: str | None):
    """Whoever the peer is; where there are fewer entries, somebody came past a proxy."""
    counted = ClientAddress.parse("x-forwarded-for", hops)
    for peer in ("10.0.0.1", "198.51.100.1", None, "localhost"):
        assert counted.trusts(peer)
        assert counted.of(asked(peer, *([] if line is None else [line]))) == client
    assert ClientAddress.parse(None, hops) == counted
    assert ClientAddress.parse("nginx", str(hops)) == counted


def test_nginx_is_on_this_host():
    """Loopback and unix sockets are trusted, and others instead of them if they are named."""
    nginx = ClientAddress.parse("nginx")
    for peer in ("127.0.0.1", "127.8.9.9", "::1", "::ffff:127.0.0.1", None):
        assert nginx.of(asked(peer, b"198.51.100.9, 203.0.113.7")) == "203.0.113.7"
    assert nginx.of(asked("10.0.0.1", b"203.0.113.7")) == "10.0.0.1"
    assert ClientAddress.parse("nginx", ["10.0.0.1"]) == ClientAddress.parse(None, ["10.0.0.1"])
    assert not ClientAddress.parse("nginx", ["10.0.0.1"]).trusts("127.0.0.1")


def test_cloudflare_is_passed_behind_nginx():
    """The client is the last that is neither nginx nor Cloudflare, whatever it wrote itself."""
    cloudflare = ClientAddress.parse("cloudflare")
    line = b"10.9.9.9, 203.0.113.7, 162.158.1.1"
    assert cloudflare.of(asked("127.0.0.1", line)) == "203.0.113.7"
    assert cloudflare.of(asked("172.64.0.1", b"2001:db8::7, 2400:cb00::1")) == "2001:db8::7"
    assert cloudflare.of(asked("10.0.0.1", line)) == "10.0.0.1"
    inner = ClientAddress.parse("cloudflare", ["10.0.0.1"])
    assert inner.of(asked("10.0.0.1", line)) == "203.0.113.7"
    assert inner.of(asked("127.0.0.1", line)) == "127.0.0.1"
    assert len(CLOUDFLARE) == 15 + 7


def test_programs_at_cloudflare_are_clients_like_others():
    """What another customer runs there may write any header, so its address is nobody's proxy."""
    line = b"203.0.113.7, 2a06:98c0:3600::103, 162.158.1.1"
    assert ClientAddress.parse("cloudflare").of(asked("::1", line)) == "2a06:98c0:3600::103"


def test_a_load_balancer_of_aws_adds_one_entry():
    """A client within the network is not one more proxy, and without an entry nobody is known."""
    balancer = ClientAddress.parse("aws-alb")
    assert balancer.of(asked("10.0.3.4", b"203.0.113.7, 10.0.0.9")) == "10.0.0.9"
    assert balancer.of(asked("172.31.3.4", b"203.0.113.7:443")) == "203.0.113.7"
    assert balancer.of(asked("10.0.3.4")) is None
    assert balancer.of(asked("198.51.100.1", b"203.0.113.7")) == "198.51.100.1"
    assert not balancer.trusts("127.0.0.1")
    other = ClientAddress.parse("aws-alb", ["2001:db8::/56"])
    assert other.of(asked("2001:db8::5", b"198.51.100.9, 203.0.113.7")) == "203.0.113.7"
    assert other.of(asked("10.0.3.4", b"203.0.113.7")) == "10.0.3.4"


@pytest.mark.parametrize(
    ("client_ip", "trusted", "field", "problem"),
    [
        ("x-forwarded-for", [], "trusted_proxies", "reads what everybody can write"),
        ("forwarded", (), "trusted_proxies", "is empty, and client_ip='forwarded'"),
        ("peer", 1, "trusted_proxies", "counts entries of a header"),
        ("cloudflare", 2, "trusted_proxies", "knows its proxies"),
        ("nginxx", [], "client_ip", "'nginxx' is not known; did you mean 'nginx'"),
        ("X-Forwarded-For", ["10.0.0.1"], "client_ip", "did you mean 'x-forwarded-for'"),
        ("", [], "client_ip", "known are aws-alb, "),
        (True, [], "client_ip", "'True' is not known"),
        (["peer"], [], "client_ip", "is not known"),
        (None, ["*"], "trusted_proxies", "trusts everybody"),
    ],
)
def test_settings_that_cannot_be_meant_are_errors(
    client_ip: object, trusted: object, field: str, problem: str
):
    """They are found at the start, and the message names the setting."""
    with pytest.raises(InputError) as caught:
        ClientAddress.parse(client_ip, trusted)
    assert caught.value.field == field
    assert problem in str(caught.value)


def test_the_peer_may_decide_while_proxies_are_trusted():
    """Where a server names the client itself, other headers still need somebody to trust."""
    named = ClientAddress.parse("peer", ["10.0.0.0/8"])
    assert named.plain
    assert named.trusts("10.0.0.1")
    assert named.of(asked("10.0.0.1", b"203.0.113.7")) == "10.0.0.1"


def test_every_choice_can_be_made():
    """With a network that is named, none is left without anybody to trust."""
    for name, choice in CHOICES.items():
        clients = ClientAddress.parse(name, ["192.0.2.0/24"])
        assert clients.header == choice.header
        assert clients.trusts("192.0.2.9")


def test_several_threads_find_the_same():
    """What is remembered is never another request's."""
    lines = [f"203.0.113.{n % 256}, 10.0.0.{n % 7}".encode() for n in range(5_000)]

    def find(line: bytes) -> bool:
        return INNER.of(asked("10.0.0.1", line)) == line.split(b",")[0].decode()

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(find, lines * 2))


@pytest.mark.parametrize(
    ("peer", "value", "remembered"),
    [
        ("10.0.0.1", b"203.0.113.7", 1),
        (None, b"203.0.113.7", 1),
        ("10.0.0.1", b"203.0.113.7".rjust(VALUE_REMEMBERED_MAX), 1),
        ("10.0.0.1", b"203.0.113.7".rjust(VALUE_REMEMBERED_MAX + 1), 0),
        ("x" * PEER_REMEMBERED_MAX, b"203.0.113.7", 1),
        ("x" * (PEER_REMEMBERED_MAX + 1), b"203.0.113.7", 0),
    ],
)
def test_only_short_values_of_peers_with_short_names_are_remembered(
    peer: str | None, value: bytes, remembered: int
):
    """Nobody fills the memory with headers."""
    clients = ClientAddress.parse(None, 1)
    assert clients.of(asked(peer, value)) == "203.0.113.7"
    known = clients._remember.cache_info().currsize  # type: ignore[attr-defined] # noqa: SLF001
    assert known == remembered


@pytest.mark.parametrize(
    ("trusted", "some"), [((), False), (["10.0.0.1"], True), (["unix:"], True), (1, True)]
)
def test_whether_anybody_at_all_is_trusted_is_known(trusted: object, some: bool):  # noqa: FBT001
    """Where nobody is, no header that a proxy adds is ever believed."""
    assert ClientAddress.parse(None, trusted).trusts_some is some
