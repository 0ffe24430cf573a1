"""Options of the catalogue, and what its run says at the end.

    pytest tests/security                       the project's own cases
    pytest tests/security --cases FILE          the cases of another file, of either format
    pytest tests/security --cases FILE --full   with the full numbers of floods and chains

Loaded by ``tests/conftest.py``, so that workers of pytest-xdist report to a process that knows it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.canary import LEAKED
from tests.security.keyring import MARK

if TYPE_CHECKING:
    from collections.abc import Generator

PROPERTY = "security case"
"""Under this name a test says in its report how its case ended."""

PASSED, FAILED, MISSED, LATER = "passed", "failed", "could not replay", "comes later"

CONTRADICTED = "contradicts the design"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options."""
    group = parser.getgroup("security", "catalogue of attacks and bad input")
    group.addoption("--cases", type=Path, metavar="FILE", help="replay these cases")
    group.addoption("--full", action="store_true", help="floods and chains in full length")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Hide a report of a case that holds a secret, and let the test fail for it."""
    report = yield
    if "tests/security/" not in item.path.as_posix():
        return report
    text = f"{report.longrepr}" + "".join(content for _, content in report.sections)
    if MARK in text:
        report.outcome = "failed"
        item.stash[LEAKED] = True
        report.longrepr = "a secret is in the report of this test: its text is not shown"
        report.sections.clear()
    return report


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Keep how each case ended; reports of workers arrive here as well."""
    for name, value in report.user_properties:
        if name == PROPERTY and isinstance(value, dict) and report.when == "call":
            ended: dict[str, Any] = {**value}
            if ended["ended"] == PASSED and report.failed:
                ended["ended"] = FAILED
            _ended[ended["id"]] = ended


_ended: dict[str, dict[str, Any]] = {}


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter,
) -> Generator[None, None, None]:
    """Say last how many cases passed and failed, and which could not be replayed, and why."""
    yield
    if not _ended:
        return
    counted = {how: _of(how) for how in (PASSED, FAILED, MISSED, LATER, CONTRADICTED)}
    write = terminalreporter.write_line
    terminalreporter.section("catalogue of attacks and bad input")
    for how in (FAILED, MISSED, LATER, CONTRADICTED):
        for each in counted[how]:
            write(f"{how}: {each['id']}: {each['why']}")
    numbers = ", ".join(f"{len(found)} {how}" for how, found in counted.items())
    write(f"{len(_ended)} cases: {numbers}")


def _of(how: str) -> list[dict[str, Any]]:
    return [_ended[name] for name in sorted(_ended) if _ended[name]["ended"] == how]
