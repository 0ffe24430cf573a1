"""Changes that are announced: others know at once, and whatever fails, at the next sync."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
import time
from contextlib import suppress

import pytest
import redis

from keybound import AsyncGuard, Guard, Reason, performing
from keybound.caches import listening
from keybound.caches.redis_wires import Wire
from keybound.clocks import read_entropy
from keybound.core.decision import Allowed
from keybound.core.effects import Commit, Sync
from keybound.core.messages import Message, Messages
from keybound.core.secret import Secret
from tests.caches.conftest import SECRET, Fleet, wait_until

LONG = {"background": True, "sync_every": 20.0, "revoke_within": 60.0}
"""Nobody syncs in the time that a test takes, unless something makes it."""

SOON = {"background": True, "sync_every": 0.3}


class Pair:
    """A guard that makes changes, and one of another process that has asked for a key."""

    def __init__(self, fleet, **settings):
        """Issue a key, and wait until the other one knows it, and listens."""
        self.first = fleet.join()
        self.issued = self.first.issue(name="CI")
        self.other = fleet.join(**settings)
        assert self.allowed()
        self.engine = self.other.guard.engine
        wait_until(lambda: self.engine.listener.listens)
        self.settle()

    def allowed(self):
        """Return whether the other one accepts the key."""
        return isinstance(self.other.ask(self.issued), Allowed)

    def settle(self):
        """Wait until the other one has synced since it listens, and is at rest."""
        wait_until(lambda: self.engine.cache.fence.since == self._rev())
        time.sleep(0.1)
        assert self.allowed()

    def counted(self):
        """Return a list that grows with every sync of the other one from now on."""
        syncs, perform = [], self.engine.performer.perform

        def counting(effect):
            if isinstance(effect, Sync):
                syncs.append(time.monotonic())
            return perform(effect)

        self.engine.performer.perform = counting
        return syncs

    def _rev(self):
        return self.engine.store.perform(Sync(0)).head.rev


@pytest.fixture
def pair(fleet):
    """Return two guards that hear of each other by messages alone."""
    return Pair(fleet, **LONG)


@pytest.fixture
def quick(monkeypatch):
    """Let the listener look up more often."""
    monkeypatch.setattr(listening, "TICK", 0.05)


def test_a_revocation_is_heard_before_any_sync(pair):
    """In the other process the key ends although its next sync is far away."""
    receipt = pair.first.revoke(pair.issued.id)
    assert receipt.announced is True
    wait_until(lambda: not pair.allowed())
    assert pair.other.ask(pair.issued).reason is Reason.REVOKED
    ear = pair.engine.ear
    assert (ear.ahead, ear.refused) == (1, 0)
    # What was heard is settled by a sync that nobody had to wait for.
    wait_until(lambda: pair.engine.cache.fence.since == receipt.rev)
    assert pair.engine.listener.rebuilds == 0


def test_a_message_before_the_first_sync_is_nobody_elses(pair):
    """A process that forgot everything cannot tell of which epoch it is, and syncs."""
    pair.engine.renew()
    receipt = pair.first.revoke(pair.issued.id)
    ear = pair.engine.ear
    wait_until(lambda: pair.engine.cache.fence.since == receipt.rev)
    assert (ear.received, ear.ahead, ear.refused) == (1, 1, 0)
    assert pair.other.ask(pair.issued).reason is Reason.REVOKED


def test_what_ends_a_group_or_a_parent_is_heard_of_every_key_below(fleet):
    """Each node of a chain is announced for itself."""
    first = fleet.join()
    group = first.create_group(name="all").node.id
    parent = first.issue(name="parent")
    keys = [first.issue(name="a", groups=[group]), first.issue(name="b", parent=parent.id)]
    other = fleet.join(**LONG)
    assert all(isinstance(other.ask(key), Allowed) for key in keys)
    wait_until(lambda: other.guard.engine.listener.listens)
    for node, key in ((group, keys[0]), (parent.id, keys[1])):
        assert first.disable(node).announced is True
        wait_until(lambda key=key: not isinstance(other.ask(key), Allowed))
        assert other.ask(key).reason is Reason.DISABLED
        assert first.enable(node).announced is True
        wait_until(lambda key=key: isinstance(other.ask(key), Allowed))


def test_a_key_that_was_tried_before_it_was_issued_works_at_once(pair, monkeypatch):
    """That there was no such key ends with the message about it."""
    entropy = bytes(range(32))
    raw = b"Bearer " + pair.engine.format.generate(entropy).reveal().encode()
    assert pair.other.authorize("GET", "/", None, raw).reason is Reason.UNKNOWN_KEY
    draws = iter([entropy])
    monkeypatch.setattr(
        performing, "read_entropy", lambda size: next(draws, None) or read_entropy(size)
    )
    assert pair.first.issue(name="planned").receipt.announced is True
    wait_until(lambda: isinstance(pair.other.authorize("GET", "/", None, raw), Allowed))


def test_what_was_missed_while_nobody_listened_is_synced_at_once(pair, redis_server, caplog):
    """A connection that is back makes a sync: nothing that was said meanwhile will be heard."""
    redis_server.stop()
    wait_until(lambda: not pair.engine.listener.listens)
    assert pair.first.revoke(pair.issued.id).announced is False
    assert pair.allowed()
    redis_server.start()
    wait_until(lambda: not pair.allowed())
    wait_until(lambda: "listening to redis" in caplog.text and "again" in caplog.text)
    said = [each.message for each in caplog.records if each.message.startswith("not listening")]
    assert len(said) == 1
    assert f":{redis_server.port}/" in said[0]
    wait_until(lambda: pair.first.issue(name="second").receipt.announced)


def test_without_redis_a_change_is_seen_at_the_next_sync(fleet, redis_server):
    """Nothing depends on messages."""
    pair = Pair(fleet, **SOON)
    redis_server.stop()
    assert pair.first.revoke(pair.issued.id).announced is False
    wait_until(lambda: not pair.allowed(), within=2.0)


@pytest.mark.usefixtures("quick")
def test_a_connection_on_which_nothing_is_said_stays(pair, caplog):
    """Pings are answered, and that is enough."""
    time.sleep(40 * listening.TICK)
    assert (pair.engine.listener.rebuilds, pair.engine.listener.listens) == (0, True)
    assert pair.first.revoke(pair.issued.id).announced is True
    wait_until(lambda: not pair.allowed())
    assert "listening" not in caplog.text


@pytest.mark.usefixtures("quick")
def test_a_server_that_hangs_is_left_and_found_again(fleet, redis_server):
    """No answer to a ping is the end of a connection that stands."""
    pair = Pair(fleet, **SOON)
    redis_server.hang()
    wait_until(lambda: not pair.engine.listener.listens)
    started = time.monotonic()
    assert pair.first.revoke(pair.issued.id).announced is False
    assert time.monotonic() - started < 0.5 + 1.0
    wait_until(lambda: not pair.allowed(), within=2.0)
    redis_server.go_on()
    wait_until(lambda: pair.engine.listener.listens, within=10.0)
    assert pair.engine.listener.rebuilds > 0


def test_a_hung_server_costs_a_change_one_timeout_and_the_next_one_nothing(fleet, redis_server):
    """For a moment nobody waits for it any more."""
    first = fleet.join(redis_timeout=0.2)
    keys = [first.issue(name="CI") for _ in range(4)]
    redis_server.hang()
    took = []
    for key in keys:
        started = time.monotonic()
        assert first.revoke(key.id).announced is False
        took.append(time.monotonic() - started)
    assert sum(each > 0.15 for each in took) == 1
    redis_server.go_on()


def test_a_flushed_server_needs_nothing(pair, redis_client):
    """Neither values nor scripts are relied on to be there."""
    redis_client.flushall()
    redis_client.script_flush()
    assert pair.first.revoke(pair.issued.id).announced is True
    wait_until(lambda: not pair.allowed())
    assert pair.engine.listener.rebuilds == 0


def test_a_subscriber_that_is_thrown_out_comes_back(pair, redis_client):
    """And what it missed meanwhile is synced."""
    redis_client.client_kill_filter(_type="pubsub")
    pair.first.revoke(pair.issued.id)
    wait_until(lambda: not pair.allowed())
    wait_until(lambda: pair.engine.listener.listens)
    assert pair.engine.listener.rebuilds == 1
    before = pair.engine.ear.received
    second = pair.first.issue(name="second")
    assert isinstance(pair.other.ask(second), Allowed)
    pair.first.revoke(second.id)
    wait_until(lambda: not isinstance(pair.other.ask(second), Allowed))
    assert pair.engine.ear.received == before + 2


@pytest.mark.usefixtures("quick")
def test_a_change_that_a_sync_saw_and_nobody_announced_makes_the_listener_doubt(fleet):
    """Perhaps nobody publishes to its server any more; a second doubt waits for a while."""
    pair = Pair(fleet, **SOON)
    quiet = fleet.join(redis=None)
    quiet.disable(pair.issued.id)
    wait_until(lambda: pair.engine.listener.rebuilds == 1)
    quiet.enable(pair.issued.id)
    time.sleep(1.0)
    assert pair.engine.listener.rebuilds == 1
    assert pair.first.revoke(pair.issued.id).announced is True
    wait_until(lambda: not pair.allowed())


def test_what_is_forged_or_late_costs_a_count(pair, redis_client):
    """No entry ends, and nobody asks the store."""
    engine, syncs = pair.engine, pair.counted()
    messages, fence = Messages(Secret(SECRET)), engine.cache.fence
    loads = engine.store.loads
    late = messages.encode(Message(fence.epoch, (pair.issued.id,), fence.since, 0.0))
    for payload in (
        b"",
        b"x" * 100,
        late[:-1] + bytes([late[-1] ^ 1]),
        messages.encode(Message(b"another epoch", (pair.issued.id,), 99, 0.0)),
        Messages(Secret("another-secret-0123456789-abcdefghij")).encode(
            Message(fence.epoch, (pair.issued.id,), 99, 0.0)
        ),
        late,
        late,
    ):
        redis_client.publish(messages.channel, payload)
    wait_until(lambda: engine.ear.received >= 7)
    assert (engine.ear.refused, engine.ear.behind, engine.ear.ahead) == (5, 2, 0)
    assert pair.allowed()
    assert engine.store.loads == loads
    assert syncs == []


def test_a_message_about_what_never_was_costs_a_read(pair, redis_client):
    """A change that a restored store lost is heard of late: the key is read anew, and good."""
    messages, fence = Messages(Secret(SECRET)), pair.engine.cache.fence
    lost = messages.encode(Message(fence.epoch, (pair.issued.id,), fence.since + 1_000, 0.0))
    redis_client.publish(messages.channel, lost)
    wait_until(lambda: pair.engine.ear.ahead == 1)
    assert pair.allowed()


def test_many_messages_make_few_syncs(pair, redis_client):
    """Twenty a second at most, however many are heard."""
    messages, fence = Messages(Secret(SECRET)), pair.engine.cache.fence
    syncs, started = pair.counted(), time.monotonic()
    for number in range(500):
        lost = messages.encode(Message(fence.epoch, (f"key_{number}",), 1_000_000 + number, 0.0))
        redis_client.publish(messages.channel, lost)
    wait_until(lambda: pair.engine.ear.ahead == 500)
    took = time.monotonic() - started
    assert 1 <= len(syncs) <= 2 + took / 0.05


def test_a_user_that_may_not_publish_announces_nothing_and_does_all_else(
    fleet, redis_client, caplog
):
    """It is said once; records are written, and others see the change at their next sync."""
    rights = "+getrange +set +select +evalsha +eval"
    rules = ("on", ">word", "resetkeys", "~keybound:*", "resetchannels", "-@all", *rights.split())
    redis_client.execute_command("ACL", "SETUSER", "quiet", *rules)
    pair = Pair(fleet, **SOON)
    fleet.url = fleet.url.replace("redis://", "redis://quiet:word@")
    quiet = fleet.join()
    before = set(redis_client.keys())
    issued = quiet.issue(name="another")
    assert issued.receipt.announced is False
    assert set(redis_client.keys()) > before
    assert quiet.disable(pair.issued.id).announced is False
    wait_until(lambda: not pair.allowed(), within=2.0)
    assert caplog.text.count("takes no messages") == 1
    assert "its user may not do that" in caplog.text


def test_a_user_that_may_not_subscribe_sees_changes_at_the_next_sync(fleet, redis_client, caplog):
    """It is said once, and again never."""
    rules = ("on", ">word", "resetkeys", "~keybound:*", "-@all", "+getrange", "+set", "+select")
    redis_client.execute_command("ACL", "SETUSER", "deaf", *rules)
    first = fleet.join()
    issued = first.issue(name="CI")
    fleet.url = fleet.url.replace("redis://", "redis://deaf:word@")
    other = fleet.join(**SOON)
    assert isinstance(other.ask(issued), Allowed)
    wait_until(lambda: "not listening to redis" in caplog.text)
    first.revoke(issued.id)
    wait_until(lambda: not isinstance(other.ask(issued), Allowed), within=2.0)
    assert caplog.text.count("not listening") == 1


def test_a_server_that_has_no_room_tells_all_the_same(pair, redis_client):
    """A message takes none."""
    redis_client.config_set("maxmemory", "1")
    try:
        assert pair.first.revoke(pair.issued.id).announced is True
        wait_until(lambda: not pair.allowed())
    finally:
        redis_client.config_set("maxmemory", "0")


def test_a_replica_announces_nothing(fleet, redis_client):
    """Whoever listens to the primary would not hear it."""
    first = fleet.join()
    issued = first.issue(name="CI")
    redis_client.execute_command("REPLICAOF", "127.0.0.1", "1")
    try:
        assert first.revoke(issued.id).announced is False
    finally:
        redis_client.execute_command("REPLICAOF", "NO", "ONE")


def listeners():
    """Return the threads of this process that listen."""
    return [each for each in threading.enumerate() if each.name == "keybound-listen"]


def test_nobody_listens_before_the_first_request_nor_after_the_end(fleet):
    """One thread of the process does in between."""
    wait_until(lambda: not listeners())
    first = fleet.join()
    issued = first.issue(name="CI")
    assert listeners() == []
    other = fleet.join(**LONG)
    assert listeners() == []
    assert isinstance(other.ask(issued), Allowed)
    assert len(listeners()) == 1
    other.close()
    wait_until(lambda: not listeners())
    assert isinstance(other.ask(issued), Allowed)
    other.guard.engine.renew()
    assert isinstance(other.ask(issued), Allowed)
    assert len(listeners()) == 1


def test_without_redis_there_is_no_listener(fleet):
    """And no ear."""
    engine = fleet.join(redis=None, background=True).guard.engine
    assert engine.listener is None
    assert engine.ear is None


def test_a_guard_that_nobody_uses_any_more_takes_its_listener_along(redis_url):
    """The thread does not keep it."""
    wait_until(lambda: not listeners())
    fleet = Fleet(Guard, redis_url)
    issued = fleet.join(redis=None).issue(name="CI")
    fleet.join(**LONG).ask(issued)
    wait_until(listeners)
    fleet.leave()  # which lets the connections of requests go, and nothing else
    gc.collect()
    wait_until(lambda: not listeners())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:This process.*fork:DeprecationWarning")
def test_a_fork_leaves_the_connection_to_the_parent(pair):
    """The child has a listener of its own once it asks, and its end is not the parent's."""
    raw = b"Bearer " + pair.issued.secret.reveal().encode()
    engine = pair.engine
    child = os.fork()
    if child == 0:
        ended = 1
        try:
            assert engine.listener.listens is False
            guard = AsyncGuard(engine).to_sync()
            assert isinstance(guard.authorize("GET", "/", None, raw), Allowed)
            until = time.monotonic() + 5
            while not engine.listener.listens and time.monotonic() < until:
                time.sleep(0.01)
            ended = 0 if engine.listener.listens else 2
            guard.close()
            gc.collect()
        finally:
            os._exit(ended)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert pair.first.revoke(pair.issued.id).announced is True
    wait_until(lambda: not pair.allowed())
    assert (engine.listener.rebuilds, engine.ear.received) == (0, 1)


