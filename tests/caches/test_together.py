"""Many at once: one question about one key, and few round trips for many keys."""

from __future__ import annotations

import asyncio
import contextlib
import threading

import pytest

from keybound import AsyncGuard, Guard, Reason
from keybound.core.decision import Allowed
from keybound.core.effects import LoadByDigest, Sync
from tests.caches.conftest import Fleet
from tests.caches.test_redis import share

COUNT = 100


class Threads:
    """Asks from many threads at once."""

    kind = Guard

    @staticmethod
    def ask(guard, raws):
        """Return every decision."""
        decisions, start = [], threading.Barrier(len(raws))

        def one(raw):
            start.wait()
            decisions.append(guard.authorize("GET", "/", None, raw))

        threads = [threading.Thread(target=one, args=(raw,)) for raw in raws]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return decisions


class Tasks:
    """Asks from many tasks of one loop at once."""

    kind = AsyncGuard

    @staticmethod
    def ask(guard, raws):
        """Return every decision."""

        async def main():
            return await asyncio.gather(*(guard.authorize("GET", "/", None, each) for each in raws))

        return asyncio.run(main())


@pytest.fixture(params=[Threads, Tasks])
def crowd(request):
    """Return a way of asking at once."""
    return request.param


@pytest.fixture
def fleet(crowd, redis_url):
    """Return a fleet of the guards that the crowd uses."""
    fleet = Fleet(crowd.kind, redis_url)
    yield fleet
    fleet.end()


def raw_of(issued):
    """Return the header of an issued key."""
    return b"Bearer " + issued.secret.reveal().encode()


def counting(engine):
    """Count what the shared cache and the store of an engine are asked from now on."""
    asked = {"batches": 0, LoadByDigest: 0, Sync: 0}
    link, store = engine.shared.link, engine.store
    question, perform = link.question, store.perform

    def counted_question(names):
        asked["batches"] += 1
        return question(names)

    def counted_perform(effect):
        asked[type(effect)] = asked.get(type(effect), 0) + 1
        return perform(effect)

    link.question, engine.store.perform = counted_question, counted_perform
    return asked


def test_a_crowd_with_one_key_that_redis_has_asks_once(crowd, fleet, redis_client):
    """One read of Redis, one sync, and none of the store."""
    first = fleet.join()
    issued = first.issue(name="CI")
    share(first, redis_client, issued)
    guard = fleet.join().guard
    asked = counting(guard.engine)
    decisions = crowd.ask(guard, [raw_of(issued)] * COUNT)
    assert {type(each) for each in decisions} == {Allowed}
    assert asked["batches"] == asked[Sync] == 1
    assert asked[LoadByDigest] == 0


def test_a_crowd_with_one_key_that_redis_has_not_asks_once(crowd, fleet):
    """One read of Redis and one of the store."""
    issued = fleet.join(redis=None).issue(name="CI")
    guard = fleet.join().guard
    asked = counting(guard.engine)
    decisions = crowd.ask(guard, [raw_of(issued)] * COUNT)
    assert {type(each) for each in decisions} == {Allowed}
    assert asked["batches"] == asked[LoadByDigest] == asked[Sync] == 1


def test_a_crowd_with_many_keys_asks_in_few_round_trips(crowd, fleet, redis_client):
    """What one tick asks for goes out together, and what comes while a read is under way."""
    first = fleet.join()
    keys = [first.issue(name="CI") for _ in range(COUNT)]
    share(first, redis_client, *keys)
    guard = fleet.join().guard
    asked = counting(guard.engine)
    decisions = crowd.ask(guard, [raw_of(each) for each in keys])
    assert {type(each) for each in decisions} == {Allowed}
    assert asked[LoadByDigest] == 0
    assert asked[Sync] == 1
    assert asked["batches"] <= COUNT / 2


def test_a_crowd_shares_the_failure_of_redis(crowd, fleet, redis_server):
    """A hundred keys at once wait for a server that hangs as long as one does."""
    first = fleet.join()
    keys = [first.issue(name="CI") for _ in range(COUNT)]
    guard = fleet.join(redis_timeout=0.2).guard
    asked = counting(guard.engine)
    redis_server.hang()
    decisions = crowd.ask(guard, [raw_of(each) for each in keys])
    redis_server.go_on()
    assert {type(each) for each in decisions} == {Allowed}
    assert asked[LoadByDigest] == COUNT


def test_a_revocation_while_a_read_is_under_way_is_not_joined_past(crowd, fleet, redis_client):
    """Whoever asks after a change, and joins a read from before it, gets what is true now."""
    first = fleet.join()
    issued = first.issue(name="CI")
    share(first, redis_client, issued)
    guard = fleet.join().guard
    read, revoked = threading.Event(), threading.Event()
    link = guard.engine.shared.link
    answer = link.answer

    def slow(replies):
        read.set()
        assert revoked.wait(5)
        return answer(replies)

    link.answer = slow
    decisions = []
    asking = threading.Thread(
        target=lambda: decisions.extend(crowd.ask(guard, [raw_of(issued)] * 3))
    )
    asking.start()
    assert read.wait(5)
    twin = guard if isinstance(guard, Guard) else guard.to_sync()
    twin.revoke(issued.id)
    late = threading.Thread(
        target=lambda: decisions.append(twin.authorize("GET", "/", None, raw_of(issued)))
    )
    late.start()
    revoked.set()
    asking.join()
    late.join()
    assert {each.reason for each in decisions} == {Reason.REVOKED}


def test_a_client_that_goes_away_leaves_the_others_served(redis_url, redis_client):
    """Whoever asked Redis first may be cancelled: what it asked is answered to the others."""
    fleet = Fleet(AsyncGuard, redis_url)
    first = fleet.join()
    keys = [first.issue(name="CI") for _ in range(3)]
    share(first, redis_client, *keys)
    guard = fleet.join().guard

    async def main():
        await guard.open()
        tasks = [
            asyncio.create_task(guard.authorize("GET", "/", None, raw_of(key)))
            for key in (keys[0], *keys)
        ]
        for _ in range(3):  # until it asks Redis, and before that answers
            await asyncio.sleep(0)
        tasks[0].cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await tasks[0]
        decisions = await asyncio.gather(*tasks[1:])
        await guard.close()
        return decisions

    loads = fleet.store.loads
    assert {type(each) for each in asyncio.run(main())} == {Allowed}
    assert fleet.store.loads == loads
    fleet.end()


def test_a_read_asks_for_names_that_fit_one_key(fleet, redis_client):
    """Everything above a key is asked for at once, after the key."""
    first = fleet.join()
    groups = [first.create_group(name=name).node.id for name in "abc"]
    issued = first.issue(name="CI", groups=groups)
    share(first, redis_client, issued)
    guard = fleet.join()
    seen = []
    link = guard.guard.engine.shared.link
    question = link.question

    def noted(names):
        seen.append(len(names))
        return question(names)

    link.question = noted
    assert isinstance(guard.ask(issued), Allowed)
    assert seen == [1, 3]
