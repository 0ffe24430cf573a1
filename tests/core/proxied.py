"""What tests of client addresses share: a request's head, and a slow reading of its chain."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING

from tests.core.heads import FakeHead

if TYPE_CHECKING:
    from collections.abc import Sequence
    from ipaddress import IPv4Address, IPv6Address

TOKEN = set("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")


def asked(peer: str | None, *lines: bytes, header: str = "x-forwarded-for") -> FakeHead:
    """Return the head of a request with these lines of one header."""
    return FakeHead(tuple((header, line) for line in lines), peer=peer)


def slow_client(
    peer: str | None, values: Sequence[bytes], trusted: Sequence[str], *, header: str
) -> str | None:
    """Find the client by building the whole chain first; nothing is clever here."""
    if not slow_trusts(peer, trusted):
        return spell(exact(peer or ""))
    if not values:
        return spell(exact(peer or ""))
    text = b",".join(values).decode("latin-1")
    if header == "forwarded":
        nodes = slow_elements(text)
        if nodes is None:
            return None
        chain = [slow_node(node) for node in nodes]
    else:
        chain = [slow_entry(entry.strip(" \t")) for entry in text.split(",")]
    for address in reversed(chain):
        if address is None:
            return None
        if not inside(address, trusted):
            return spell(address)
    return spell(chain[0])


def slow_trusts(peer: str | None, trusted: Sequence[str]) -> bool:
    """Say whether a peer is listed."""
    if not peer:
        return "unix:" in trusted
    address = exact(peer)
    return address is not None and inside(address, trusted)


def inside(address: IPv4Address | IPv6Address, trusted: Sequence[str]) -> bool:
    """Say whether an address lies in one of the networks."""
    networks = [ip_network(text) for text in trusted if text != "unix:"]
    return any(network.version == address.version and address in network for network in networks)


def exact(text: str) -> IPv4Address | IPv6Address | None:
    """Return an address, IPv4 if it is mapped."""
    if "%" in text or not text.isascii():
        return None
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def spell(address: IPv4Address | IPv6Address | None) -> str | None:
    """Return the canonical text."""
    return None if address is None else str(address)


def slow_entry(text: str) -> IPv4Address | IPv6Address | None:
    """Read an entry of X-Forwarded-For."""
    return exact(text) or slow_node(text, names=False)


def slow_node(text: str, *, names: bool = True) -> IPv4Address | IPv6Address | None:
    """Read a node: an address, IPv6 in brackets, and perhaps a port (or a name for one)."""
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        address = exact(host) if bracket and ":" in host else None
    else:
        host, colon, port = text.partition(":")
        rest = colon + port
        address = exact(host)
    if rest:
        port = rest[1:]
        number = port.isascii() and port.isdigit() and len(port) <= 5
        name = (
            names and len(port) > 1 and port[0] == "_" and set(port) <= TOKEN - set("!#$%&'*+^`|~")
        )
        if rest[0] != ":" or not (number or name):
            return None
    return address


def slow_elements(text: str) -> list[str] | None:
    """Read a Forwarded header character by character; ``None`` is a syntax error."""
    rest = list(text.strip(" \t"))
    found: list[str] = []
    while True:
        element = take_element(rest)
        if element is None:
            return None
        found.append(element.get("for", ""))
        if not rest:
            return found
        take(rest, set(" \t"))
        if not rest or rest.pop(0) != ",":
            return None
        take(rest, set(" \t"))


def take_element(rest: list[str]) -> dict[str, str] | None:
    """Take the parameters up to what can only be the end of an element."""
    element: dict[str, str] = {}
    while True:
        if name := take(rest, TOKEN).lower():
            if not rest or rest.pop(0) != "=" or name in element:
                return None
            value = take_quoted(rest) if rest and rest[0] == '"' else take(rest, TOKEN) or None
            if value is None:
                return None
            element[name] = value
        if not rest or rest[0] != ";":
            return element
        rest.pop(0)


def take(rest: list[str], chars: set[str]) -> str:
    """Take characters while they are some of these."""
    taken = ""
    while rest and rest[0] in chars:
        taken += rest.pop(0)
    return taken


def take_quoted(rest: list[str]) -> str | None:
    """Take a quoted string; ``None`` if it does not end, or holds what it may not."""
    taken = ""
    rest.pop(0)
    while rest:
        char = rest.pop(0)
        if char == '"':
            return taken
        if char == "\\":
            char = rest.pop(0) if rest else "\0"
        if char != "\t" and not " " <= char <= "~" and not "\x80" <= char <= "\xff":
            return None
        taken += char
    return None
