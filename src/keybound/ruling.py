"""The rules in force in one process: what the settings say, and what applications declare."""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary, WeakMethod

from keybound.authenticators import Authenticators
from keybound.core.announcing import Announcer
from keybound.core.budget import Budget
from keybound.core.credentials import parse_forms
from keybound.core.keys import Peppers
from keybound.core.messages import Messages
from keybound.core.shared import SharedRecords
from keybound.core.tally import Tally
from keybound.counting import Counts
from keybound.flights import Flights
from keybound.locks import ForkLock
from keybound.plugins import load_dimensions
from keybound.refusing import Refuser
from keybound.rules import Declared, Rules

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any, Self

    from keybound.caches.local import LocalCache
    from keybound.clocks import Clock
    from keybound.core.lifecycle import Site
    from keybound.core.routes import Route
    from keybound.core.table import Router, RouteTable
    from keybound.settings import Settings


class Ruling:
    """Keeps the rules in force, and replaces them when others are declared; safe for threads."""

    rules: Rules

    def __init__(self, settings: Settings, clock: Clock) -> None:
        """Compile the settings; no rules are in force before ``renew``."""
        load_dimensions()
        self.settings = settings
        self.clock = clock
        self.peppers = Peppers(settings.secret, settings.retired_secrets)
        self.format = settings.key_format()
        forms = parse_forms(settings.credentials)
        self.authenticators = Authenticators(settings.authenticators)
        self.reader = settings.reader()
        varies = self.reader.varies
        if self.authenticators:  # these are what they go by, if not by a header of the site's own
            varies = (*varies, "Authorization", "Cookie")
        self.refuser = Refuser(settings, forms, clock, varies=varies)
        self.counts = Counts(counting=settings.usage_every > 0)
        self._forms = forms
        self._records = self._announcer = self._messages = None
        if settings.redis is not None and settings.secret is not None:
            self._records = SharedRecords(settings.secret)
            self._messages = Messages(settings.secret)
            self._announcer = Announcer(self._records, self._messages)
        self._declared: WeakKeyDictionary[object, Declared] = WeakKeyDictionary()
        self._routes: tuple[Route, ...] = settings.routes
        self._sources: dict[WeakMethod[Callable[[Any], None]], None] = {}
        self._renewing = ForkLock()
        self.tally = Tally()
        self._unknown = Budget(settings.unknown_keys_max)

    def renew(self) -> None:
        """Start anew with an empty cache, as after the routes changed."""
        with self._renewing.held():
            self._flights = Flights()
            self.rules = Rules(
                self.settings,
                self._routes,
                self.clock,
                declared=dict(self._declared),
                forms=self._forms,
                key_format=self.format,
                peppers=self.peppers,
                flights=self._flights,
                records=self._records,
                announcer=self._announcer,
                report=self.refuser.report,
                counts=self.counts,
                tally=self.tally,
                unknown=self._unknown,
            )

    @property
    def table(self) -> RouteTable:
        """The routes in force, with what all applications declare by now."""
        self.refresh()
        return self.rules.table

    @property
    def cache(self) -> LocalCache:
        """The cache in force."""
        return self.rules.cache

    @property
    def site(self) -> Site:
        """What the settings and the routes mean for changes, with those that there are by now."""
        self.refresh()
        return self.rules.site

    def use_routes(self, routes: Iterable[Route]) -> None:
        """Use other configured routes; what was decided under the old ones is forgotten."""
        with self._renewing.held():
            self._routes = tuple(routes)
            self.renew()

    def declare_routes(self, application: object, routes: Iterable[Route]) -> None:
        """Let what an application's router says stand behind the configured routes, for it alone.

        An application that declares again replaces what it declared; neither routes nor router
        may hold it.
        """
        self._declare(application, Declared(routes=tuple(routes)))

    def declare_router(self, application: object, router: Router) -> None:
        """Let an application's router be asked at requests to it that no configured route is for.

        The rest is as with routes.
        """
        self._declare(application, Declared(router=router))

    def _declare(self, application: object, declared: Declared) -> None:
        with self._renewing.held():
            self._declared[application] = declared
            self.renew()

    def add_source(self, declare: Callable[[Self], None]) -> None:
        """Call a method with this engine whenever rules are asked for what they do not have.

        It declares what changed since; a method of an object that is gone is not called.
        """
        self._sources[WeakMethod(declare)] = None

    def refresh(self) -> None:
        """Let every application declare what there is by now."""
        for source in tuple(self._sources):
            declare = source()
            if declare is None:
                self._sources.pop(source, None)
            else:
                declare(self)
