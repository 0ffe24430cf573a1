"""What tests of SQL stores share: effects that fail, and processes of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from keybound.core.errors import StoreError

if TYPE_CHECKING:
    from keybound.core.effects import Effect
    from keybound.stores.sql import SqlStore

ENTROPY = bytes(range(32))


def fails(store: SqlStore, effect: Effect[Any], *, match: str) -> StoreError:
    """Return the error of an effect, which must name the file and say ``match``."""
    with pytest.raises(StoreError, match=match) as caught:
        store.perform(effect)
    assert store.location in str(caught.value)
    store.close()
    return caught.value


def start(code: str, *arguments: str) -> subprocess.Popen[str]:
    """Start a process of its own."""
    command = [sys.executable, "-c", code, *arguments]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def python(code: str, *arguments: str) -> str:
    """Return what a process of its own prints, which must succeed."""
    with start(code, *arguments) as process:
        said, _ = process.communicate(timeout=60)
    assert process.returncode == 0, said
    return said
