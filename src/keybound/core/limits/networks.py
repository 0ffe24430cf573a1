"""From which client addresses a key may be used: addresses and networks, and exclusions with ``!``.

Both families are one line of integers (`keybound.core.facts.pack_address`). A clause compiles to
the edges where permission starts and stops on that line, so a request costs one binary search.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network
from typing import TYPE_CHECKING, Final, cast

from keybound.core.errors import LimitError
from keybound.core.facts import IPV6_BASE
from keybound.core.limits.clause import ALL_OR_NONE, BLANKS, EVERY, Clause, members, shown
from keybound.core.limits.network_text import read_network
from keybound.core.reasons import Reason

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from typing import Self

    from keybound.core.facts import RequestFacts
    from keybound.core.limits.clause import Json
    from keybound.core.limits.network_text import Network

_EXCEPT = "!"
_ANYWHERE: Final[frozenset[Network]] = frozenset({IPv4Network("0.0.0.0/0"), IPv6Network("::/0")})
_MAPPED = IPv6Network("::ffff:0:0/96")


@dataclass(frozen=True, slots=True)
class Networks(Clause):
    """The client's address must lie in an allowed network and in no excluded one.

    IPv4 and IPv6 are apart: ``::/0`` contains no IPv4 address, and a mapped one is IPv4.
    """

    dimension = "networks"
    choices = ALL_OR_NONE

    allowed: frozenset[Network]
    excluded: frozenset[Network] = frozenset()
    edges: tuple[int, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Compile the networks."""
        # Mapped addresses are packed as IPv4; without this they could pass a second time as IPv6.
        object.__setattr__(self, "edges", _edges(self.allowed, self.excluded | {_MAPPED}))

    @classmethod
    def parse(cls, value: object, /) -> Self | None:
        """Read addresses and networks, as text or list, ``!`` before those that are excluded.

        ``*`` is both families, and without exclusions no clause. A member of a list is exactly an
        address or a network; blanks may stand around the commas of a text alone.
        """
        items = members(cls.dimension, value)
        if not isinstance(value, str):
            _refuse_blanks(cast("Collection[str]", value))
        allowed = {item for item in items if not item.startswith(_EXCEPT)}
        excluded = {read_network(item.removeprefix(_EXCEPT)) for item in set(items) - allowed}
        if excluded and not allowed:
            fix = f"write '*, {', '.join(sorted(set(items)))}' for all others"
            raise LimitError(cls.dimension, "only excludes, so it would allow nothing", fix=fix)
        networks = {read_network(item) for item in allowed if item != EVERY}
        if EVERY in allowed:
            if not excluded:
                return None
            networks |= _ANYWHERE
        return cls(frozenset(networks), frozenset(excluded))

    def permits(self, facts: RequestFacts, _now: float, /) -> bool:
        """Say whether the address is known and lies within."""
        address = facts.address
        return address is not None and bisect_right(self.edges, address) % 2 == 1

    def covers(self, other: Clause, /) -> bool:
        """Say whether all addresses of the other lie within; exact, exclusions included."""
        if not isinstance(other, Networks):
            return False
        for start, stop in zip(other.edges[::2], other.edges[1::2], strict=True):
            at = bisect_right(self.edges, start)
            if at % 2 == 0 or self.edges[at] < stop:
                return False
        return True

    def reason(self, facts: RequestFacts, _now: float, /) -> Reason:
        """Tell an unknown address from one elsewhere."""
        return Reason.NETWORK_UNKNOWN if facts.address is None else Reason.NETWORK_NOT_ALLOWED

    def describe(self) -> str:
        """Return the networks in order, IPv4 first."""
        everywhere = self.allowed >= _ANYWHERE
        allowed = "any address" if everywhere else ", ".join(_texts(self.allowed)) or "none"
        return " except ".join(filter(None, (allowed, ", ".join(_texts(self.excluded)))))

    def dump(self) -> Json:
        """Return the networks in order, then the exclusions."""
        return _texts(self.allowed) + [f"{_EXCEPT}{text}" for text in _texts(self.excluded)]


def _texts(networks: Iterable[Network]) -> list[str]:
    return [
        str(network.network_address) if network.num_addresses == 1 else str(network)
        for network in sorted(networks, key=_span)
    ]


def _span(network: Network) -> tuple[int, int]:
    """Return the packed start of a network and the first address after it."""
    base = int(network.network_address) + (0 if network.version == 4 else IPV6_BASE)  # noqa: PLR2004
    return base, base + network.num_addresses


def _refuse_blanks(items: Collection[str]) -> None:
    for item in items:
        if item != item.strip(BLANKS):
            raise LimitError(
                Networks.dimension, f"{shown(item)} has blanks around it", fix="leave them out"
            )


def _edges(allowed: Iterable[Network], excluded: Iterable[Network]) -> tuple[int, ...]:
    """Sweep over all starts and stops: permitted is where something allows and nothing excludes."""
    steps: dict[int, tuple[int, int]] = {}
    for networks, counts in ((allowed, (1, 0)), (excluded, (0, 1))):
        for network in networks:
            for point, sign in zip(_span(network), (1, -1), strict=True):
                have = steps.get(point, (0, 0))
                steps[point] = (have[0] + sign * counts[0], have[1] + sign * counts[1])
    edges: list[int] = []
    allowing = excluding = 0
    for point in sorted(steps):
        allowing += steps[point][0]
        excluding += steps[point][1]
        if (allowing > 0 and excluding == 0) is (len(edges) % 2 == 0):
            edges.append(point)
    return tuple(edges)
