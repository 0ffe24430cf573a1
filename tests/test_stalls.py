"""A test that failed while the machine stood still is tried again, and no other."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

FAILING = """
import os, signal, subprocess, time
import pytest

STOP = "kill -STOP {0}; sleep 0.5; kill -CONT {0}"
times = []


def stand_still():
    subprocess.run(["sh", "-c", STOP.format(os.getpid())], check=True)
    time.sleep(0.1)  # until it was seen


def test_stood_still_once(record_property):
    times.append("once")
    record_property("of the try", len(times))
    if times.count("once") == 1:
        stand_still()
        raise AssertionError("not in time")


@pytest.fixture
def slow():
    times.append("slow")
    if times.count("slow") == 1:
        stand_still()
        raise AssertionError("not in time")
    yield


def test_stood_still_before(slow):
    pass


def test_stood_still_always():
    times.append("always")
    stand_still()
    raise AssertionError("is wrong all the same")


def test_was_wrong():
    times.append("wrong")
    time.sleep(0.5)
    raise AssertionError("is wrong")


def test_stood_still_and_passed():
    times.append("passed")
    stand_still()


def test_how_often():
    counted = {name: times.count(name) for name in dict.fromkeys(times)}
    assert counted == {"once": 2, "slow": 2, "always": 3, "wrong": 1, "passed": 1}
"""


@pytest.mark.parametrize("workers", ["0", "1"])
def test_what_failed_while_the_machine_stood_still_is_tried_again(tmp_path: Path, workers: str):
    """It is tried three times at most, and the last try alone is reported."""
    path = tmp_path / "test_failing.py"
    path.write_text(FAILING)
    options = ["-n", workers, "-p", "tests.stalls", "-p", "no:cacheprovider", "-rA", "-q"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, "-c", os.devnull, "--rootdir", tmp_path, path],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if "PYTEST" not in name},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    lines = done.stdout.splitlines()
    assert lines[-1].startswith("2 failed, 4 passed"), done.stdout
    assert [line.split(" - ")[0].split("::")[1] for line in lines if line.startswith("FAILED")] == [
        "test_stood_still_always",
        "test_was_wrong",
    ]
    told = [line.split("::")[1].split(":")[0] for line in lines if line.endswith(" s")]
    assert told == ["test_stood_still_always", "test_stood_still_before", "test_stood_still_once"]
