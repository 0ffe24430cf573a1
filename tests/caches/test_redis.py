"""Processes that share what they know through Redis, over either guard and either server."""

from __future__ import annotations

import asyncio
import inspect
import os
import re
import time
from pathlib import Path

import pytest

from keybound import Reason
from keybound.caches.redis_rights import set_user
from keybound.caches.redis_urls import Kind
from keybound.core.decision import Allowed
from keybound.core.effects import Offer
from keybound.core.secret import Secret
from keybound.core.shared import SharedRecords
from keybound.testing import FakeClock
from tests.caches.conftest import SECRET, wait_until


@pytest.fixture
def first(fleet):
    """Return the guard that issues and loads first."""
    return fleet.join()


def share(guard, client, *issued):
    """Let a guard load keys anew, and wait until Redis has all that it offers."""
    engine, records = guard.guard.engine, SharedRecords(Secret(SECRET))
    guard.open()
    engine.renew()
    for each in issued:
        assert isinstance(guard.ask(each), Allowed)
    epoch, digest_of = engine.cache.fence.epoch, engine.peppers.digest
    names = {records.key_name(epoch, digest_of(each.secret.reveal())) for each in issued}
    for each in issued:
        names |= {records.node_name(epoch, node) for node in guard.show(each.id).above}
    wait_until(lambda: client.exists(*names) == len(names))


def test_what_one_process_loaded_another_does_not_ask_the_store_for(fleet, first, redis_client):
    """A key, its parent and both its groups come from Redis."""
    groups = [first.create_group(name=name).node.id for name in "ab"]
    parent = first.issue(name="parent", groups=groups)
    keys = [first.issue(name="plain"), first.issue(name="child", parent=parent.id, groups=groups)]
    share(first, redis_client, *keys)
    other, loads = fleet.join(), fleet.store.loads
    for key in keys:
        assert isinstance(other.ask(key), Allowed)
    assert fleet.store.loads == loads


def test_nothing_in_redis_names_a_key(first, redis_client):
    """Neither credentials nor digests nor ids can be read from names, and no secret from values."""
    issued = first.issue(name="CI")
    share(first, redis_client, issued)
    (name,) = redis_client.keys()
    value, text = redis_client.get(name), issued.secret.reveal()
    digests = [each.hex().encode() for each in first.guard.engine.peppers.candidates(text)]
    assert name.startswith(b"keybound:1:")
    assert issued.id.encode() not in name
    for hidden in (text.encode(), *digests, *map(bytes.fromhex, map(bytes.decode, digests))):
        assert hidden not in name + value
    assert 3_500_000 < redis_client.pttl(name) <= 3_600_000


def test_a_group_that_is_known_here_costs_no_second_round_trip(fleet, first, redis_client):
    """Ten keys of one group ask Redis for the group once."""
    group = first.create_group(name="all").node.id
    keys = [first.issue(name="CI", groups=[group]) for _ in range(10)]
    share(first, redis_client, *keys)
    other = fleet.join()
    before = redis_client.info("commandstats")["cmdstat_getrange"]["calls"]
    for key in keys:
        assert isinstance(other.ask(key), Allowed)
    asked = redis_client.info("commandstats")["cmdstat_getrange"]["calls"] - before
    assert asked == len(keys) + 1


def test_a_revoked_key_is_refused_although_its_record_is_still_there(fleet, first, redis_client):
    """Another process hears of it within ``sync_every``, and a fresh one believes no record."""
    issued = first.issue(name="CI")
    share(first, redis_client, issued)
    other = fleet.join(background=True, sync_every=0.2)
    assert isinstance(other.ask(issued), Allowed)
    (name,) = redis_client.keys()
    kept = redis_client.get(name)
    first.revoke(issued.id)
    done = time.monotonic()
    wait_until(lambda: not isinstance(other.ask(issued), Allowed), within=0.4)
    assert time.monotonic() - done < 0.4
    redis_client.set(name, kept)
    assert other.ask(issued).reason is Reason.REVOKED
    redis_client.set(name, kept)
    assert fleet.join().ask(issued).reason is Reason.REVOKED


def test_the_end_of_a_group_reaches_keys_whose_records_are_good(fleet, first, redis_client):
    """Each node of a chain has the revision of its own reading."""
    group = first.create_group(name="all").node.id
    keys = [first.issue(name="CI", groups=[group]) for _ in range(2)]
    share(first, redis_client, *keys)
    first.disable(group)
    other = fleet.join()
    for key in keys:
        assert other.ask(key).reason is Reason.DISABLED
    first.enable(group)
    assert isinstance(fleet.join().ask(keys[0]), Allowed)


