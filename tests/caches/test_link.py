"""The link by itself: ways to a server, the breaker, batches, offers, and what is loaded when."""

from __future__ import annotations

import asyncio
import gc
import random
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest

from keybound import Guard
from keybound.breaker import REST, Breaker
from keybound.caches import batches as batches_module
from keybound.caches import offers as offers_module
from keybound.caches import open_shared
from keybound.caches.batches import BATCH_MAX, LEFT_AFTER, TaskBatches, ThreadBatches, _Ticket
from keybound.caches.offers import OFFERS_MAX, Offers
from keybound.core.decision import Allowed
from keybound.core.effects import Moment, Offer, ReadShared
from keybound.core.errors import CacheError, MissingExtraError, SettingsError
from keybound.core.secret import Secret
from tests.caches.conftest import wait_until
from tests.caches.test_redis import share
from tests.core.test_interrupted import interrupted

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def test_a_guard_without_redis_loads_no_client():
    """Nor does importing keybound; a guard with Redis connects to nothing before its first use."""
    code = (
        "import sys; from keybound import Guard; Guard.from_settings(database='memory://').open();"
        "assert 'redis' not in sys.modules;"
        "guard = Guard.from_settings(database='memory://', redis=sys.argv[2], secret=sys.argv[1]);"
        "assert 'redis' in sys.modules"
    )
    secret = "a-secret-of-the-tests-0123456789-abcdef"
    command = [sys.executable, "-W", "error", "-c", code, secret, "redis://127.0.0.1:1"]
    subprocess.run(command, check=True, timeout=60)


def test_a_missing_client_names_the_extra(monkeypatch):
    """Whoever sets ``redis`` without the package is told what to install."""
    for name in [name for name in sys.modules if name.startswith("keybound.caches.redis")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "redis", None)
    with pytest.raises(MissingExtraError, match=r"keybound\[redis\]"):
        open_shared(Secret("redis://localhost"), timeout=0.05, boot=time.monotonic)


@pytest.mark.parametrize(
    "url",
    ["redis://:hunter2@host:port/0", "redis://:hunter2@host/0?hunter2=1", "redis://host?db=x"],
)
def test_a_url_that_cannot_be_used_stops_the_start_without_its_password(url):
    """The setting is named, and nothing of its value is shown."""
    with pytest.raises(SettingsError, match="redis: is a URL that redis-py cannot use") as caught:
        open_shared(Secret(url), timeout=0.05, boot=time.monotonic)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "redis://me:1/hunter2@host:6379/0",
        "redis://:1?hunter2@host/0",
        "rediss://:1#hunter2@host/0",
    ],
)
def test_a_password_that_is_not_escaped_is_never_taken_for_a_place(url):
    """Places are shown, so what may be the rest of a password is refused."""
    with pytest.raises(SettingsError, match="redis: has an @ that is not escaped") as caught:
        open_shared(Secret(url), timeout=0.05, boot=time.monotonic)
    assert "hunter2" not in str(caught.value)


def test_a_socket_of_this_machine_is_a_server_as_well(
    fleet, redis_server, redis_database, redis_client
):
    """``unix://`` with the path of the socket."""
    fleet.url = f"unix://{redis_server.socket}?db={redis_database}"
    first = fleet.join()
    issued = first.issue(name="CI")
    share(first, redis_client, issued)
    loads = fleet.store.loads
    assert isinstance(fleet.join().ask(issued), Allowed)
    assert fleet.store.loads == loads


def test_the_breaker_rests_and_then_lets_one_try():
    """Everybody else goes on without; what the one was answered counts for all."""
    breaker = Breaker()
    assert breaker.admits(0.0)
    assert breaker.fail(0.0)
    assert not breaker.fail(0.0)  # that is no news
    assert not breaker.admits(REST / 2)
    assert [breaker.admits(REST) for _ in range(3)] == [True, False, False]
    assert breaker.work()
    assert not breaker.work()
    assert [breaker.admits(REST) for _ in range(3)] == [True, True, True]


def never():
    """Fail: nobody is gone."""
    pytest.fail("somebody was taken for gone")


