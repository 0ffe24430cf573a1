"""Tries a test again that failed while the machine stood still, and says which those were.

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

if TYPE_CHECKING:
    from collections.abc import Generator

TRIES = 3

NAP = 0.02
"""Seconds between two looks."""

IN_TIME = 0.1
"""Whoever wakes up within these seconds waited for its turn, as on every busy machine."""

STOOD_STILL = 0.2
"""As many seconds, all in all, explain a failure."""

PROPERTY = "stood still"
"""Under this name a test that was tried again has the seconds in its report."""


class Watch:
    """Measures how long this process could not run, although it wanted to."""

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
_again: dict[str, float] = {}


def pytest_configure(config: pytest.Config) -> None:
    """Begin to look, in whichever process runs tests."""
    config.stash[_WATCH] = Watch()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> bool:
    """Run a test until it passes, or fails without an excuse; tell of the last time alone."""
    watch, told = item.config.stash[_WATCH], list(item.user_properties)
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    for left in reversed(range(TRIES)):
        before = watch.lost
        reports = runtestprotocol(item, nextitem=nextitem, log=False)
        lost = watch.lost - before
        if not left or lost < STOOD_STILL or not any(report.failed for report in reports):
            break
        told.append((PROPERTY, lost))
        item.user_properties[:] = told
    for report in reports:
        item.ihook.pytest_runtest_logreport(report=report)
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Keep which tests were tried again; reports of workers arrive here as well."""
    for name, value in report.user_properties:
        if name == PROPERTY and isinstance(value, float):
            _again[report.nodeid] = value


@pytest.hookimpl(wrapper=True)
def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter,
) -> Generator[None, None, None]:
    """Say which tests were tried again, however they ended."""
    yield
    if _again:
        terminalreporter.section("failed while the machine stood still, and tried again")
        for name, lost in sorted(_again.items()):
            terminalreporter.write_line(f"{name}: {lost:.1f} s")
