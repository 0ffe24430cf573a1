"""Read one address or network, exactly: `ipaddress` takes more than a person can have meant.

``10.0.0.0/0.0.0.0`` would be everything, ``::ffff:10.0.0.0/8`` would be ``::/8``.
"""

from __future__ import annotations

from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    summarize_address_range,
)
from typing import TypeAlias

from keybound.core.errors import LimitError
from keybound.core.limits.clause import shown

Network: TypeAlias = IPv4Network | IPv6Network

_FIELD = "networks"
_EXAMPLES = "write an address such as 10.0.0.1, or a network such as 10.0.0.0/8"
_IPV4_BITS = 32
_MAPPED_BITS = 96
_RANGE_SHOWN_MAX = 4


def read_network(text: str) -> Network:
    """Read ``10.0.0.0/8`` or ``2001:db8::1``; a mapped address is read as its IPv4 address.

    Host bits, netmasks, ranges, zone ids and mapped networks are errors that name the fix.
    """
    if "%" in text:
        raise _error(text, "has a zone id", f"write {text.partition('%')[0]}")
    if "*" in text:
        raise _error(text, "has a wildcard", "write a network such as 10.0.0.0/24, or '*' alone")
    base_text, slash, length_text = text.partition("/")
    try:
        base = ip_address(base_text)
    except ValueError:
        raise _error(text, "is neither an address nor a network", _range_fix(text)) from None
    length = _length(text, base, length_text) if slash else base.max_prefixlen
    mapped = base.ipv4_mapped if isinstance(base, IPv6Address) else None
    if mapped is not None:
        if slash:
            raise _error(text, "is an IPv4 network written as IPv6", _mapped_fix(mapped, length))
        return IPv4Network(mapped)
    network = _network(base, length)
    if network.network_address != base:
        raise _error(text, "has host bits set", f"write {network}, or {base} for the one address")
    return network


def _network(base: IPv4Address | IPv6Address, length: int) -> Network:
    if isinstance(base, IPv4Address):
        return IPv4Network((int(base), length), strict=False)
    return IPv6Network((int(base), length), strict=False)


def _length(text: str, base: IPv4Address | IPv6Address, written: str) -> int:
    if not (written.isascii() and written.isdigit()):
        raise _error(text, "has no prefix length after the slash", _netmask_fix(base, written))
    length = int(written)
    if length > base.max_prefixlen:
        raise _error(text, f"has a prefix length above {base.max_prefixlen}", _EXAMPLES)
    if written != str(length):
        raise _error(text, "has a prefix length with leading zeros", f"write {base}/{length}")
    return length


def _netmask_fix(base: IPv4Address | IPv6Address, written: str) -> str:
    try:
        hosts = int(IPv4Address(written)) ^ 0xFFFFFFFF
    except ValueError:
        return _EXAMPLES
    # A mask of zeros may be a slip, and a wildcard mask is no netmask: suggest neither as a /0.
    length = _IPV4_BITS - hosts.bit_length()
    if base.max_prefixlen != _IPV4_BITS or hosts & (hosts + 1) or not length:
        return _EXAMPLES
    return f"write {_network(base, length)}"


def _mapped_fix(mapped: IPv4Address, length: int) -> str:
    meant = length - _MAPPED_BITS if length >= _MAPPED_BITS else min(length, _IPV4_BITS)
    return f"write {_network(mapped, meant)}"


def _range_fix(text: str) -> str:
    try:
        first, last = map(ip_address, text.split("-"))
        networks = list(summarize_address_range(first, last))
    except (ValueError, TypeError):
        return _EXAMPLES
    if len(networks) > _RANGE_SHOWN_MAX:
        return _EXAMPLES
    return f"write {', '.join(map(str, networks))}"


def _error(text: str, problem: str, fix: str) -> LimitError:
    return LimitError(_FIELD, f"{shown(text)} {problem}", fix=fix)