def test_threads_that_come_while_a_batch_is_under_way_are_the_next_one():
    """However many there are; nobody gets another's answer."""
    go, batches = threading.Event(), []

    def read(names, _until):
        batches.append(len(names))
        go.wait(5)
        return [b"value of " + name for name in names]

    asking, answers = ThreadBatches(read, renew=never), {}

    def ask(name):
        answers[name] = asking.ask((name, name), 5.0)

    threads = [threading.Thread(target=ask, args=(b"%d" % number,)) for number in range(20)]
    threads[0].start()
    wait_until(lambda: batches)
    for thread in threads[1:]:
        thread.start()
    wait_until(lambda: len(asking._waiting) == 19)  # noqa: SLF001 - all of them wait
    go.set()
    for thread in threads:
        thread.join()
    assert batches == [2, 38]
    assert answers == {name: [b"value of " + name] * 2 for name in answers}
    assert len(answers) == 20


def test_threads_wait_no_longer_than_they_would_alone():
    """One that came later goes on when its own time is over, whatever the batch before it does."""
    go, entered = threading.Event(), threading.Event()

    def read(names, _until):
        entered.set()
        go.wait(5)
        return [None for _ in names]

    asking = ThreadBatches(read, renew=never)
    first = threading.Thread(target=asking.ask, args=((b"a",), 5.0))
    first.start()
    assert entered.wait(5)
    with pytest.raises(CacheError, match="in time"):
        asking.ask((b"b",), 0.05)
    go.set()
    first.join()
    assert asking.ask((b"c",), 5.0) == [None]


def test_a_thread_that_is_interrupted_hands_over():
    """Whoever waits is answered: somebody else asks."""
    entered, go = threading.Event(), threading.Event()

    def read(names, _until):
        if not entered.is_set():
            entered.set()
            go.wait(5)
            raise KeyboardInterrupt
        return [b"value" for _ in names]

    asking, ended, answers = ThreadBatches(read, renew=never), [], []

    def interrupted():
        try:
            asking.ask((b"a",), 5.0)
        except KeyboardInterrupt:
            ended.append(True)

    first = threading.Thread(target=interrupted)
    second = threading.Thread(target=lambda: answers.append(asking.ask((b"b",), 5.0)))
    first.start()
    assert entered.wait(5)
    second.start()
    wait_until(lambda: len(asking._waiting) == 1)  # noqa: SLF001 - it waits
    go.set()
    first.join()
    second.join()
    assert (ended, answers) == ([True], [[b"value"]])


WITHIN = 0.05
"""Seconds that questions may take here."""


class Asking:
    """Batches that say what is asked, and how often another way to ask was needed."""

    def __init__(self):
        """Ask nothing yet."""
        self.renewed = 0
        self.entered = threading.Event()
        self.batches = ThreadBatches(self._read, renew=self._renew)

    def ask(self, name=b"a", within=WITHIN):
        """Return what is there under one name."""
        (answer,) = self.batches.ask((name,), within)
        return answer

    def heals(self):
        """Return whether another thread is answered when whoever was at it is gone for so long."""
        ends = time.monotonic() + WITHIN + LEFT_AFTER + 1.0
        with ThreadPoolExecutor(1) as other:
            while time.monotonic() < ends:
                try:
                    return other.submit(self.ask, b"b").result() == b"value of b"
                except CacheError:
                    time.sleep(0.01)
        return False

    def _read(self, names, _until):
        if names == (b"slow",):
            self.entered.set()
            time.sleep(WITHIN / 5)
        return [b"value of " + name for name in names]

    def _renew(self):
        self.renewed += 1


