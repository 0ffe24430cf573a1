"""What goes wrong, as one table: each fault is a context in which it is so."""

from __future__ import annotations

import os
import signal
import threading
import time
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from tests.services.fault_proxy import FaultProxy, Faults

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable
    from contextlib import AbstractContextManager

    from tests.chaos.place import Place
    from tests.services.redis import RedisServer
    from tests.services.redis_fleets import Watched

BRIEF, LONG = 2.0, 6.5
"""Seconds that a fault lasts: the latter is longer than any lease."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Something that goes wrong; ``begin`` takes the place, and a worker if it is ``aimed``."""

    begin: Callable[[Place, int], AbstractContextManager[object]]
    lasts: float = BRIEF
    aimed: bool = False
    essential: bool = False
    """Whether a short run has it, too."""
    watched: bool = False
    """Whether it is one of a place whose Redis is watched by Sentinels, and of no other."""


def _suffering(proxies: Iterable[FaultProxy], faults: Faults) -> AbstractContextManager[object]:
    @contextmanager
    def suffering() -> Generator[None]:
        chosen = list(proxies)
        for proxy in chosen:
            proxy.suffer(faults)
        try:
            yield
        finally:
            for proxy in chosen:
                proxy.heal()

    return suffering()


def _redis(faults: Faults) -> Callable[[Place, int], AbstractContextManager[object]]:
    return lambda place, _: _suffering(place.redis_proxies, faults)


def _database(faults: Faults) -> Callable[[Place, int], AbstractContextManager[object]]:
    return lambda place, _: _suffering(place.postgres_proxies, faults)


@contextmanager
def _again_and_again(act: Callable[[], object], every: float) -> Generator[None]:
    """Do something in another thread until it is over."""
    over, failures = threading.Event(), list[BaseException]()

    def acting() -> None:
        try:
            while not over.is_set():
                act()
                over.wait(every)
        except BaseException as error:  # noqa: BLE001 - raised where it is seen
            failures.append(error)

    thread = threading.Thread(target=acting)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
    if failures:
        raise failures[0]


@contextmanager
def _killed(place: Place, _: int) -> Generator[None]:
    place.redis_server.stop()
    try:
        yield
    finally:
        place.redis_server.start()


@contextmanager
def _flushed(place: Place, _: int) -> Generator[None]:
    with place.redis_server.client() as client, _again_and_again(client.flushall, 0.1):
        yield


@contextmanager
def _evicting(place: Place, _: int) -> Generator[None]:
    """Two megabytes for everything, and somebody else who fills them all the time."""
    names = iter(range(1 << 62))
    with place.redis_server.client() as client:
        client.config_set("maxmemory-policy", "allkeys-lru")
        client.config_set("maxmemory", "2mb")

        def fill() -> None:
            with client.pipeline(transaction=False) as pipeline:
                for _ in range(50):
                    pipeline.set(f"filling:{next(names)}", os.urandom(4_000))
                pipeline.execute(raise_on_error=False)

        try:
            with _again_and_again(fill, 0.02):
                yield
        finally:
            client.config_set("maxmemory", "0")
            client.flushall()


@contextmanager
def _read_only(place: Place, _: int) -> Generator[None]:
    """A replica of a server that is not there, which answers with what it had."""
    with place.redis_server.client() as client:
        client.replicaof("127.0.0.1", "1")
        try:
            yield
        finally:
            client.replicaof("NO", "ONE")


@contextmanager
def _hung(place: Place, _: int) -> Generator[None]:
    place.redis_server.hang()
    try:
        yield
    finally:
        place.redis_server.go_on()


@contextmanager
def _replicated(place: Place) -> Generator[RedisServer]:
    """Let the other server follow, and take over for good when this is over."""
    first, second = place.redis_server, place.redis_replica
    with second.client() as client:
        client.replicaof("127.0.0.1", str(first.port))
        ends = time.monotonic() + 20
        while client.info("replication").get("master_link_status") != "up":
            assert time.monotonic() < ends
            time.sleep(0.02)
        try:
            yield second
        finally:
            place.redis_server, place.redis_replica = second, first
            for proxy in place.redis_proxies:
                proxy.lead_to(second.port)
                proxy.reset()
            first.stop()
            first.start()


@contextmanager
def _failed_over(place: Place, _: int) -> Generator[None]:
    """The primary dies; what it had not told its replica is lost, and the address moves.

    As that of a managed service does; what Sentinels do stands below.
    """
    with _replicated(place) as second:
        place.redis_server.stop()
        time.sleep(0.3)
        with second.client() as client:
            client.replicaof("NO", "ONE")
        for proxy in place.redis_proxies:
            proxy.lead_to(second.port)
        yield


@contextmanager
def _split(place: Place, _: int) -> Generator[None]:
    """The operator's is another primary than the one to which workers are still connected."""
    with _replicated(place) as second:
        with second.client() as client:
            client.replicaof("NO", "ONE")
        for proxy in place.redis_proxies:
            proxy.lead_to(second.port)
        place.redis.reset()
        yield


def _each(act: Callable[[FaultProxy], None], proxies: Iterable[FaultProxy]) -> None:
    for proxy in proxies:
        act(proxy)


