"""Redis behind Sentinels: the primary is found, lost and found again, and costs little."""

from __future__ import annotations

import time

import pytest

from keybound.caches import open_shared
from keybound.caches.redis_dial import Dialler, dial
from keybound.caches.redis_link import pack
from keybound.caches.redis_wires import Wire
from keybound.clocks import monotonic
from keybound.core.decision import Allowed
from keybound.core.effects import Moment, Offer, ReadShared
from keybound.core.errors import CacheError
from keybound.core.secret import Secret
from keybound.drivers import run
from tests.caches.conftest import wait_until
from tests.services.redis_fleets import PRIMARY
from tests.services.redis_process import Process, server_of, wait_for

TIMEOUT = 0.4
SLACK = 1.0
"""Seconds that a shared machine may add to one answer."""


def shared_by(fleet, server, *issued, database=0):
    """Let a guard that knows nothing load keys, and wait until the server has all of them."""
    guard = fleet.join()
    for each in issued:
        assert isinstance(guard.ask(each), Allowed)
    with server.client(database) as client:
        wait_until(lambda: client.dbsize() >= len(issued))
    return guard


def sharing(new_fleet, watched):
    """Return a fleet behind Sentinels, and a key that its primary has."""
    fleet = new_fleet(watched.url())
    issued = fleet.join().issue(name="CI")
    shared_by(fleet, watched.primary, issued)
    return fleet, issued


def warm(fleet, issued):
    """Return a guard that is connected, and does not wait for long."""
    guard = fleet.join(redis_timeout=TIMEOUT)
    ask_again(guard, issued)
    return guard


def is_shared(fleet, issued):
    """Whether a guard that knows nothing accepts a key without asking the store for it."""
    loads = fleet.store.loads
    assert isinstance(fleet.join().ask(issued), Allowed)
    return fleet.store.loads == loads


def ask_again(guard, issued):
    """Ask about a key anew; return the seconds that it took."""
    guard.guard.engine.renew()
    started = time.monotonic()
    assert isinstance(guard.ask(issued), Allowed)
    return time.monotonic() - started


def test_the_primary_is_found_and_its_database_as_well(new_fleet, watched):
    """Its name may have to be escaped in a URL."""
    fleet = new_fleet(watched.url(3))
    issued = fleet.join().issue(name="CI")
    shared_by(fleet, watched.primary, issued, database=3)
    assert is_shared(fleet, issued)


def test_a_failover_refuses_nobody_and_costs_little(new_fleet, watched):
    """The primary is killed: keys are served by the store, and then by the new primary."""
    fleet, issued = sharing(new_fleet, watched)
    guard = warm(fleet, issued)
    killed = watched.primary
    killed.stop()
    took, ends = [], time.monotonic() + 15
    while time.monotonic() < ends:
        took.append(ask_again(guard, issued))
        if watched.primary is not killed and not guard.guard.engine.shared.link.breaker.open:
            break
        time.sleep(0.02)
    assert watched.primary is not killed
    assert max(took) < TIMEOUT + SLACK
    shared_by(fleet, watched.primary, issued)
    assert is_shared(fleet, issued)


def test_a_primary_that_hangs_costs_one_request_a_timeout_until_it_is_probed(new_fleet, watched):
    """And when the Sentinels have chosen another one, that is used."""
    fleet, issued = sharing(new_fleet, watched)
    guard = warm(fleet, issued)
    hung = watched.primary
    hung.hang()
    began = time.monotonic()
    took = [ask_again(guard, issued) for _ in range(50)]
    lasted = time.monotonic() - began
    assert took[0] == pytest.approx(TIMEOUT, abs=TIMEOUT / 4)
    assert sum(each > TIMEOUT * 0.75 for each in took) <= 1 + lasted  # one, and one for each probe
    wait_for(lambda: watched.primary is not hung)
    wait_until(lambda: not _rests(guard, issued), within=10)


def _rests(guard, issued):
    ask_again(guard, issued)
    return guard.guard.engine.shared.link.breaker.open


def test_a_sentinel_that_hangs_leaves_time_for_the_others(new_fleet, watched):
    """The first request already gets its answer from Redis."""
    fleet, issued = sharing(new_fleet, watched)
    watched.sentinels[0].hang()
    loads = fleet.store.loads
    assert isinstance(fleet.join(redis_timeout=1.0).ask(issued), Allowed)
    assert fleet.store.loads == loads


def test_without_sentinels_what_is_connected_goes_on(new_fleet, watched):
    """Who is not connected asks the store, and ``check`` says which Sentinel did not answer."""
    fleet, issued = sharing(new_fleet, watched)
    guard, loads = fleet.join(), fleet.store.loads
    ask_again(guard, issued)
    for each in watched.sentinels:
        each.stop()
    ask_again(guard, issued)
    assert fleet.store.loads == loads
    assert not is_shared(fleet, issued)
    shared = open_shared(Secret(watched.url()), timeout=TIMEOUT, boot=time.monotonic)
    with pytest.raises(CacheError, match=r"Sentinel 127\.0\.0\.1:\d+: Connection refused"):
        shared.blocking.check()


