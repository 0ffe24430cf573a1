"""What is known of requests that were looked at before, so that most cost one look-up."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from werkzeug.routing import Rule

    from keybound.core.decision import Allowed
    from keybound.core.demands import Demand

SETTLED_MAX = 4_096

UNSETTLED = object()
"""No rule, and not the absence of one either."""


class _Known(NamedTuple):
    """``allowed`` is held so that no other decision gets its identity."""

    allowed: Allowed
    rule: Rule
    demands: tuple[Demand, ...]


class Settled:
    """For up to ``SETTLED_MAX`` remembered decisions: the view they lead to, and what that asked.

    One decision is for one key, method, path and peer, under one set of rules.
    """

    def __init__(self) -> None:
        """Know none yet."""
        self._known: dict[int, _Known] = {}

    def __len__(self) -> int:
        """Return how many are known."""
        return len(self._known)

    def view(self, allowed: Allowed) -> object:
        """Return the rule that Flask chose, whose demands were met; else ``UNSETTLED``."""
        known = self._known.get(id(allowed))
        return UNSETTLED if known is None else known.rule

    def demands(self, allowed: Allowed | None) -> tuple[Demand, ...]:
        """Return the demands that were met."""
        known = self._known.get(id(allowed))
        return () if known is None else known.demands

    def add(self, allowed: Allowed, rule: Rule, demands: tuple[Demand, ...]) -> None:
        """Remember what the view that Flask chose for a request asks, and that it was met."""
        if len(self._known) >= SETTLED_MAX:
            self._known.clear()
        self._known[id(allowed)] = _Known(allowed, rule, demands)

    def clear(self) -> None:
        """Know none any more."""
        self._known.clear()