@pytest.mark.parametrize("follows", [False, True])
def test_a_thread_that_is_interrupted_at_any_line_is_not_waited_for_long(follows):
    """Whatever it had begun to do: the next one asks in its stead, by a way of its own."""
    gone = 0
    for line in count():
        asking = Asking()
        before = threading.Thread(target=asking.ask, args=(b"slow",))
        if follows:  # then it waits for its turn
            before.start()
            assert asking.entered.wait(5)
        stopped = interrupted(asking.ask, at=line, watched={batches_module.__file__})
        if follows:
            before.join()
        assert asking.heals(), line
        gone += asking.renewed
        assert asking.ask() == b"value of a"
        assert asking.ask() == b"value of a"
        assert asking.renewed <= 1
        if not stopped:
            break
    assert line > 10
    assert gone > 1  # where nothing else would have helped


def test_a_leader_that_signals_interrupt_is_replaced():
    """A handler that raises does so wherever the thread happens to be."""

    def stop(_number, _frame):
        raise KeyboardInterrupt

    asking, times = Asking(), 0
    before = signal.signal(signal.SIGALRM, stop)
    try:
        for _ in range(300):
            try:
                signal.setitimer(signal.ITIMER_REAL, random.uniform(1e-5, 2e-4))
                while True:
                    with suppress(CacheError):
                        asking.ask()
            except KeyboardInterrupt:
                times += 1
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert times == 300
    assert asking.heals()


def test_whoever_was_taken_for_gone_and_comes_back_ends_nobodys_turn():
    """It has an answer of its own; who came in its stead goes on alone."""
    go, entered, renewed, under_way = threading.Event(), [], [], []

    def read(names, _until):
        entered.append(names)
        under_way.append(names)
        go.wait(5) if names == (b"a",) else time.sleep(0.3)
        under_way.remove(names)
        return [b"%d" % len(under_way)]

    asking = ThreadBatches(read, renew=lambda: renewed.append(True))
    with ThreadPoolExecutor(3) as threads:
        first = threads.submit(asking.ask, (b"a",), WITHIN)
        wait_until(lambda: len(entered) == 1)
        time.sleep(WITHIN + LEFT_AFTER)
        second = threads.submit(asking.ask, (b"b",), 5.0)
        wait_until(lambda: len(entered) == 2)
        go.set()
        assert first.result(5) == [b"1"]
        third = threads.submit(asking.ask, (b"c",), 5.0)
        assert (second.result(5), third.result(5)) == ([b"0"], [b"0"])
    assert renewed == [True]


def test_a_redis_that_somebody_left_in_the_middle_is_asked_anew(redis_server, redis_database):
    """By another connection: on the one before there may be an answer to somebody else."""
    shared = open_shared(Secret(redis_server.url(redis_database)), timeout=0.5, boot=time.monotonic)
    cache = shared.blocking

    def ask() -> Sequence[bytes | None]:
        return cache.read(ReadShared((b"keybound:a",), Moment(time.monotonic(), 0.0)))

    before = cache._talk  # noqa: SLF001 - the connection
    assert ask() == [None]
    (line, _), batches = before, cache._batches  # noqa: SLF001 - the same
    line.connection.send_command("PING")  # what it had begun
    with batches._lock:  # noqa: SLF001 - as one that is interrupted right after that leaves it
        batches._appoint(time.monotonic() + WITHIN)  # noqa: SLF001
    time.sleep(WITHIN + LEFT_AFTER)
    assert ask() == [None]
    assert cache._talk is not before  # noqa: SLF001
    shared.blocking.close()


class _Killed:
    """A turn of a thread that is killed while it waits for it, before or after it has come."""

    def __init__(self, before: Callable[[], None]) -> None:
        self._before = before

    def acquire(self, **_timeout: float) -> bool:
        self._before()
        raise SystemExit

    def release(self) -> None:
        pass


@pytest.mark.parametrize("its_turn_has_come", [False, True])
def test_a_thread_that_is_killed_while_it_waits_is_not_waited_for(its_turn_has_come):
    """As greenlets are: neither while it waits, nor when it would be its turn to ask."""
    entered, go = threading.Event(), threading.Event()

    def read(names: Sequence[bytes], _until: float) -> list[bytes]:
        entered.set()
        go.wait(5)
        return [b"value" for _ in names]

    asking = ThreadBatches(read, renew=never)
    first = threading.Thread(target=asking.ask, args=((b"a",), 5.0))
    first.start()
    assert entered.wait(5)

    def before():
        if its_turn_has_come:
            go.set()
            first.join()

    turn: Any = _Killed(before)
    ticket = _Ticket((b"b",), time.monotonic() + 5)
    ticket.turn = turn
    asking._waiting.append(ticket)  # noqa: SLF001 - as ``ask`` does
    with pytest.raises(SystemExit):
        asking._wait(ticket, turn)  # noqa: SLF001 - the same
    assert bool(ticket.leads) is its_turn_has_come
    go.set()
    first.join()
    assert asking.ask((b"c",), 5.0) == [b"value"]


