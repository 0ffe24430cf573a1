"""What networks do between us and Redis: slow, silent, cut; each costs one timeout, and no more."""

from __future__ import annotations

import socket
import threading
import time

import pytest

from keybound import breaker as breakers
from keybound.caches import open_shared
from keybound.core.decision import Allowed
from keybound.core.effects import Offer
from keybound.core.secret import Secret
from tests.caches.conftest import wait_until
from tests.caches.test_redis import share
from tests.services.fault_proxy import FaultProxy, Faults
from tests.services.redis_process import Process, server_of

TIMEOUT = 0.4
SLACK = 1.0
"""Seconds that a shared machine may add to one answer."""

ASKED = 30


@pytest.fixture
def between(fleet, redis_server, redis_database, redis_client):
    """Return a guard that has asked Redis through a proxy, the proxy, and a key that is shared."""
    first = fleet.join()
    issued = first.issue(name="CI")
    share(first, redis_client, issued)
    with FaultProxy(redis_server.port) as proxy:
        fleet.url = f"redis://127.0.0.1:{proxy.port}/{redis_database}"
        guard, loads = fleet.join(redis_timeout=TIMEOUT), fleet.store.loads
        assert ask(guard, issued) < TIMEOUT
        assert fleet.store.loads == loads
        yield guard, proxy, issued


def ask(guard, issued):
    """Ask about a key anew; return the seconds that it took."""
    guard.guard.engine.renew()
    started = time.monotonic()
    assert isinstance(guard.ask(issued), Allowed)
    return time.monotonic() - started


SLOW = {
    "delay": Faults(delay=TIMEOUT * 3),
    "hang": Faults(hangs=True),
    "replies lost": Faults(loses_replies=True),
}
"""What takes time."""


@pytest.mark.parametrize("fault", SLOW)
def test_what_is_slow_costs_one_request_a_timeout(fault, between, monkeypatch):
    """Nobody waits again before the breaker has rested, and then one does."""
    monkeypatch.setattr(breakers, "REST", 60.0)
    guard, proxy, issued = between
    proxy.suffer(SLOW[fault])
    took = [ask(guard, issued) for _ in range(ASKED)]
    assert took[0] == pytest.approx(TIMEOUT, abs=TIMEOUT / 4)
    assert sum(each > TIMEOUT * 0.75 for each in took) == 1


@pytest.mark.parametrize("fault", SLOW)
def test_it_is_used_again_when_the_fault_is_over(fault, between, monkeypatch):
    """By the first request after the rest; no answer is taken for another's."""
    monkeypatch.setattr(breakers, "REST", 0.1)
    guard, proxy, issued = between
    proxy.suffer(SLOW[fault])
    ask(guard, issued)
    assert guard.guard.engine.shared.link.breaker.open
    proxy.heal()
    wait_until(lambda: _is_used(guard, issued))


def _is_used(guard, issued):
    ask(guard, issued)
    return not guard.guard.engine.shared.link.breaker.open


@pytest.mark.parametrize("cut", [FaultProxy.reset, FaultProxy.half_close])
def test_a_connection_that_was_cut_costs_nothing(cut, between):
    """It is replaced within the same request, whose answer still comes from Redis."""
    guard, proxy, issued = between
    cut(proxy)
    time.sleep(0.05)
    loads = guard.guard.engine.store.loads
    assert ask(guard, issued) < TIMEOUT
    assert guard.guard.engine.store.loads == loads
    assert not guard.guard.engine.shared.link.breaker.open


def test_an_answer_that_is_cut_in_the_middle_is_none(between):
    """The question is asked once more, and no more: half an answer is never believed."""
    guard, proxy, issued = between
    proxy.suffer(Faults(cut_after=40))
    took = [ask(guard, issued) for _ in range(ASKED)]
    assert max(took) < TIMEOUT + SLACK
    assert guard.guard.engine.shared.link.breaker.open


def test_connections_that_are_refused_cost_no_timeout(between):
    """The store is asked at once."""
    guard, proxy, issued = between
    proxy.suffer(Faults(refuses=True))
    proxy.reset()
    took = [ask(guard, issued) for _ in range(ASKED)]
    assert max(took) < TIMEOUT


def test_an_address_that_leads_to_another_primary_is_followed(redis_server, tmp_path):
    """As managed services fail over: who is told that it is read-only connects anew."""
    other = Process(server_of("valkey"), tmp_path)
    other.start()
    try:
        with FaultProxy(other.port) as proxy:
            url = f"redis://127.0.0.1:{proxy.port}"
            link = open_shared(Secret(url), timeout=1.0, boot=time.monotonic).link
            link.offers.add([Offer(b"keybound:moved", b"1", replace=True)])
            wait_until(lambda: other.say("GET", "keybound:moved") == b"1")
            other.say("REPLICAOF", "127.0.0.1", redis_server.port)
            proxy.lead_to(redis_server.port)
            for value in (b"2", b"3"):  # the first is lost, and the second is not
                link.offers.add([Offer(b"keybound:moved", value, replace=True)])
                time.sleep(0.2)
            with redis_server.client() as client:
                assert client.get("keybound:moved") == b"3"
                client.delete("keybound:moved")
            link.offers.close()
    finally:
        other.stop()


def test_a_name_that_nobody_resolves_costs_one_timeout(fleet, monkeypatch):
    """Whoever resolves names takes seconds over it, and cannot be told to hurry."""
    monkeypatch.setattr(breakers, "REST", 60.0)
    over, real = threading.Event(), socket.getaddrinfo

    def slow(host, *given, **more):
        if host == "redis.example" and not more.get("flags"):
            over.wait(10)
        return real(host, *given, **more)

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    first = fleet.join()
    issued = first.issue(name="CI")
    fleet.url = "redis://redis.example/0"
    guard = fleet.join(redis_timeout=TIMEOUT)
    try:
        took = [ask(guard, issued) for _ in range(5)]
    finally:
        over.set()
    assert took[0] == pytest.approx(TIMEOUT, abs=TIMEOUT / 4)
    assert sum(each > TIMEOUT * 0.75 for each in took) == 1
