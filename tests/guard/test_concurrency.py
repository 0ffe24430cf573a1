"""Many at once: one question to the store, no lost waiters, and processes that fork."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
import time

import pytest

from keybound import AsyncGuard, Guard, Reason
from keybound.core.decision import Allowed
from keybound.core.effects import LoadByDigest, Sync
from keybound.core.errors import StoreUnavailableError


def test_threads_that_miss_one_key_ask_once(engine, store, raw):
    """A hundred threads with one unknown key make one sync and one look-up."""
    guard, store.asked = Guard(engine), []
    store.open.clear()
    decisions = []
    threads = [
        threading.Thread(target=lambda: decisions.append(guard.authorize("GET", "/", None, raw)))
        for _ in range(100)
    ]
    for thread in threads:
        thread.start()
    store.open.set()
    for thread in threads:
        thread.join()
    assert {type(decision) for decision in decisions} == {Allowed}
    assert (store.asked.count(LoadByDigest), store.asked.count(Sync)) == (1, 1)


def test_tasks_that_miss_one_key_ask_once(engine, store, raw):
    """A hundred tasks with one unknown key make one sync and one look-up."""

    async def main():
        guard = AsyncGuard(engine)
        return await asyncio.gather(*(guard.authorize("GET", "/", None, raw) for _ in range(100)))

    store.asked = []
    assert {type(decision) for decision in asyncio.run(main())} == {Allowed}
    assert (store.asked.count(LoadByDigest), store.asked.count(Sync)) == (1, 1)


def test_those_who_wait_share_the_failure(engine, store, raw):
    """When the store fails, nobody asks it once more for each request that waited."""

    async def main():
        guard = AsyncGuard(engine)
        waiting = [asyncio.create_task(guard.authorize("GET", "/", None, raw)) for _ in range(50)]
        await asyncio.sleep(0.05)
        store.open.set()
        return await asyncio.gather(*waiting)

    store.asked, store.error = [], StoreUnavailableError("down")
    store.open.clear()
    decisions = asyncio.run(main())
    assert {decision.reason for decision in decisions} == {Reason.STORE_UNAVAILABLE}
    assert store.asked.count(LoadByDigest) == 1


def test_a_client_that_goes_away_leaves_the_others_served(engine, store, raw):
    """Whoever asked first may be cancelled: one of those who waited asks instead."""

    async def main():
        guard = AsyncGuard(engine)
        first = asyncio.create_task(guard.authorize("GET", "/", None, raw))
        await asyncio.sleep(0.05)
        others = [asyncio.create_task(guard.authorize("GET", "/", None, raw)) for _ in range(5)]
        await asyncio.sleep(0.05)
        first.cancel()
        others[0].cancel()
        await asyncio.sleep(0.05)
        store.open.set()
        with contextlib.suppress(asyncio.CancelledError):
            await others[0]
        return await asyncio.gather(*others[1:])

    store.open.clear()
    assert {type(decision) for decision in asyncio.run(main())} == {Allowed}


@pytest.mark.parametrize("kind", ["Guard", "AsyncGuard"])
def test_nobody_waits_for_ever_for_somebody_whose_loop_stands_still(
    kind, engine, store, raw, monkeypatch
):
    """It is a 503 for whoever waited; a change of the store is heard of all the same."""
    monkeypatch.setattr("keybound.performing.JOINED_WITHIN", 0.1)
    loop = asyncio.new_event_loop()
    stuck = loop.create_task(AsyncGuard(engine).authorize("GET", "/", None, raw))
    while LoadByDigest not in store.asked and Sync not in store.asked:
        loop.run_until_complete(asyncio.sleep(0))
    if kind == "Guard":
        decision = Guard(engine).authorize("GET", "/", None, raw)
    else:
        decision = asyncio.run(AsyncGuard(engine).authorize("GET", "/", None, raw))
    assert decision.reason is Reason.STORE_UNAVAILABLE
    asked = store.asked.count(Sync)
    engine._sync()  # noqa: SLF001 - what the thread in the background does
    assert store.asked.count(Sync) == asked + 1
    assert isinstance(loop.run_until_complete(stuck), Allowed)
    loop.close()


def test_whoever_does_not_come_back_is_not_waited_for_again_and_again(
    engine, store, raw, monkeypatch
):
    """Once given up, another one asks: a key is not refused for as long as the process lives."""
    for name in ("performing.JOINED_WITHIN", "flights.ABANDONED_AFTER"):
        monkeypatch.setattr(f"keybound.{name}", 0.1)
    loop = asyncio.new_event_loop()
    stuck = loop.create_task(AsyncGuard(engine).authorize("GET", "/", None, raw))
    while LoadByDigest not in store.asked and Sync not in store.asked:
        loop.run_until_complete(asyncio.sleep(0))
    guard = Guard(engine)
    assert guard.authorize("GET", "/", None, raw).reason is Reason.STORE_UNAVAILABLE
    assert isinstance(guard.authorize("GET", "/", None, raw), Allowed)
    assert isinstance(loop.run_until_complete(stuck), Allowed)
    assert engine._flights.join(b"another") is None  # noqa: SLF001 - and nothing is left behind
    assert list(engine._flights._under_way) == [b"another"]  # noqa: SLF001
    loop.close()


def test_nobody_waits_for_ever_behind_others_whom_a_store_keeps_waiting(
    engine, store, raw, monkeypatch
):
    """However many keys are asked about at once, the last is answered soon after the limit."""
    monkeypatch.setattr("keybound.performing.TURN_WITHIN", 0.2)
    unknown = [engine.format.generate(os.urandom(32)).reveal() for _ in range(9)]
    asked = [b"Bearer " + key.encode() for key in unknown]
    perform = store.perform

    def slowly(effect):
        if isinstance(effect, LoadByDigest):
            time.sleep(0.3)
        return perform(effect)

    async def main():
        guard = AsyncGuard(engine)
        await guard.authorize("GET", "/", None, raw)
        store.perform = slowly
        return await asyncio.gather(*[guard.authorize("GET", "/", None, each) for each in asked])

    reasons = [decision.reason for decision in asyncio.run(main())]
    threads = engine.settings.store_connections
    assert reasons.count(Reason.UNKNOWN_KEY) == threads
    assert reasons.count(Reason.STORE_UNAVAILABLE) == len(asked) - threads


class Interrupted(BaseException):
    """What ends a request from outside, as a greenlet's timeout does."""


