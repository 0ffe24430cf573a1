"""Whether a key must come in a header."""

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
class HeaderOnly(Clause):
    """Only requests with the key in a header: a query or a cookie is kept in too many places."""

    dimension = "header_only"

    @classmethod
    def parse(cls, value: object, /) -> Self | None:
        """Read ``True``; ``False`` is no clause, and nothing else is taken for either."""
        if value is True:
            return cls()
        if value is False:
            return None
        raise unusable(cls.dimension, value, fix="write true or false")

    def permits(self, facts: RequestFacts, _now: float, /) -> bool:
        """Say whether the key came in a header."""
        return facts.in_header is True

    def covers(self, other: Clause, /) -> bool:
        """Say whether the other is the same; there is only one."""
        return self == other

    def reason(self, _facts: RequestFacts, _now: float, /) -> Reason:
        """Return the one reason there is."""
        return Reason.CREDENTIAL_NOT_ALLOWED

    def describe(self) -> str:
        """Return it in words."""
        return "in a header only"

    def dump(self) -> Json:
        """Return ``True``."""
        return True
