"""What one process announces, every worker of a real server hears, whatever it runs requests in."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from keybound import Guard
from tests.processes.servers import serving

if TYPE_CHECKING:
    from pathlib import Path

FAR = {"sync_every": "20", "revoke_within": "60"}
"""No worker syncs in the time that a test takes, unless something makes it."""

HEARD_WITHIN = 5.0


@pytest.fixture
def shared(request: pytest.FixtureRequest) -> dict[str, str]:
    """Return the settings of everybody who shares a cache, which is empty."""
    server = request.getfixturevalue("redis_named")("valkey")
    server.ensure()
    number = server.next_database()
    server.client(number).flushdb()
    url = server.url(number)
    return {"secret": "a secret of the tests of messages", "redis": url, "redis_timeout": "0.5"}


@pytest.mark.parametrize(
    "name",
    [
        "gunicorn, sync, preload",
        "gunicorn, threads",
        "gunicorn, gevent",
        "uvicorn",
        "granian, ASGI",
        "granian, WSGI",
    ],
)
def test_every_worker_hears_of_a_revocation_before_it_syncs(
    name: str, tmp_path: Path, shared: dict[str, str]
):
    """Plain threads, greenlets or a loop that blocks: within milliseconds, where Redis is up."""
    database = str(tmp_path / "keys.db")
    guard = Guard.from_settings(database=database, **shared)
    keys = [guard.issue(name="CI") for _ in range(3)]
    with serving(name, database, **shared, **FAR) as served:
        workers = served.workers(keys[0].secret.reveal())
        for key in keys:
            assert served.workers(key.secret.reveal()).keys() == workers.keys()
        for key in keys:
            time.sleep(0.5)  # whoever has just begun to listen syncs once
            assert guard.revoke(key.id).announced is True
            revoked = time.monotonic()
            secret = key.secret.reveal()
            while {each.status for each in served.get_many(secret, times=16)} != {401}:
                assert time.monotonic() < revoked + HEARD_WITHIN
    guard.close()
