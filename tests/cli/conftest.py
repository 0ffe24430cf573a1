"""What tests of the command line share: one folder, clean settings, and a way to run commands."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from keybound.cli import main
from tests.canary import look

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

KEY = re.compile(r"kb_[a-z]+_[0-9A-Za-z]{38}")

ROUTES = """
[keybound]
routes = [
  { path = "/healthz", auth = "exempt" },
  { path = "/domains/{tenant}/messages", model = "message" },
  { path = "/domains/{tenant}/reports", model = "report", scopes = ["rest", "reports"] },
  { path = "/domains/{tenant}/models/{model}" },
]
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """What a command left."""

    status: int
    out: str
    err: str

    @property
    def data(self) -> Any:
        """The one JSON value on standard output."""
        return json.loads(self.out)

    @property
    def error(self) -> Any:
        """The one JSON object on standard error."""
        return json.loads(self.err)["error"]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in an empty folder, free of settings from outside, on 80 columns."""
    for name in os.environ:
        if name.startswith("KEYBOUND_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., Ran]:
    """Run a command in this process, as text or as arguments."""

    def call(*arguments: str) -> Ran:
        given = shlex.split(arguments[0]) if len(arguments) == 1 else list(arguments)
        capsys.readouterr()
        status = main(given)
        out, err = capsys.readouterr()
        look_at_output(given, out, err)
        return Ran(status=status, out=out, err=err)

    return call


@pytest.fixture
def site(folder: Path, run: Callable[..., Ran]) -> Callable[..., Ran]:
    """Run commands of a site with routes and a store."""
    (folder / "keybound.toml").write_text(ROUTES, encoding="utf-8")
    assert run("init").status == 0
    return run


def spawn(*arguments: str, folder: Path, **environment: str) -> Ran:
    """Run a command in a process of its own, without a terminal."""
    done = subprocess.run(
        [Path(sys.executable).parent / "keybound", *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONIOENCODING": "utf-8"} | environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )
    look_at_output(arguments, done.stdout, done.stderr)
    return Ran(status=done.returncode, out=done.stdout, err=done.stderr)


def look_at_output(arguments: Sequence[str], out: str, err: str) -> None:
    """Look for keys in what a command printed: only who issues one is shown it, and only once."""
    own = KEY.sub("", out, count=1) if "issue" in arguments else out
    look("standard output of a command", own)
    look("standard error of a command", err)
