"""What cached keys cost: memory, garbage collections, and finding one among many.

    python benchmarks/memory.py [--keys 1000000]

The keys are of a thousand tenants, each with a name, an owner and a lifetime of its own, and share
twenty sets of limits. What is asked for is chosen uniformly at random; beside it stands the same
with a thousand keys, which are all compiled. As a floor stands what a dictionary of indexes costs.
"""

from __future__ import annotations

import argparse
import gc
import os
import platform
import random
import statistics
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from keybound import Guard, Limits, Route
from keybound.core.chain import Chain
from keybound.core.coherence import sync
from keybound.core.decision import Allowed
from keybound.core.effects import Sync
from keybound.core.keys import ENTROPY_BYTES
from keybound.core.limits import Lifetime
from keybound.core.nodes import APIKey, new_id
from keybound.drivers import run

if TYPE_CHECKING:
    from collections.abc import Callable

FEW = 1_000
TENANTS = 1_000
ASKED = 20_000
ROUNDS = 5
NOW = datetime.now(UTC)
ROUTES = [Route("/tenants/{tenant}/messages", model="message")]
LIMITS = [
    Limits(
        networks=[f"203.0.{place}.0/24", "198.51.100.0/24"],
        methods=["GET", "HEAD"],
        models={"message": "read", f"model-{place}": "write"},
        scopes=["messages:read"],
    )
    for place in range(20)
]


class Place:
    """A guard with keys that it knows, and what asks for one of them at random."""

    def __init__(self, count: int) -> None:
        """Know no key yet, but what they all will be sent as."""
        self.guard = Guard.from_settings(
            database="memory://", routes=ROUTES, cache_size_max=count, usage_every=0
        )
        key_format = self.guard.engine.format
        secrets = [key_format.generate(os.urandom(ENTROPY_BYTES)) for _ in range(count)]
        self.headers = [b"Bearer " + secret.reveal().encode() for secret in secrets]
        self.hints = [key_format.hint(secret) for secret in secrets]
        self.judge = self.guard.engine.rules.judge_of(self.guard.application)

    def fill(self) -> None:
        """Take every key into memory, as if it had just been read from the store."""
        self.guard.open()
        engine, index_of = self.guard.engine, self.judge.index_of
        run(sync(engine.rules.worker), engine.performer.perform)
        head = engine.store.perform(Sync(0)).head
        policy = engine.rules.worker.policy
        for number, header in enumerate(self.headers):
            key = a_key_of(number, self.hints[number])
            heads = {key.id: head}
            chain = Chain(key, {}, policy)
            if not engine.cache.admit(index_of(header), chain, heads=heads, proof=None):
                msg = f"key {number} was not taken in"
                raise RuntimeError(msg)

    def look_ups(self) -> list[float]:
        """Return nanoseconds from a credential to what is known of its key, for each round."""
        cache, index_of = self.guard.engine.cache, self.judge.index_of

        def look_up(_number: int, header: bytes) -> bool:
            index = index_of(header)
            entry = cache.entries.get(index)
            return cache.peek(index) is not None if entry is None else entry.alive

        return self._timed(look_up)

    def floors(self) -> list[float]:
        """Return the same for a dictionary that has nothing but the index of each key."""
        index_of = self.judge.index_of
        known = {index_of(header): index_of(header[::-1]) for header in self.headers}
        return self._timed(lambda _number, header: known.get(index_of(header)) is not None)

    def decisions(self) -> list[float]:
        """Return the same for the whole decision."""
        decide, authorize = self.guard.decide, self.guard.authorize

        def allowed(number: int, header: bytes) -> bool:
            request = "GET", PATHS[number % TENANTS], "198.51.100.7", header
            # While a sync is taken in, who decides does not wait but asks.
            return isinstance(decide(*request), Allowed) or isinstance(authorize(*request), Allowed)

        return self._timed(allowed)

    def _timed(self, ask: Callable[[int, bytes], bool]) -> list[float]:
        rounds = []
        for _ in range(ROUNDS):
            numbers = random.choices(range(len(self.headers)), k=ASKED)
            # What a server has just read lies where it is found at once.
            asked = [(number, bytes(bytearray(self.headers[number]))) for number in numbers]
            start = time.perf_counter_ns()
            for number, header in asked:
                if not ask(number, header):
                    msg = f"key {number} is not known"
                    raise RuntimeError(msg)
            rounds.append((time.perf_counter_ns() - start) / ASKED)
        return rounds


def a_key_of(number: int, hint: str) -> APIKey:
    """Return a key as a store would."""
    life = Lifetime(None, NOW + timedelta(days=90, seconds=number))
    return APIKey(
        id=new_id("key", os.urandom(ENTROPY_BYTES)),
        name=f"key number {number}",
        tenant=f"tenant-{number % TENANTS}",
        limits=LIMITS[number % len(LIMITS)].living_with((life,)),
        enabled=True,
        revoked_at=None,
        created_at=NOW + timedelta(seconds=number),
        metadata={},
        hint=hint,
        environment="live",
        owner=f"user-{number}",
        role=None,
        parent=None,
        groups=(),
        rights=(),
        issued_by=None,
    )


PATHS = [f"/tenants/tenant-{number}/messages" for number in range(TENANTS)]


def resident() -> int:
    """Return how many bytes of memory this process has."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def collection() -> float:
    """Return how many milliseconds a full collection lasts, at best."""
    times = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        gc.collect()
        times.append((time.perf_counter() - start) * 1e3)
    return min(times)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keys", type=int, default=1_000_000)
    count = parser.parse_args().keys
    few, many = Place(FEW), Place(count)
    few.fill()
    gc.collect()
    gc.freeze()  # what is measured is the keys, not what asks for them
    before = resident()
    many.fill()
    taken, pause = resident() - before, collection()
    print(f"Python {platform.python_version()}, {count:,} keys")
    print(f"memory      {taken / count:8.0f} bytes a key")
    print(f"collection  {pause:8.2f} ms for all of it")
    measures = {
        "look-up": Place.look_ups,
        "decision": Place.decisions,
        "dictionary": Place.floors,
    }
    for name, measure in measures.items():
        slow, fast = statistics.median(measure(many)), statistics.median(measure(few))
        print(f"{name:11} {slow / 1e3:8.2f} us, {slow / fast:.2f} of one among {FEW:,}")


if __name__ == "__main__":
    main()
