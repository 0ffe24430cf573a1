"""A store that hangs: it costs few requests a delay, and nobody else waits for it."""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from keybound import AsyncGuard, Guard, Reason, Settings
from keybound.core.decision import Allowed, Denied
from keybound.core.effects import LoadByDigest, OpenStore, Sync
from keybound.core.errors import (
    RecordCorruptError,
    StoreBusyError,
    StoreUnavailableError,
)
from keybound.engine import Engine
from keybound.sparing import PAUSE, TRIED_WITHIN, Sparing
from keybound.stores.memory import MemoryStore
from keybound.stores.postgres import ANSWER_FOR, CONNECT_FOR, READ_FOR
from keybound.testing import FakeClock
from tests.guard.conftest import Blocking
from tests.services.fault_proxy import FaultProxy, Faults

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from keybound.core.effects import Effect
    from keybound.core.issuing import IssuedKey
    from tests.services.postgres import PostgresServer

SYNC_EVERY = 0.5
REVOKE_WITHIN = 6.0
WAITS = READ_FOR + ANSWER_FOR + CONNECT_FOR
"""Seconds that a request waits for PostgreSQL at most."""

AT_ONCE = 0.25
MARGIN = 1.0
"""Seconds of delay that a busy machine may add."""

HANGS = Faults(hangs=True)


# ------------------------------------------------------------------------------- a real PostgreSQL


@pytest.fixture
def proxy(postgres: PostgresServer) -> Iterator[FaultProxy]:
    """What stands between a guard and PostgreSQL."""
    with FaultProxy(postgres.port) as proxy:
        yield proxy


@pytest.fixture(params=[Guard, AsyncGuard], ids=["Guard", "AsyncGuard"])
def new(request: pytest.FixtureRequest, postgres: PostgresServer, proxy: FaultProxy):
    """Return a function that makes guards of either kind; their store is behind the proxy."""
    database = postgres.new_database()
    made: list[Blocking] = []

    def new_guard(**settings: Any) -> Blocking:
        given = {"sync_every": SYNC_EVERY, "revoke_within": REVOKE_WITHIN, **settings}
        url = f"postgresql://postgres@127.0.0.1:{proxy.port}/{database}"
        made.append(Blocking(request.param.from_settings(database=url, **given)))
        return made[-1]

    yield new_guard
    proxy.heal()
    for guard in made:
        guard.end()
    postgres.execute(f'DROP DATABASE "{database}" WITH (FORCE)')


def timed(guard: Blocking, issued: IssuedKey) -> tuple[object, float]:
    """Return the decision on a request, and the seconds that it took."""
    began = time.monotonic()
    outcome = guard.ask(issued)
    return outcome, time.monotonic() - began


def refused(outcome: object) -> bool:
    """Return whether nobody could decide."""
    return isinstance(outcome, Denied) and outcome.reason is Reason.STORE_UNAVAILABLE


def test_one_request_waits_for_a_store_that_hangs_and_the_next_are_refused_at_once(
    new: Callable[..., Blocking], proxy: FaultProxy
):
    """Known keys go on until the lease ends; all of it works again a sync after the store does."""
    guard = new()
    warm, *cold = [guard.issue(name="CI") for _ in range(9)]
    assert isinstance(guard.ask(warm), Allowed)
    proxy.suffer(HANGS)
    hung = time.monotonic()
    outcome, took = timed(guard, cold[0])
    assert refused(outcome)
    assert took < WAITS + MARGIN
    for issued in cold:
        outcome, took = timed(guard, issued)
        assert refused(outcome)
        assert took < AT_ONCE
    assert time.monotonic() - hung < REVOKE_WITHIN - SYNC_EVERY, "too slow to look at the lease"
    assert isinstance(guard.ask(warm), Allowed)
    while isinstance(guard.ask(warm), Allowed):
        assert time.monotonic() - hung < REVOKE_WITHIN + MARGIN
        time.sleep(0.02)
    outcome, took = timed(guard, warm)
    assert refused(outcome)
    assert took < AT_ONCE  # that the lease is out costs nobody a question
    proxy.heal()
    healed = time.monotonic()
    while not isinstance(guard.ask(warm), Allowed):
        assert time.monotonic() - healed < SYNC_EVERY + MARGIN
        time.sleep(0.02)
    assert all(isinstance(guard.ask(issued), Allowed) for issued in cold)


def test_a_store_that_nobody_could_open_yet_is_refused_at_once_as_well(
    new: Callable[..., Blocking], proxy: FaultProxy
):
    """There is no sync in the background before that; a request tries, now and then."""
    issued = new().issue(name="CI")
    guard = new()
    proxy.suffer(HANGS)
    assert refused(guard.ask(issued))
    outcome, took = timed(guard, issued)
    assert refused(outcome)
    assert took < AT_ONCE
    proxy.heal()
    healed = time.monotonic()
    while not isinstance(guard.ask(issued), Allowed):
        assert time.monotonic() - healed < PAUSE + MARGIN
        time.sleep(0.02)