def test_a_change_whose_task_is_cancelled_is_announced(redis_url):
    """Once it is committed it is told, whoever has gone meanwhile, and fenced here as well."""
    fleet = Fleet(AsyncGuard, redis_url)
    pair = Pair(fleet, **LONG)
    guard, begun, goes_on = pair.first.guard, threading.Event(), threading.Event()
    perform = fleet.store.perform

    def slow(effect):
        if isinstance(effect, Commit):
            begun.set()
            assert goes_on.wait(5)
        return perform(effect)

    async def main():
        fleet.store.perform = slow
        task = asyncio.create_task(guard.revoke(pair.issued.id))
        await asyncio.to_thread(begun.wait, 5)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        assert task.cancelled()
        goes_on.set()

    loop = pair.first._loop  # noqa: SLF001 - the loop of this guard
    loop.run_until_complete(main())
    wait_until(lambda: not pair.allowed())
    assert pair.engine.ear.ahead == 1
    raw = b"Bearer " + pair.issued.secret.reveal().encode()
    assert guard.decide("GET", "/", None, raw).__class__.__name__ == "Miss"
    fleet.end()


def test_messages_of_another_installation_on_the_same_server_are_not_heard(pair, redis_client):
    """Every secret has a channel of its own."""
    other = Messages(Secret("another-secret-0123456789-abcdefghij"))
    redis_client.publish(other.channel, b"anything")
    pair.first.revoke(pair.issued.id)
    wait_until(lambda: not pair.allowed())
    assert pair.engine.ear.received == 1
    with suppress(redis.RedisError):
        assert redis_client.pubsub_channels() == [Messages(Secret(SECRET)).channel]