class Alone:
    """Two servers, and one Sentinel that believes what it is told."""

    def __init__(self, folder, version="valkey", *, conf=""):
        """Start them; nothing is watched."""
        binary = server_of(version)
        self.servers = [Process(binary, folder) for _ in range(2)]
        self.sentinel = Process(
            binary, folder, sentinel=conf or "sentinel deny-scripts-reconfig yes"
        )
        for each in (*self.servers, self.sentinel):
            each.start()

    def names(self, server, **more):
        """Let the Sentinel name a server, and nobody else move."""
        if self.sentinel.say("SENTINEL", "MASTERS", **more):
            self.sentinel.say("SENTINEL", "REMOVE", PRIMARY, **more)
        self.sentinel.say("SENTINEL", "MONITOR", PRIMARY, "127.0.0.1", server.port, 9, **more)

    def url(self, user="", options=""):
        """Return the setting that leads to it."""
        name = PRIMARY.replace(" ", "%20")
        return f"redis+sentinel://{user}127.0.0.1:{self.sentinel.port}/{name}{options}"

    def stop(self):
        """End them."""
        for each in (self.sentinel, *self.servers):
            each.stop()


@pytest.fixture
def alone(tmp_path):
    """Return servers and a Sentinel that do what the test says."""
    alone = Alone(tmp_path)
    yield alone
    alone.stop()


def _demote(alone):
    """Let the second server be the primary of the first, whose connections stay."""
    first, second = alone.servers
    first.say("REPLICAOF", "127.0.0.1", second.port)
    alone.names(second)


@pytest.mark.parametrize("version", ["valkey", "redis", "redis62", "debian"])
def test_what_a_demoted_primary_does_not_take_goes_to_the_new_one(version, tmp_path):
    """It says that it is read-only: the same record is written to the right one, at once."""
    alone = Alone(tmp_path, version)
    try:
        alone.names(alone.servers[0])
        shared = open_shared(Secret(alone.url()), timeout=9.0, boot=time.monotonic)
        link = shared.link
        link.offers.add([Offer(b"keybound:a", b"first", replace=True)])
        wait_until(lambda: alone.servers[0].say("GET", "keybound:a") == b"first")
        asked = ReadShared((b"keybound:a",), Moment(time.monotonic(), 0.0))
        assert shared.blocking.read(asked) == [b"first"]
        reader = shared.blocking._talk[0]  # noqa: SLF001 - what asks
        _demote(alone)
        link.offers.add([Offer(b"keybound:b", b"second", replace=True)])
        wait_until(lambda: alone.servers[1].say("GET", "keybound:b") == b"second")
        assert not reader.stands  # whoever reads asks the Sentinel as well, next time
        shared.blocking.read(asked)
        assert reader.connection.port == alone.servers[1].port
        shared.blocking.close()
        link.offers.close()
    finally:
        alone.stop()


def test_a_replica_is_never_taken_for_the_primary(alone):
    """Whatever a Sentinel says."""
    first, second = alone.servers
    first.say("REPLICAOF", "127.0.0.1", second.port)
    alone.names(first)
    shared = open_shared(Secret(alone.url()), timeout=1.0, boot=time.monotonic)
    with pytest.raises(CacheError, match="is not the primary that a Sentinel says it is"):
        shared.blocking.check()


def test_a_name_that_no_sentinel_knows_is_said(alone):
    """As is a server that is no Sentinel."""
    shared = open_shared(Secret(alone.url()), timeout=1.0, boot=time.monotonic)
    with pytest.raises(CacheError, match="knows no primary of that name"):
        shared.blocking.check()
    url = f"redis+sentinel://127.0.0.1:{alone.servers[0].port}/name"
    shared = open_shared(Secret(url), timeout=1.0, boot=time.monotonic)
    with pytest.raises(CacheError, match=r"Sentinel .*ResponseError"):
        shared.blocking.check()


def test_sentinels_have_a_password_of_their_own(tmp_path, caplog):
    """It stands in an option of the URL, and is not said to servers, nor theirs to Sentinels."""
    alone = Alone(tmp_path, conf="requirepass watch/word")
    try:
        alone.names(alone.servers[0], password="watch/word")
        alone.servers[0].say("CONFIG", "SET", "requirepass", "hunter2")
        good = alone.url(":hunter2@", "?sentinel_password=watch%2Fword")
        open_shared(Secret(good), timeout=1.0, boot=time.monotonic).blocking.check()
        for wrong, said in {
            alone.url(":hunter2@"): "Sentinel .*: it does not accept the user name and password",
            alone.url(":hunter2@", "?sentinel_password=x"): "Sentinel .*: it does not accept",
            alone.url(":hunter3@", "?sentinel_password=watch%2Fword"): "^it does not accept",
        }.items():
            with pytest.raises(CacheError, match=said) as caught:
                open_shared(Secret(wrong), timeout=1.0, boot=time.monotonic).blocking.check()
            assert "hunter" not in str(caught.value)
    finally:
        alone.stop()
    assert "hunter" not in caplog.text
    assert "word" not in caplog.text.replace("password", "")


def test_a_listener_is_led_to_the_primary(watched):
    """``dial`` makes a line that asks the Sentinels whenever it connects."""
    line = dial(watched.url())
    wire = Wire(line.connection)
    line.connection.until.at = monotonic() + 2
    (said,) = run(line.converse(pack(b"SUBSCRIBE", b"keybound:changes"), 1), wire)
    assert said == [b"subscribe", b"keybound:changes", 1]
    assert line.connection.port == watched.primary.port
    line.connection.disconnect()


def test_what_a_dialler_is_made_of_is_not_shown():
    """Neither user nor password of servers or Sentinels."""
    url = "redis+sentinel://me:hunter2@one,two:1/name/2?sentinel_password=hunter2"
    dialler = Dialler(url)
    assert "hunter2" not in repr(dialler.url) + str(dialler.url) + repr(vars(dialler))
    assert dialler.url.shown == "redis+sentinel://one:26379,two:1/name/2"
