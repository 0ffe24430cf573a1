"""Whether a key may only read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from keybound.core.limits.switch import Switch
from keybound.core.reasons import Reason

if TYPE_CHECKING:
    from keybound.core.facts import RequestFacts


@dataclass(frozen=True, slots=True)
class ReadOnly(Switch):
    """Only requests that read: what reads is the route's to say, otherwise the method's."""

    dimension = "read_only"

    def permits(self, facts: RequestFacts, _now: float, /) -> bool:
        """Say whether the request reads."""
        return facts.access == "read"

    def reason(self, _facts: RequestFacts, _now: float, /) -> Reason:
        """Return the one reason there is."""
        return Reason.METHOD_NOT_ALLOWED

    def describe(self) -> str:
        """Return it in words."""
        return "reads only"
