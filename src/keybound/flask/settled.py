"""What is known of requests by what was looked at before, so that most cost one look-up."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, cast

from keybound.core.table import METHOD_REMEMBERED_MAX, PATH_REMEMBERED_MAX
from keybound.wsgi import ASKED

if TYPE_CHECKING:
    from flask.wrappers import Request

    from keybound.core.demands import Demand
    from keybound.core.identity import Identity

SETTLED_MAX = 4_096


class Met(NamedTuple):
    """The demands that a request met, and the one identity that did; ``None`` for any."""

    demands: tuple[Demand, ...]
    caller: Identity | None


UNSETTLED = Met((), cast("Identity", object()))
"""What is known of a request that was not looked at: no identity is that object."""


class Settled:
    """Requests that were looked at under one set of rules, up to ``SETTLED_MAX`` of them."""

    __slots__ = ("met", "rules")

    def __init__(self, rules: object) -> None:
        """Know none yet."""
        self.rules = rules
        self.met: dict[tuple[int, object], Met] = {}

    def add(self, asked: Request, met: Met) -> None:
        """Remember what the view that Flask chose for a request asks, and that it was met."""
        decided: tuple[str, str, str | None] = asked.environ[ASKED]
        method, path, _ = decided
        if len(path) > PATH_REMEMBERED_MAX or len(method) > METHOD_REMEMBERED_MAX:
            return
        if len(self.met) >= SETTLED_MAX:
            self.met.clear()
        self.met[id(asked.url_rule), decided] = met