def test_a_thread_whose_turn_comes_too_late_leaves_redis_alone():
    """It would take Redis for slow, and everybody else with it."""
    asked: list[Sequence[bytes]] = []

    def read(names: Sequence[bytes], _until: float) -> Sequence[bytes]:
        asked.append(names)
        return names

    with pytest.raises(CacheError, match="in time"):
        ThreadBatches(read, renew=never).ask((b"a",), -1.0)
    assert asked == []


def test_tasks_that_come_while_one_asks_are_one_batch():
    """Up to the largest that is sent at once; the first does not wait for others to come."""
    batches = []

    async def read(names, _until):
        batches.append(len(names))
        await asyncio.sleep(0)
        return [b"value of " + name for name in names]

    async def main():
        asking = TaskBatches(read)
        names = [b"%d" % number for number in range(BATCH_MAX + 10)]
        answers = await asyncio.gather(*(asking.ask((name,), 5.0) for name in names))
        assert answers == [[b"value of " + name] for name in names]
        assert asking.task is None

    asyncio.run(main())
    assert batches == [1, BATCH_MAX, 9]


def test_tasks_wait_no_longer_than_they_would_alone():
    """One whose time is over goes on, and the others are answered."""

    async def read(names, _until):
        await asyncio.sleep(0.3)
        return [b"value" for _ in names]

    async def main():
        asking = TaskBatches(read)
        started = time.monotonic()
        first = asyncio.create_task(asking.ask((b"a",), 5.0))
        later = asyncio.create_task(asking.ask((b"b",), 5.0))
        await asyncio.sleep(0)
        with pytest.raises(CacheError, match="in time"):
            await asking.ask((b"c",), 0.05)
        assert time.monotonic() - started < 0.25
        assert [await first, await later] == [[b"value"], [b"value"]]
        with pytest.raises(CacheError, match="in time"):
            await asking.ask((b"d",), -1.0)
        assert await asking.ask((b"e",), 5.0) == [b"value"]


def test_a_task_that_is_cancelled_while_it_asks_takes_nobody_along():
    """Those who came meanwhile are answered, without those who are cancelled as well."""
    asked: list[Sequence[bytes]] = []

    async def read(names, _until):
        asked.append(names)
        await asyncio.sleep(0.05)
        return [b"value of " + name for name in names]

    async def main():
        asking = TaskBatches(read)
        tasks = [asyncio.create_task(asking.ask((name,), 5.0)) for name in (b"a", b"b", b"c")]
        await asyncio.sleep(0)
        tasks[0].cancel()
        tasks[1].cancel()
        assert await tasks[2] == [b"value of c"]
        assert asking.task is None
        last = asyncio.create_task(asking.ask((b"d",), 5.0))
        await asyncio.sleep(0)
        last.cancel()
        with pytest.raises(asyncio.CancelledError):
            await last
        assert asking.task is None

    asyncio.run(main())
    assert [[*names] for names in asked] == [[b"a"], [b"c"], [b"d"]]


def test_what_ends_with_its_loop_leaves_nobody_waiting():
    """A loop that is shut down while Redis is asked closes the connection without a word."""

    async def read(_names, _until):
        await asyncio.sleep(60)

    async def main():
        asking = TaskBatches(read)
        first, asked = (asyncio.create_task(asking.ask((name,), 60.0)) for name in (b"a", b"b"))
        await asyncio.sleep(0.01)
        first.cancel()
        await asyncio.sleep(0.01)
        assert asking.task is not None
        asking.task.cancel()
        with pytest.raises(CacheError, match="interrupted"):
            await asked

    asyncio.run(main())


