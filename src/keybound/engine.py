"""What one process keeps: settings, a store, the rules in force, and questions under way."""

from __future__ import annotations

import logging
import os
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, TypeVar
from weakref import WeakKeyDictionary, WeakMethod, WeakSet

from keybound.authenticators import Authenticators
from keybound.caches import open_shared
from keybound.clocks import read_entropy
from keybound.core.coherence import look_up, sync
from keybound.core.credentials import parse_forms
from keybound.core.decision import Denied
from keybound.core.effects import (
    Moment,
    OfferShared,
    ReadClock,
    ReadEntropy,
    ReadShared,
    Sleep,
    ask,
)
from keybound.core.errors import StoreUnavailableError
from keybound.core.joining import Join, alone
from keybound.core.keys import Peppers
from keybound.core.opening import open_store
from keybound.core.principals import Authenticate
from keybound.core.reasons import Reason
from keybound.core.shared import SharedRecords
from keybound.drivers import run
from keybound.flights import Flights
from keybound.judge import Miss, Stranger
from keybound.locks import ForkLock
from keybound.plugins import load_dimensions
from keybound.refusing import Refuser
from keybound.rules import Declared, Rules
from keybound.setting_values import HOW_TO_MAKE_ONE
from keybound.syncing import Syncer
from keybound.telling import Teller

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable

    from keybound.caches import SharedCache
    from keybound.caches.local import LocalCache
    from keybound.clocks import Clock
    from keybound.core.effects import Effect, Steps
    from keybound.core.head import Head
    from keybound.core.lifecycle import Site
    from keybound.core.routes import Route
    from keybound.core.table import Router, RouteTable
    from keybound.core.terms import ChainPolicy
    from keybound.core.told import Told
    from keybound.judge import Judge, Outcome, Settled
    from keybound.settings import Settings
    from keybound.stores import Store

    Declare = Callable[["Engine"], None]
    Decide = Callable[..., Outcome]

T = TypeVar("T")

_FORGED = "it was not written with this secret, or tells of a change that the store never had"

ATTEMPTS = 3
"""How often a request asks the store when what it was answered is outdated on arrival."""

JOINED_WITHIN = 10.0
"""Seconds for which a request waits while another one asks the store about the same key. A store
answers or fails sooner; so whoever takes longer is not coming back: its event loop stands still."""

logger = logging.getLogger("keybound")


class Bound(Protocol):
    """A guard, as its engine sees it."""

    engine: Engine
    application: object | None

    def bind(self, engine: Engine) -> None:
        """Take over what the engine decides with now."""
        ...