@pytest.mark.parametrize("connections", [2, 4])
def test_hung_loads_leave_syncs_a_connection(
    new: Callable[..., Blocking], postgres: PostgresServer, connections: int
):
    """However many there are, what changed is seen within ``sync_every``."""
    guard = new(store_connections=connections)
    keys = [guard.issue(name="CI") for _ in range(8)]
    warm = keys.pop()
    assert isinstance(guard.ask(warm), Allowed)
    name = guard.guard.settings.database.rpartition("/")[2]
    with (
        ThreadPoolExecutor(8) as threads,
        _locked(postgres, name, "keybound_nodes"),
    ):
        engine = guard.guard.engine
        waiting = [threads.submit(engine.store.perform, _load(engine, key)) for key in keys]
        before = engine.cache.fence.synced_at
        ends = time.monotonic() + READ_FOR * 0.8  # as long as they wait for the lock
        while engine.cache.fence.synced_at in {None, before}:
            assert time.monotonic() < ends, "no sync beside hung loads"
            time.sleep(0.01)
        assert not all(each.done() for each in waiting)
        for each in waiting:
            assert isinstance(each.exception(30), StoreUnavailableError)


def _load(engine: Engine, issued: IssuedKey) -> Effect[Any]:
    return LoadByDigest((engine.peppers.digest(issued.secret.reveal()),))


def _locked(server: PostgresServer, database: str, table: str) -> Any:
    import psycopg

    connection = psycopg.connect(server.url(database))
    connection.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE".encode())
    return connection


def test_a_hung_store_is_tried_for_every_change(new: Callable[..., Blocking], proxy: FaultProxy):
    """Whoever revokes a key is never told that nobody tried."""
    guard = new()
    cold, revoked = guard.issue(name="cold"), guard.issue(name="revoked")
    proxy.suffer(HANGS)
    assert refused(guard.ask(cold))
    assert refused(guard.ask(cold))
    threading.Timer(0.5, proxy.heal).start()
    assert guard.revoke(revoked.id).rev == 3


@pytest.mark.parametrize("new", [AsyncGuard], indirect=True)
def test_those_who_stand_in_line_for_a_hung_store_are_refused_with_the_first(
    new: Callable[..., Blocking], proxy: FaultProxy
):
    """However many came before it was known; of threads, each waits for a connection instead."""
    guard = new()
    keys = [b"Bearer " + guard.issue(name="CI").secret.reveal().encode() for _ in range(40)]

    async def asking(raw: bytes) -> float:
        assert refused(await guard.guard.authorize("GET", "/", None, raw))
        return time.monotonic() - began

    async def main() -> list[float]:
        return sorted(await asyncio.gather(*map(asking, keys)))

    proxy.suffer(HANGS)
    began = time.monotonic()
    took = guard._loop.run_until_complete(main())  # noqa: SLF001 - the loop of this guard
    # But for those whose turn came just before.
    assert took[-1 - guard.guard.settings.store_connections] < WAITS + MARGIN
    assert took[-1] < WAITS + READ_FOR + CONNECT_FOR + MARGIN


# ------------------------------------------------------------------------------ by the clock alone


class Cut(MemoryStore):
    """A store that does not answer some effects, and counts what it is asked."""

    def __init__(self):
        """Answer."""
        super().__init__()
        self.failing: dict[type, Exception] = {}
        self.asked: list[type] = []

    def perform(self, effect: Any) -> Any:
        """Fail or answer."""
        self.asked.append(type(effect))
        if type(effect) in self.failing:
            raise self.failing[type(effect)]
        return super().perform(effect)

    def hang(self, *kinds: type) -> None:
        """Answer no question of these kinds."""
        self.failing = dict.fromkeys(kinds, StoreUnavailableError("it hangs"))


@pytest.fixture
def clock():
    """Return a clock that is told the time."""
    return FakeClock()


@pytest.fixture
def store():
    """Return a store that may be cut off."""
    return Cut()


@pytest.fixture(params=[Guard, AsyncGuard], ids=["Guard", "AsyncGuard"])
def alone(request: pytest.FixtureRequest, store: Cut, clock: FakeClock):
    """Return a function that makes guards without anything in the background."""
    made: list[Blocking] = []

    def alone(**settings: Any) -> Blocking:
        engine = Engine(Settings(database="memory://", **settings), store, clock, background=False)
        made.append(Blocking(request.param(engine)))
        return made[-1]

    yield alone
    for guard in made:
        guard.end()


