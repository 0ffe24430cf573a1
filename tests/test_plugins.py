"""Dimensions of other packages: found by their entry points, and usable wherever limits are."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from keybound import Limits, SettingsError
from keybound.cli import main
from keybound.core.limits import DIMENSIONS
from keybound.plugins import load_dimensions

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FLOORS = """
from dataclasses import dataclass

from keybound.core.errors import LimitError
from keybound.core.limits import Clause
from keybound.core.reasons import Reason


@dataclass(frozen=True)
class Floors(Clause):
    dimension = "floors"
    numbers: frozenset

    @classmethod
    def parse(cls, value, /):
        if value == "*":
            return None
        if not isinstance(value, list) or not all(isinstance(each, int) for each in value):
            raise LimitError("floors", "are no numbers", fix="write [1, 2]")
        return cls(frozenset(value))

    def permits(self, facts, now, /):
        return False

    def covers(self, other, /):
        return isinstance(other, Floors) and other.numbers <= self.numbers

    def reason(self, facts, now, /):
        return Reason.LIMIT_INVALID

    def describe(self):
        return ", ".join(map(str, sorted(self.numbers)))

    def dump(self):
        return sorted(self.numbers)
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Work in a folder from which packages are found, and forget what they registered."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    before = dict(DIMENSIONS)
    yield tmp_path
    DIMENSIONS.clear()
    DIMENSIONS.update(before)
    for name in ("site_floors", "site_faulty"):
        sys.modules.pop(name, None)


def install(folder: Path, *announced: str, floors: str = FLOORS) -> None:
    """Put a package there that announces dimensions."""
    (folder / "site_floors.py").write_text(floors, encoding="utf-8")
    (folder / "site_faulty.py").write_text("raise RuntimeError('hunter2')\n", encoding="utf-8")
    info = folder / "site_floors-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: site-floors\nVersion: 1.0\n")
    lines = "\n".join(announced)
    (info / "entry_points.txt").write_text(f"[keybound.dimensions]\n{lines}\n")


def test_a_dimension_that_a_package_announces_is_a_limit(place: Path):
    """Once loaded, however often, it is written as any other limit."""
    install(place, "floors = site_floors:Floors")
    load_dimensions()
    load_dimensions()
    assert Limits.read({"floors": [2, 1]}).dump() == {"floors": [[1, 2]]}


@pytest.mark.parametrize(
    ("announced", "said"),
    [
        ("floors = site_faulty:Floors", r"cannot be imported \(RuntimeError\)"),
        ("floors = site_floors:Absent", r"cannot be imported \(AttributeError\)"),
        ("floors = site_floors:FLOORS_MAX", "is no Clause"),
        ("floors = site_floors:Clause", "has no usable dimension"),
    ],
)
def test_a_dimension_that_cannot_be_used_is_named(place: Path, announced: str, said: str):
    """The start fails naming the entry point, without repeating what foreign code says."""
    install(place, announced, floors=f"{FLOORS}\nFLOORS_MAX = 9\n")
    with pytest.raises(SettingsError, match=said) as caught:
        load_dimensions()
    assert str(caught.value).startswith("keybound.dimensions: floors: ")
    assert "hunter2" not in str(caught.value)


def test_a_limit_of_a_site_is_typed_on_the_command_line(
    place: Path, capsys: pytest.CaptureFixture[str]
):
    """``--limit`` takes any registered dimension, as JSON or as text, where limits are typed."""
    install(place, "floors = site_floors:Floors")

    def run(*arguments: str) -> str:
        assert main(arguments) == 0
        return capsys.readouterr().out

    issued = run("issue", "--name", "x", "--limit", "floors=[1, 2, 3]", "--json")
    assert '"floors"' in issued
    (node,) = (line.split()[0] for line in run("list").splitlines() if line.startswith("key_"))
    run("restrict", node, "--limit", "floors=[1, 2]")
    assert run("show", node).count("; and ") == 1
    run("update", node, "--limit", "floors=*")
    assert "floors" not in run("show", node)
    assert "floors" in run("groups", "create", "staff", "--limit", "floors=[1]")
    assert main(["update", node, "--limit", "floors=text"]) == 2
    assert "write [1, 2]" in capsys.readouterr().err
