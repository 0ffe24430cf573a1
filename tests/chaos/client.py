"""The test's end of the client: orders to it, and what it says of keys that it watches."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from threading import Condition, Thread
from typing import TYPE_CHECKING, Any, Self

from tests.chaos.records import ACCEPTED, UNDECIDED
from tests.services.servers import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable
    from pathlib import Path
    from types import TracebackType

ENDS_WITHIN = 30.0


class Client:
    """A running client."""

    def __init__(self, records: Path) -> None:
        """Start it; it asks nobody yet."""
        self.records = records
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.chaos.load", str(records)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self._said: dict[int, dict[int, tuple[int, float]]] = {}
        self._counted: tuple[int, float] | None = None
        self._news = Condition()
        self._reader = Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        """Return it."""
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        """End it, so that all that it saw is in its file."""
        assert self._process.stdin is not None
        self._order("end")
        self._process.stdin.close()
        try:
            status = self._process.wait(ENDS_WITHIN)
        finally:
            self._process.kill()
            self._reader.join(ENDS_WITHIN)
        assert status == 0

    def ask_worker(self, worker: int, port: int) -> None:
        """Let it ask a worker from now on, which is there."""
        self._order("worker", worker, port)

    def ask_for(self, key: int, credential: str) -> None:
        """Let it ask for a key that nobody ever changes."""
        self._order("good", key, credential)

    def watch(self, key: int, credential: str, *, accepted: bool) -> None:
        """Let it ask for a key that is about to become accepted, or not to be any more."""
        with self._news:
            self._said[key] = {}
        self._order("watch", key, credential, accepted)

    def hurry(self, key: int) -> None:
        """Let it ask very often, since the change is being made."""
        self._order("hurry", key)

    def unwatch(self, key: int) -> None:
        """Let it leave a key alone."""
        self._order("unwatch", key)

    def pace(self, requests: float) -> None:
        """Let it make so many requests in a second, or as many as it can (0)."""
        self._order("pace", requests)

    def said(self, keys: Iterable[int], worker: int) -> dict[int, int | None]:
        """Return the status that a worker gave each of these keys last, if it did."""
        with self._news:
            return {key: self._said[key].get(worker, (None, 0.0))[0] for key in keys}

    def wait_for(
        self, keys: Collection[int], workers: Collection[int], *, accepted: bool, until: float
    ) -> bool:
        """Return whether they say so in time (``time.monotonic``)."""
        with self._news:
            return self._wait(lambda: self._all_say(keys, workers, accepted=accepted), until)

    def throughput(self, seconds: float) -> float:
        """Return how many requests it makes in a second."""
        first = self._count()
        time.sleep(seconds)
        last = self._count()
        return (last[0] - first[0]) / (last[1] - first[1])

    def _count(self) -> tuple[int, float]:
        self._order("count")
        with self._news:
            assert self._wait(lambda: self._counted is not None, time.monotonic() + ENDS_WITHIN)
            counted, self._counted = self._counted, None
        assert counted is not None
        return counted

    def _all_say(self, keys: Collection[int], workers: Collection[int], *, accepted: bool) -> bool:
        for key in keys:
            said = self._said[key]
            for worker in workers:
                status, _ = said.get(worker, (UNDECIDED, 0.0))
                if status == UNDECIDED or (status == ACCEPTED) is not accepted:
                    return False
        return True

    def _wait(self, condition: Callable[[], bool], until: float) -> bool:
        return self._news.wait_for(condition, max(0.0, until - time.monotonic()))

    def _order(self, *what: Any) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(what).encode() + b"\n")
        self._process.stdin.flush()

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout:
            for line in self._process.stdout:
                verb, *rest = json.loads(line)
                with self._news:
                    if verb == "count":
                        self._counted = rest[0], rest[1]
                    else:
                        key, worker, status, at = rest
                        self._said[key][worker] = status, at
                    self._news.notify_all()