def _redis_resets(place: Place, _: int) -> AbstractContextManager[object]:
    return _again_and_again(lambda: _each(FaultProxy.reset, place.redis_proxies), 0.1)


def _redis_half_closed(place: Place, _: int) -> AbstractContextManager[object]:
    return _again_and_again(lambda: _each(FaultProxy.half_close, place.redis_proxies), 0.2)


def _database_resets(place: Place, _: int) -> AbstractContextManager[object]:
    return _again_and_again(lambda: _each(FaultProxy.reset, place.postgres_proxies), 0.2)


@contextmanager
def _restarted(place: Place, _: int, *, how: signal.Signals) -> Generator[None]:
    place.database_server.stop(how)
    try:
        yield
    finally:
        place.database_server.start()


@contextmanager
def _database_hung(place: Place, _: int) -> Generator[None]:
    place.database_server.pause()
    try:
        yield
    finally:
        place.database_server.resume()


def _cut_off(place: Place, aim: int, *, redis: bool, database: bool) -> ExitStack:
    worker, stack = place.workers[aim], ExitStack()
    proxies = [*([worker.redis] * redis), *([worker.postgres] * database)]
    stack.enter_context(_suffering(proxies, Faults(hangs=True)))
    return stack


@contextmanager
def _paused(place: Place, aim: int) -> Generator[None]:
    pid = place.workers[aim].pause()
    try:
        yield
    finally:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


@contextmanager
def _worker_killed(place: Place, aim: int) -> Generator[None]:
    place.workers[aim].kill()
    place.client.ask_worker(aim, place.workers[aim].server.port)
    yield


def _watched(place: Place) -> Watched:
    assert place.watched is not None
    return place.watched


@contextmanager
def _primary_killed(place: Place, _: int) -> Generator[None]:
    """Sentinels promote the replica, and everybody has to find it."""
    watched = _watched(place)
    watched.primary.stop()
    try:
        yield
    finally:
        watched.ensure()


@contextmanager
def _primary_hung(place: Place, _: int) -> Generator[None]:
    """Sentinels promote the replica; then there are two, until they hear of each other."""
    watched = _watched(place)
    hung = watched.primary
    hung.hang()
    try:
        yield
    finally:
        hung.go_on()
        watched.ensure()


@contextmanager
def _sentinels_killed(place: Place, _: int) -> Generator[None]:
    """Who is connected stays so, and nobody is told where to go."""
    watched = _watched(place)
    for sentinel in watched.sentinels:
        sentinel.stop()
    try:
        yield
    finally:
        watched.ensure()


NOTHING = "nothing"

FAULTS: dict[str, Fault] = {
    NOTHING: Fault(begin=lambda *_: nullcontext(), essential=True),
    "Redis killed": Fault(begin=_killed, essential=True),
    "Redis flushed": Fault(begin=_flushed, essential=True),
    "Redis failed over": Fault(begin=_failed_over, essential=True),
    "Redis split in two": Fault(begin=_split),
    "Redis evicting": Fault(begin=_evicting, essential=True),
    "Redis read-only": Fault(begin=_read_only, essential=True),
    "Redis hung": Fault(begin=_hung, essential=True),
    "Redis slow, 2 x 15 ms": Fault(begin=_redis(Faults(delay=0.015)), essential=True),
    "Redis too slow, 2 x 60 ms": Fault(begin=_redis(Faults(delay=0.06))),
    "Redis dumb": Fault(begin=_redis(Faults(loses_replies=True))),
    "Redis cut in replies": Fault(begin=_redis(Faults(cut_after=300))),
    "Redis resets": Fault(begin=_redis_resets),
    "Redis half-closes": Fault(begin=_redis_half_closed),
    "Redis cut off, one worker": Fault(
        begin=partial(_cut_off, redis=True, database=False), aimed=True, essential=True
    ),
    "Redis cut off, operator": Fault(
        begin=lambda place, _: _suffering([place.redis], Faults(hangs=True))
    ),
    "database restarted": Fault(begin=partial(_restarted, how=signal.SIGINT), essential=True),
    "database crashed": Fault(begin=partial(_restarted, how=signal.SIGQUIT)),
    "database hung": Fault(begin=_database_hung, lasts=LONG),
    "database slow, 2 x 50 ms": Fault(begin=_database(Faults(delay=0.05))),
    "database dumb": Fault(begin=_database(Faults(loses_replies=True))),
    "database cut in replies": Fault(begin=_database(Faults(cut_after=2_000))),
    "database resets": Fault(begin=_database_resets),
    "database cut off, one worker": Fault(
        begin=partial(_cut_off, redis=False, database=True),
        aimed=True,
        lasts=LONG,
        essential=True,
    ),
    "both cut off, one worker": Fault(
        begin=partial(_cut_off, redis=True, database=True), aimed=True, lasts=LONG
    ),
    "worker paused": Fault(begin=_paused, aimed=True, lasts=LONG, essential=True),
    "worker killed": Fault(begin=_worker_killed, aimed=True, essential=True),
    "watched primary killed": Fault(begin=_primary_killed, lasts=4.0, watched=True),
    "watched primary hung": Fault(begin=_primary_hung, lasts=4.0, watched=True),
    "Sentinels killed": Fault(begin=_sentinels_killed, watched=True),
}
"""By the names that reports and ``--faults`` use."""
