"""What depends on the route table: compiled together, and only ever replaced together.

A chain means something under one table, since tenancy changes what an absent limit means. So a new
table comes with a new cache, and nothing that was decided or loaded under the old one is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from keybound.caches.local import LocalCache
from keybound.core.coherence import Worker
from keybound.core.lifecycle import Site
from keybound.core.table import RouteTable
from keybound.core.terms import ChainPolicy
from keybound.judge import Judge

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from keybound.clocks import Clock
    from keybound.core.credentials import CredentialForm
    from keybound.core.decision import Decision
    from keybound.core.joining import Flights
    from keybound.core.keys import KeyFormat, Peppers
    from keybound.core.routes import Route
    from keybound.core.shared import SharedRecords
    from keybound.core.table import Router
    from keybound.judge import Miss
    from keybound.settings import Settings

    DecideSettled = Callable[[Miss, str, str, str | None], Decision | None]


class Rules:
    """A table with the cache, the decision, and the procedures' view of the site under it."""

    def __init__(
        self,
        settings: Settings,
        routes: Sequence[Route],
        clock: Clock,
        *,
        routers: Sequence[Router] = (),
        forms: Sequence[CredentialForm],
        key_format: KeyFormat,
        peppers: Peppers,
        flights: Flights,
        records: SharedRecords | None,
    ) -> None:
        """Compile; nothing is known of any key yet."""
        self.table = RouteTable(routes, protect=settings.protect, routers=routers)
        policy = ChainPolicy(tenancy=self.table.tenancy, wildcard_scopes=settings.wildcard_scopes)
        self.cache = LocalCache(
            bound=settings.revoke_within,
            grace=settings.stale_grace,
            size_max=settings.cache_size_max,
        )
        judge = Judge(self.cache, self.table, clock, forms=forms, key_format=key_format)
        self.decide = judge.decide
        self.decide_unrouted = judge.decide_unrouted
        self.decide_settled: DecideSettled = judge.decide_settled
        self.worker = Worker(
            cache=self.cache,
            policy=policy,
            flights=flights,
            records=records,
            bound=settings.revoke_within,
            grace=settings.stale_grace,
        )
        self.site = Site(
            format=key_format,
            peppers=peppers,
            policy=policy,
            settle_for=settings.revoke_within + settings.stale_grace,
            raise_floors=self.cache.raise_floors,
        )
