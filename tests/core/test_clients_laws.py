"""The laws of the client's address, over random chains, lists of proxies and settings."""

from __future__ import annotations

from ipaddress import IPv6Address

from hypothesis import example, given
from hypothesis import strategies as st

from keybound.core.clients import ClientAddress
from keybound.core.facts import RequestFacts, pack_address, unpack_address
from keybound.core.forwarded import FORMS, rewritten, split_forwarded
from keybound.core.limits import Limits
from keybound.core.proxies import CHOICES
from tests.core.heads import FakeHead
from tests.core.proxied import asked, slow_client, slow_elements

ADDRESSES = [
    *("10.0.0.1", "10.0.0.2", "10.1.0.1", "127.0.0.1", "192.0.2.1", "198.51.100.9", "203.0.113.7"),
    *("::1", "fd00::1", "2001:db8::1", "2001:db8:1::1"),
]
NETWORKS = [
    *("10.0.0.0/8", "10.0.0.0/30", "10.0.0.1", "127.0.0.0/8", "192.0.2.0/24", "198.51.100.9"),
    *("fd00::/8", "::1", "2001:db8::/32", "unix:", "::ffff:10.0.0.2"),
]
GARBAGE = ["", "unknown", "_x", "203.7", "203.0.113.07", "fe80::1%0", "[10.0.0.1]", "10.0.0.1:x"]
HEADERS = st.sampled_from(sorted(FORMS))
TRUSTED = st.lists(st.sampled_from(NETWORKS), min_size=1, unique=True)
PEERS = st.sampled_from([*ADDRESSES, "::ffff:10.0.0.1", "testclient", "", None])

LETTERS = st.text(alphabet='for=FR_x1.2:[]"\\;, \t%a\xe9\0', max_size=40)


def mapped(address: str) -> str:
    """Return the same address mapped into IPv6, if it is IPv4."""
    return address if ":" in address else f"::ffff:{address}"


@st.composite
def spelled(draw: st.DrawFn, header: str, node: str) -> str:
    """Return one of the spellings of an entry, or of an element."""
    address = mapped(node) if node in ADDRESSES and draw(st.booleans()) else node
    port = draw(st.sampled_from(["", "", ":80", ":_p"] if header == "forwarded" else ["", ":80"]))
    if ":" in address and "[" not in address and (port or header == "forwarded"):
        address = f"[{address}]"
    if node not in ADDRESSES:
        address, port = node, ""
    if header != "forwarded":
        return address + port
    before = draw(st.sampled_from(["", 'by="a,\\";";', "proto=https;", ";"]))
    return f'{before}{draw(st.sampled_from(["for", "For"]))}="{address}{port}"'


@st.composite
def lines(draw: st.DrawFn, header: str, nodes: list[str]) -> tuple[bytes, ...]:
    """Return a chain as the lines of a header, cut anywhere."""
    texts = [draw(spelled(header, node)).encode() for node in nodes]
    cut = draw(st.lists(st.booleans(), min_size=len(texts), max_size=len(texts)))
    found: list[bytes] = []
    for text, joins in zip(texts, cut, strict=True):
        if found and joins:
            found[-1] += draw(st.sampled_from([b",", b", ", b"\t, "])) + text
        else:
            found.append(text)
    return tuple(found)


@st.composite
def chains(draw: st.DrawFn, *, distinct: bool = False) -> tuple[str, list[str], tuple[bytes, ...]]:
    """Return a header's name, what its entries are, and its lines."""
    header = draw(HEADERS)
    known = st.lists(st.sampled_from(ADDRESSES), max_size=6, unique=distinct)
    nodes = draw(known)
    if draw(st.booleans()):
        nodes.insert(draw(st.integers(0, len(nodes))), draw(st.sampled_from(GARBAGE)))
    return header, nodes, draw(lines(header, nodes))


@given(chains(), TRUSTED, PEERS)
def test_the_walk_is_that_of_a_slow_reading(
    chain: tuple[str, list[str], tuple[bytes, ...]], trusted: list[str], peer: str | None
):
    """Whatever the spellings, the lines and the proxies."""
    header, _, values = chain
    fast = ClientAddress.parse(header, trusted).of(asked(peer, *values, header=header))
    listed = [text.removeprefix("::ffff:") for text in trusted]
    assert fast == slow_client(peer, values, listed, header=header)


@given(LETTERS.map(lambda text: text.encode("latin-1")))
@example(b'for="')
@example(b'for="\\')
@example(b'for=a;by="";for=b')
def test_the_grammar_is_that_of_a_slow_reading(value: bytes):
    """Character by character, of what is nearly a header."""
    nodes = split_forwarded(value)
    slow = slow_elements(value.decode("latin-1"))
    assert (nodes is None) is (slow is None)
    if nodes is not None and slow is not None:
        read = FORMS["forwarded"].read
        assert [read(node) for node in nodes] == [read(each.encode("latin-1")) for each in slow]


