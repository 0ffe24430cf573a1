"""The two headers in which proxies say for whom they ask, read exactly or not at all.

A header is a list to which every proxy adds at its right; what is left of the last trusted one may
be anybody's text. Splitting is linear, and nothing long is split.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from keybound.core.facts import pack_address

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

VALUE_MAX: Final = 8_192
"""Bytes of the longest value that is read."""

ENTRIES_MAX: Final = 100
"""Entries of the longest list that is read."""

PARAMETERS_MAX: Final = 4 * ENTRIES_MAX
"""Semicolons of the longest list: RFC 7239 knows four parameters."""

_BLANKS = b" \t"
_HOST_AND_PORT = 2
_NODE_MAX = 256


@dataclass(frozen=True, slots=True)
class Form:
    """How one header is written: what its entries are, and what address an entry is."""

    split: Callable[[bytes], Sequence[bytes] | None]
    """Return the entries, at least one; ``None`` for a value that cannot be read."""

    read: Callable[[bytes], int | None]
    """Return the packed address that an entry is, or ``None``."""


def split_list(value: bytes) -> Sequence[bytes] | None:
    """Return the entries of ``X-Forwarded-For``, which commas separate."""
    if len(value) > VALUE_MAX or value.count(b",") >= ENTRIES_MAX:
        return None
    return [entry.strip(_BLANKS) for entry in value.split(b",")]


def read_entry(entry: bytes) -> int | None:
    """Return the address of an entry of ``X-Forwarded-For``; a port after it does not count.

    IPv6 may stand in brackets, and must where there is a port.
    """
    return _read(_ENTRY, entry)


def split_forwarded(value: bytes) -> Sequence[bytes] | None:
    """Return what ``for=`` says in each element of ``Forwarded`` (RFC 7239 section 4).

    An element without it is empty; of a quoted text, the quotes are gone. ``None`` for anything
    that is not exactly of this grammar: after one quote out of place nobody knows who wrote what.
    """
    if len(value) > VALUE_MAX or value.count(b";") > PARAMETERS_MAX:
        return None
    text = value.strip(_BLANKS)
    nodes: list[bytes] = []
    element: dict[bytes, bytes] = {}
    at = 0
    while True:
        if pair := _PAIR.match(text, at):
            name = pair[1].lower()
            if name in element:
                return None
            element[name] = pair[2] or pair[3]
            at = pair.end()
        if text.startswith(b";", at):
            at += 1
            continue
        nodes.append(element.get(b"for", b""))
        if at == len(text):
            return nodes
        comma = _COMMA.match(text, at)
        if comma is None or len(nodes) == ENTRIES_MAX:
            return None
        at = comma.end()
        element = {}


def read_node(node: bytes) -> int | None:
    """Return the address of a node of ``Forwarded`` (RFC 7239 section 6): IPv6 has brackets.

    ``unknown`` and obfuscated names such as ``_gazonk`` are no addresses.
    """
    if len(node) > _NODE_MAX:
        return None
    return _read(_NODE, _ESCAPED.sub(rb"\1", node))  # what is not quoted has no backslash


FORMS: Final[Mapping[str, Form]] = {
    "x-forwarded-for": Form(split_list, read_entry),
    "forwarded": Form(split_forwarded, read_node),
}
"""Every header that can be read, by its name in lower case."""


def rewritten(client: Sequence[object] | None, lines: Sequence[bytes]) -> bool:
    """Say whether the server has already put an address of a header in the place of its peer.

    ``client`` is the server's host and port, ``lines`` the lines of ``X-Forwarded-For``. No
    connection comes from port 0, so that is what servers write that know no port of the client;
    where the header has one, host and port stand in it as the server gives them. Some servers give
    a port as text, and a unix socket the port 0 without a host. For a warning alone: whom a server
    believes cannot be found out afterwards, and a client may have chosen its port.
    """
    if not lines or client is None or len(client) != _HOST_AND_PORT or not client[0]:
        return False
    host, port = map(str, client)
    if port == "0":
        return True
    entries = split_list(b",".join(lines)) or ()
    spellings = (f"{host}:{port}", f"[{host}]:{port}")
    return any(each.encode(errors="replace") in entries for each in spellings)


def _read(pattern: re.Pattern[bytes], entry: bytes) -> int | None:
    found = pattern.fullmatch(entry)
    if found is None:
        return None
    return pack_address(found[found.lastindex or 0].decode("ascii"))


_IPV4 = rb"([0-9.]{7,15})"
_IPV6 = rb"([0-9A-Fa-f]{0,4}:[0-9A-Fa-f:.]{1,40})"
_ENTRY = re.compile(rb"%b(?::[0-9]{1,5})?|\[%b\](?::[0-9]{1,5})?|%b" % (_IPV4, _IPV6, _IPV6))

_PORT = rb"(?::(?:[0-9]{1,5}|_[A-Za-z0-9._-]+))?"
_NODE = re.compile(rb"%b%b|\[%b\]%b" % (_IPV4, _PORT, _IPV6, _PORT))

# RFC 9110 section 5.6, possessive: what does not match is looked at once.
_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]++"
_PLAIN = rb"[\t \x21\x23-\x5b\x5d-\x7e\x80-\xff]*+"
_QUOTED = rb'"(%b(?:\\[\t \x21-\x7e\x80-\xff]%b)*+)"' % (_PLAIN, _PLAIN)
_PAIR = re.compile(rb"(%b)=(?:(%b)|%b)" % (_TOKEN, _TOKEN, _QUOTED))
_ESCAPED = re.compile(rb"\\(.)", re.DOTALL)
_COMMA = re.compile(rb"[ \t]*+,[ \t]*+")
