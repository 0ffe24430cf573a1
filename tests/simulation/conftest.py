"""Options of the simulation.

``pytest tests/simulation --seed 17`` repeats one walk; ``--sim-steps 20000`` makes walks longer,
as ``.ci/deep`` does. What a violation prints names both.
"""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

WALKS = 60
STEPS = 2_000


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the two options; they exist where this folder is named on the command line."""
    parser.addoption("--seed", type=int, help="walk with this seed alone")
    parser.addoption("--sim-steps", type=int, help=f"steps of every walk ({STEPS:,})")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give a test that takes a ``seed`` every seed there is."""
    if "seed" in metafunc.fixturenames:
        chosen = metafunc.config.getoption("--seed", default=None)
        metafunc.parametrize("seed", range(WALKS) if chosen is None else [chosen])


@pytest.fixture
def sim_steps(request: pytest.FixtureRequest) -> int:
    """Steps of a walk."""
    chosen: int | None = request.config.getoption("--sim-steps", default=None)
    return STEPS if chosen is None else chosen


@pytest.fixture(autouse=True)
def _silence() -> Iterator[None]:
    """Keep the log of thousands of failures that are meant out of the report."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.fixture
def _untraced() -> Iterator[None]:
    """Run at full speed: what weakened code covers does not count."""
    before = sys.gettrace()
    sys.settrace(None)
    yield
    sys.settrace(before)


@pytest.fixture
def patch() -> Iterator[pytest.MonkeyPatch]:
    """Undo what is patched before anything else of a test ends."""
    with pytest.MonkeyPatch.context() as patching:
        yield patching