@given(chains(distinct=True), TRUSTED, st.data())
def test_less_trust_is_never_further_away(
    chain: tuple[str, list[str], tuple[bytes, ...]], trusted: list[str], data: st.DataObject
):
    """With some of the proxies, the client stands at the same place or nearer to the server."""
    header, nodes, values = chain
    fewer = data.draw(st.lists(st.sampled_from(trusted), min_size=1, unique=True))
    peer = data.draw(st.sampled_from(sorted({*ADDRESSES} - {*nodes})))
    places = [node if node in ADDRESSES else None for node in nodes] + [peer]
    head = asked(peer, *values, header=header)
    far, near = (ClientAddress.parse(header, each).of(head) for each in (trusted, fewer))
    assert places.index(near) >= places.index(far)


@given(chains(), TRUSTED, PEERS)
def test_what_a_stranger_writes_changes_nothing(
    chain: tuple[str, list[str], tuple[bytes, ...]], trusted: list[str], peer: str | None
):
    """Its address is its own with any header and with none, so limits of networks hold."""
    header, _, values = chain
    clients = ClientAddress.parse(header, trusted)
    if not clients.trusts(peer):
        assert clients.of(asked(peer, *values, header=header)) == ClientAddress.parse().of(
            asked(peer)
        )


@given(chains(), TRUSTED, PEERS, st.data())
def test_other_headers_change_nothing(
    chain: tuple[str, list[str], tuple[bytes, ...]],
    trusted: list[str],
    peer: str | None,
    data: st.DataObject,
):
    """Wherever they stand between the lines that count."""
    header, _, values = chain
    others = ["x-real-ip", "x_forwarded_for", "host", *({*FORMS} - {header})]
    clients = ClientAddress.parse(header, trusted)
    headers = [(header, value) for value in values]
    for name in data.draw(st.lists(st.sampled_from(others))):
        headers.insert(data.draw(st.integers(0, len(headers))), (name, b"203.0.113.7"))
    assert clients.of(FakeHead(tuple(headers), peer=peer)) == clients.of(
        asked(peer, *values, header=header)
    )


@given(chains(), TRUSTED, PEERS)
def test_lines_are_one_list(
    chain: tuple[str, list[str], tuple[bytes, ...]], trusted: list[str], peer: str | None
):
    """A server that joins them with commas gives the same answer."""
    header, _, values = chain
    clients = ClientAddress.parse(header, trusted)
    joined = (b",".join(values),) if values else ()
    assert clients.of(asked(peer, *values, header=header)) == clients.of(
        asked(peer, *joined, header=header)
    )


@given(
    st.sampled_from(sorted(CHOICES)),
    st.one_of(TRUSTED, st.integers(1, 3)),
    st.one_of(PEERS, st.text(max_size=50)),
    st.lists(st.one_of(st.binary(max_size=60), LETTERS.map(lambda text: text.encode("latin-1")))),
)
def test_no_request_raises(
    choice: str, trusted: list[str] | int, peer: str | None, values: list[bytes]
):
    """Any bytes from any peer are an address in its canonical spelling, or unknown."""
    if isinstance(trusted, int) and choice in {"peer", "cloudflare"}:
        trusted = [*NETWORKS]
    clients = ClientAddress.parse(choice, trusted)
    head = asked(peer, *values, header=clients.header or "x-forwarded-for")
    client = clients.of(head)
    packed = pack_address(client)
    assert client == (None if packed is None else unpack_address(packed))
    assert clients.of(head) == client
    assert rewritten((peer, 0), values) is bool(peer and values)


@given(chains(), TRUSTED, st.data())
def test_a_server_that_walks_first_opens_nothing(
    chain: tuple[str, list[str], tuple[bytes, ...]], trusted: list[str], data: st.DataObject
):
    """A server that trusts some of our proxies names the client; our own walk finds the same."""
    _, nodes, _ = chain
    values = (", ".join(nodes).encode(),) if nodes else ()
    clients = ClientAddress.parse(None, trusted)
    peer = data.draw(st.sampled_from(ADDRESSES))
    server = ClientAddress.parse(None, data.draw(st.lists(st.sampled_from(trusted), min_size=1)))
    named = peer
    if server.trusts(peer):
        passed = [node for node in nodes if not (node in ADDRESSES and server.trusts(node))]
        named = [*nodes[:1], *passed][-1] if nodes else peer
    if clients.trusts(peer) and named:
        assert clients.of(asked(named, *values)) == clients.of(asked(peer, *values))


@given(chains(), TRUSTED, PEERS, st.lists(st.sampled_from(NETWORKS[:-2]), min_size=1))
def test_an_unknown_client_passes_no_limit_of_networks(
    chain: tuple[str, list[str], tuple[bytes, ...]],
    trusted: list[str],
    peer: str | None,
    networks: list[str],
):
    """Nor does one whose address only looks as if it lay within."""
    header, _, values = chain
    client = ClientAddress.parse(header, trusted).of(asked(peer, *values, header=header))
    facts = RequestFacts(method="GET", path="/", address=pack_address(client))
    if client is None:
        assert not Limits(networks=networks).permits(facts, 0.0)
    else:
        assert ":" not in client or IPv6Address(client).ipv4_mapped is None
