"""The real command in processes of its own: what scripts and people at a terminal rely on."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.cli.conftest import KEY, ROUTES, spawn

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.cli.conftest import Ran

SECRET = "0123456789abcdefghijklmnopqrstuvwxyz-not-random"


def test_life_of_a_key(folder: Path):
    """From an empty folder to a revoked key, every status and stream is what a script expects."""
    (folder / "keybound.toml").write_text(ROUTES, encoding="utf-8")

    def call(*arguments: str) -> Ran:
        return spawn(*arguments, folder=folder, KEYBOUND_SECRET=SECRET)

    missing = call("list")
    assert (missing.status, missing.out) == (5, "")
    assert "keybound init" in missing.err
    assert not (folder / "keybound.db").exists()

    made = call("init")
    assert made.status == 0
    assert str(folder / "keybound.db") in made.out

    issued = call("issue", "--name", "CI", "--tenant", "acme", "--read-only")
    assert issued.status == 0
    (key,) = KEY.findall(issued.out)
    assert not KEY.search(issued.err)

    (listed,) = json.loads(call("list", "--json").out)
    node = listed["id"]
    for arguments in (("list",), ("show", node), ("show", node, "--json"), ("list", "--json")):
        seen = call(*arguments)
        assert seen.status == 0
        assert key not in seen.out + seen.err

    request = ("explain", node, "GET", "/domains/acme/messages")
    assert call(*request).status == 0
    assert call("explain", node, "POST", "/domains/acme/messages").status == 1

    unsure = call("revoke", node)
    assert (unsure.status, unsure.out) == (2, "")
    assert "--yes" in unsure.err
    assert call(*request).status == 0

    revoked = call("revoke", node, "--yes", "--json")
    assert (revoked.status, revoked.err) == (0, "")
    assert json.loads(revoked.out)["node"]["state"] == "revoked"
    assert call(*request).status == 1
    assert call("show", "key_nobody").status == 3
    assert call("disable", node, "--if-revision", "1").status == 4


def test_secret_is_shown_nowhere(folder: Path):
    """The secret of the site is in no output, whatever goes wrong."""
    arguments = (["init"], ["check", "--json"], ["issue", "--name", "x", "--json"], ["show", "x"])
    runs = [spawn(*each, folder=folder, KEYBOUND_SECRET=SECRET) for each in arguments]
    runs.append(spawn("check", folder=folder, KEYBOUND_SECRET=SECRET[:20]))
    other = spawn("list", folder=folder, KEYBOUND_SECRET=SECRET[::-1])
    assert other.status == 2
    assert "fingerprint" in other.err
    for ran in (*runs, other):
        assert SECRET[:20] not in ran.out + ran.err
        assert SECRET[::-1] not in ran.out + ran.err
        assert "Traceback" not in ran.err


@pytest.mark.parametrize(("answer", "status"), [("y", 0), ("n", 1)])
def test_terminal_is_asked_before_revoking(run: Callable[..., Ran], answer: str, status: int):
    """At a terminal, revoking happens on a yes alone, and the question is not a result."""
    node = run("issue --name CI --json").data["id"]
    controller, terminal = pty.openpty()
    os.write(controller, f"{answer}\n".encode())
    done = subprocess.run(
        [Path(sys.executable).parent / "keybound", "revoke", node],
        stdin=terminal,
        capture_output=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )
    os.close(terminal)
    os.close(controller)
    assert done.returncode == status
    assert "for ever?" in done.stderr
    assert "for ever?" not in done.stdout
    assert run("list --json").data[0]["state"] == ("active" if status else "revoked")


@pytest.mark.parametrize("package", ["typer", "rich"])
def test_missing_package_is_named_with_its_extra(package: str, folder: Path):
    """Whoever installed keybound without the extra is told which one, in one line."""
    code = f"import sys; sys.modules[{package!r}] = None; from keybound.cli import main; "
    done = subprocess.run(
        [sys.executable, "-c", code + "sys.exit(main(['list']))"],
        cwd=folder,
        capture_output=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr == f"error: {package} is not installed: pip install 'keybound[cli]'\n"


def test_reader_that_goes_away_is_no_error(folder: Path, run: Callable[..., Ran]):
    """``keybound list | head -1`` ends quietly."""
    for number in range(50):
        run(f"issue --name {'x' * 190}{number}")
    command = f"{Path(sys.executable).parent / 'keybound'} list --json | head -c 10"
    done = subprocess.run(
        ["/bin/sh", "-c", command], cwd=folder, capture_output=True, timeout=60, check=False
    )
    assert done.stderr == b""


def test_name_that_the_terminal_cannot_write_is_escaped(folder: Path, run: Callable[..., Ran]):
    """A name in any script is shown somehow on a terminal that knows ASCII alone."""
    run("issue", "--name", "Prüfung ✓")
    shown = spawn("list", folder=folder, PYTHONIOENCODING="ascii")
    assert shown.status == 0
    assert "Pr\\xfcfung" in shown.out


def test_help_says_what_every_status_means(folder: Path):
    """Exit statuses are documented where scripts' authors look first."""
    shown = spawn("--help", folder=folder)
    assert shown.status == 0
    assert all(f" {status}  " in shown.out for status in range(6))
    assert spawn(folder=folder).out == shown.out
    (line,) = (line for line in shown.out.splitlines() if "Print JSON" in line)
    assert "bool" not in line
    assert spawn("--version", folder=folder).out.startswith("keybound ")
