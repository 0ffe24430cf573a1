"""A test that failed while the machine stood still is tried again, and no other."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

FAILING = """
import os, subprocess, time
import pytest
from tests import canary

STOP = "kill -STOP {0}; sleep 0.5; kill -CONT {0}"
times = []


def stand_still():
    subprocess.run(["sh", "-c", STOP.format(os.getpid())], check=True)
    time.sleep(0.1)  # until it was seen


def test_stood_still_once(request, record_property):
    times.append("once")
    print("try", len(times))
    assert [name for name, _ in request.node.user_properties if name != "stood still"] == []
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
    print("try", times.count("always"))
    stand_still()
    raise AssertionError("is wrong all the same")


def test_was_wrong():
    times.append("wrong")
    time.sleep(0.5)
    raise AssertionError("is wrong")


def test_leaked():
    times.append("leaked")
    canary.LEAKS.append("a key")
    stand_still()


def test_stood_still_and_passed():
    times.append("passed")
    stand_still()


def test_how_often():
    counted = {name: times.count(name) for name in dict.fromkeys(times)}
    once = dict.fromkeys(["wrong", "leaked", "passed"], 1)
    assert counted == {"once": 2, "slow": 2, "always": 3, **once}
"""


@pytest.mark.parametrize("workers", ["0", "1"])
def test_what_failed_while_the_machine_stood_still_is_tried_again(tmp_path: Path, workers: str):
    """It is tried three times at most, and the last try alone is reported."""
    said = run(tmp_path / "test_failing.py", "-n", workers)
    lines = said.splitlines()
    assert lines[-1].startswith("3 failed, 4 passed"), said
    assert failed(lines) == ["stood_still_always", "was_wrong", "leaked"]
    told = [line.split("::test_")[1] for line in lines if " s of " in line]
    assert [each.split(":")[0] for each in told] == [
        *["stood_still_always"] * 2,
        "stood_still_before",
        "stood_still_once",
    ]
    assert told[-1].endswith(": AssertionError: not in time")
    assert [line for line in lines if line.startswith("try ")] == ["try 3", "try 2"]


def test_what_has_its_own_clock_has_no_excuse(tmp_path: Path):
    """Nor has chaos, which counts by itself what kept somebody waiting."""
    folder = tmp_path / "chaos"
    folder.mkdir()
    said = run(folder / "test_failing.py", "-k", "once")
    assert failed(said.splitlines()) == ["stood_still_once"]


def failed(lines: list[str]) -> list[str]:
    """Return the names of the tests that failed."""
    found = [line.split(" - ")[0] for line in lines if line.startswith("FAILED")]
    return [name.split("::test_")[1] for name in found]


def run(path: Path, *options: str) -> str:
    """Run the tests above with the plugin, and return what pytest says."""
    path.write_text(FAILING)
    plugins = ["-p", "tests.canary", "-p", "tests.stalls", "-p", "no:cacheprovider"]
    where = ["-c", os.devnull, "--rootdir", str(path.parents[1]), str(path)]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-rA", *plugins, *options, *where],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if "PYTEST" not in name},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.stdout
