"""What processes do besides serving: they fork in the middle of everything, or run greenlets."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import psycopg
import pytest

from tests.services.servers import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FORKS = 60


@pytest.fixture
def valkey(redis_named):
    """Return a server that runs and has nothing."""
    server = redis_named("valkey")
    server.ensure()
    with server.client() as client:
        client.flushdb()
    return server


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
@pytest.mark.parametrize("with_redis", [False, True], ids=["alone", "with Redis"])
def test_forks_in_the_middle_of_everything_leave_workers(with_redis: bool, request, tmp_path: Path):  # noqa: FBT001 - a parameter of the test
    """Two threads fork at once, while others ask, change, sync, offer and renew all of it."""
    redis = [request.getfixturevalue("valkey").url()] if with_redis else []
    command = ["tests.processes.forking", str(tmp_path / "keys.db"), str(FORKS), *redis]
    done = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@contextmanager
def greenlets(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Start many greenlets, which wait for a line of input."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.processes.gevented", *arguments],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "ready\n", process.communicate()
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("when", ["first", "later"])
@pytest.mark.parametrize("hangs", [False, True], ids=["works", "hangs"])
def test_greenlets_share_redis_and_keep_nobody_waiting(when, hangs: bool, tmp_path: Path, valkey):  # noqa: FBT001 - a parameter of the test
    """Not even where threads were replaced after everything was loaded."""
    with greenlets(when, str(tmp_path / "keys.db"), valkey.url()) as process:
        if hangs:
            valkey.hang()
        try:
            told, said = process.communicate("\n", timeout=60)
        finally:
            valkey.go_on()
    measured = json.loads(told)
    assert measured["outcomes"] == ["Allowed"]
    assert measured["changed"]
    assert measured["took"] < 3
    assert measured["gap"] < 1
    assert ("cannot be used" in said) is hangs


@pytest.mark.parametrize("when", ["first", "later"])
def test_greenlets_that_wait_for_a_database_server(when: str, postgres_url: str):
    """They let others run; where they could not while they connect, the operator is told."""
    with greenlets(when, postgres_url) as process, psycopg.connect(postgres_url) as other:
        other.execute("LOCK TABLE keybound_meta")
        told, said = process.communicate("\n", timeout=60)
        other.rollback()
    measured = json.loads(told)
    assert "Denied" in measured["outcomes"]  # with a 503: the table stays locked
    assert measured["took"] > 0.7
    assert measured["looks"] > 50 * measured["took"]  # of others
    assert ("before anything else is imported" in said) is (when == "later")
