"""The pytest plugin: it is loaded wherever keybound is installed, and imports nothing until used."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from keybound.testing.harness import Harness


@pytest.fixture
def keybound() -> Iterator[Harness]:
    """Every guard of the application on one store in memory, under a fake clock."""
    from keybound.testing.harness import Harness

    harness = Harness()
    with harness.installed():
        yield harness
