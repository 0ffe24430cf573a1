"""Tries a test again that failed while the machine stood still, and says which, and how.

A pytest plugin of this project. Tests of real servers and of real timeouts are about seconds. Where
other guests of a machine take its processors away for one, a timeout runs out for no fault of ours,
and such a failure says nothing. So a thread looks how late it wakes up; whoever fails without such
a reason has failed.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import pytest
from _pytest.runner import runtestprotocol

from tests.canary import LEAKED

if TYPE_CHECKING:
    from collections.abc import Generator

TRIES = 3

NAP = 0.02
"""Seconds between two looks."""

IN_TIME = 0.1
"""Whoever wakes up within these seconds waited for its turn, as on every busy machine."""

STOOD_STILL = 0.2
"""As many seconds explain a failure..."""

SHARE = 0.02
"""... if they are this much of the test at least."""

NEVER = {"chaos", "core", "model", "oracle", "simulation"}
"""Folders without an excuse: chaos counts what kept its parts waiting, others have their own clock.
"""

PROPERTY = "stood still"
"""Under this name a test that was tried again has each of its failures in its report."""


class Watch:
    """Measures how long this process could not run, although it wanted to.

    A thread of a test that would not let others run looks the same, each time that it is tried.
    """

    def __init__(self) -> None:
        """Begin at once."""
        self.lost = 0.0
        threading.Thread(target=self._run, name="stalls", daemon=True).start()

    def _run(self) -> None:
        then = time.monotonic()
        while True:
            time.sleep(NAP)
            now = time.monotonic()
            if now - then > IN_TIME:
                self.lost += now - then
            then = now


_WATCH = pytest.StashKey[Watch]()
_again: dict[str, list[str]] = {}


def pytest_configure(config: pytest.Config) -> None:
    """Begin to look, in whichever process runs tests."""
    config.stash[_WATCH] = Watch()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> bool:
    """Run a test until it passes, or fails without an excuse; tell of the last time alone."""
    watch, told = item.config.stash[_WATCH], list(item.user_properties)
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    for left in reversed(range(TRIES)):
        begun, before = time.monotonic(), watch.lost
        reports = runtestprotocol(item, nextitem=nextitem, log=False)
        lost, took = watch.lost - before, time.monotonic() - begun
        failed = [report for report in reports if report.failed]
        excused = lost >= STOOD_STILL and lost >= SHARE * took and _may_be_excused(item)
        if not (left and failed and excused):
            break
        told.append((PROPERTY, f"{lost:.1f} s of {took:.1f}: {_said(failed[0])}"))
        item.user_properties[:] = told
        item._report_sections.clear()  # noqa: SLF001 - of what it printed
    for report in reports:
        item.ihook.pytest_runtest_logreport(report=report)
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True


def _may_be_excused(item: pytest.Item) -> bool:
    folders = item.nodeid.partition("::")[0].split("/")
    return NEVER.isdisjoint(folders) and LEAKED not in item.stash


def _said(report: pytest.TestReport) -> str:
    crash = getattr(report.longrepr, "reprcrash", None)
    return str(crash.message if crash is not None else report.longrepr).partition("\n")[0]


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Keep which tests were tried again; reports of workers arrive here as well."""
    found = [str(value) for name, value in report.user_properties if name == PROPERTY]
    if found:
        _again[report.nodeid] = found


@pytest.hookimpl(wrapper=True)
def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter,
) -> Generator[None, None, None]:
    """Say which tests were tried again, however they ended."""
    yield
    if _again:
        terminalreporter.section("failed while the machine stood still, and tried again")
        for name, found in sorted(_again.items()):
            for each in found:
                terminalreporter.write_line(f"{name}: {each}")
