"""``keybound explain``: every check, and edits that really admit the request when they are run."""

from __future__ import annotations

import json
import logging
import shlex
from typing import TYPE_CHECKING

import pytest

from keybound.core.decision import Denied
from keybound.core.reasons import Reason
from keybound.guard import Guard

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.cli.conftest import Ran

LIST = "GET /domains/acme/messages"
SEND = "POST /domains/acme/messages"


def issue(run: Callable[..., Ran], options: str) -> str:
    """Return the id of a new key of acme."""
    ran = run(f"issue --name x --json {options}")
    assert ran.status == 0, ran.err
    return str(ran.data["id"])


def mend(run: Callable[..., Ran], key: str, request: str) -> list[str]:
    """Run every command that an explanation prints, and return them."""
    ran = run(f"explain {key} {request} --json")
    assert ran.status == 1, ran.out
    for line in ran.data["mends"]:
        assert line in run(f"explain {key} {request}").out
        arguments = shlex.split(line[line.index("keybound ") :])
        done = run(*arguments[1:])
        assert done.status == 0, done.err
    return list(ran.data["mends"])


@pytest.mark.parametrize(
    ("options", "request_", "reason"),
    [
        ("--tenant acme", "GET /domains/globex/messages", "tenant_mismatch"),
        ("--tenant '*/x' --tenant b", LIST, "tenant_mismatch"),
        ("--tenant '[]'", LIST, "tenant_mismatch"),
        ("--tenant acme --network 10.0.0.0/8", f"{LIST} --ip 192.168.0.1", "network_not_allowed"),
        (
            "--tenant acme --network '*,!10.1.2.0/24'",
            f"{LIST} --ip 10.1.2.3",
            "network_not_allowed",
        ),
        ("--tenant acme --network '*,!10.1.2.3'", f"{LIST} --ip 10.1.2.3", "network_not_allowed"),
        ("--tenant acme --network '[]'", f"{LIST} --ip 2001:db8::1", "network_not_allowed"),
        ("--tenant acme --method GET", SEND, "method_not_allowed"),
        ("--tenant acme --read-only", SEND, "method_not_allowed"),
        ("--tenant acme --read-only --method GET", SEND, "method_not_allowed"),
        ("--tenant acme --model report", LIST, "model_not_allowed"),
        ("--tenant acme --model message:read --model a", SEND, "model_not_allowed"),
        ("--tenant acme --model '*:read'", SEND, "model_not_allowed"),
        ("--tenant acme", "GET /domains/acme/reports", "insufficient_scope"),
        ("--tenant acme --scope rest", "GET /domains/acme/reports", "insufficient_scope"),
        ("--tenant acme --expires-at 2020-01-01T00:00:00Z", LIST, "expired"),
        ("--tenant acme --not-before 2099-01-01T00:00:00Z", LIST, "not_yet_valid"),
    ],
)
def test_printed_edit_admits_the_request(
    site: Callable[..., Ran], options: str, request_: str, reason: str
):
    """Whoever copies the printed command into a shell gets the request through."""
    key = issue(site, options)
    assert site(f"explain {key} {request_} --json").data["reason"] == reason
    assert mend(site, key, request_)
    assert site(f"explain {key} {request_}").status == 0


def test_hours_that_refuse_are_named(site: Callable[..., Ran]):
    """The edit adds the hour of the request, by the clock of the zone."""
    key = issue(site, "--tenant acme --hours 'mon-fri 08:00-18:00 Europe/Zurich'")
    request = f"{LIST} --at 2026-07-04T10:30:00Z"  # a Saturday
    assert site(f"explain {key} {request} --json").data["reason"] == "outside_time_window"
    (line,) = mend(site, key, request)
    assert line.startswith("wait, or keybound update ")
    assert "'mon-fri 08:00-18:00 Europe/Zurich'" in line
    assert "'sat 12:00-13:00 Europe/Zurich'" in line
    assert site(f"explain {key} {request}").status == 0
    assert site(f"explain {key} {LIST} --at 2026-07-04T11:00:00Z").status == 1


def test_what_is_only_reported_is_told_and_passes(site: Callable[..., Ran]):
    """The verdict is that it passes, and beside the check stands what it would be."""
    key = issue(site, "--tenant acme --read-only --right report_only")
    ran = site(f"explain {key} {SEND}")
    assert ran.status == 0
    assert "reported: method_not_allowed" in ran.out
    assert "what refuses it only reports" in ran.out
    told = site(f"explain {key} {SEND} --json").data
    assert (told["allowed"], told["reason"], told["mends"]) == (True, None, [])
    (check,) = [check for check in told["checks"] if check["check"] == "read_only"]
    assert (check["passes"], check["reported"]) == (True, "method_not_allowed")