def test_a_record_proves_nothing_once_the_lease_is_out(fleet, first, redis_client):
    """Cut off from the store, what came from Redis is served for the bound and then refused."""
    clock = FakeClock()
    issued = first.issue(name="CI")
    share(first, redis_client, issued)
    other = fleet.join(clock=clock)
    other.guard.engine.close()
    assert isinstance(other.ask(issued), Allowed)
    clock.advance(seconds=5.1)
    first.revoke(issued.id)
    assert other.ask(issued).reason is Reason.REVOKED


def test_a_restored_store_leaves_its_records_behind(fleet, redis_client):
    """What was written before the restore is not found after it."""
    clock = FakeClock()
    first = fleet.join(clock=clock)
    issued = first.issue(name="CI")
    backup = fleet.store.back_up()
    first.disable(issued.id)
    assert first.ask(issued).reason is Reason.DISABLED
    assert redis_client.dbsize() >= 1
    fleet.store.restore(backup)
    clock.advance(seconds=6)
    assert isinstance(first.ask(issued), Allowed)
    assert isinstance(fleet.join().ask(issued), Allowed)
    wait_until(lambda: len({name.split(b":")[2] for name in redis_client.scan_iter()}) == 2)


def test_a_later_record_is_not_replaced_by_an_earlier_one(first, redis_client):
    """Offers may arrive in any order."""
    issued = first.issue(name="CI")
    share(first, redis_client, issued)
    (name,) = redis_client.keys()
    early = redis_client.get(name)
    first.update(issued.id, name="new")
    first.ask(issued)
    wait_until(lambda: redis_client.get(name) != early)
    late = redis_client.get(name)
    link = first.guard.engine.shared.link
    link.offers.add([Offer(name, early, replace=False)])
    wait_until(lambda: redis_client.info("commandstats")["cmdstat_evalsha"]["calls"] > 0)
    time.sleep(0.05)
    assert redis_client.get(name) == late
    link.offers.add([Offer(name, early, replace=True)])
    wait_until(lambda: redis_client.get(name) == early)


def test_what_no_record_can_be_is_replaced(fleet, first, redis_client):
    """A forged value of a far future would otherwise stay there for good."""
    issued = first.issue(name="CI")
    share(first, redis_client, issued)
    (name,) = redis_client.keys()
    good = redis_client.get(name)
    for forged in (b"1" + b"9" * 20 + good[21:], b"junk"):
        redis_client.set(name, forged)
        assert isinstance(fleet.join().ask(issued), Allowed)
        wait_until(lambda: redis_client.get(name) == good)
    redis_client.delete(name)
    redis_client.rpush(name, "a list")
    assert isinstance(fleet.join().ask(issued), Allowed)
    wait_until(lambda: redis_client.type(name) == b"string")


def test_a_made_up_key_leaves_nothing_behind(first, redis_client):
    """Whoever tries keys cannot fill Redis with the fact that there are none."""
    for number in range(5):
        key = first.guard.engine.format.generate(bytes([number]) * 32).reveal()
        raw = b"Bearer " + key.encode()
        assert first.authorize("GET", "/", None, raw).reason is Reason.UNKNOWN_KEY
    time.sleep(0.1)
    assert redis_client.dbsize() == 0


async def _awaited(decision):
    return await decision


def test_a_user_with_the_rights_of_the_page_is_enough(fleet, redis_client):
    """It is the one that ``keybound redis-acl`` prints; a database takes one more right."""
    page = (Path(__file__).resolve().parents[2] / "docs" / "redis.md").read_text(encoding="utf-8")
    (command,) = re.findall(r"^ACL SETUSER .*", page, re.MULTILINE)
    assert command == set_user("keybound", Kind.SERVER, selects=False)
    redis_client.execute_command(*command.split(), ">word", "+select")
    fleet.url = fleet.url.replace("redis://", "redis://keybound:word@")
    first = fleet.join()
    issued = first.issue(name="CI")
    share(first, redis_client, issued)
    loads = fleet.store.loads
    assert isinstance(fleet.join().ask(issued), Allowed)
    assert fleet.store.loads == loads


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:This process.*fork:DeprecationWarning")
def test_a_forked_child_has_a_connection_of_its_own(fleet, first, redis_client):
    """What the parent asks is not answered to the child."""
    issued = first.issue(name="CI")
    share(first, redis_client, issued)
    other = fleet.join()
    assert isinstance(other.ask(issued), Allowed)
    child = os.fork()
    if child == 0:
        ended = 1
        try:
            loads = fleet.store.loads
            raw = b"Bearer " + issued.secret.reveal().encode()
            decision = other.guard.authorize("GET", "/", None, raw)
            if inspect.isawaitable(decision):  # a child needs a loop of its own
                decision = asyncio.run(_awaited(decision))
            good = isinstance(decision, Allowed)
            ended = 0 if good and fleet.store.loads == loads else 2
        finally:
            os._exit(ended)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    other.guard.engine.renew()
    loads = fleet.store.loads
    assert isinstance(other.ask(issued), Allowed)
    assert fleet.store.loads == loads
