"""Options of the chaos, and its table at the end of a run.

    pytest tests/chaos                                  50 changes
    pytest tests/chaos --changes 1000                   every fault, and full load: .ci/deep
    pytest tests/chaos --chaos-seed 7                   another schedule, always the same one
    pytest tests/chaos --faults "Redis killed,nothing"  these alone
    pytest tests/chaos --chaos-table FILE               the table into a file as well

Loaded by ``tests/conftest.py``, so that workers of pytest-xdist report to a process that knows it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.chaos.faults import FAULTS

if TYPE_CHECKING:
    from collections.abc import Generator

PROPERTY = "chaos"
"""Under this name a test has its table in its report."""

CHANGES, SEED = 50, 5

_tables: list[str] = []


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options."""
    group = parser.getgroup("chaos", "changes on real servers while faults come and go")
    group.addoption("--changes", type=int, default=CHANGES, metavar="N", help="changes in all")
    group.addoption("--chaos-seed", type=int, default=SEED, metavar="N", help="another schedule")
    group.addoption("--chaos-table", type=Path, metavar="FILE", help="write the table here, too")
    group.addoption("--faults", type=_faults, metavar="A,B", help="try these alone")


def _faults(text: str) -> list[str]:
    """Read names; a comma that is within one of them separates nothing."""
    found = [name for name in FAULTS if f",{name}," in f",{text},"]
    if sum(map(len, found)) + len(found) - 1 != len(text):
        msg = f"choose among {'; '.join(FAULTS)}"
        raise ValueError(msg)
    return found


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Keep what a test measured; reports of workers arrive here as well."""
    if report.when == "call":
        _tables.extend(str(value) for name, value in report.user_properties if name == PROPERTY)


@pytest.hookimpl(wrapper=True)
def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> Generator[None, None, None]:
    """Print the tables."""
    yield
    if not _tables:
        return
    text = "\n\n".join(_tables)
    terminalreporter.section("chaos")
    terminalreporter.write_line(text)
    path: Path | None = config.getoption("--chaos-table")
    if path is not None:
        path.write_text(text + "\n", encoding="utf-8")
