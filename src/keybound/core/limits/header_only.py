"""Whether a key must come in a header."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from keybound.core.limits.switch import Switch
from keybound.core.reasons import Reason

if TYPE_CHECKING:
    from keybound.core.facts import RequestFacts


@dataclass(frozen=True, slots=True)
class HeaderOnly(Switch):
    """Only requests with the key in a header: a query or a cookie is kept in too many places."""

    dimension = "header_only"

    def permits(self, facts: RequestFacts, _now: float, /) -> bool:
        """Say whether the key came in a header."""
        return facts.in_header is True

    def reason(self, _facts: RequestFacts, _now: float, /) -> Reason:
        """Return the one reason there is."""
        return Reason.CREDENTIAL_NOT_ALLOWED

    def describe(self) -> str:
        """Return it in words."""
        return "in a header only"
