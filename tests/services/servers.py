"""Web servers for tests: started by their commands, as people start them, and ended whole."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

ROOT = Path(__file__).resolve().parents[2]
STARTS_WITHIN = 30.0
ENDS_WITHIN = 10.0

_UP = re.compile(r"Booting worker|startup complete|Started worker|Running on|Serving on")
"""What a server says once it may be asked."""


Address = tuple[str, int] | str
"""Where a server listens: a host and a port, or the path of a socket."""


class Server:
    """A server; ``said`` is what it wrote so far, and all of it once the server is ended."""

    def __init__(self, process: subprocess.Popen[str], port: int) -> None:
        """Read what it writes, so that it never waits for a reader."""
        self.process = process
        self.port = port
        self.said: list[str] = []
        self._up = threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def wait(self, at: Address | None = None) -> None:
        """Return when somebody listens; nothing is asked of the application for that."""
        if not self._up.wait(STARTS_WITHIN) or self.process.poll() is not None:
            pytest.fail("the server did not start:\n" + "".join(self.said))
        until = time.monotonic() + ENDS_WITHIN
        while time.monotonic() < until:
            with suppress(OSError):
                connect(at or ("127.0.0.1", self.port), within=1).close()
                return
            time.sleep(0.05)
        pytest.fail("nobody listens:\n" + "".join(self.said))

    def end(self) -> None:
        """End its whole group of processes."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, number)
            try:
                self.process.wait(ENDS_WITHIN)
                break
            except subprocess.TimeoutExpired:
                continue
        self._reader.join(ENDS_WITHIN)
        if self.process.stdout is not None:
            self.process.stdout.close()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.said.append(line)
            if _UP.search(line):
                self._up.set()
        self._up.set()


def connect(address: Address, *, within: float) -> socket.socket:
    """Return a connection, on which nothing takes longer; raises ``OSError``."""
    connection = socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET)
    connection.settimeout(within)
    try:
        connection.connect(address)
    except OSError:
        connection.close()
        raise
    return connection


def start(command: Sequence[str], environment: Mapping[str, str], **more: str) -> Server:
    """Start a command of this interpreter's environment, or ``python``, in a group of its own.

    ``{port}`` in it is a free one, and what ``more`` names is put in as well. Only variables of
    ``environment`` configure keybound. Whoever starts it waits for it, and ends it.
    """
    port = free_port()
    program, *arguments = [part.format(port=port, **more) for part in command]
    path = Path(sys.executable) if program == "python" else Path(sys.executable).with_name(program)
    others = {name: value for name, value in os.environ.items() if not name.startswith("KEYBOUND_")}
    process = subprocess.Popen(
        [str(path), *arguments],
        cwd=ROOT,
        env={**others, "PYTHONUNBUFFERED": "1", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    return Server(process, port)


@contextmanager
def started(
    command: Sequence[str], environment: Mapping[str, str], *, at: str | None = None
) -> Iterator[Server]:
    """Start a server, wait until it answers, and end it; ``at`` is a ``{socket}`` of it."""
    server = start(command, environment, socket=at or "")
    try:
        server.wait(at)
        yield server
    finally:
        server.end()


_TAKEN: set[int] = set()


def free_port() -> int:
    """Return a port that nobody listens at, another one each time."""
    while True:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port: int = free.getsockname()[1]
        if port not in _TAKEN:
            _TAKEN.add(port)
            return port