def test_a_listener_that_is_thrown_out_at_once_is_said_to_be_lost_once(
    pair, redis_client, caplog, monkeypatch
):
    """However often that happens; and it does not try faster than about once a second."""
    monkeypatch.setattr(listening, "TICK", 0.05)
    ends = time.monotonic() + 2.5
    while time.monotonic() < ends:
        redis_client.client_kill_filter(_type="pubsub")
        time.sleep(0.01)
    assert pair.engine.listener.rebuilds <= len(listening.PAUSES) + 4
    assert caplog.text.count("not listening") == 1
    wait_until(lambda: "listening to redis" in caplog.text and "again" in caplog.text)
    assert caplog.text.count(" again") == 1
    pair.first.revoke(pair.issued.id)
    wait_until(lambda: not pair.allowed())


def test_what_answers_something_else_is_left(fleet, caplog, monkeypatch):
    """An error that nobody asked for ends the connection, and nothing else."""
    pair = Pair(fleet, **SOON)
    with monkeypatch.context() as confused:
        confused.setattr(Wire, "receive", lambda _wire: redis.ResponseError("whatever"))
        wait_until(lambda: "not listening to redis" in caplog.text)
    pair.first.revoke(pair.issued.id)
    wait_until(lambda: not pair.allowed(), within=2.0)
