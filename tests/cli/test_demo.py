"""``keybound demo`` over a real server: it shows what it says, and fails when it does not."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import socket
import stat
import subprocess
import sys
import tempfile
from dataclasses import replace
from http.client import HTTPConnection
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from keybound.cli.demo import demonstrate
from keybound.cli.demo_cases import CASES
from keybound.cli.demo_client import Story
from keybound.cli.exits import Ended, Exit
from keybound.cli.session import Globals, Session
from keybound.core.reasons import Reason
from tests.cli.conftest import KEY, spawn

if TYPE_CHECKING:
    from collections.abc import Callable

    from keybound.cli.demo_cases import Case
    from tests.cli.conftest import Ran


def left_behind() -> set[str]:
    """Return the folders of demos in the place for temporary files."""
    return {each.name for each in Path(tempfile.gettempdir()).glob("keybound-demo-*")}


def test_demo_shows_every_limit(folder: Path):
    """One command in an empty folder: a table that fits, every answer right, nothing left."""
    before = left_behind()
    ran = spawn("demo", folder=folder)
    assert ran.status == 0, ran.err
    for reason in {case.reason.value for case in CASES if case.reason is not None}:
        assert reason in ran.out
    assert re.search(r"\d\.\d{3} s later", ran.out)
    assert "exceeds what" in ran.out
    assert "curl -i http://127.0.0.1:8000/" in ran.out
    assert "keybound demo --serve --port 8000\n" in ran.out
    assert "$" not in ran.out
    assert all(len(line) <= 80 for line in ran.out.splitlines() if "--serve" not in line)
    assert not KEY.search(ran.out)
    assert list(folder.iterdir()) == []
    assert left_behind() <= before


def test_demo_tells_scripts_the_same(folder: Path):
    """With --json one object, with the measured time and every answer."""
    ran = spawn("demo", "--json", folder=folder, KEYBOUND_DATABASE="elsewhere.db")
    assert (ran.status, ran.err) == (0, "")
    told = json.loads(ran.out)
    assert told["ok"] is True
    assert len(told["requests"]) == len(CASES)
    assert all(each["expected"] for each in told["requests"])
    assert 0 <= told["revocation"]["seconds"] <= told["revocation"]["bound"]
    assert [each["reason"] for each in told["revocation"]["requests"]] == ["revoked", "revoked"]
    assert "explain" not in told
    assert list(folder.iterdir()) == []


def test_demo_in_memory(run: Callable[..., Ran]):
    """Another store does as well."""
    assert run("demo --database memory:// --json").data["ok"] is True


@pytest.mark.parametrize(
    "case",
    [
        replace(CASES[0], status=403, reason=Reason.NETWORK_NOT_ALLOWED),
        replace(CASES[0], path="/domains/globex/messages"),
        replace(CASES[0], key="expired"),
    ],
    ids=["reason", "path", "key"],
)
def test_unexpected_answer_fails_the_demo(case: Case, capsys: pytest.CaptureFixture[str]):
    """If one answer is not the right one, the demo names it and its status is 1."""
    with pytest.raises(Ended) as ended:
        demonstrate(Session(Globals()), cases=[case])
    assert ended.value.status is Exit.NO
    out = capsys.readouterr().out
    assert "Not as expected" in out
    assert f"{case.method} {case.path} with {case.key}" in out


def test_slow_revocation_and_greedy_child_fail_the_demo():
    """A revoked key that lives too long, or a child beyond its parent, is no success."""
    story = Story(answers=(), afterwards=(), exceeding="", seconds=9.0, bound=5.0)
    assert len(story.problems) == 2


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_served_demo_answers_until_it_is_ended(folder: Path, end: signal.Signals):
    """With --serve the printed keys and commands work as they stand, and the end is clean."""
    before = left_behind()
    demo = subprocess.Popen(
        [Path(sys.executable).parent / "keybound", "demo", "--serve", "--json"],
        cwd=folder,
        env=os.environ | {"KEYBOUND_SECRET": "x", "PATH": os.defpath},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )
    assert demo.stdout is not None
    try:
        lines: list[str] = []
        while not lines or lines[-1] != "}\n":
            lines.append(demo.stdout.readline())
            assert lines[-1], "the demo ended early"
        told = json.loads("".join(lines))
        answers = [answer_to(line) for line in told["try"]]
        assert answers == [200, 403, 403]
        assert set(told["keys"]) >= {"full", "reader", "office", "child"}
        (settings,) = re.findall(r"--settings (\S+)", told["explain"])
        assert stat.S_IMODE(Path(settings).stat().st_mode) == 0o600
        opened = typed(told["explain"], folder)
        assert "tenant_mismatch" in opened
        assert "of key key_" in opened
        key = re.findall(r"key_\w+", opened)[0]
        request = f"explain {key} GET /domains/acme/messages --json"
        routed = json.loads(
            typed(re.sub(r"explain .*", request, told["explain"]), folder, status=1)
        )
        assert routed["facts"]["model"] == "message"
    finally:
        demo.send_signal(end)
        _, err = demo.communicate(timeout=20)
    assert (demo.returncode, err) == (0, "")
    assert left_behind() <= before


def typed(line: str, folder: Path, *, status: int = 0) -> str:
    """Return what a printed command prints in a shell that sets strange things."""
    environment = os.environ | {"KEYBOUND_SECRET": "x", "PATH": os.defpath}
    done = subprocess.run(
        ["/bin/sh", "-c", line],
        cwd=folder,
        env=environment,
        capture_output=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )
    assert done.returncode == status, done.stderr
    return done.stdout


def answer_to(line: str) -> int:
    """Return the status that a ``curl`` line gets, sent without curl."""
    words = shlex.split(line)
    assert words[:2] == ["curl", "-i"]
    method = words[words.index("-X") + 1] if "-X" in words else "GET"
    name, _, value = words[words.index("-H") + 1].partition(": ")
    url = urlsplit(words[-1])
    connection = HTTPConnection(url.netloc, timeout=10)
    connection.request(method, url.path, headers={name: value})
    status = connection.getresponse().status
    connection.close()
    return status


def test_port_that_is_taken_is_said(run: Callable[..., Ran]):
    """A port in use is wrong input, not a traceback."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ran = run(f"demo --port {port}")
    assert ran.status == 2
    assert str(port) in ran.err
    assert run("demo --port 99999").status == 2
    assert run("demo --app x:y").status == 2


def test_demo_without_a_server_package_names_the_extra(folder: Path):
    """Whoever lacks uvicorn is told what to install."""
    code = "import sys; sys.modules['uvicorn'] = None; from keybound.cli import main; "
    done = subprocess.run(
        [sys.executable, "-c", code + "sys.exit(main(['demo']))"],
        cwd=folder,
        capture_output=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert "keybound[standard]" in done.stderr
