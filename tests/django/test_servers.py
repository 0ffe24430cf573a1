"""A project behind real servers, started as people start them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from contextlib import contextmanager
from http.client import HTTPConnection
from typing import TYPE_CHECKING

import pytest

from keybound import Guard, Limits
from tests.services.servers import ROOT, started

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SERVERS = {
    "gunicorn": ["gunicorn", "tests.django.served:wsgi()", "--bind", "127.0.0.1:{port}"],
    "uvicorn": ["uvicorn", "--factory", "tests.django.served:asgi", "--port", "{port}"],
}


def environment(database: Path) -> dict[str, str]:
    """Return the variables of a server."""
    return {
        "KEYBOUND_DATABASE": str(database),
        "KEYBOUND_REVOKE_WITHIN": "1",
        "KEYBOUND_SECRET": "0123456789abcdef" * 2,
        "DJANGO_SETTINGS_MODULE": "tests.django.settings",
    }


class Served:
    """A running server."""

    def __init__(self, port: int) -> None:
        """Know where it listens."""
        self._port = port

    def send(self, path: str, key: str | None = None, method: str = "GET") -> tuple[int, bytes]:
        """Send one request; return status and body."""
        connection = HTTPConnection("127.0.0.1", self._port, timeout=10)
        try:
            headers = {"X-Keybound-Tenant": "evil"}
            if key is not None:
                headers["Authorization"] = f"Bearer {key}"
            connection.request(method, path, headers=headers)
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()


@contextmanager
def serving(name: str, database: Path) -> Iterator[Served]:
    """Start a server, wait until it answers, and end it."""
    with started(SERVERS[name], environment(database)) as server:
        yield Served(server.port)


@pytest.mark.parametrize("server", SERVERS)
def test_project_is_guarded_behind_a_server(server: str, tmp_path: Path):
    """Identity, limits, POST without a CSRF token, streams, and a revocation from elsewhere."""
    database = tmp_path / "keys.db"
    guard = Guard.from_settings(
        database=str(database), secret="0123456789abcdef" * 2, revoke_within=1
    )
    issued = guard.issue(name="CI", tenant="acme", limits=Limits(read_only=True))
    key = issued.secret.reveal()
    with serving(server, database) as served:
        assert served.send("/") == (200, b"nobody")
        assert served.send("/api/acme/invoices", key) == (200, b"CI for acme")
        assert served.send("/api/acme/search", key, "POST") == (200, b"CI for acme")
        assert served.send("/api/acme/invoices", key, "POST")[0] == 403
        assert served.send("/api/evil/invoices", key)[0] == 403
        assert served.send("/api/acme/invoices")[0] == 401
        assert served.send("/api/stream", key) == (200, b"CICICI")
        guard.revoke(issued.id, wait=True)
        assert served.send("/api/acme/invoices", key)[0] == 401
    guard.close()


def test_project_that_protects_nothing_does_not_start(tmp_path: Path):
    """Servers run no checks: the middleware says what is wrong, with the id of the check."""
    others = {name: value for name, value in os.environ.items() if not name.startswith("KEYBOUND_")}
    told = environment(tmp_path / "keys.db") | {"KEYBOUND_REALM": "a\nb"}
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "from tests.django.served import wsgi; wsgi()",
        ],
        cwd=ROOT,
        env=others | told,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert re.search(r"MisconfiguredError: .*realm", done.stderr)
