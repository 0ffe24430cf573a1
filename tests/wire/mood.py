"""A dimension of the site: bodies of a key that has it are looked into, and may name nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from keybound import Reason
from keybound.core.limits import Clause

if TYPE_CHECKING:
    from keybound.core.facts import RequestFacts


@dataclass(frozen=True, slots=True)
class Mood(Clause):
    """Permits everything."""

    dimension = "mood"

    value: str

    @classmethod
    def parse(cls, value: object, /) -> Mood:
        """Read anything."""
        return cls(str(value))

    def permits(self, _facts: RequestFacts, _now: float, /) -> bool:
        """Return true."""
        return True

    def covers(self, other: Clause, /) -> bool:
        """Return whether it is the same."""
        return self == other

    def reason(self, _facts: RequestFacts, _now: float, /) -> Reason:
        """Return one that is never needed."""
        return Reason.LIMIT_INVALID

    def describe(self) -> str:
        """Return it."""
        return self.value

    def dump(self) -> str:
        """Return it."""
        return self.value
