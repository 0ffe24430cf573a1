"""Servers come as wheels: where one is missing, its tests are skipped, but never in CI."""

from __future__ import annotations

import os
import sys
from typing import NoReturn

import pytest

NO_WHEELS_SINCE = (3, 14)
"""The version of Python for which not all of them are made yet."""


def missing(package: str, what: str) -> NoReturn:
    """End a test that needs a server which is not there."""
    reason = f"{package}, which brings {what}, is not installed"
    if os.environ.get("CI") and sys.platform == "linux" and sys.version_info < NO_WHEELS_SINCE:
        pytest.fail(reason)
    pytest.skip(reason)
