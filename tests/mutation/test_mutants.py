"""What a mutant is, and that the list of those that do no harm is about some that there are."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import keybound
from tests.mutation import run
from tests.mutation.mutants import mutants_of

SOURCE = """
LIMIT = 3 < 4

class Door:
    shut: bool = True

    @property
    def open(self, wide=False):
        if not self.shut and 1 <= self.w < LIMIT:
            return True
        return [each for each in self.hinges if each is None or each in self.bent]

def pairs(one, two):
    return zip(one, two, strict=True) if one == two else one == two
"""

MUTANTS = {
    "Door.open: not self.shut and 1 <= self.w < LIMIT -> not self.shut or 1 <= self.w < LIMIT",
    "Door.open: not self.shut -> not not self.shut",
    "Door.open: 1 <= self.w < LIMIT -> 1 < self.w < LIMIT",
    "Door.open: 1 <= self.w < LIMIT -> 1 > self.w < LIMIT",
    "Door.open: 1 <= self.w < LIMIT -> 1 <= self.w <= LIMIT",
    "Door.open: 1 <= self.w < LIMIT -> 1 <= self.w >= LIMIT",
    "Door.open: True -> False",
    "Door.open: each is None or each in self.bent -> each is None and each in self.bent",
    "Door.open: each is None -> each is not None",
    "Door.open: each in self.bent -> each not in self.bent",
    "pairs: one == two -> one != two",
    "pairs: one == two -> one != two #2",
}


def test_every_comparison_boolean_and_not_of_a_function_is_changed():
    """Each by itself, and nothing that runs when the module is read."""
    names = [mutant.name for mutant in mutants_of(SOURCE, "door.py")]
    assert sorted(names) == sorted(MUTANTS)


def test_a_mutant_does_something_else():
    """One change is in force at a time."""
    source = "def inside(x):\n    return 0 <= x and not x > 9\n"
    answers = {}
    for mutant in mutants_of(source, "inside.py"):
        names: dict[str, object] = {}
        exec(mutant.code, names)  # noqa: S102 - a mutant is code
        inside = names["inside"]
        assert callable(inside)
        answers[mutant.name.partition(": ")[2]] = [inside(x) for x in (-1, 0, 9, 10)]
    assert answers == {
        "0 <= x and (not x > 9) -> 0 <= x or not x > 9": [True, True, True, True],
        "0 <= x -> 0 < x": [False, False, True, False],
        "0 <= x -> 0 > x": [True, False, False, False],
        "not x > 9 -> not not x > 9": [False, False, False, True],
        "x > 9 -> x >= 9": [False, True, False, False],
        "x > 9 -> x <= 9": [False, False, False, True],
    }


def test_what_is_called_equivalent_exists_and_has_a_reason():
    """A list of what nobody looks at any more would hide what should be looked at."""
    core = Path(keybound.__file__).parent / "core"
    text = (Path(__file__).parent / "equivalent.toml").read_text(encoding="utf-8")
    listed = tomllib.loads(text)["equivalent"]
    for name in {each["mutant"].partition(":")[0] for each in listed}:
        path = core / f"{name}.py"
        known = {f"{name}: {mutant.name}" for mutant in mutants_of(path.read_text(), str(path))}
        about = [each for each in listed if each["mutant"].partition(":")[0] == name]
        assert {each["mutant"] for each in about} <= known
        assert all(each["why"].endswith(".") for each in about)


def test_every_mutant_meets_every_test_once():
    """Those that are near it come first."""
    every = sorted([*map(str, run.TESTS.glob("test_*.py")), *map(str, run.BEYOND)])
    for name in ("hosts", "limits/tenants", "nothing/like/it"):
        near, rest = run.tests_for(name)
        assert sorted([*near, *rest]) == every
        assert near


TRIAL = """
import pathlib, sys
from tests.mutation import run
run.TESTS, run.BEYOND = pathlib.Path(sys.argv.pop(1)), []
sys.exit(run.main())
"""
"""Tries mutants by the tests of a folder, and by no others."""

TELLS, BLIND, FAILS = '== ("a", ("b",))', "!= None", "== ()"
"""What a test may expect of a call: one tells the mutant below, one lets it pass, one is wrong."""


def tries(folder: Path, near: str, rest: str, **environment: str) -> tuple[int, str, str]:
    """Try a mutant that forgets the arguments, by two tests; return the status and both texts."""
    for file, expected in (("test_spelled.py", near), ("test_others.py", rest)):
        test = f'def test_a_call():\n    assert read_call("field", "a(b)") {expected}\n'
        (folder / file).write_text(f"from keybound.core.spelled import read_call\n\n{test}")
    done = subprocess.run(
        [sys.executable, "-c", TRIAL, folder, "--verbose", "--only", "inside is None", "spelled"],
        cwd=run.ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(
    ("near", "rest", "status", "what"),
    [(TELLS, FAILS, 0, "killed"), (BLIND, TELLS, 0, "killed"), (BLIND, BLIND, 1, "SURVIVES")],
)
def test_a_mutant_meets_the_tests_near_it_and_what_passes_them_all_others(
    tmp_path, near, rest, status, what
):
    """Tests that no mutant gets to need not be tried without one."""
    ended, said, wrong = tries(tmp_path, near, rest)
    assert said.startswith(f"{what}  spelled: read_call: inside is None -> inside is not None\n")
    assert (ended, wrong) == (status, "")


@pytest.mark.parametrize(
    ("near", "rest", "environment", "file"),
    [
        (FAILS, TELLS, {}, "test_spelled.py"),
        (BLIND, FAILS, {}, "test_others.py"),
        (TELLS, TELLS, {"PYTEST_ADDOPTS": "--no-such-option"}, "test_spelled.py"),
    ],
)
def test_what_fails_without_a_mutant_kills_none(tmp_path, near, rest, environment, file):
    """Neither a test that is wrong nor a runner that cannot run one says that a mutant is found."""
    ended, said, wrong = tries(tmp_path, near, rest, **environment)
    assert (ended, said) == (1, "")
    assert wrong.startswith("spelled: no mutant was tried with tests that fail without one: ")
    assert wrong.endswith(f"{file}\n")
