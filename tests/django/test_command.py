"""``manage.py keybound``: the command line over the guard of the project."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from django.core.management import CommandError, call_command, execute_from_command_line
from django.http import HttpResponse
from django.urls import path

from keybound.django import guard

if TYPE_CHECKING:
    from pathlib import Path

    from tests.django.conftest import Project


@pytest.fixture
def project(blocking: Project, tmp_path: Path) -> Project:
    """Return a project with a store that stays."""
    return blocking.use(
        path("<tenant>/x", lambda *_, **__: HttpResponse("ok")),
        keybound={"DATABASE": str(tmp_path / "keys.db")},
    )


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, Any]:
    """Run ``manage.py keybound`` and return its exit status and what it printed as JSON."""
    with pytest.raises(SystemExit) as end:
        execute_from_command_line(["manage.py", "keybound", *arguments, "--json"])
    out, err = capsys.readouterr()
    return int(end.value.code or 0), json.loads(out or err)


def test_key_is_issued_in_the_store_of_the_project(
    project: Project, capsys: pytest.CaptureFixture[str]
):
    """Options are those of the command line, and the key works."""
    status, issued = run(capsys, "issue", "--name", "CI", "--tenant", "acme")
    assert status == 0
    assert project.send("/acme/x", f"Bearer {issued['key']}").content == b"ok"
    assert guard().show(issued["id"]).node.name == "CI"


@pytest.mark.usefixtures("project")
def test_command_knows_the_urls_of_the_project(capsys: pytest.CaptureFixture[str]):
    """Paths name tenants, so that a key without one is refused, with the status of the tool."""
    status, error = run(capsys, "issue", "--name", "CI")
    assert status != 0
    assert "tenant" in json.dumps(error)


@pytest.mark.usefixtures("project")
def test_command_may_be_called(capsys: pytest.CaptureFixture[str]):
    """``call_command`` passes arguments on, and ends with the status where that is not 0."""
    call_command("keybound", "issue", "--name", "CI", "--tenant", "acme")
    assert "kb_live_" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        call_command("keybound", "show", "key_none")


def test_settings_that_cannot_work_are_said_in_a_line(
    blocking: Project, capsys: pytest.CaptureFixture[str]
):
    """No traceback for a misspelt setting."""
    blocking.use(keybound={"PROTEKT": []})
    with pytest.raises(SystemExit) as end:
        execute_from_command_line(["manage.py", "keybound", "list"])
    assert "did you mean 'PROTECT'?" in str(end.value.code)
    with pytest.raises(CommandError, match="PROTEKT"):
        call_command("keybound", "list")
    assert capsys.readouterr().err == ""
