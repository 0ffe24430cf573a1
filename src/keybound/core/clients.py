"""Who the client is: the peer of the connection, or whom trusted proxies name."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from keybound.core.errors import InputError, nearest
from keybound.core.facts import pack_address, unpack_address
from keybound.core.forwarded import FORMS
from keybound.core.limits.clause import shown
from keybound.core.proxies import CHOICES, FIELD, Choice, Proxies, read_trusted

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self

    from keybound.core.head import Head

REMEMBERED_MAX: Final = 4_096
"""Peers, each with a value of the header, whose clients are remembered."""

VALUE_REMEMBERED_MAX: Final = 256
"""Bytes of the longest value that is remembered."""

PEER_REMEMBERED_MAX: Final = 64
"""Characters of the longest peer that is: a server that believes everybody hands on any text."""


@dataclass(frozen=True, slots=True)
class ClientAddress:
    """How the client's address is found: safe for threads, and a function of the request alone.

    With some of the proxies alone, the address that is found stands at the same place of the chain
    or nearer to the server: removing trust makes nobody more distant, and so nobody somebody else.
    """

    header: str | None
    """The header that is read, in lower case; ``None``: the peer decides."""

    proxies: Proxies
    hops: int | None = None
    """The entry from the right that is the client; ``None``: whoever is not trusted first."""

    anybody: bool = False
    """Whether every peer counts as a proxy, because nobody else can reach the port."""

    _remember: Callable[[str | None, bytes], str | None] = field(
        init=False, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        """Remember nothing yet."""
        object.__setattr__(self, "_remember", lru_cache(maxsize=REMEMBERED_MAX)(self._find))

    @classmethod
    def parse(cls, client_ip: object = None, trusted_proxies: object = ()) -> Self:
        """Read the two settings: a name of `CHOICES` or ``None``, and a number or a list of text.

        The peer decides where neither is given; trusted proxies without a name are those of
        ``X-Forwarded-For``. Raises `InputError` that names one of the two settings and the fix.
        """
        trusted = read_trusted(trusted_proxies)
        if client_ip is None:
            client_ip = "x-forwarded-for" if trusted else "peer"
        choice = CHOICES.get(client_ip) if isinstance(client_ip, str) else None
        if choice is None:
            fix = nearest(str(client_ip), CHOICES)
            raise InputError("client_ip", f"{shown(str(client_ip))} is not known", fix=fix)
        if isinstance(trusted, int):
            return cls(_countable(client_ip, choice), Proxies.of(()), trusted, anybody=True)
        listed = trusted or choice.default
        if choice.header is not None and not listed:
            problem = f"is empty, and client_ip={client_ip!r} reads what everybody can write"
            raise InputError(FIELD, problem, fix="name the proxies, such as 10.0.0.0/24")
        proxies = Proxies.of((*listed, *choice.always), never=choice.never)
        return cls(choice.header, proxies, choice.hops)

    @property
    def plain(self) -> bool:
        """Whether the peer decides, so that no header is read."""
        return self.header is None

    def trusts(self, peer: str | None) -> bool:
        """Say whether what this peer adds to a request may be believed."""
        return self.anybody or self.proxies.trusts(peer)

    @property
    def trusts_some(self) -> bool:
        """Whether there is any peer at all that may be believed."""
        return self.anybody or self.proxies.unix or bool(self.proxies.networks.edges)

    def of(self, head: Head) -> str | None:
        """Return the client's address in its canonical spelling, or ``None`` for unknown.

        An IPv4 address that is mapped into IPv6 is IPv4. A peer that is not trusted is the client,
        whatever its header says.
        """
        peer = head.peer
        lines = () if self.header is None else head.lines(self.header)
        if not lines:
            counted = self.hops is not None and self.trusts(peer)
            return None if counted else _text(pack_address(peer))
        value = lines[0] if len(lines) == 1 else b",".join(lines)  # as a WSGI server joins them
        if len(value) > VALUE_REMEMBERED_MAX or len(peer or "") > PEER_REMEMBERED_MAX:
            return self._find(peer, value)
        return self._remember(peer, value)

    def _find(self, peer: str | None, value: bytes) -> str | None:
        return self._walk(value) if self.trusts(peer) else _text(pack_address(peer))

    def _walk(self, value: bytes) -> str | None:
        form = FORMS[self.header or ""]
        entries = form.split(value)
        if entries is None:
            return None
        if self.hops is not None:
            return _text(form.read(entries[-self.hops])) if self.hops <= len(entries) else None
        packed = None
        for entry in reversed(entries):
            packed = form.read(entry)
            if packed is None or packed not in self.proxies:
                break
        return _text(packed)


def _countable(name: object, choice: Choice) -> str:
    if choice.header is None:
        problem = f"counts entries of a header, and client_ip={name!r} reads none"
        raise InputError(FIELD, problem, fix="write client_ip='x-forwarded-for'")
    if choice.always:
        problem = f"counts entries, and client_ip={name!r} knows its proxies"
        raise InputError(FIELD, problem, fix="leave it out, or write client_ip='x-forwarded-for'")
    return choice.header


@lru_cache(maxsize=REMEMBERED_MAX)
def _text(packed: int | None) -> str | None:
    return None if packed is None else unpack_address(packed)
