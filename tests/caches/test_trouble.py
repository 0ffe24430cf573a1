"""Whatever is wrong with Redis: right answers, a bounded delay, no refusal of a good key."""

from __future__ import annotations

import logging
import socket
import statistics
import threading
import time
from contextlib import contextmanager

import pytest

from keybound import Reason, breaker
from keybound.core.decision import Allowed
from tests.caches.conftest import wait_until
from tests.caches.test_redis import share

TIMEOUT = 0.05
"""Seconds that Redis may take in these tests: the default."""

SLACK = 1.0
"""Seconds that a shared machine may add to anything."""


@pytest.fixture
def place(fleet, redis_server, redis_client):
    """Return what a trouble may need: the server, what is in it, and two keys' records."""
    return Place(fleet, redis_server, redis_client)


class Place:
    """A fleet whose first guard has shared one good key, and one that it has revoked since."""

    def __init__(self, fleet, server, client):
        """Share both, and revoke one."""
        self.fleet, self.server, self.client = fleet, server, client
        self.first = fleet.join()
        self.good, self.revoked = self.first.issue(name="good"), self.first.issue(name="bad")
        share(self.first, client, self.good, self.revoked)
        self.first.revoke(self.revoked.id)

    def put(self, make):
        """Replace every value by what ``make`` makes of it."""
        for name in list(self.client.scan_iter()):
            self.client.set(name, make(self.client.get(name)))

    def check(self, **settings):
        """Let a guard that knows nothing decide; return the seconds that each answer took."""
        guard = self.fleet.join(redis_timeout=TIMEOUT, **settings)
        guard.open()
        took = []
        for _ in range(3):
            for issued, accepted in ((self.good, True), (self.revoked, False)):
                started = time.monotonic()
                decision = guard.ask(issued)
                took.append(time.monotonic() - started)
                assert isinstance(decision, Allowed) is accepted
                assert accepted or decision.reason is Reason.REVOKED
            guard.guard.engine.renew()
        return took


def _stopped(place):
    place.server.stop()


def _hung(place):
    place.server.hang()


def _flushed(place):
    place.client.flushall()


def _full(place):
    place.client.flushall()
    place.client.config_set("maxmemory-policy", "noeviction")
    place.client.config_set("maxmemory", "1")


def _garbage(place):
    place.put(lambda value: b"\x80\x04\x95" + value[::-1])


def _another_version(place):
    place.put(lambda value: b"2" + value[1:])


def _a_damaged_record(place):
    place.put(lambda value: value[:-1] + b"]")


def _cut_short(place):
    place.put(lambda value: value[:40])


def _each_other(place):
    names = place.client.keys()
    values = place.client.mget(names)
    place.client.mset(dict(zip(names, values[1:] + values[:1], strict=True)))


def _ten_megabytes(place):
    place.put(lambda value: value + b"x" * 10_000_000)


def _another_type(place):
    for name in list(place.client.scan_iter()):
        place.client.delete(name)
        place.client.hset(name, "a", "hash")


def _no_rights(place):
    place.client.execute_command("ACL", "SETUSER", "nobody", "on", ">word", "resetkeys", "-@all")
    place.fleet.url = place.fleet.url.replace("redis://", "redis://nobody:word@")


def _read_only_user(place):
    rights = ("~keybound:*", "-@all", "+getrange", "+select")
    place.client.execute_command("ACL", "SETUSER", "reader", "on", ">word", "resetkeys", *rights)
    place.fleet.url = place.fleet.url.replace("redis://", "redis://reader:word@")


def _wrong_password(place):
    place.fleet.url = place.fleet.url.replace("redis://", "redis://somebody:hunter2@")


def _tls_without_tls(place):
    place.fleet.url = place.fleet.url.replace("redis://", "rediss://")


TROUBLES = {
    trouble.__name__.strip("_"): trouble
    for trouble in (
        _stopped,
        _hung,
        _flushed,
        _full,
        _garbage,
        _another_version,
        _a_damaged_record,
        _cut_short,
        _each_other,
        _ten_megabytes,
        _another_type,
        _no_rights,
        _read_only_user,
        _wrong_password,
        _tls_without_tls,
    )
}


def check_delay(took):
    """Check that one answer waited, and that most did not."""
    assert sum(took) < TIMEOUT + SLACK
    assert statistics.median(took) < TIMEOUT / 2


@pytest.fixture
def _mended(redis_server, redis_client):
    yield
    redis_server.ensure()
    redis_client.config_set("maxmemory", "0")


@pytest.mark.usefixtures("_mended")
@pytest.mark.parametrize("trouble", TROUBLES)
def test_whatever_redis_holds_or_does_the_answers_are_right(trouble, place, caplog):
    """A good key is accepted and a revoked one refused; Redis costs one ``redis_timeout``, once."""
    TROUBLES[trouble](place)
    check_delay(place.check())
    assert "hunter2" not in caplog.text
    assert "word" not in caplog.text.replace("password", "")


