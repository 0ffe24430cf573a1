"""Which proxies are trusted to say who the client is, and the setups that have a name."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from typing import TYPE_CHECKING, Final, cast

from keybound.core.errors import InputError
from keybound.core.facts import pack_address
from keybound.core.forwarded import ENTRIES_MAX
from keybound.core.limits.clause import BLANKS, MEMBERS_MAX, shown
from keybound.core.limits.network_text import read_network
from keybound.core.limits.networks import Networks

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Self

FIELD: Final = "trusted_proxies"
"""The setting that errors name."""

UNIX: Final = "unix:"
"""Whoever asks through a unix socket: it has no address."""

LOCAL: Final = ("127.0.0.0/8", "::1", UNIX)
"""Proxies on the same host."""

PRIVATE: Final = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7")
"""Networks that nobody has on the Internet (RFC 1918 and RFC 4193)."""

CLOUDFLARE: Final = (
    *("173.245.48.0/20", "103.21.244.0/22", "103.22.200.0/22", "103.31.4.0/22"),
    *("141.101.64.0/18", "108.162.192.0/18", "190.93.240.0/20", "188.114.96.0/20"),
    *("197.234.240.0/22", "198.41.128.0/17", "162.158.0.0/15", "104.16.0.0/13"),
    *("104.24.0.0/14", "172.64.0.0/13", "131.0.72.0/22"),
    *("2400:cb00::/32", "2606:4700::/32", "2803:f800::/32", "2405:b500::/32"),
    *("2405:8100::/32", "2a06:98c0::/29", "2c0f:f248::/32"),
)
"""Cloudflare's networks as published on https://www.cloudflare.com/ips/ in October 2026."""

CLOUDFLARE_WORKERS: Final = ("2a06:98c0:3600::103",)
"""What Cloudflare gives as the client where another customer's program asks: no proxy of theirs."""


@dataclass(frozen=True, slots=True)
class Proxies:
    """The networks that are trusted, and whether unix sockets are."""

    networks: Networks
    unix: bool = False

    @classmethod
    def of(cls, listed: Iterable[str], *, never: Iterable[str] = ()) -> Self:
        """Return what a list of texts means; ``never`` are networks that no entry trusts."""
        texts = set(listed)
        networks = frozenset(map(read_network, texts - {UNIX}))
        return cls(Networks(networks, frozenset(map(read_network, never))), UNIX in texts)

    def __contains__(self, packed: int) -> bool:
        """Say whether a packed address lies in a trusted network."""
        return bisect_right(self.networks.edges, packed) % 2 == 1

    def trusts(self, peer: str | None) -> bool:
        """Say whether this is the address of a trusted proxy, as the server gives it."""
        if not peer:
            return self.unix
        packed = pack_address(peer)
        return packed is not None and packed in self


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What one value of ``client_ip`` means."""

    header: str | None = None
    """The header that is read; ``None``: the peer decides."""

    default: tuple[str, ...] = ()
    """Whom it trusts where nobody is named."""

    always: tuple[str, ...] = ()
    """Whom it trusts in any case."""

    never: tuple[str, ...] = ()
    """Whom it does not trust in any case."""

    hops: int | None = None
    """The entry from the right that is the client, where it is always the same one."""


CHOICES: Final[Mapping[str, Choice]] = {
    "peer": Choice(),
    "x-forwarded-for": Choice(header="x-forwarded-for"),
    "forwarded": Choice(header="forwarded"),
    "nginx": Choice(header="x-forwarded-for", default=LOCAL),
    "cloudflare": Choice(
        header="x-forwarded-for", default=LOCAL, always=CLOUDFLARE, never=CLOUDFLARE_WORKERS
    ),
    # A client within the same network is not taken for one more proxy: only the last entry counts.
    "aws-alb": Choice(header="x-forwarded-for", default=PRIVATE, hops=1),
}
"""Every value of ``client_ip``."""


def read_trusted(value: object) -> int | tuple[str, ...]:
    """Return a number of entries, or networks and ``unix:``, all of which can be read.

    ``value`` is a number, a list of text, or text that is either (as in the environment). Raises
    `InputError` that names ``trusted_proxies`` and the fix.
    """
    if isinstance(value, str):
        text = value.strip(BLANKS)
        counts = _is_digits(text) and len(text) <= _COUNT_LENGTH_MAX
        value = int(text) if counts else text.split(",")
    if isinstance(value, int) and not isinstance(value, bool):
        if not 1 <= value <= ENTRIES_MAX:
            fix = f"write 1 to {ENTRIES_MAX}, or the networks of the proxies"
            raise InputError(FIELD, f"is {value}", fix=fix)
        return value
    if not isinstance(value, Sequence) or isinstance(value, bytes | bytearray):
        raise InputError(FIELD, f"is {type(value).__name__}", fix=_FIX)
    items = cast("Sequence[object]", value)
    if len(items) > MEMBERS_MAX:
        raise InputError(FIELD, f"has {len(items)} members", fix=f"use at most {MEMBERS_MAX}")
    texts = tuple(_read_proxy(item) for item in items)
    _check_narrow(texts)
    return texts


def _read_proxy(item: object) -> str:
    if not isinstance(item, str):
        fix = "write it as text, or the number of entries without a list"
        raise InputError(FIELD, f"has a member that is {type(item).__name__}", fix=fix)
    text = item.strip(BLANKS)
    if not text:
        raise InputError(FIELD, "has an empty member", fix="remove it")
    if text == "*":
        raise InputError(FIELD, f"'*' {_EVERYBODY}", fix=_FIX)
    if "*" in text:
        raise InputError(FIELD, f"{shown(text)} has a wildcard", fix=_FIX)
    if _is_digits(text):
        fix = "write the number of entries without a list, and no network with it"
        raise InputError(FIELD, f"{shown(text)} is no network", fix=fix)
    if text != UNIX:
        try:
            read_network(text)
        except InputError as error:
            raise InputError(FIELD, error.problem, fix=error.fix) from None
    return text


def _check_narrow(texts: Iterable[str]) -> None:
    networks = Proxies.of(texts).networks
    for family in _FAMILIES:
        if networks.covers(Networks(frozenset({family}))):
            raise InputError(FIELD, f"all of {family} {_EVERYBODY}", fix=_FIX)


def _is_digits(text: str) -> bool:
    return text.isascii() and text.isdigit()


_COUNT_LENGTH_MAX = 9
_FAMILIES = (IPv4Network("0.0.0.0/0"), IPv6Network("::/0"))
_EVERYBODY = "trusts everybody, so everybody could say who the client is"
_FIX = "write the networks of the proxies, such as 10.0.0.0/24, or 1 if there is one proxy"
