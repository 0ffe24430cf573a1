"""What answers the effects of procedures: for threads, and for tasks."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from keybound.caches import open_shared
from keybound.clocks import monotonic, read_entropy
from keybound.core.effects import (
    Announce,
    Moment,
    OfferShared,
    ReadClock,
    ReadEntropy,
    ReadShared,
    Sleep,
    Uninterrupted,
)
from keybound.core.errors import StoreBusyError, StoreUnavailableError
from keybound.core.joining import Join
from keybound.core.principals import Authenticate
from keybound.drivers import run
from keybound.loops import here
from keybound.sparing import SPARED
from keybound.telling import Teller

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from concurrent.futures import Executor

    from keybound.authenticators import Authenticators
    from keybound.caches import SharedCache
    from keybound.clocks import Clock
    from keybound.core.effects import Effect
    from keybound.drivers import Perform
    from keybound.settings import Settings
    from keybound.sparing import Sparing
    from keybound.stores import Store

    Timed = Callable[[Effect[Any], float], None]
    Answers = dict[type[Effect[Any]], Callable[[Any], Any]]

JOINED_WITHIN = 10.0
"""Seconds for which a request waits while another one asks the store about the same key. A store
answers or fails sooner; so whoever takes longer is not coming back: its event loop stands still."""

TURN_WITHIN = 5.0
"""Seconds for which a task waits for a thread that asks the store. While that hangs, every thread
is busy; whoever still waits after this long is refused instead of standing in line."""

_FORGED = "it was not written with this secret, or tells of a change that the store never had"


class Performer:
    """Answers effects with a clock, chance, a store, authenticators and a shared cache, if any.

    ``blocking`` has what threads are answered with; all else is the store's. Who asks for a request
    is refused at once while the store does not answer; whoever makes a change is not.
    """

    def __init__(
        self,
        settings: Settings,
        store: Store,
        clock: Clock,
        authenticators: Authenticators,
        *,
        sparing: Sparing,
    ) -> None:
        """Have all of these; nothing is opened."""
        self.sparing = sparing
        self._settings = settings
        self._store = store
        self._boot = clock.boot
        self._teller = Teller(clock.boot)
        self._at_once: Answers = {
            ReadClock: lambda _: Moment(clock.boot(), clock.wall()),
            ReadEntropy: lambda effect: read_entropy(effect.size),
            OfferShared: self._offer,
        }
        self.blocking: Answers = {
            **self._at_once,
            Join: _join,
            Sleep: lambda effect: clock.sleep(effect.seconds),
            Authenticate: lambda effect: authenticators.ask(effect.head),
            # For tasks, too: a thread takes these steps, and nobody can cancel that.
            Uninterrupted: lambda effect: run(effect.steps, self.perform),
        }
        self._awaiting: dict[type[Effect[Any]], Callable[[Any], Awaitable[Any]]] = {
            Join: _join_async,
            Sleep: lambda effect: clock.asleep(effect.seconds),
            Authenticate: lambda effect: authenticators.ask_async(effect.head),
        }
        self._parents: list[SharedCache] = []
        self.timed: Timed | None = None
        """Told of every question to the store or the shared cache, and of the seconds it took."""
        self.shared = self._open_shared()

    def perform(self, effect: Effect[Any]) -> Any:  # noqa: ANN401 - the effect says what
        """Answer one effect, blocking."""
        answer: Callable[[Any], Any] = self.blocking.get(effect.__class__, self._ask_store)
        return answer(effect)

    def perform_for_request(self, effect: Effect[Any]) -> Any:  # noqa: ANN401 - the same
        """Answer one effect, blocking, unless that means to wait for a store that hangs."""
        if effect.__class__ not in SPARED:
            return self.perform(effect)
        with self.sparing.turn() as tries:
            return self.sparing.ask(effect, self.perform, tries=tries)

    def probe(self, effect: Effect[Any]) -> Any:  # noqa: ANN401 - the same
        """Answer one effect, blocking, for whoever finds out whether the store answers."""
        if effect.__class__ not in SPARED:
            return self.perform(effect)
        return self.sparing.ask(effect, self.perform, tries=True)

    def _ask_store(self, effect: Effect[Any]) -> Any:  # noqa: ANN401 - the same
        if self.timed is None:
            return self._store.perform(effect)
        begun = monotonic()
        try:
            return self._store.perform(effect)
        finally:
            self.timed(effect, monotonic() - begun)

    async def perform_async(self, effect: Effect[Any], threads: Executor) -> Any:  # noqa: ANN401
        """Answer one effect, awaiting; the store is asked by one of the threads."""
        at_once = self._at_once.get(effect.__class__)
        if at_once is not None:
            return at_once(effect)
        awaiting = self._awaiting.get(effect.__class__)
        if awaiting is not None:
            return await awaiting(effect)
        return await _in_turn(threads, self.perform, effect)

    async def perform_for_request_async(self, effect: Effect[Any], threads: Executor) -> Any:  # noqa: ANN401
        """Answer one effect, awaiting, unless that means to wait for a store that hangs."""
        if effect.__class__ not in SPARED:
            return await self.perform_async(effect, threads)
        with self.sparing.turn() as tries:  # refused here: the threads may all be busy
            ask = partial(self.sparing.ask, perform=self.perform, tries=tries)
            return await _in_turn(threads, ask, effect)

    def _open_shared(self) -> SharedCache | None:
        settings, url = self._settings, self._settings.redis
        if url is None:
            return None
        shared = open_shared(
            url,
            timeout=settings.redis_timeout,
            boot=self._boot,
            credentials=settings.redis_credentials,
        )
        self.blocking[ReadShared] = self._read_shared
        self.blocking[Announce] = shared.link.announcements.announce
        self._awaiting[ReadShared] = self._read_shared_async
        return shared

    def _read_shared(self, effect: ReadShared) -> Sequence[bytes | None]:
        assert self.shared is not None  # noqa: S101 - or nobody asks
        begun = monotonic()
        try:
            return self.shared.blocking.read(effect)
        finally:
            if self.timed is not None:
                self.timed(effect, monotonic() - begun)

    async def _read_shared_async(self, effect: ReadShared) -> Sequence[bytes | None]:
        assert self.shared is not None  # noqa: S101 - the same
        begun = monotonic()
        try:
            return await self.shared.read(effect)
        finally:
            if self.timed is not None:
                self.timed(effect, monotonic() - begun)

    def renew_in_child(self) -> None:
        """Connect anew in a forked child: connections are the parent's.

        They are kept, since ending a task's connection here would end that the parent hears of it.
        """
        if self.shared is not None:
            self._parents.append(self.shared)
            self.shared = self._open_shared()

    def close(self) -> None:
        """Let the connections of threads go; the next use makes others."""
        if self.shared is not None:
            self.shared.blocking.close()
            self.shared.link.offers.close()
            self.shared.link.announcements.close()

    def _offer(self, effect: OfferShared) -> None:
        if self.shared is not None:
            if any(offer.replace for offer in effect.offers):
                self._teller.tell("a record in Redis is replaced", _FORGED)
            self.shared.link.offers.add(effect.offers)


async def _in_turn(threads: Executor, perform: Perform, effect: Effect[Any]) -> Any:  # noqa: ANN401
    return await here().by(threads, _perform_by, monotonic() + TURN_WITHIN, perform, effect)


def _perform_by(until: float, perform: Perform, effect: Effect[Any]) -> Any:  # noqa: ANN401
    if monotonic() > until:
        msg = "too many wait for the store: it is slow, or raise store_connections"
        raise StoreBusyError(msg)
    return perform(effect)


def _join(effect: Join) -> None:
    try:
        effect.other.result(JOINED_WITHIN)
    except TimeoutError:
        raise _joined_in_vain() from None


async def _join_async(effect: Join) -> None:
    try:
        await here().within(JOINED_WITHIN, partial(here().finished, effect.other))
    except TimeoutError:
        raise _joined_in_vain() from None


def _joined_in_vain() -> StoreUnavailableError:
    return StoreUnavailableError("whoever asks the store about the same has not come back")
