"""Redis as a Cluster: each name where it lies, whatever moves, fails or hangs."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from contextlib import suppress

import pytest
import redis
from redis.crc import key_slot

from keybound.caches import open_shared
from keybound.caches.redis_dial import Dialler, dial
from keybound.caches.redis_link import Part, Together, pack
from keybound.caches.redis_wires import AsyncWire, Wire
from keybound.clocks import monotonic
from keybound.core.decision import Allowed
from keybound.core.effects import Moment, Offer, ReadShared
from keybound.core.errors import CacheError
from keybound.core.secret import Secret
from keybound.drivers import run
from tests.caches.conftest import wait_until
from tests.services.redis_fleets import Nodes

TIMEOUT = 0.4
SLACK = 1.0
"""Seconds that a shared machine may add to one answer."""


class Both:
    """The two clients of one Cluster, asked alike."""

    def __init__(self, url, *, awaiting, timeout=1.0):
        """Connect to nothing yet."""
        self.shared = open_shared(Secret(url), timeout=timeout, boot=time.monotonic)
        self._runner = asyncio.Runner() if awaiting else None

    def read(self, *names):
        """Return what is there."""
        asked = ReadShared(names, Moment(time.monotonic(), 0.0))
        if self._runner is None:
            return self.shared.blocking.read(asked)
        return self._runner.run(self.shared.awaiting.read(asked))

    def write(self, name, value, nodes):
        """Write, and wait until it is there."""
        self.shared.link.offers.add([Offer(name, value, replace=True)])
        wait_until(lambda: nodes.owner(name).say("GET", name) == value)

    def close(self):
        """Let all connections go."""
        self.shared.link.offers.close()
        self.shared.blocking.close()
        if self._runner is not None:
            self._runner.run(self.shared.awaiting.close())
            self._runner.close()


@pytest.fixture(params=[False, True], ids=["blocking", "awaiting"])
def new_client(request):
    """Return a function that makes clients of one kind."""
    clients = []

    def new(url, **more):
        clients.append(Both(url, awaiting=request.param, **more))
        return clients[-1]

    yield new
    for client in clients:
        client.close()


def one_on_each(nodes):
    """Return a name for each primary."""
    names: dict[int, bytes] = {}
    for number in range(1_000):
        name = b"keybound:%d" % number
        names.setdefault(nodes.owner(name).port, name)
        if len(names) == 3:
            return list(names.values())
    raise AssertionError(names)


def test_chains_are_shared_by_all_nodes(new_fleet, nodes):
    """Keys, a parent and groups lie on several nodes, and are found in one go."""
    fleet = new_fleet(nodes.url())
    first = fleet.join()
    groups = [first.create_group(name=name).node.id for name in "abcdef"]
    parent = first.issue(name="parent", groups=groups)
    keys = [first.issue(name="CI", parent=parent.id, groups=groups) for _ in range(6)]
    for key in keys:
        assert isinstance(first.ask(key), Allowed)
    wait_until(lambda: len(nodes.names()) == 14)  # the parent lies under both of its names
    assert len({node.port for node in nodes.names().values()}) > 1
    other, loads = fleet.join(), fleet.store.loads
    for key in keys:
        assert isinstance(other.ask(key), Allowed)
    assert fleet.store.loads == loads


def test_a_dead_node_takes_only_its_own_names_along(new_fleet, nodes, caplog):
    """Until its replica takes over: no key is refused, and the others are still shared."""
    fleet = new_fleet(nodes.url())
    first = fleet.join()
    keys = [first.issue(name="CI") for _ in range(12)]
    for key in keys:
        assert isinstance(first.ask(key), Allowed)
    wait_until(lambda: len(nodes.names()) == len(keys))
    killed = nodes.owners()[0]
    alive = sum(node is not killed for node in nodes.names().values())
    assert 0 < alive < len(keys)
    guard = fleet.join(redis_timeout=TIMEOUT)
    for key in keys:
        assert isinstance(guard.ask(key), Allowed)
    guard.guard.engine.renew()
    killed.stop()
    loads, took = fleet.store.loads, []
    for key in keys:
        started = time.monotonic()
        assert isinstance(guard.ask(key), Allowed)
        took.append(time.monotonic() - started)
    assert fleet.store.loads == loads + len(keys) - alive
    assert max(took) < TIMEOUT + SLACK
    assert not guard.guard.engine.shared.link.breaker.open
    assert f"redis at 127.0.0.1:{killed.port}, a node of a Cluster, cannot be used" in caplog.text
    wait_until(lambda: killed not in nodes.owners(), within=15)
    wait_until(lambda: _all_shared(fleet, guard, keys), within=15)


def _all_shared(fleet, guard, keys):
    guard.guard.engine.renew()
    loads = fleet.store.loads
    for key in keys:
        assert isinstance(guard.ask(key), Allowed)
    return fleet.store.loads == loads


def test_a_node_that_hangs_costs_one_request_a_timeout(nodes, new_client):
    """In that very request the names of others are answered; then nobody waits for it."""
    names = one_on_each(nodes)
    client = new_client(nodes.url(), timeout=TIMEOUT)
    for name in names:
        client.write(name, b"value of " + name, nodes)
    values = [b"value of " + name for name in names]
    assert client.read(*names) == values
    nodes.owner(names[1]).hang()
    took = []
    for _ in range(10):
        started = time.monotonic()
        assert client.read(*names) == [values[0], None, values[2]]
        took.append(time.monotonic() - started)
    assert took[0] == pytest.approx(TIMEOUT, abs=TIMEOUT / 4)
    assert sum(each > TIMEOUT * 0.75 for each in took) == 1


def test_a_node_that_takes_no_records_is_said_once(nodes, new_client, caplog):
    """While the others take theirs; and once more when it has taken what it did not."""
    client = new_client(nodes.url())
    names = one_on_each(nodes)
    for name in names:
        client.write(name, b"before", nodes)
    full = nodes.owner(names[1])
    full.say("CONFIG", "SET", "maxmemory", "1")
    try:
        for value in (b"1", b"2", b"3"):
            client.shared.link.offers.add([Offer(names[1], value, replace=True)])
            for other in (names[0], names[2]):
                client.write(other, value, nodes)
        assert caplog.text.count("takes no records: it has no room") == 1
        assert "takes records again" not in caplog.text
    finally:
        full.say("CONFIG", "SET", "maxmemory", "0")
    client.write(names[0], b"after", nodes)
    wait_until(lambda: "takes records again" in caplog.text)
    assert full.say("GET", names[1]) != b"before"
    assert caplog.text.count("takes no records") == 1


def test_names_that_move_are_followed(nodes, new_client):
    """While a slot moves (ASK), and when it has moved (MOVED): no answer is lost."""
    name = b"keybound:moving"
    client = new_client(nodes.url())
    client.write(name, b"value", nodes)
    assert client.read(name) == [b"value"]
    source = nodes.owner(name)
    target = next(node for node in nodes.owners() if node is not source)
    slot, ids = key_slot(name), {node: node.say("CLUSTER", "MYID") for node in (source, target)}
    target.say("CLUSTER", "SETSLOT", slot, "IMPORTING", ids[source])
    source.say("CLUSTER", "SETSLOT", slot, "MIGRATING", ids[target])
    source.say("MIGRATE", "127.0.0.1", target.port, name, 0, 2_000)
    assert client.read(name) == [b"value"]
    for node in (target, source, *nodes.owners()):
        node.say("CLUSTER", "SETSLOT", slot, "NODE", ids[target])
    assert nodes.owner(name) is target
    assert client.read(name) == [b"value"]
    client.write(name, b"newer", nodes)
    assert client.read(name) == [b"newer"]


def test_a_slot_that_nobody_has_is_a_name_that_is_not_there(nodes, new_client):
    """CLUSTERDOWN for one name: that node rests for a moment, and then all is well again."""
    names = one_on_each(nodes)
    client = new_client(nodes.url())
    for name in names:
        client.write(name, b"value", nodes)
    slot, owner = key_slot(names[0]), nodes.owner(names[0])
    for node in nodes.nodes:
        with suppress(redis.ResponseError):  # one that heard of it before it was told
            node.say("CLUSTER", "DELSLOTS", slot)
    try:
        assert client.read(*names) == [None, b"value", b"value"]
    finally:
        owner.say("CLUSTER", "ADDSLOTS", slot)
    wait_until(lambda: client.read(*names) == [b"value"] * 3)


def test_without_any_node_the_store_is_asked(nodes, new_client):
    """At once, and without asking anybody for a second."""
    client = new_client(nodes.url(), timeout=2.0)
    client.read(b"keybound:a")
    for node in nodes.nodes:
        node.stop()
    errors = []
    for _ in range(5):
        with pytest.raises(CacheError) as caught:
            client.read(*one_of_many())
        errors.append(str(caught.value))
    assert "Connection refused" in errors[0]
    assert errors[-1] == "it did not answer a moment ago"


def one_of_many():
    """Return names in many slots."""
    return [b"keybound:%d" % number for number in range(100)]


def test_what_is_no_cluster_is_said(redis_server, new_client):
    """With the form of the setting that is right for it."""
    client = new_client(f"redis+cluster://127.0.0.1:{redis_server.port}")
    with pytest.raises(CacheError, match=r"it is no node of a Cluster: write redis://"):
        client.read(b"keybound:a")


def test_check_names_the_node_that_does_not_work(nodes):
    """Although the others do."""
    shared = open_shared(Secret(nodes.url()), timeout=1.0, boot=time.monotonic)
    shared.blocking.check()
    stopped = nodes.owners()[2]
    stopped.stop()
    with pytest.raises(CacheError, match=rf"127.0.0.1:{stopped.port}: "):
        shared.blocking.check()
    shared.blocking.close()


def test_a_listener_is_led_to_a_live_node_and_to_another_one_when_that_dies(nodes):
    """A message that any node publishes reaches it."""
    line = dial(nodes.url())
    wire, seen = Wire(line.connection), set()
    for _ in range(3):
        line.connection.until.at = monotonic() + 2
        (said,) = run(line.converse(pack(b"SUBSCRIBE", b"keybound:changes"), 1), wire)
        assert said == [b"subscribe", b"keybound:changes", 1]
        seen.add(line.connection.port)
        other = next(node for node in nodes.owners() if node.port != line.connection.port)
        other.say("PUBLISH", "keybound:changes", "a message")
        line.connection.until.at = monotonic() + 2
        heard = line.connection._parser.read_response(True)  # noqa: FBT003, SLF001 - as a listener
        assert heard == [b"message", b"keybound:changes", b"a message"]
        line.stands = False
        line.connection.disconnect()
    assert len(seen) == 3
    next(node for node in nodes.nodes if node.port == line.connection.port).stop()
    line.connection.until.at = monotonic() + 2
    run(line.converse(pack(b"PING"), 1), wire)
    line.connection.disconnect()


def test_nodes_that_hang_leave_time_to_find_one_that_does_not(nodes, new_client):
    """The map is asked of another one, within the same request."""
    name = one_on_each(nodes)[2]
    owner = nodes.owner(name)
    hung = next(node for node in nodes.nodes[:3] if node is not owner)
    client = new_client(
        f"redis+cluster://127.0.0.1:{hung.port},127.0.0.1:{owner.port}", timeout=2.0
    )
    hung.hang()
    started = time.monotonic()
    assert client.read(name) == [None]
    assert 0.5 < time.monotonic() - started < 1.8
    hung.go_on()


def _meet(listener, meeting):
    """Answer a command only when every server was asked."""
    connection, _ = listener.accept()
    with connection, suppress(threading.BrokenBarrierError):
        connection.recv(1_000)
        meeting.wait(5)
        connection.sendall(b"+MET\r\n")
        connection.recv(1_000)
        meeting.wait(5)
        connection.sendall(b"+AGAIN\r\n")


def _pings(lines):
    return Together(tuple(Part(line, pack(b"PING"), 1) for line in lines))


def _blocking(dialled):
    lines = [each.line() for each in dialled]
    wire = Wire(lines[0].connection)
    for line in lines:
        line.connection.until.at = monotonic() + 5
        line.connection.connect()
        line.stands = True
    said = [wire(_pings(lines)) for _ in range(2)]
    for line in lines:
        line.connection.disconnect()
    return said


async def _awaiting(dialled):
    lines = [each.arouted() for each in dialled]
    wire = AsyncWire(lines[0].connection)
    wire.until = monotonic() + 5
    said = [await wire(_pings(lines)) for _ in range(2)]
    for line in lines:
        await line.connection.disconnect()
    return said


@pytest.mark.parametrize("awaiting", [False, True], ids=["blocking", "awaiting"])
def test_nodes_are_asked_at_the_same_time(awaiting):
    """Each answers only when all of them were asked, over lines that stand."""
    meeting = threading.Barrier(3)
    listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(3)]
    threads = [threading.Thread(target=_meet, args=(each, meeting)) for each in listeners]
    for thread in threads:
        thread.start()
    dialled = [Dialler(f"redis://127.0.0.1:{each.getsockname()[1]}") for each in listeners]
    try:
        said = asyncio.run(_awaiting(dialled)) if awaiting else _blocking(dialled)
    finally:
        for thread in threads:
            thread.join()
        for each in listeners:
            each.close()
    assert said == [[[b"MET"]] * 3, [[b"AGAIN"]] * 3]


@pytest.mark.parametrize("version", ["redis", "redis62", "debian"])
def test_clusters_of_other_versions_work_alike(version, tmp_path, new_client):
    """What one wrote is read, whichever node has it."""
    nodes = Nodes(version, tmp_path, replicas=False)
    try:
        client = new_client(nodes.url())
        names = one_on_each(nodes)
        for name in names:
            client.write(name, b"value of " + name, nodes)
        assert client.read(*names) == [b"value of " + name for name in names]
    finally:
        nodes.stop()


def test_a_password_is_said_to_every_node(nodes, new_client):
    """A wrong one is an error of all of it."""
    for node in nodes.nodes:
        node.say("ACL", "SETUSER", "app", "on", ">word", "~*", "+@all")
    names = one_on_each(nodes)
    client = new_client(nodes.url(user="app:word@"))
    assert client.read(*names) == [None] * 3
    client = new_client(nodes.url(user="app:hunter2@"))
    with pytest.raises(CacheError, match="does not accept the user name and password"):
        client.read(*names)
    for node in nodes.nodes:
        with suppress(redis.RedisError):
            node.say("ACL", "DELUSER", "app")
