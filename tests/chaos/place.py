"""What the chaos happens to: servers, four workers, and a proxy before each thing that each asks.

Every worker is a server of its own, with one process that decides, on a port of its own, and asks
the database and Redis by way of proxies of its own, so that it can be cut off alone. So does the
operator, who is this very process. One worker of each kind can remember only a few keys: it asks
Redis and the database all the time, and would believe what is there.
"""

from __future__ import annotations

import os
import signal
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from keybound import Guard
from tests.canary import look
from tests.chaos.client import Client
from tests.services.fault_proxy import FaultProxy
from tests.services.redis import RedisServer
from tests.services.servers import Server, start

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence
    from types import TracebackType

    from tests.services.postgres import PostgresServer
    from tests.services.redis_fleets import Watched

SECRET = "a-secret-of-the-tests-of-chaos-0123456789"
REVOKE_WITHIN = 5.0
SYNC_EVERY = 1.0
REDIS_TIMEOUT = 0.05
FEW = 8
"""Keys that a forgetful worker remembers; there are more."""

_APPLICATION = "tests.chaos.application"
_COMMANDS = {
    "gunicorn": [
        *("gunicorn", "--workers", "1", "--threads", "4", "--keep-alive", "600"),
        *("--graceful-timeout", "1", "--bind", "127.0.0.1:{port}", f"{_APPLICATION}:wsgi"),
    ],
    "uvicorn": [
        *("uvicorn", "--port", "{port}", "--timeout-keep-alive", "600", "--no-access-log"),
        *("--timeout-graceful-shutdown", "1", f"{_APPLICATION}:asgi"),
    ],
}


@dataclass(frozen=True, slots=True)
class Spec:
    """What a worker is: a server of one kind, which may remember all keys or only a few."""

    kind: str
    forgetful: bool = False

    def __str__(self) -> str:
        """Return what it is called in reports."""
        return f"{self.kind}, forgetful" if self.forgetful else self.kind


FLEET = (
    Spec("gunicorn"),
    Spec("gunicorn", forgetful=True),
    Spec("uvicorn"),
    Spec("uvicorn", forgetful=True),
)


class Worker:
    """A server, and its proxies."""

    def __init__(
        self, spec: Spec, postgres: FaultProxy, redis: FaultProxy, environment: dict[str, str]
    ) -> None:
        """Start it; whoever does waits for it."""
        self.spec = spec
        self.postgres, self.redis = postgres, redis
        self._environment = environment
        self.said: list[str] = []
        """What its servers wrote that have ended."""
        self.restart()

    def restart(self) -> None:
        """Start the server, which is not there."""
        self.server: Server = start(_COMMANDS[self.spec.kind], self._environment)

    @property
    def pid(self) -> int:
        """The process that decides: of gunicorn, the one that its master started last."""
        main = self.server.process.pid
        if self.spec.kind != "gunicorn":
            return main
        return int(Path(f"/proc/{main}/task/{main}/children").read_text().split()[-1])

    def pause(self) -> int:
        """Stop the process where it stands, and return it."""
        pid = self.pid
        os.kill(pid, signal.SIGSTOP)
        return pid

    def kill(self) -> None:
        """End the process as a machine without memory does; another one takes its place."""
        os.kill(self.pid, signal.SIGKILL)
        if self.spec.kind != "gunicorn":
            self.end()
            self.restart()
            self.server.wait()

    def end(self) -> None:
        """End the server."""
        self.server.end()
        self.said += self.server.said


class Place:
    """All of it, as faults find it."""

    def __init__(
        self,
        postgres: PostgresServer,
        folder: Path,
        fleet: Sequence[Spec] = FLEET,
        *,
        watched: Watched | None = None,
        weaker: dict[str, str] | None = None,
    ) -> None:
        """Know what to start; ``weaker`` are settings of workers with which the claim fails.

        With ``watched`` all of them use that instead of the server behind the proxies.
        """
        self.database_server = postgres
        self._folder = folder
        self._specs = fleet
        self.watched = watched
        self._weaker = weaker or {}
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        """Start everything, and wait until it is there."""
        with ExitStack() as stack:
            self._note_commits()
            self._database = self.database_server.new_database()
            self.redis_server, self.redis_replica = (
                stack.enter_context(self._running(name)) for name in ("first", "second")
            )
            self._new_postgres = lambda: FaultProxy(self.database_server.port)
            settings = self._settings(
                postgres := stack.enter_context(self._new_postgres()),
                redis := stack.enter_context(FaultProxy(self.redis_server.port)),
            )
            self.postgres, self.redis = postgres, redis
            self.guard = Guard.from_settings(**settings)
            stack.callback(self.guard.close)
            self.guard.open()
            self.workers = [stack.enter_context(self._working(spec)) for spec in self._specs]
            for worker in self.workers:
                worker.server.wait()
            self.client = stack.enter_context(Client(self._folder / "records"))
            self._stack = stack.pop_all()
        for number, worker in enumerate(self.workers):
            self.client.ask_worker(number, worker.server.port)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End everything, and look for keys in what was written."""
        self._stack.__exit__(kind, error, trace)
        for worker in self.workers:
            look(f"the output of {worker.spec.kind}", "".join(worker.said))

    @property
    def redis_proxies(self) -> Iterator[FaultProxy]:
        """All that lead to Redis: the workers', and the operator's."""
        yield from (worker.redis for worker in self.workers)
        yield self.redis

    @property
    def postgres_proxies(self) -> Iterator[FaultProxy]:
        """All that lead to the database."""
        yield from (worker.postgres for worker in self.workers)
        yield self.postgres

    def _note_commits(self) -> None:
        """Let the database note the moments of commits from now on, which takes a restart."""
        self.database_server.execute("ALTER SYSTEM SET track_commit_timestamp = on")
        self.database_server.stop()
        self.database_server.start()

    def commits(self) -> dict[int, float]:
        """Return when every revision was committed, by the clock of this test."""
        stamps = "SELECT rev, extract(epoch FROM pg_xact_commit_timestamp(xmin)) "
        rows = self.database_server.execute(
            f"{stamps} FROM keybound_revisions", database=self._database
        )
        ahead = time.time() - time.monotonic()
        return {rev: float(at) - ahead for rev, at in rows}

    def _settings(self, postgres: FaultProxy, redis: FaultProxy) -> dict[str, str]:
        return {
            "database": f"postgresql://postgres@127.0.0.1:{postgres.port}/{self._database}",
            "redis": self.watched.url() if self.watched else f"redis://127.0.0.1:{redis.port}/0",
            "secret": SECRET,
            "revoke_within": str(REVOKE_WITHIN),
            "sync_every": str(SYNC_EVERY),
            "redis_timeout": str(REDIS_TIMEOUT),
        }

    @contextmanager
    def _running(self, name: str) -> Generator[RedisServer]:
        folder = self._folder / name
        folder.mkdir()
        server = RedisServer("valkey", folder)
        try:
            server.start()
            yield server
        finally:
            server.stop()

    @contextmanager
    def _working(self, spec: Spec) -> Generator[Worker]:
        with self._new_postgres() as postgres, FaultProxy(self.redis_server.port) as redis:
            settings = {**self._settings(postgres, redis), **self._weaker}
            if spec.forgetful:
                settings["cache_size_max"] = str(FEW)
            environment = {f"KEYBOUND_{name.upper()}": text for name, text in settings.items()}
            worker = Worker(spec, postgres, redis, environment)
            try:
                yield worker
            finally:
                worker.end()
