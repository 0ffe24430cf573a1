"""What every test shares: how many examples Hypothesis tries, real servers, and no leftovers."""

from __future__ import annotations

import os
import threading
from contextlib import contextmanager

import pytest
from hypothesis import HealthCheck, settings

if "PYTEST_XDIST_WORKER" in os.environ:  # the worker is measured, not what tests start
    os.environ.pop("COVERAGE_PROCESS_CONFIG", None)

pytest_plugins = [
    "tests.canary",
    "tests.chaos.plugin",
    "tests.services.postgres",
    "tests.services.redis",
    "tests.services.redis_fleets",
    "tests.security.plugin",
    "tests.stalls",
]

# No deadlines: a shared machine is slow now and then, and a promise about speed is a benchmark's.
settings.register_profile("default", deadline=None)
settings.register_profile(
    "ci",
    deadline=None,
    derandomize=True,
    database=None,
    print_blob=True,
)
settings.register_profile(
    "deep",
    deadline=None,
    max_examples=5_000,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile(
    os.environ.get("HYPOTHESIS_PROFILE") or ("ci" if os.environ.get("CI") else "default")
)


@pytest.fixture
def no_threads():
    """Return a context in which the system has no thread for anybody: none has so large a stack."""

    @contextmanager
    def none():
        before = threading.stack_size(1 << 46)
        try:
            yield
        finally:
            threading.stack_size(before)

    return none


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Return one worker more than processors: every fourth second of a test is spent waiting."""
    return 1 + (os.cpu_count() or 1)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item):
    """Let no test raise one of its parameters: those outlive it, and with them what it made.

    An error that was raised keeps the frames that it came through, with their guards and stores.
    """
    done = yield
    for name, value in getattr(getattr(item, "callspec", None), "params", {}).items():
        if isinstance(value, BaseException) and value.__traceback__ is not None:
            pytest.fail(f"{name}: was raised; parametrize with its class, and make it in the test")
    return done