@pytest.mark.usefixtures("_mended")
def test_what_is_wrong_is_said_once_and_that_it_works_again_as_well(place, caplog, monkeypatch):
    """The log names the server without its password, and is not filled by every request."""
    monkeypatch.setattr(breaker, "REST", 0.2)
    place.server.stop()
    guard = place.fleet.join(redis_timeout=TIMEOUT)
    for _ in range(5):
        assert isinstance(guard.ask(place.good), Allowed)
        guard.guard.engine.renew()
    said = [record for record in caplog.records if "cannot be used" in record.message]
    assert "Connection refused" in said[0].message
    assert [record.levelno for record in said] == [logging.WARNING]
    assert f"127.0.0.1:{place.server.port}" in said[0].message
    place.server.start()
    time.sleep(0.25)
    assert isinstance(guard.ask(place.good), Allowed)
    assert "answers again" in caplog.text


def test_a_forged_record_is_told_of_once(place, caplog):
    """Somebody who may not writes to Redis, or a secret differs: the operator hears of it."""
    guard = place.fleet.join()
    guard.open()
    for _ in range(2):
        place.put(lambda value: value[:-1] + b"]")
        assert isinstance(guard.ask(place.good), Allowed)
        guard.guard.engine.renew()
    assert caplog.text.count("a record in Redis is replaced") == 1


@pytest.mark.usefixtures("_mended")
def test_a_full_server_is_read_all_the_same(place, caplog):
    """What cannot be written is said once, and again when it can."""
    keys = [place.fleet.join(redis=None).issue(name="CI") for _ in range(5)]
    link = place.first.guard.engine.shared.link
    place.client.config_set("maxmemory", "1")
    for key in keys[:4]:
        place.first.ask(key)
    wait_until(lambda: "takes no records: it has no room" in caplog.text)
    loads, reader = place.fleet.store.loads, place.fleet.join()
    assert isinstance(reader.ask(place.good), Allowed)
    assert place.fleet.store.loads == loads
    assert not link.breaker.open
    place.client.config_set("maxmemory", "0")
    place.first.ask(keys[4])
    wait_until(lambda: "takes records again" in caplog.text)
    assert caplog.text.count("takes no records") == 1


def test_a_connection_that_the_server_closed_is_replaced(place, redis_client):
    """A restart of Redis, or its idle timeout, costs no request its answer."""
    guard = place.fleet.join()
    assert isinstance(guard.ask(place.good), Allowed)
    redis_client.client_kill_filter(_type="normal", skipme=True)
    guard.guard.engine.renew()
    loads = place.fleet.store.loads
    assert isinstance(guard.ask(place.good), Allowed)
    assert place.fleet.store.loads == loads
    assert not guard.guard.engine.shared.link.breaker.open


@contextmanager
def _peer(talk):
    """Listen, and talk to whoever connects, until the test is over."""
    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.05)
        talks = []

        def serve():
            while not over.is_set():
                try:
                    connection, _ = listener.accept()
                except TimeoutError:
                    continue
                talks.append(threading.Thread(target=talk, args=(connection, over)))
                talks[-1].start()

        server = threading.Thread(target=serve)
        server.start()
        try:
            yield listener.getsockname()[1]
        finally:
            over.set()
            for thread in (server, *talks):
                thread.join()


def _drip(connection, over):
    """Answer one byte at a time, each well within any timeout of a socket."""
    with connection:
        for byte in b"$100000\r\n" + b"x" * 100_000:
            if over.wait(0.02):
                return
            try:
                connection.sendall(bytes([byte]))
            except OSError:
                return


def _greet(connection, _over):
    """Be something else than a Redis."""
    with connection:
        connection.sendall(b"220 mail.example ESMTP\r\n")


def _hang_up(connection, _over):
    """Accept, and close at once."""
    connection.close()


def _listen(connection, over):
    """Accept, and say nothing."""
    with connection:
        over.wait(5)


@pytest.mark.parametrize("talk", [_drip, _greet, _hang_up, _listen])
def test_what_is_no_redis_costs_one_timeout(talk, place, caplog):
    """However slowly it answers: the deadline is one for all that is said and heard."""
    with _peer(talk) as port:
        place.fleet.url = f"redis://user:hunter2@127.0.0.1:{port}/0"
        check_delay(place.check())
        place.fleet.url = f"redis://127.0.0.1:{port}/0"
        check_delay(place.check())
    assert "cannot be used" in caplog.text
    assert "hunter2" not in caplog.text


def test_a_server_that_hangs_costs_one_request_a_timeout(place):
    """While it hangs, one request in a second waits for it, and the others do not."""
    guard = place.fleet.join(redis_timeout=0.2)
    keys = [place.first.issue(name="CI") for _ in range(20)]
    guard.open()
    place.server.hang()
    took = []
    for key in keys:
        started = time.monotonic()
        assert isinstance(guard.ask(key), Allowed)
        took.append(time.monotonic() - started)
    assert sum(each > 0.1 for each in took) == 1