def test_without_a_background_one_request_tries_after_a_pause(alone, store, clock):
    """And all go on when it was answered."""
    guard = alone()
    first, second = guard.issue(name="a"), guard.issue(name="b")
    store.hang(LoadByDigest, Sync)
    assert refused(guard.ask(first))
    for passed in (0.0, PAUSE / 2 - 0.01):
        clock.advance(seconds=passed)
        store.asked.clear()
        assert refused(guard.ask(second))
        assert store.asked == []
    clock.advance(seconds=PAUSE)
    assert refused(guard.ask(first))
    assert refused(guard.ask(second))
    assert store.asked == [Sync]  # of one of them
    store.hang()
    assert refused(guard.ask(first))
    clock.advance(seconds=PAUSE)
    assert isinstance(guard.ask(first), Allowed)
    assert isinstance(guard.ask(second), Allowed)


def test_the_grace_holds_without_a_question(alone, store, clock):
    """Known keys are served for as long, whether the store was asked or not."""
    guard = alone(stale_grace=60.0)
    issued, cold = guard.issue(name="a"), guard.issue(name="b")
    assert isinstance(guard.ask(issued), Allowed)
    store.hang(LoadByDigest, Sync)
    assert refused(guard.ask(cold))
    clock.advance(seconds=6.0)
    assert refused(guard.ask(cold))  # which tried, in vain
    store.asked.clear()
    assert isinstance(guard.ask(issued), Allowed)
    assert store.asked == []
    clock.advance(seconds=60.0)
    assert refused(guard.ask(issued))


def test_changes_are_tried_while_requests_are_refused(alone, store):
    """And a change that is made does not say that loads are answered."""
    guard = alone()
    issued = guard.issue(name="a")
    store.hang(LoadByDigest, Sync)
    assert refused(guard.ask(issued))
    assert guard.revoke(issued.id).rev == 2
    store.asked.clear()
    assert refused(guard.ask(issued))
    assert store.asked == []


def test_a_guard_of_which_only_the_connections_are_busy_goes_on(alone, store):
    """That says nothing of the store."""
    guard = alone()
    issued = guard.issue(name="a")
    store.failing[LoadByDigest] = StoreBusyError("busy")
    assert refused(guard.ask(issued))
    store.hang()
    assert isinstance(guard.ask(issued), Allowed)


def test_whoever_is_interrupted_while_it_tries_leaves_it_to_the_next(store, clock):
    """After another pause, not after the time that it might have taken."""
    sparing = Sparing(clock.boot, None)
    store.hang(OpenStore)
    for _ in range(2):
        with pytest.raises(StoreUnavailableError, match="it hangs"), sparing.turn() as tries:
            sparing.ask(OpenStore(b""), store.perform, tries=tries)
        clock.advance(seconds=PAUSE)

    def interrupted() -> None:
        with sparing.turn() as tries:
            assert tries
            with pytest.raises(StoreUnavailableError), sparing.turn():  # another one meanwhile
                pytest.fail("two try at once")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    with pytest.raises(StoreUnavailableError), sparing.turn():
        pytest.fail("there is no pause")
    clock.advance(seconds=PAUSE)
    with sparing.turn() as tries:
        assert tries


def test_a_failure_of_what_was_asked_before_an_answer_says_nothing(store, clock):
    """One slow look-up is no reason to refuse others, while syncs are answered."""
    sparing = Sparing(clock.boot, None)

    def slow(_effect: Effect[Any]) -> Any:
        clock.advance(seconds=1.0)
        sparing.ask(OpenStore(bytes(32)), store.perform, tries=False)
        raise StoreUnavailableError("slow")

    with pytest.raises(StoreUnavailableError, match="slow"), sparing.turn() as tries:
        sparing.ask(LoadByDigest(()), slow, tries=tries)
    with sparing.turn() as tries:
        assert not tries


def test_a_store_that_answers_nonsense_answers(store, clock):
    """One record that is torn keeps nobody from asking for others."""
    sparing = Sparing(clock.boot, None)
    store.hang(Sync)
    with pytest.raises(StoreUnavailableError):
        sparing.ask(Sync(0), store.perform, tries=True)
    store.failing[Sync] = RecordCorruptError("torn")
    with pytest.raises(RecordCorruptError):
        sparing.ask(Sync(0), store.perform, tries=True)
    with sparing.turn() as tries:
        assert not tries


class Probing:
    """A background that syncs, or does not any more."""

    interval = 1.0
    runs = True

    def __init__(self):
        """Not called yet."""
        self.woken = 0

    def wake(self):
        """Count."""
        self.woken += 1


def test_requests_leave_it_to_the_background_until_that_is_not_heard_of(store, clock):
    """It is woken at the first failure; should it have died, a request tries all the same."""
    probing = Probing()
    sparing = Sparing(clock.boot, probing)
    store.hang(Sync)
    for _ in range(2):
        with pytest.raises(StoreUnavailableError):
            sparing.ask(Sync(0), store.perform, tries=True)
    assert probing.woken == 1
    clock.advance(seconds=TRIED_WITHIN)
    with pytest.raises(StoreUnavailableError), sparing.turn():
        pytest.fail("nobody need try")
    clock.advance(seconds=probing.interval)
    with sparing.turn() as tries:
        assert tries
