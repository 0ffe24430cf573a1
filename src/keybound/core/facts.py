"""The request as the core sees it, and the one numeric form of a client address."""

from __future__ import annotations

from functools import lru_cache
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import Literal

from msgspec import Struct

Access = Literal["read", "write"]
"""What a request does to a model. Whoever may write may read."""

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
"""Methods that only read (RFC 9110 section 9.2.1); every other method, known or not, writes."""

MAY_READ = SAFE_METHODS | {"POST"}
"""Methods that only read where a view says so; of all others only a site itself may say it."""

WEBSOCKET = "WEBSOCKET"
"""The method of a WebSocket handshake: nothing that a client sends can be spelled like it."""

OWN_TENANT = "~"
"""The tenant of whoever calls."""

IPV6_BASE = 1 << 128
"""IPv6 addresses are packed above IPv4 ones, so that one integer tells both apart."""


class RequestFacts(Struct, frozen=True, kw_only=True):
    """What a limit may look at; unknown is ``None`` and never a default that permits.

    ``in_header`` says where the credential came from; whoever reads one elsewhere says so.
    """

    method: str
    path: str
    address: int | None = None
    tenant: str | None = None
    model: str | None = None
    access: Access = "write"
    scopes: tuple[str, ...] = ()
    in_header: bool = True


def pack_address(text: str | None) -> int | None:
    """Return an address as one integer, or ``None`` for anything that is not exactly an address.

    IPv4 is its 32-bit value, IPv6 its 128-bit value plus ``IPV6_BASE``; an IPv4 address mapped
    into IPv6 (RFC 4291 section 2.5.5.2) counts as IPv4. Zone ids are text of the client: unknown.
    """
    if not isinstance(text, str) or len(text) > _ADDRESS_MAX:
        return None
    return _packed(text)


_ADDRESS_MAX = 45
"""Characters of the longest address: IPv6 with an IPv4 one at its end."""


@lru_cache(maxsize=4_096)
def _packed(text: str) -> int | None:
    if not text.isascii():
        return None
    try:
        if ":" not in text:
            return int(IPv4Address(text))
        if "%" in text:
            return None
        address = IPv6Address(text)
    except AddressValueError:
        return None
    mapped = address.ipv4_mapped
    return int(mapped) if mapped is not None else IPV6_BASE + int(address)


def unpack_address(packed: int) -> str:
    """Return the text of a packed address."""
    if packed < IPV6_BASE:
        return str(IPv4Address(packed))
    return str(IPv6Address(packed - IPV6_BASE))


def own_tenant(tenant: str | None, home: str | None) -> str | None:
    """Return the tenant that a request is about, once it is known whose it is.

    ``~`` alone is the caller's home; as a segment of several (``~/100``) it is the same segment of
    the home, and without that the tenant is not known.
    """
    if tenant is None or OWN_TENANT not in tenant:
        return tenant
    if tenant == OWN_TENANT:
        return home
    segments, own = tenant.split("/"), [] if home is None else home.split("/")
    for place, segment in enumerate(segments):
        if segment == OWN_TENANT:
            if place >= len(own):
                return None
            segments[place] = own[place]
    return "/".join(segments)


def default_access(method: str) -> Access:
    """Return what a method does where no route says otherwise."""
    return "read" if method in SAFE_METHODS else "write"