def test_offers_are_dropped_and_counted_when_there_are_too_many(monkeypatch):
    """No request waits for them, and memory is bounded; the thread ends when nothing is left."""
    monkeypatch.setattr(offers_module, "IDLE", 0.05)
    go, written, ended = threading.Event(), [], threading.Event()

    def write(batch):
        go.wait(5)
        written.extend(batch)

    offers = Offers(write, ended.set)
    offer = Offer(b"name", b"value", replace=False)
    started = time.monotonic()
    for _ in range(OFFERS_MAX + 100):
        offers.add([offer])
    assert time.monotonic() - started < 1
    assert 0 < offers.dropped <= 100
    go.set()
    assert ended.wait(5)
    assert len(written) == OFFERS_MAX + 100 - offers.dropped
    ended.clear()
    offers.add([offer])
    offers.close()
    assert ended.wait(5)
    assert len(written) == OFFERS_MAX + 101 - offers.dropped


def test_a_loop_that_ends_takes_its_connection_along(fleet, redis_client, redis_server):
    """``asyncio.run`` after ``asyncio.run``, without closing the guard: nothing is left open."""
    first = fleet.join()
    issued = first.issue(name="CI")
    share(first, redis_client, issued)
    guard = fleet.join().guard
    twin = guard.to_async() if isinstance(guard, Guard) else guard
    raw = b"Bearer " + issued.secret.reveal().encode()
    with closing(redis_server.client()) as client:
        before = int(client.info("clients")["connected_clients"])
        for _ in range(3):
            guard.engine.renew()
            assert isinstance(asyncio.run(twin.authorize("GET", "/", None, raw)), Allowed)
            gc.collect()
            wait_until(lambda: int(client.info("clients")["connected_clients"]) <= before)


def test_what_is_left_of_the_time_is_what_the_first_question_left():
    """Two questions of one look-up together take no longer than one may."""
    now = [100.0]
    shared = open_shared(Secret("redis://127.0.0.1:1"), timeout=0.05, boot=lambda: now[0])
    assert shared.link.left(Moment(100.0, 0.0)) == pytest.approx(0.05)
    now[0] += 0.04
    assert shared.link.left(Moment(100.0, 0.0)) == pytest.approx(0.01)
    now[0] += 1
    with pytest.raises(CacheError):
        shared.blocking.read(ReadShared((b"name",), Moment(100.0, 0.0)))


def test_what_an_interrupted_question_is_answered_is_not_the_next_answer(
    fleet, redis_client, redis_server, monkeypatch
):
    """Its connection is let go, in threads and in tasks: the answer to it may still come."""
    redis_client.mset({b"a": b"value of a", b"b": b"value of b"})
    shared = open_shared(Secret(fleet.url), timeout=5.0, boot=time.monotonic)
    now = Moment(time.monotonic(), 0.0)
    assert shared.blocking.read(ReadShared((b"a",), now)) == [b"value of a"]
    parser = shared.blocking._talk[0].connection._parser  # noqa: SLF001 - what waits for an answer
    with monkeypatch.context() as patch:
        patch.setattr(type(parser), "read_response", _interrupted)
        with pytest.raises(KeyboardInterrupt):
            shared.blocking.read(ReadShared((b"a",), now))
    assert shared.blocking.read(ReadShared((b"b",), now)) == [b"value of b"]
    shared.blocking.close()

    async def main():
        asking = shared.awaiting
        assert await asking.read(ReadShared((b"a",), now)) == [b"value of a"]
        with closing(redis_server.client()) as client:
            client.client_pause(200)
        asked = asyncio.create_task(asking.read(ReadShared((b"a",), now)))
        await asyncio.sleep(0.05)
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked
        assert await asking.read(ReadShared((b"b",), now)) == [b"value of b"]
        await asking.close()

    asyncio.run(main())


def _interrupted(*_arguments: Any) -> None:
    raise KeyboardInterrupt
