"""What depends on the route tables: compiled together, and only ever replaced together.

A chain means something under one set of tables, since tenancy changes what an absent limit means.
So new tables come with a new cache, and nothing that was decided or loaded under the old is used.

Each application is decided by a table of its own: the configured routes, and what it declares.
"""

from __future__ import annotations

from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple
from weakref import WeakKeyDictionary

from keybound.caches.local import LocalCache
from keybound.core.coherence import Worker
from keybound.core.lifecycle import Site
from keybound.core.table import RouteTable
from keybound.core.terms import ChainPolicy
from keybound.judge import Judge, new_indexer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from keybound.clocks import Clock
    from keybound.core.announcing import Announcer
    from keybound.core.budget import Budget
    from keybound.core.credentials import CredentialForm
    from keybound.core.decision import Denied
    from keybound.core.joining import Flights
    from keybound.core.keys import KeyFormat, Peppers
    from keybound.core.routes import Route
    from keybound.core.shared import SharedRecords
    from keybound.core.table import Router
    from keybound.core.tally import Tally
    from keybound.counting import Counts
    from keybound.settings import Settings


class Declared(NamedTuple):
    """What one application declares: routes that are read, or a router that is asked."""

    routes: tuple[Route, ...] = ()
    router: Router | None = None


class Rules:
    """The tables with the cache, the decisions, and the procedures' view of the site under them.

    ``table`` has what every application declares: for whoever explains, and issues keys.
    """

    def __init__(
        self,
        settings: Settings,
        routes: Sequence[Route],
        clock: Clock,
        *,
        declared: Mapping[object, Declared],
        forms: Sequence[CredentialForm],
        key_format: KeyFormat,
        peppers: Peppers,
        flights: Flights,
        records: SharedRecords | None,
        announcer: Announcer | None,
        report: Callable[[Denied], None],
        counts: Counts,
        tally: Tally,
        unknown: Budget,
    ) -> None:
        """Compile; nothing is known of any key yet."""
        self.table = _table(settings, routes, *declared.values())
        policy = ChainPolicy(tenancy=self.table.tenancy, wildcard_scopes=settings.wildcard_scopes)
        self.cache = LocalCache(
            bound=settings.revoke_within,
            grace=settings.stale_grace,
            size_max=settings.cache_size_max,
            compiled_max=settings.cache_compiled_max,
            policy=policy,
        )
        judge = partial(
            Judge,
            self.cache,
            clock=clock,
            new_hasher=new_indexer(),
            forms=forms,
            key_format=key_format,
            report=report,
            counts=counts,
            strangers=bool(settings.authenticators),
        )
        self._whole = judge(self.table)
        self._alone = judge(_table(settings, routes))
        self._judges = WeakKeyDictionary(
            {
                application: judge(_table(settings, routes, each))
                for application, each in declared.items()
            }
        )
        self.worker = Worker(
            cache=self.cache,
            policy=policy,
            flights=flights,
            records=records,
            tally=tally,
            unknown=unknown,
            bound=settings.revoke_within,
            grace=settings.stale_grace,
        )
        self.site = Site(
            format=key_format,
            peppers=peppers,
            policy=policy,
            settle_for=settings.revoke_within + settings.stale_grace,
            raise_floors=self.cache.raise_floors,
            announcer=announcer,
        )

    def judge_of(self, application: object | None) -> Judge:
        """Return what decides requests to an application: all that declare nothing share one.

        Whoever asks for none gets what all of them declare.
        """
        return self._whole if application is None else self._judges.get(application, self._alone)


def _table(settings: Settings, routes: Sequence[Route], *declared: Declared) -> RouteTable:
    read = chain.from_iterable(each.routes for each in declared)
    routers = [each.router for each in declared if each.router is not None]
    return RouteTable(
        [*routes, *read],
        protect=settings.protect,
        routers=routers,
        tenancy=settings.tenant_from is not None,
        model_from=settings.model_from,
    )