def test_edits_of_ceilings_come_first(site: Callable[..., Ran]):
    """Where the parent and the group refuse as well, the edits work in the order printed."""
    group = site("groups create staff --method GET --json").data["id"]
    parent = issue(site, "--tenant acme --read-only --network 10.0.0.0/8")
    key = issue(site, f"--parent {parent} --group {group} --network 10.1.0.0/16")
    for node in (group, parent):
        site(f"disable {node}")
    request = f"{SEND} --ip 192.168.0.1"
    mends = mend(site, key, request)
    assert {line.split()[2] for line in mends} == {group, parent, key}
    assert site(f"explain {key} {request}").status == 0


def test_edit_keeps_what_was_narrowed_before(site: Callable[..., Ran]):
    """After two restrictions the edit admits the request, and nothing that either forbids."""
    key = issue(site, "--tenant acme --network 10.0.0.0/8")
    site(f"restrict {key} --network 10.1.0.0/16 --network 192.168.0.0/16")
    mend(site, key, f"{LIST} --ip 172.16.0.1")
    verdicts = {
        ip: site(f"explain {key} {LIST} --ip {ip}").status
        for ip in ("172.16.0.1", "10.1.0.1", "10.2.0.1", "192.168.0.1", "172.16.0.2")
    }
    assert verdicts == {
        "172.16.0.1": 0,
        "10.1.0.1": 0,
        "10.2.0.1": 1,
        "192.168.0.1": 1,
        "172.16.0.2": 1,
    }


def test_edit_is_one_command_whatever_the_path_says(site: Callable[..., Ran]):
    """A path from a log cannot smuggle a second command into the line that people copy."""
    key = issue(site, "--tenant acme")
    (line,) = site("explain", key, "GET", "/domains/$(reboot);x/messages", "--json").data["mends"]
    assert shlex.split(line)[-2:] == ["--tenant", "$(reboot);x"]
    assert "'$(reboot);x'" in line
    (none,) = site("explain", key, "GET", "/domains/a b/messages", "--json").data["mends"]
    assert none.endswith("no tenant can be called so")


def test_what_no_edit_mends_is_said(site: Callable[..., Ran]):
    """Where a route, an address or a new key is missing, no command pretends otherwise."""
    key = issue(site, "--tenant acme --network 10.0.0.0/8 --model message")
    told = site(f"explain {key} GET /elsewhere --json").data
    assert told["reason"] == "tenant_unresolved"
    assert not any(line.startswith("keybound") for line in told["mends"])
    assert (
        site(f"explain {key} GET /elsewhere --tenant acme --model message --ip 10.0.0.1").status
        == 0
    )
    site(f"revoke {key} --yes")
    assert "revoked is for ever" in site(f"explain {key} {LIST}").out


def test_every_check_is_shown_in_order(site: Callable[..., Ran]):
    """All checks appear with node, stored clause and verdict, and with what was taken for what."""
    group = site("groups create staff --read-only --json").data["id"]
    key = issue(site, f"--tenant acme --group {group} --network 10.0.0.0/8")
    told = site(f"explain {key} {SEND} --ip 10.0.0.1 --json").data
    assert [(check["check"], check["node"], check["passes"]) for check in told["checks"]] == [
        ("state", key, True),
        ("state", group, True),
        ("tenants", key, True),
        ("networks", key, True),
        ("read_only", group, False),
        ("scopes", key, True),
    ]
    assert told["facts"] == {
        "method": "POST",
        "path": "/domains/acme/messages",
        "ip": "10.0.0.1",
        "tenant": "acme",
        "model": "message",
        "access": "write",
        "scopes": [],
        "in_header": True,
    }
    lines = site(f"explain {key} {SEND} --ip 10.0.0.1").out.splitlines()
    assert all(len(line) <= 80 for line in lines if "keybound update" not in line)
    assert any(group in line and "method_not_allowed" in line for line in lines)


def test_unguarded_path_is_allowed_and_said_to_be(site: Callable[..., Ran]):
    """On an exempt path no check applies."""
    key = issue(site, "--tenant acme")
    ran = site(f"explain {key} GET /healthz")
    assert ran.status == 0
    assert "not guarded" in ran.out


