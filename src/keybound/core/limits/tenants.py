"""Which tenants a key may act for: patterns over segments, such as ``R1/acme`` or ``*/acme``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from keybound.core.errors import LimitError
from keybound.core.facts import OWN_TENANT
from keybound.core.limits.clause import (
    ALL_OR_NONE,
    EVERY,
    Clause,
    check_name,
    listed,
    member,
    members,
    shown,
)
from keybound.core.reasons import Reason

if TYPE_CHECKING:
    from typing import Self

    from keybound.core.facts import RequestFacts
    from keybound.core.limits.clause import Json

SEGMENTS_MAX = 32
"""Segments of the deepest tenant; requests about a deeper one are not permitted."""

_UNNAMEABLE = frozenset({"", ".", "..", OWN_TENANT})
"""Segments that no pattern may have, so that no request with one of them is permitted."""


@dataclass(frozen=True, slots=True)
class Tenants(Clause):
    """A pattern covers the tenant it names and all beneath it; ``*`` is any one segment.

    ``*`` alone is a real clause, every tenant, because a key without one has its home tenant.
    """

    dimension = "tenants"
    choices = ALL_OR_NONE

    patterns: frozenset[str]
    literal: frozenset[str] = field(init=False, repr=False, compare=False)
    wild: tuple[tuple[str, ...], ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Split the patterns once, into those that a look-up finds and those that must be tried."""
        split = {pattern: tuple(pattern.split("/")) for pattern in self.patterns}
        literal = frozenset(pattern for pattern in split if EVERY not in split[pattern])
        wild = tuple(split[pattern] for pattern in sorted(self.patterns - literal))
        object.__setattr__(self, "literal", literal)
        object.__setattr__(self, "wild", wild)

    @classmethod
    def parse(cls, value: object, /) -> Self | None:
        """Read patterns, as text or list; ``*`` is every tenant and never no clause."""
        patterns = members(cls.dimension, value)
        for pattern in patterns:
            _check_pattern(cls.dimension, pattern)
        return cls(frozenset(patterns))

    def permits(self, facts: RequestFacts, _now: float, /) -> bool:
        """Say whether the tenant of the request is one of these, or beneath one."""
        tenant = facts.tenant
        if tenant is None:
            return False
        if tenant in self.literal:
            return True
        segments = tenant.split("/", SEGMENTS_MAX)
        if len(segments) > SEGMENTS_MAX or not _UNNAMEABLE.isdisjoint(segments):
            return False
        return self._reaches(tenant)

    def covers(self, other: Clause, /) -> bool:
        """Say whether each pattern of the other lies within one of these; exact."""
        return isinstance(other, Tenants) and all(map(self._reaches, other.patterns))

    def _reaches(self, name: str) -> bool:
        # A "*" among the segments, be it of a pattern or of a request, is found by "*" alone:
        # no literal pattern has one.
        above = name
        while above:
            if above in self.literal:
                return True
            above = above.rpartition("/")[0]
        segments = name.split("/")
        return any(
            len(pattern) <= len(segments)
            and all(want in (EVERY, have) for want, have in zip(pattern, segments, strict=False))
            for pattern in self.wild
        )

    def reason(self, facts: RequestFacts, _now: float, /) -> Reason:
        """Tell a request without a tenant from one for another tenant."""
        return Reason.TENANT_MISMATCH if facts.tenant else Reason.TENANT_UNRESOLVED

    def describe(self) -> str:
        """Return the patterns in order."""
        return listed(self.patterns)

    def dump(self) -> Json:
        """Return the patterns in order."""
        return sorted(self.patterns)


def parse_tenant(value: object) -> str:
    """Return the name of one tenant, such as a key's home; raises `LimitError` for a pattern."""
    name = member("tenant", value)
    _check_pattern("tenant", name)
    if EVERY in name:
        raise LimitError("tenant", f"{shown(name)} is a pattern", fix="write one tenant's name")
    return name


def _check_pattern(field: str, pattern: str) -> None:
    check_name(field, pattern)
    for segment in pattern.split("/"):
        if not segment:
            parts = [part for part in pattern.split("/") if part]
            fix = f"write {shown('/'.join(parts))}" if parts else "write the tenant's name"
            raise LimitError(field, f"{shown(pattern)} has an empty segment", fix=fix)
        if segment in _UNNAMEABLE:
            raise LimitError(
                field,
                f"{shown(pattern)} has the segment {segment!r}, which names no tenant",
                fix="write the tenant's name",
            )
        if EVERY in segment and segment != EVERY:
            raise LimitError(
                field,
                f"{shown(pattern)} has '*' inside a segment",
                fix="'*' stands for one whole segment, as in '*/acme'",
            )
