"""``flask keybound``: the commands over the guard that an application of Flask has."""

from __future__ import annotations

import json
from typing import Any

import pytest
from flask import Flask
from flask.cli import FlaskGroup

from keybound.cli.session import APPLICATION
from keybound.flask import Keybound


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Return a function that runs a command of an application."""
    monkeypatch.setenv("FLASK_RUN_FROM_CLI", "false")  # Flask sets it, for good
    app = Flask("shop", static_folder=None)
    app.config["KEYBOUND"] = {"DATABASE": str(tmp_path / "keys.db"), "PROTECT": ["/v1/*"]}
    kb = Keybound(app)
    app.add_url_rule("/v1/x", "x", kb.requires("reports")(lambda: "served"))

    def invoke(*arguments: str, of: Flask = app) -> Any:
        commands = FlaskGroup(create_app=lambda: of)
        return of.test_cli_runner().invoke(commands, ["keybound", *arguments])

    return invoke


def test_commands_work_on_the_store_of_the_application(run, tmp_path):
    """With its settings, and with what its views require."""
    assert run("init").exit_code == 0
    assert (tmp_path / "keys.db").exists()
    issued = json.loads(run("--json", "issue", "--name", "CI", "--scope", "reports").stdout)
    explained = run("--json", "explain", issued["id"], "GET", "/v1/x")
    assert json.loads(explained.stdout)["allowed"] is True
    other = json.loads(run("issue", "--json", "--name", "other").stdout)
    refused = run("explain", other["id"], "GET", "/v1/x", "--json")
    assert json.loads(refused.stdout)["reason"] == "insufficient_scope"
    checked = json.loads(run("--json", "check").stdout)
    assert (checked["settings"], checked["keys"]) == (["the application"], 2)
    assert APPLICATION.get() is None


def test_help_and_statuses_are_those_of_keybound(run):
    """``--help`` too, which Flask would answer itself."""
    assert "revoke" in run("--help").stdout
    assert run("--app", "x:y", "check").exit_code != 0
    assert "leave it out" in run("--app", "x:y", "list").stderr
    assert run("nonsense").exit_code == 2


def test_application_that_is_not_guarded_is_told(run):
    """The command is there wherever keybound is installed."""
    ended = run("list", of=Flask("bare"))
    assert ended.exit_code == 1
    assert "bare is not guarded: call init_app" in ended.output
