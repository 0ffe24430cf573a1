"""Servers that are told to stop record how keys were used before they are gone."""

from __future__ import annotations

import os
import signal
import sys
import time
from typing import TYPE_CHECKING

import pytest

from keybound import Guard
from tests.processes.servers import SERVERS, WORKERS, serving

if TYPE_CHECKING:
    from pathlib import Path

SECRET = "a secret of the tests of processes"
REQUESTS = 40
NEVER = "3600"


@pytest.mark.skipif(sys.platform != "linux", reason="signals are those of Linux")
@pytest.mark.parametrize("name", SERVERS)
def test_stopped_server_has_recorded_everything(name: str, tmp_path: Path):
    """Every request of every worker, though no interval ever ended."""
    database = str(tmp_path / "keys.db")
    guard = Guard.from_settings(database=database, secret=SECRET)
    issued = guard.issue(name="CI")
    key = issued.secret.reveal()
    with serving(name, database, secret=SECRET, usage_every=NEVER) as served:
        told, ends = served.get_many(key, times=REQUESTS), time.monotonic() + 30
        while len({each.body["pid"] for each in told}) < WORKERS:  # one may have been busy
            assert time.monotonic() < ends, "a worker answers nothing"
            told += served.get_many(key, times=REQUESTS)
        assert {each.status for each in told} == {200}
        assert guard.usage([issued.id])[issued.id].uses == 0
        os.kill(served.process.pid, signal.SIGTERM)
        served.process.communicate(timeout=60)
    assert guard.usage([issued.id])[issued.id].uses == len(told)
    guard.close()