def test_a_request_that_is_interrupted_keeps_nobody_waiting(engine, store, raw):
    """Not even while what interrupted it is still being handled."""
    store.error = Interrupted()
    guard = Guard(engine)
    began = time.monotonic()
    try:
        guard.authorize("GET", "/", None, raw)
    except Interrupted:
        store.error = None
        assert isinstance(guard.authorize("GET", "/", None, raw), Allowed)
    else:
        pytest.fail("nothing was interrupted")
    assert time.monotonic() - began < 5


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:This process.*fork:DeprecationWarning")
@pytest.mark.parametrize("kind", ["Guard", "AsyncGuard"])
def test_a_guard_that_was_used_serves_on_in_a_forked_child(kind, tmp_path):
    """A server that loads the application and then forks gets guards that work in every child."""
    guard = Guard.from_settings(database=str(tmp_path / "keys.db"))
    issued = guard.issue(name="CI")
    raw = b"Bearer " + issued.secret.reveal().encode()
    twin = guard.to_async()
    asyncio.run(twin.authorize("GET", "/", None, raw))
    # What other threads hold while we fork: one that applies a sync, and one that starts them.
    locks = guard.engine.cache._lock, guard.engine._syncer._thread._lock  # noqa: SLF001
    for lock in locks:
        lock.acquire()
    child = os.fork()
    if child == 0:
        allowed = False
        with contextlib.suppress(BaseException):
            if kind == "Guard":
                decision = guard.authorize("GET", "/", None, raw)
            else:
                decision = asyncio.run(twin.authorize("GET", "/", None, raw))
            allowed = isinstance(decision, Allowed)
        os._exit(0 if allowed else 1)
    for lock in locks:
        lock.release()
    deadline = time.monotonic() + 20
    while (ended := os.waitpid(child, os.WNOHANG)) == (0, 0):
        if time.monotonic() > deadline:
            os.kill(child, 9)
            os.waitpid(child, 0)
            pytest.fail("the child hangs")
        time.sleep(0.01)
    assert os.waitstatus_to_exitcode(ended[1]) == 0
    assert isinstance(guard.authorize("GET", "/", None, raw), Allowed)
    guard.close()


def test_one_foreign_error_does_not_end_the_background_syncs(tmp_path):
    """Whatever a sync dies of, the next one is made, and sees what changed."""
    guard = Guard.from_settings(database=str(tmp_path / "keys.db"), sync_every=0.05)
    other = Guard.from_settings(database=str(tmp_path / "keys.db"))
    issued = guard.issue(name="CI")
    raw = b"Bearer " + issued.secret.reveal().encode()
    assert isinstance(guard.authorize("GET", "/", None, raw), Allowed)
    real = guard.engine.store.perform
    failed = threading.Event()

    def failing(effect):
        if isinstance(effect, Sync) and not failed.is_set():
            failed.set()
            raise OSError(24, "Too many open files")
        return real(effect)

    guard.engine.store.perform = failing
    assert failed.wait(timeout=5)
    other.revoke(issued.id)
    deadline = time.monotonic() + 3
    while isinstance(guard.authorize("GET", "/", None, raw), Allowed):
        assert time.monotonic() < deadline, "no sync is made any more"
        time.sleep(0.01)
    guard.close()
    other.close()


def test_waiting_for_a_change_that_somebody_else_made_waits_as_well(tmp_path):
    """``wait`` promises that the state holds everywhere, whoever brought it about."""
    guard = Guard.from_settings(
        database=str(tmp_path / "keys.db"), revoke_within=0.3, sync_every=0.05
    )
    issued = guard.issue(name="CI")
    guard.revoke(issued.id)
    begun = time.monotonic()
    guard.revoke(issued.id, wait=True)
    assert time.monotonic() - begun >= 0.3
    guard.close()
