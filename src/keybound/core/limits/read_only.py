"""Whether a key may only read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from keybound.core.limits.clause import Clause, unusable
from keybound.core.reasons import Reason

if TYPE_CHECKING:
    from typing import Self

    from keybound.core.facts import RequestFacts
    from keybound.core.limits.clause import Json


@dataclass(frozen=True, slots=True)
class ReadOnly(Clause):
    """Only requests that read: what reads is the route's to say, otherwise the method's."""

    dimension = "read_only"

    @classmethod
    def parse(cls, value: object, /) -> Self | None:
        """Read ``True``; ``False`` is no clause, and nothing else is taken for either."""
        if value is True:
            return cls()
        if value is False:
            return None
        raise unusable(cls.dimension, value, fix="write true or false")

    def permits(self, facts: RequestFacts, _now: float, /) -> bool:
        """Say whether the request reads."""
        return facts.access == "read"

    def covers(self, other: Clause, /) -> bool:
        """Say whether the other is the same; there is only one."""
        return self == other

    def reason(self, _facts: RequestFacts, _now: float, /) -> Reason:
        """Return the one reason there is."""
        return Reason.METHOD_NOT_ALLOWED

    def describe(self) -> str:
        """Return it in words."""
        return "reads only"

    def dump(self) -> Json:
        """Return ``True``."""
        return True