def test_moment_of_the_request_is_chosen(site: Callable[..., Ran]):
    """--at explains then, not now; a moment without a zone is refused."""
    key = issue(site, "--tenant acme --expires-in 1h")
    assert site(f"explain {key} {LIST}").status == 0
    assert site(f"explain {key} {LIST} --at 2099-01-01T00:00:00Z").status == 1
    for wrong in ("2099-01-01T00:00:00", "*", "soon"):
        ran = site(f"explain {key} {LIST} --at '{wrong}'")
        assert ran.status == 2
        assert "--at" in ran.err


def test_place_of_the_key_is_chosen(site: Callable[..., Ran]):
    """--sent-in explains what a key in the URL or a cookie may do, and the edit admits it."""
    key = issue(site, "--tenant acme --header-only")
    assert site(f"explain {key} {LIST}").status == 0
    for place in ("query", "cookie"):
        ran = site(f"explain {key} {LIST} --sent-in {place}")
        assert ran.status == 1
        assert "credential_not_allowed" in ran.out
        assert "in a query or a cookie" in ran.out
    assert site(f"explain {key} {LIST} --sent-in body").status == 2


@pytest.mark.parametrize("arguments", ["{key}", "{key} GET", "{key} GET x", "{key} --ip 10.0.0.1"])
def test_half_a_request_is_wrong_usage(site: Callable[..., Ran], arguments: str):
    """A key's id alone, or no path, is not taken for something else."""
    key = issue(site, "--tenant acme")
    assert site(f"explain {arguments.format(key=key)}").status == 2
    assert site(f"explain {key} {LIST} --ip nowhere").status == 2
    assert site(f"explain key_nobody {LIST}").status == 3


def test_id_of_a_denial_is_opened(site: Callable[..., Ran]):
    """The id in a refusal leads to reason, key and check, even if it starts with a dash."""
    key = issue(site, "--tenant acme --read-only")
    guard = Guard.from_settings()
    guard.open()
    chain = guard.explain(key, "POST", "/domains/acme/messages")
    assert chain.reason is Reason.METHOD_NOT_ALLOWED
    denial = ""
    while not denial.startswith("-"):
        answer = guard.refuse(Denied(Reason.MISSING_CREDENTIALS))
        denial = dict(answer.headers)["keybound-denial"]
    guard.close()
    told = site("explain", denial, "--json")
    assert (told.status, told.data["reason"]) == (0, "missing_credentials")
    assert "carried no credential" in site("explain", denial).out
    for wrong in (denial[:-4], "nonsense"):
        ran = site("explain", wrong)
        assert ran.status == 2
        assert "denial id" in ran.err


def test_id_in_the_log_is_opened(site: Callable[..., Ran], caplog: pytest.LogCaptureFixture):
    """Whoever reads a line of the log pastes its id, and finds the key and the check."""
    secret = site("issue --name x --tenant acme --read-only --json").data
    guard = Guard.from_settings()
    raw = f"Bearer {secret['key']}".encode()
    denied = guard.authorize("POST", "/domains/acme/messages", "10.0.0.1", raw)
    assert isinstance(denied, Denied)
    with caplog.at_level(logging.INFO, logger="keybound.denials"):
        guard.refuse(denied)
    guard.close()
    line = json.loads(caplog.messages[-1])
    told = site("explain", line["id"], "--json").data
    assert (told["reason"], told["key"]) == (line["reason"], line["key"])
    assert (told["check"]["check"], told["check"]["node"]) == (line["limit"], line["node"])


def test_denial_of_a_key_names_the_check(site: Callable[..., Ran]):
    """An opened denial shows the stored clause, as long as it is still the same."""
    secret = site("issue --name x --tenant acme --read-only --json").data
    guard = Guard.from_settings()
    raw = f"Bearer {secret['key']}".encode()
    denied = guard.authorize("POST", "/domains/acme/messages", "10.0.0.1", raw)
    assert isinstance(denied, Denied)
    denial = dict(guard.refuse(denied).headers)["keybound-denial"]
    guard.close()
    told = site("explain", denial, "--json").data
    assert (told["key"], told["check"]["check"]) == (secret["id"], "read_only")
    assert "--no-read-only" in site("explain", denial).out
    site(f"update {secret['id']} --no-read-only")
    assert site("explain", denial, "--json").data["check"] is None
    assert "changed since" in site("explain", denial).out
