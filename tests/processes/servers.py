"""Real servers with several workers, started as people start them."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from typing import TYPE_CHECKING, Any

import pytest

from tests.services.servers import started

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator, Mapping

WORKERS = 2
AT_ONCE = 8

_WSGI = "tests.processes.application:wsgi"
_FLASK = "tests.processes.application:flask_app"
_ASGI = "tests.processes.application:asgi"
_BARE = ["gunicorn", "--workers", str(WORKERS), "--bind", "127.0.0.1:{port}"]
_GUNICORN = [*_BARE, _WSGI]
_UVICORN = ["uvicorn", _ASGI, "--workers", str(WORKERS), "--port", "{port}"]
_HYPERCORN = ["hypercorn", "--workers", str(WORKERS), "--bind", "127.0.0.1:{port}", _ASGI]
_GRANIAN = ["granian", "--host", "127.0.0.1", "--port", "{port}", "--workers", str(WORKERS)]

SERVERS: dict[str, list[str]] = {
    "gunicorn, sync": _GUNICORN,
    "gunicorn, sync, preload": [*_GUNICORN, "--preload"],
    "gunicorn, threads": [*_GUNICORN, "--threads", "4"],
    "gunicorn, threads, preload": [*_GUNICORN, "--threads", "4", "--preload"],
    "gunicorn, gevent": [*_GUNICORN, "--worker-class", "gevent"],
    "gunicorn, gevent, preload": [*_GUNICORN, "--worker-class", "gevent", "--preload"],
    "gunicorn, Flask, preload": [*_BARE, "--threads", "4", "--preload", _FLASK],
    "gunicorn, ASGI, preload": [*_BARE, "--worker-class", "asgi", "--preload", _ASGI],
    "uvicorn": [*_UVICORN, "--loop", "asyncio"],
    "uvicorn, uvloop": [*_UVICORN, "--loop", "uvloop"],
    "hypercorn": _HYPERCORN,
    "hypercorn, uvloop": [*_HYPERCORN, "--worker-class", "uvloop"],
    "hypercorn, trio": [*_HYPERCORN, "--worker-class", "trio"],
    "granian, ASGI": [*_GRANIAN, "--interface", "asgi", _ASGI],
    "granian, WSGI": [*_GRANIAN, "--interface", "wsgi", "--blocking-threads", "4", _WSGI],
}
"""Commands by what they are called in reports."""

LIFESPANS = [name for name in SERVERS if "ASGI" in name or name.startswith(("uvicorn", "hyper"))]
"""Those that start and end an application in each worker."""


@dataclass(frozen=True, slots=True)
class Told:
    """A status, and what the application said if it was reached."""

    status: int
    body: Mapping[str, Any]


class Served:
    """A running server."""

    def __init__(self, process: subprocess.Popen[str], port: int) -> None:
        """Know both."""
        self.process = process
        self._port = port

    def get(self, key: str | None = None, path: str = "/") -> Told:
        """Send one request over a connection of its own."""
        connection = HTTPConnection("127.0.0.1", self._port, timeout=10)
        try:
            headers = {} if key is None else {"Authorization": f"Bearer {key}"}
            connection.request("GET", path, headers=headers)
            response = connection.getresponse()
            return Told(response.status, json.loads(response.read()))
        finally:
            connection.close()

    def get_many(self, key: str | None = None, path: str = "/", *, times: int) -> list[Told]:
        """Send requests, several at once."""
        with ThreadPoolExecutor(AT_ONCE) as pool:
            return list(pool.map(lambda _: self.get(key, path), range(times)))

    def workers(self, key: str | None, path: str = "/") -> dict[int, Told]:
        """Return what each worker said last; asks until all of them answered."""
        told: dict[int, Told] = {}
        for _ in range(20):
            told |= {each.body["pid"]: each for each in self.get_many(key, path, times=AT_ONCE)}
            if len(told) == WORKERS:
                return told
        pytest.fail(f"only {len(told)} of {WORKERS} workers were reached")


@contextmanager
def serving(name: str, database: str, *, used_with: str = "", **settings: str) -> Iterator[Served]:
    """Start a server in a process group of its own, wait until it answers, and end all of it.

    With a key that its application is ``used_with``, that is before any worker is forked.
    """
    environment = {
        "USED_BEFORE_THE_FORK": used_with,
        "KEYBOUND_DATABASE": database,
        **{f"KEYBOUND_{name.upper()}": value for name, value in settings.items()},
    }
    with started(SERVERS[name], environment) as server:
        yield Served(server.process, server.port)
