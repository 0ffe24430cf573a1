"""The pytest plugin: loaded wherever keybound is installed, and importing nothing until used."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from keybound.testing.harness import Harness

FIXTURE = "keybound"

_LAST = ("last_type", "last_value", "last_traceback", "last_exc")


@pytest.fixture
def keybound() -> Iterator[Harness]:
    """Every guard of the application on one store in memory, under a fake clock."""
    from keybound.testing.harness import Harness

    harness = Harness()
    with harness.installed():
        yield harness


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let the fixture come first, so that no client of a test starts on the real store."""
    for item in items:
        names: list[str] = getattr(item, "fixturenames", [])
        if FIXTURE in names:
            names.sort(key=lambda name: name != FIXTURE)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Let go of the test that failed last, as pytest does, but before fixtures are made.

    Otherwise its guards would be taken for those of the application, and the next test fail too.
    """
    if FIXTURE in getattr(item, "fixturenames", ()):
        for name in _LAST:
            if hasattr(sys, name):
                delattr(sys, name)
