"""What one process keeps: the rules in force, a store, what asks it, and who is told of changes."""

from __future__ import annotations

import logging
import os
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, TypeVar
from weakref import WeakSet

from keybound.core.coherence import look_up, sync
from keybound.core.decision import Allowed, Denied
from keybound.core.effects import ReadClock, ask
from keybound.core.joining import alone
from keybound.core.opening import open_store
from keybound.core.principals import Authenticate
from keybound.core.reasons import Reason
from keybound.counting import Counts
from keybound.drivers import run
from keybound.hearing import Ear
from keybound.judge import Miss, Stranger
from keybound.performing import Performer
from keybound.recording import Recorder
from keybound.ruling import Ruling
from keybound.setting_values import HOW_TO_MAKE_ONE
from keybound.sparing import Sparing
from keybound.syncing import Syncer

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from keybound.caches import SharedCache
    from keybound.caches.listening import Listener
    from keybound.clocks import Clock
    from keybound.core.effects import Effect, Steps
    from keybound.core.head import Head
    from keybound.core.terms import ChainPolicy
    from keybound.core.told import Told
    from keybound.judge import Judge, Outcome, Settled
    from keybound.settings import Settings
    from keybound.stores import Store

    Decide = Callable[..., Outcome]

T = TypeVar("T")

ATTEMPTS = 3
"""How often a request asks the store when what it was answered is outdated on arrival."""

logger = logging.getLogger("keybound")


class Bound(Protocol):
    """A guard, as its engine sees it."""

    engine: Engine
    application: object | None

    def bind(self, engine: Engine) -> None:
        """Take over what the engine decides with now."""
        ...


class Engine(Ruling):
    """Shared by the blocking and the awaiting guard of a process; safe for threads."""

    def __init__(
        self, settings: Settings, store: Store, clock: Clock, *, background: bool = True
    ) -> None:
        """Compile the settings. Nothing is read and nothing is started yet.

        Without ``background``, requests themselves sync when the lease is out, and nothing else.
        """
        super().__init__(settings, clock)
        self.store = store
        self._open = False
        self._guards: WeakSet[Bound] = WeakSet()
        self._syncer = Syncer(self._sync, interval=settings.sync_every) if background else None
        sparing = Sparing(clock.boot, self._syncer)
        self.performer = Performer(settings, store, clock, self.authenticators, sparing=sparing)
        self.ear = self._new_ear()
        self.listener = self._new_listener()
        self.recorder = self._new_recorder()
        self.renew()
        _engines.add(self)

    def renew(self) -> None:
        """Start anew with an empty cache, as after the routes changed."""
        with self._renewing.held():
            super().renew()
            for guard in list(self._guards):
                if guard.engine is self:
                    guard.bind(self)

    def renew_in_child(self) -> None:
        """Start anew in a forked child: connections and threads are the parent's."""
        self.performer.renew_in_child()
        if self._syncer is not None:  # its lock may be held by a thread that is not here
            self._syncer = Syncer(self._sync, interval=self.settings.sync_every)
        self.performer.sparing = Sparing(self.clock.boot, self._syncer)
        if self.listener is not None:
            self.listener.leave()
            self.listener = self._new_listener()
        self.counts = Counts(counting=self.settings.usage_every > 0)  # the parent has its own
        self.recorder = self._new_recorder()
        self.renew()

    def _new_recorder(self) -> Recorder:
        every, background = self.settings.usage_every, self._syncer is not None
        return Recorder(self.counts, self.performer.perform, every=every, background=background)

    @contextmanager
    def attaching(self, guard: Bound) -> Generator[Decide]:
        """Yield what a guard decides with, while no other rules can come; it is told of those."""
        with self._renewing.held():
            self._guards.add(guard)
            yield self.decide_for(guard.application)

    def decide_for(self, application: object | None) -> Decide:
        """Return what decides requests to an application under the rules in force."""
        return self.rules.judge_of(application).decide

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
                if not (yield from self.settle(outcome)):
                    self.tally.joined += 1
            except Exception as error:  # noqa: BLE001 - whatever fails, the answer is a denial
                return self.refuser.failed(error)
            if self.rules is rules:  # otherwise it is a miss of rules that are over
                decision = judge.decide_settled(outcome)
                if decision is not None:
                    self.tally.missed += isinstance(decision, Allowed)
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
        if self.listener is not None:
            self.listener.start()

    @property
    def shared(self) -> SharedCache | None:
        """The cache that processes share, if there is one."""
        return self.performer.shared

    def perform(self, effect: Effect[Any]) -> Any:  # noqa: ANN401 - the effect says what
        """Answer one effect, blocking."""
        return self.performer.perform(effect)

    def close(self) -> None:
        """Record how keys were used, stop syncing and let the store go; the next use opens it."""
        if self.listener is not None:
            self.listener.stop()
        self.recorder.finish()
        if self._syncer is not None:
            self._syncer.stop()
        self.performer.close()
        self.store.close()

    def _new_ear(self) -> Ear | None:
        if self._messages is None:
            return None
        return Ear(
            self._messages,
            cache=lambda: self.cache,
            clock=self.clock,
            wake=self._wake,
            tally=self.tally,
        )

    def _new_listener(self) -> Listener | None:
        if self._syncer is None or self.ear is None or self.shared is None:
            return None
        assert self._messages is not None  # noqa: S101 - whoever has ears has these
        return self.shared.listener(self._messages.channel, self.ear)

    def _wake(self) -> None:
        if self._syncer is not None:
            self._syncer.wake()

    def _sync(self) -> None:
        # By itself, whoever else is at it: if they hang, this goes on.
        run(sync(self.rules.worker), self.performer.probe)


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
