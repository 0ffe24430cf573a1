"""What every test shares: how many examples Hypothesis tries, and real servers."""

from __future__ import annotations

import os

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
