"""Mutate the core: ``python tests/mutation/run.py [--seconds S] [--shard 1/2] [module ...]``.

Each mutant is tried in a process of its own, which has it instead of the module, and is killed by
the first test that fails. The same tests are run in the same way with the module as it is, once and
before they may kill, and must pass: where they cannot be run, every mutant would look killed. The
status is 1 if they do not, if one survives that ``equivalent.toml`` does not list with a reason, or
if that lists one that does not exist. No file is written.

It is neither mutmut nor cosmic-ray, since it changes comparisons, booleans and ``not`` of the core
alone, tries the tests that are near before the others, stops at a time or does a share of all, and
holds every survivor against a list that is checked in and gives a reason for each.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
import tomllib
from functools import cache
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import CodeType

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
TESTS = ROOT / "tests" / "core"
BEYOND = [
    ROOT / "tests" / "oracle" / "test_decisions.py",
    ROOT / "tests" / "cli" / "test_mends.py",
    ROOT / "tests" / "guard",
]
"""Other tests of what the core does, for what the core's own tests let pass."""

SLOW = "not test_there_is_something_that_the_laws_are_about and not postgresql"
"""What shows that the laws are about something shows nothing of a mutant, nor does a store."""

TIMED = "not (take_no_time or next_to_no_time or time_in_proportion or takes_long)"
"""What measures the time may fail because others use the machine, and that kills no mutant."""

WAIT_MAX = 600
"""Seconds after which a mutant that does not end counts as killed."""


def main() -> int:
    """Try the mutants of the modules that are named, or of all."""
    parser = argparse.ArgumentParser(description="Mutate the core.")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="to begin mutants in")
    parser.add_argument("--shard", default="1/1", help="2/3: the second third of the mutants")
    parser.add_argument(
        "--only", default="", metavar="TEXT", help="mutants with this in their names"
    )
    parser.add_argument("--verbose", action="store_true", help="say what becomes of each")
    parser.add_argument("modules", nargs="*", help="such as limits/tenants")
    given = parser.parse_args()
    os.environ["HYPOTHESIS_PROFILE"] = "ci"
    os.chdir(ROOT)
    sys.path.insert(0, str(ROOT))
    spec = find_spec("keybound")
    assert spec is not None
    assert spec.origin is not None
    core = Path(spec.origin).parent / "core"
    names = given.modules or sorted(str(p.relative_to(core))[:-3] for p in core.rglob("*.py"))
    return report(names, core, given)


def report(names: Sequence[str], core: Path, given: argparse.Namespace) -> int:
    """Try mutants until the time is up; say which survive, and how many were tried."""
    from tests.mutation.mutants import mutants_of

    shard, shards = map(int, given.shard.split("/"))
    ends = time.monotonic() + given.seconds
    listed = read_list()
    known, survivors, tried, number = set(), [], 0, 0
    for name in names:
        path = core / f"{name}.py"
        for mutant in mutants_of(path.read_text(encoding="utf-8"), str(path)):
            label = f"{name}: {mutant.name}"
            known.add(label)
            number += 1
            if label in listed or given.only not in label:
                continue
            if number % shards != shard - 1 or time.monotonic() > ends:
                continue
            tried += 1
            lives = survives(name, path, mutant.code)
            if lives:
                survivors.append(label)
            if lives or given.verbose:
                print(f"{'SURVIVES' if lives else 'killed'}  {label}", flush=True)
    gone = [label for label in listed if label.split(":")[0] in names and label not in known]
    for label in gone:
        print(f"listed, but not there: {label}")
    print(f"{len(survivors)} of {tried} survive; there are {number}, {len(listed)} are equivalent")
    return 1 if survivors or gone else 0


def read_list() -> set[str]:
    """Return the mutants that are known to do the same as the program."""
    text = (HERE / "equivalent.toml").read_text(encoding="utf-8")
    return {each["mutant"] for each in tomllib.loads(text).get("equivalent", [])}


def survives(name: str, path: Path, code: CodeType) -> bool:
    """Say whether every test passes with a mutant of a module: those that are near it first.

    :raises SystemExit: if they do not pass with the module as it is.
    """
    for tests in tests_for(name):
        require_sound(name, path, tests)
        if not passes(name, code, tests):
            return False
    return True


@cache
def require_sound(name: str, path: Path, tests: tuple[str, ...]) -> None:
    """Let tests kill mutants of a module only where they pass with the module as it is."""
    if not passes(name, compile(path.read_text(encoding="utf-8"), str(path), "exec"), tests):
        files = " ".join(os.path.relpath(each, ROOT) for each in tests)
        sys.exit(f"{name}: no mutant was tried with tests that fail without one: pytest -x {files}")


def passes(name: str, code: CodeType, tests: Sequence[str]) -> bool:
    """Say whether tests pass with other code in the place of a module, in a process of its own."""
    child = os.fork()
    if child == 0:
        os.setpgid(0, 0)
        status = 1
        try:
            status = run_tests(name, code, tests)
        finally:
            os._exit(status)
    ends = time.monotonic() + WAIT_MAX
    while time.monotonic() < ends:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return status == 0
        time.sleep(0.02)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return False


def run_tests(name: str, code: CodeType, tests: Sequence[str]) -> int:
    """Run tests with other code in the place of a module."""
    import pytest

    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nowhere, stream)
    sys.meta_path.insert(0, Finder("keybound.core." + name.replace("/", "."), code))
    options = ["-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "--assert=plain"]
    options += ["-k", f"{SLOW} and {TIMED}"]
    return int(pytest.main([*options, *tests]))


def tests_for(name: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the files of tests whose names are like a module's, and all others."""
    stem = name.rpartition("/")[2].removesuffix("s")
    like = [f"*{stem}*", "boundaries_*"]
    like += ["*limits*"] if name.startswith("limits/") else []
    near = dict.fromkeys(
        str(path) for each in like for path in sorted(TESTS.glob(f"test_{each}.py"))
    )
    rest = [str(path) for path in sorted(TESTS.glob("test_*.py")) if str(path) not in near]
    return (*near,), (*rest, *map(str, BEYOND))


class Finder(MetaPathFinder):
    """Finds one module as a mutant."""

    def __init__(self, module: str, code: CodeType) -> None:
        """Have this code in place of the module's."""
        self._module = module
        self._code = code

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> ModuleSpec | None:
        """Return the module's own spec, with a loader that has other code."""
        if fullname != self._module:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        assert spec is not None
        assert isinstance(spec.loader, SourceFileLoader)
        spec.loader = Loader(fullname, spec.loader.path, self._code)
        return spec


class Loader(SourceFileLoader):
    """Loads a module with other code."""

    def __init__(self, fullname: str, path: str, code: CodeType) -> None:
        """Have this code."""
        super().__init__(fullname, path)
        self._other = code

    def get_code(self, _fullname: str) -> CodeType:
        """Return the other code."""
        return self._other


if __name__ == "__main__":
    sys.exit(main())
