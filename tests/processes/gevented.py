"""Many greenlets with keys that nobody knows yet, and how long one keeps all others waiting.

They are the first to use their guard, so all of them want the threads that it starts; and some make
changes, which are announced in turn.

    python -m tests.processes.gevented first|later DATABASE [REDIS]

Gevent replaces threads first of all, or later, as gunicorn's worker does it under ``--preload``.
"""

from __future__ import annotations

import json
import logging
import sys
import time
import warnings
from importlib import import_module

WHEN, DATABASE, *REDIS = sys.argv[1:]
KEYS = 20
CHANGES = 4


def replace_threads() -> None:
    """Let gevent do its work."""
    from gevent import monkey

    monkey.patch_all()


def main() -> None:
    """Issue keys, wait for a line of input, ask about all of them at once, and tell of it."""
    import gevent

    guard, other = (
        Guard.from_settings(
            database=DATABASE,
            secret="a secret of the tests of processes",
            redis=REDIS[0] if REDIS else None,
            redis_timeout=0.2,
        )
        for _ in range(2)
    )
    if WHEN == "later":
        replace_threads()
    issued = [other.issue(name=f"{number}") for number in range(KEYS + CHANGES)]
    raws = [b"Bearer " + each.secret.reveal().encode() for each in issued[CHANGES:]]
    print("ready", flush=True)  # noqa: T201 - for the test
    sys.stdin.readline()
    gaps: list[float] = []

    def tick() -> None:
        last = time.monotonic()
        while True:
            gevent.sleep(0.002)
            now = time.monotonic()
            gaps.append(now - last)
            last = now

    ticking = gevent.spawn(tick)
    gevent.sleep(0.01)
    begun, before = time.monotonic(), len(gaps)
    asking = [gevent.spawn(guard.authorize, "GET", "/", None, raw) for raw in raws]
    changing = [gevent.spawn(guard.revoke, each.id) for each in issued[:CHANGES]]
    gevent.joinall(asking + changing)
    took, looks = time.monotonic() - begun, len(gaps) - before
    gevent.sleep(0.01)
    ticking.kill()
    outcomes = sorted({type(each.value).__name__ for each in asking})
    changed = all(each.successful() for each in changing)
    told = {"took": took, "gap": max(gaps), "looks": looks}
    print(json.dumps(told | {"outcomes": outcomes, "changed": changed}))  # noqa: T201 - for the test


if __name__ == "__main__":
    if WHEN == "first":
        replace_threads()
    warnings.simplefilter("ignore")  # gevent's own, of what it replaces later
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    from keybound import Guard

    for module in ("keybound.caches.redis", "keybound.stores.postgres"):
        import_module(module)
    main()
