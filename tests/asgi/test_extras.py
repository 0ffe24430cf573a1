"""Frameworks are optional: whoever lacks one is told what to install."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize("package", ["starlette", "fastapi", "flask", "django"])
def test_missing_framework_is_named_with_its_extra(package: str):
    """Importing an integration without its framework says which extra brings it."""
    code = f"import sys; sys.modules[{package!r}] = None; import keybound.{package}"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.endswith(f"{package} is not installed: pip install 'keybound[{package}]'")


def test_plain_middleware_needs_no_framework():
    """``keybound.asgi`` runs in front of any application, without Starlette."""
    code = "import sys, keybound.asgi; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert not {"starlette", "fastapi"} & set(done.stdout.split())