class Engine:
    """Shared by the blocking and the awaiting guard of a process; safe for threads."""

    def __init__(
        self, settings: Settings, store: Store, clock: Clock, *, background: bool = True
    ) -> None:
        """Compile the settings. Nothing is read and nothing is started yet.

        Without ``background``, requests themselves sync when the lease is out, and nothing else.
        """
        load_dimensions()
        self.settings = settings
        self.store = store
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
        self._teller = Teller(clock.boot)
        self._open = False
        self._forms = forms
        self._declared: WeakKeyDictionary[object, Declared] = WeakKeyDictionary()
        self._routes: tuple[Route, ...] = settings.routes
        self._sources: dict[WeakMethod[Declare], None] = {}
        self._renewing = ForkLock()
        self._guards: WeakSet[Bound] = WeakSet()
        self._syncer = Syncer(self._sync, interval=settings.sync_every) if background else None
        self._records = None
        if settings.redis is not None and settings.secret is not None:
            self._records = SharedRecords(settings.secret)
        self.shared = self._open_shared()
        self.local: dict[type[Effect[Any]], Callable[[Any], Any]] = {
            ReadClock: lambda _: Moment(clock.boot(), clock.wall()),
            ReadEntropy: lambda effect: read_entropy(effect.size),
            OfferShared: self._offer,
        }
        """What answers effects without waiting for anything."""
        self._performers: dict[type[Effect[Any]], Callable[[Any], Any]] = {
            **self.local,
            Join: _join,
            Sleep: lambda effect: clock.sleep(effect.seconds),
            Authenticate: lambda effect: self.authenticators.ask(effect.head),
        }
        if self.shared is not None:
            self._performers[ReadShared] = self.shared.blocking.read
        self._parents: list[SharedCache | None] = []
        self.renew()
        _engines.add(self)

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
                report=self.refuser.report,
            )
            for guard in list(self._guards):
                if guard.engine is self:
                    guard.bind(self)

    def renew_in_child(self) -> None:
        """Start anew in a forked child: connections and threads are the parent's.

        They are kept, since ending a task's connection here would end that the parent hears of it.
        """
        self._parents.append(self.shared)
        self.shared = self._open_shared()
        if self.shared is not None:
            self._performers[ReadShared] = self.shared.blocking.read
        if self._syncer is not None:  # its lock may be held by a thread that is not here
            self._syncer = Syncer(self._sync, interval=self.settings.sync_every)
        self.renew()

    def _open_shared(self) -> SharedCache | None:
        url = self.settings.redis
        if url is None:
            return None
        return open_shared(url, timeout=self.settings.redis_timeout, boot=self.clock.boot)

    @contextmanager
    def attaching(self, guard: Bound) -> Generator[Decide]:
        """Yield what a guard decides with, while no other rules can come; it is told of those."""
        with self._renewing.held():
            self._guards.add(guard)
            yield self.decide_for(guard.application)

    def decide_for(self, application: object | None) -> Decide:
        """Return what decides requests to an application under the rules in force."""
        return self.rules.judge_of(application).decide

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

    def add_source(self, declare: Declare) -> None:
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

    def authorized(  # noqa: PLR0917 - as the warm path has them
        self,
        method: str,
        path: str,
        peer: str | None,
        raw: bytes | Reason | None,
        told: Told | None = None,
        head: Head | None = None,
        *,
        application: object | None = None,
        routed: bool = True,
        outcome: Outcome | None = None,
    ) -> Steps[Settled]:
        """Decide a request, asking the store where the cache cannot tell. Nothing is raised.

        It is decided by what ``application`` declares. Unless ``routed``, without asking its
        router, since the view depends on more than the path. ``outcome`` is what was decided of the
        same request a moment ago, if it was.
        """
        for _ in range(ATTEMPTS):
            rules = self.rules
            judge = rules.judge_of(application)
            decide = judge.decide if routed else judge.decide_unrouted
            if not isinstance(outcome, Miss) or outcome.judge is not judge:
                outcome = decide(method, path, peer, raw, told, head)
            try:
                if isinstance(outcome, Stranger):
                    return (yield from self._authenticated(outcome, judge, rules.worker.policy))
                if not isinstance(outcome, Miss):
                    return outcome
                yield from self.settle(outcome)
            except Exception as error:  # noqa: BLE001 - whatever fails, the answer is a denial
                return self.refuser.failed(error)
            if self.rules is rules:  # otherwise it is a miss of rules that are over
                decision = judge.decide_settled(outcome)
                if decision is not None:
                    return decision
            outcome = None
        return Denied(Reason.STORE_UNAVAILABLE)

    def _authenticated(
        self, stranger: Stranger, judge: Judge, policy: ChainPolicy
    ) -> Steps[Settled]:
        """Decide for whom the site's authenticators say it is."""
        inquiry = stranger.inquiry
        assert inquiry.head is not None  # noqa: S101 - with authenticators every head is read
        principal = yield from ask(Authenticate(inquiry.head))
        if principal is None:
            return stranger.otherwise
        now = (yield from ask(ReadClock())).wall
        return judge.decide_chain(principal.chain(policy), inquiry, now)

    def settle(self, miss: Miss) -> Steps[bool]:
        """Ask the store about a key, or wait for who does, so that it can be decided."""
        worker, peppers, key, opened = self.rules.worker, self.peppers, miss.credential, self._open
        if opened and (self._sources or self._syncer is not None):
            self._attend()
        steps = look_up(
            worker,
            miss.index,
            peppers.digest(key),
            partial(peppers.candidates, key),
            miss.now if opened else None,  # to open takes its time
        )
        return alone(self._flights, miss.index, steps if opened else self.opened(steps))

    def opened(self, steps: Steps[T]) -> Steps[T]:
        """Run a procedure on a store that was checked once, with syncs going on from then.

        Raises ``StoreError`` and ``SettingsError`` besides what the procedure raises.
        """
        if not self._open:
            installation = yield from open_store(self.peppers)
            if self.settings.secret is None:
                self.refuser.adopt(installation.id)
            self._open = True
            _announce(self.settings, self.store.location)
        self._attend()
        return (yield from steps)

    def _attend(self) -> None:
        """Take in what the site declares by now, and see that syncs go on."""
        self.refresh()
        if self._syncer is not None:
            self._syncer.start()

    def perform(self, effect: Effect[Any]) -> Any:  # noqa: ANN401 - the effect says what
        """Answer one effect, blocking."""
        return self._performers.get(effect.__class__, self.store.perform)(effect)

    def _offer(self, effect: OfferShared) -> None:
        if self.shared is not None:
            if any(offer.replace for offer in effect.offers):
                self._teller.tell("a record in Redis is replaced", _FORGED)
            self.shared.link.offers.add(effect.offers)

    def close(self) -> None:
        """Stop syncing and let the store go; the next use opens it again."""
        if self._syncer is not None:
            self._syncer.stop()
        if self.shared is not None:
            self.shared.blocking.close()
            self.shared.link.offers.close()
        self.store.close()

    def _sync(self) -> None:
        # By itself, whoever else is at it: if they hang, this goes on.
        run(sync(self.rules.worker), self.perform)


def _join(effect: Join) -> None:
    try:
        effect.other.result(JOINED_WITHIN)
    except TimeoutError:
        raise joined_in_vain() from None


def joined_in_vain() -> StoreUnavailableError:
    """Return the error of whoever waited for somebody who does not come back."""
    return StoreUnavailableError("whoever asks the store about the same has not come back")


_engines: WeakSet[Engine] = WeakSet()


def _after_fork() -> None:
    """Leave what the parent's threads held: locks, questions under way, a half-changed cache."""
    for engine in _engines:
        engine.renew_in_child()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def _announce(settings: Settings, location: str) -> None:
    """Say where the keys are; louder where nobody chose the place or the protection."""
    if settings.secret is None and not location.startswith("memory://"):
        logger.warning(
            "no secret is set: keys in %s are stored as plain SHA-256; set KEYBOUND_SECRET, %s",
            location,
            HOW_TO_MAKE_ONE,
        )
    else:
        logger.info("keys are in %s", location)
