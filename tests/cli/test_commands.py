"""Every command in this process: what it takes, what it prints, what it ends with."""

from __future__ import annotations

import json
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest

from tests.cli.conftest import KEY

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.cli.conftest import Ran


def issued(run: Callable[..., Ran], *options: str) -> dict[str, Any]:
    """Return a new key as the command line tells it to scripts."""
    ran = run("issue", "--name", "CI", "--json", *options)
    assert (ran.status, ran.err) == (0, "")
    data: dict[str, Any] = ran.data
    return data


# ------------------------------------------------------------------------------- the installation


def test_init_tells_where_and_how_to_make_a_secret(run: Callable[..., Ran], folder: Path):
    """The store's absolute path and the command for a secret; none is invented."""
    first, second = run("init --json"), run("init --json")
    assert first.data == {
        "store": str(folder / "keybound.db"),
        "created": True,
        "secret": False,
        "make_secret": second.data["make_secret"],
        "warnings": [],
    }
    assert second.data["created"] is False
    assert "secrets.token_urlsafe" in run("init").out


def test_check_counts_and_warns(site: Callable[..., Ran], folder: Path):
    """A check says where settings come from, what is stored, and that a secret is missing."""
    issued(site, "--tenant", "acme")
    found = site("check --json")
    assert found.status == 0
    assert found.data["ok"] is True
    assert found.data["settings"] == [str(folder / "keybound.toml"), "defaults"]
    assert (found.data["keys"], found.data["groups"], found.data["routes"]) == (1, 0, 4)
    assert "KEYBOUND_SECRET" in found.data["warnings"][0]
    assert "secret" in site("check").out


def test_check_tells_the_bound_by_which_changes_are_said_to_hold(
    site: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch
):
    """Nobody can see from here what the servers have: it must be the same, or --wait is wrong."""
    monkeypatch.setenv("KEYBOUND_REVOKE_WITHIN", "30")
    ran = site("check --json")
    assert (ran.data["revoke_within"], ran.data["stale_grace"], ran.err) == (30.0, 0.0, "")
    ran = site("check")
    assert "30 s" in ran.out
    assert "servers must have the same revoke_within" in ran.err


def test_check_says_whether_redis_answers(
    site: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch, redis_server, redis_url
):
    """It is a warning when it does not, since keys are served without it; no password is shown."""
    monkeypatch.setenv("KEYBOUND_SECRET", "correct-horse-battery-staple-0123456789")
    monkeypatch.setenv("KEYBOUND_REDIS", redis_url)
    site("init")
    found = site("check --json").data
    assert found["redis"] == redis_url
    assert found["warnings"] == []
    monkeypatch.setenv("KEYBOUND_REDIS", redis_server.url(user="somebody:hunter2@"))
    found = site("check --json")
    assert found.status == 0
    (warning,) = found.data["warnings"]
    assert "does not accept the user name and password" in warning
    assert "hunter2" not in found.out + found.err


def test_check_fails_on_what_does_not_work(
    run: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch
):
    """No store and wrong settings are problems, and the status says so."""
    assert run("check").status == 1
    assert "keybound init" in run("check --json").data["problems"][0]
    monkeypatch.setenv("KEYBOUND_DATABSE", "x")
    (problem,) = run("check --json").data["problems"]
    assert "did you mean" in problem


# ----------------------------------------------------------------------------------------- issue


def test_key_is_printed_once_and_alone(site: Callable[..., Ran]):
    """People see the key once, on standard output, with the word that it is never shown again."""
    ran = site("issue --name CI --tenant acme")
    assert len(KEY.findall(ran.out)) == 1
    assert "never again" in ran.out
    assert not KEY.search(ran.err)
    assert all(len(line) <= 80 for line in ran.out.splitlines())


def test_key_is_whole_in_a_narrow_terminal(
    site: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch
):
    """A key is never broken into two lines."""
    monkeypatch.setenv("COLUMNS", "30")
    assert KEY.search(site("issue --name CI --tenant acme").out)


@pytest.mark.parametrize(
    ("options", "home", "limit"),
    [
        ("--home acme", "acme", None),
        ("--home acme --tenant acme/100", "acme", ["acme/100"]),
        ("--home acme --tenant globex", "acme", ["globex"]),
        ("--home '[]' --tenant acme", None, ["acme"]),
        ("--tenant acme", "acme", None),
        ("--tenant R1/acme/100", "R1/acme/100", None),
        ("--tenant acme --tenant globex", None, ["acme", "globex"]),
        ("--tenant acme,globex", None, ["acme", "globex"]),
        ("--tenant '*/acme'", None, ["*/acme"]),
        ("--tenant '*'", None, ["*"]),
        ("--tenant '[]'", None, []),
    ],
)
def test_one_plain_tenant_is_the_home(
    site: Callable[..., Ran], options: str, home: str | None, limit: list[str] | None
):
    """One plain name without --home is the home; otherwise --tenant is the limit alone."""
    key = site(f"issue --name CI --json {options}").data
    assert key["tenant"] == home
    assert key["limits"].get("tenants") == (None if limit is None else [limit])


@pytest.mark.parametrize("make", ["issue --name x --home acme", "groups create x --home acme"])
def test_home_and_limit_have_an_option_each(site: Callable[..., Ran], make: str):
    """--home is the home and --tenant the limit, wherever they are typed."""
    made = site(f"{make} --tenant 'acme/*' --json").data
    node = made.get("node", made)
    assert (node["tenant"], node["limits"]["tenants"]) == ("acme", [["acme/*"]])
    node = site(f"update {node['id']} --tenant globex --json").data["node"]
    assert (node["tenant"], node["limits"]["tenants"]) == ("acme", [["globex"]])
    node = site(f"update {node['id']} --home globex --json").data["node"]
    assert (node["tenant"], node["limits"]["tenants"]) == ("globex", [["globex"]])
    node = site(f"update {node['id']} --home '[]' --json").data["node"]
    assert (node["tenant"], node["limits"]["tenants"]) == (None, [["globex"]])
    node = site(f"restrict {node['id']} --tenant globex/1 --json").data["node"]
    assert (node["tenant"], len(node["limits"]["tenants"])) == (None, 2)


def test_tenant_of_a_group_is_its_limit_alone(site: Callable[..., Ran]):
    """What --tenant limits a group to does not become its home."""
    made = site("groups create staff --tenant acme --json").data["node"]
    assert (made["tenant"], made["limits"]) == (None, {"tenants": [["acme"]]})
    home = site("groups create staff --home globex --json").data["id"]
    assert [node["id"] for node in site("groups list --home globex --json").data] == [home]


def test_every_option_reaches_the_key(site: Callable[..., Ran]):
    """What is typed is what is stored."""
    group = site("groups create staff --network 10.0.0.0/8 --json").data["id"]
    parent = issued(site, "--tenant", "acme", "--right", "can_issue", "--scope", "rest")["id"]
    ran = site(
        f"issue --json --name child --parent {parent} --group {group} --owner u_42 --role admin"
        " --network '10.0.0.0/8,!10.1.2.3' --network 192.168.0.1 --method GET --read-only"
        " --model message:read --model report --scope rest --not-before 2020-01-01T00:00:00Z"
        " --hours 'mon, wed-fri 08:00-18:00 Europe/Zurich' --hours 'sat 22:00-02:00 UTC'"
        " --header-only --right report_only"
        " --expires-at 2099-01-01T00:00:00+01:00 --metadata plan=pro --metadata '{\"n\": 1}'"
    )
    key = ran.data
    assert key["limits"] == {
        "lifetime": [{"not_before": "2020-01-01T00:00:00Z", "expires_at": "2098-12-31T23:00:00Z"}],
        "networks": [["10.0.0.0/8", "192.168.0.1", "!10.1.2.3"]],
        "methods": [["GET"]],
        "read_only": [True],
        "header_only": [True],
        "scopes": [["rest"]],
        "hours": [["mon,wed-fri 08:00-18:00 Europe/Zurich", "sat 22:00-02:00 UTC"]],
        "models": [{"message": "read", "report": "write"}],
    }
    assert key["metadata"] == {"plan": "pro", "n": 1}
    assert key["rights"] == ["report_only"]
    assert (key["parent"], key["groups"], key["owner"]) == (parent, [group], "u_42")
    shown = site(f"show {key['id']}")
    assert all(text in shown.out for text in ("u_42", "admin", "except 10.1.2.3", '"plan":"pro"'))
    assert set(site(f"show {key['id']} --json").data["above"]) == {parent, group}


def test_key_beyond_its_parent_is_refused(site: Callable[..., Ran]):
    """A child that asks for more than its parent is not made, and is told where it exceeds."""
    parent = issued(site, "--tenant", "acme", "--model", "message")["id"]
    ran = site(f"issue --name child --parent {parent} --model report --json")
    assert (ran.status, ran.out) == (1, "")
    assert ran.error["kind"] == "exceeds_ceiling"
    assert parent in ran.error["message"]


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ("", "--name"),
        ("--name x --tenant acme --network 10.0.0.1/8", "networks"),
        ("--name x --tenant acme --expires-in soon", "expires_in"),
        (
            "--name x --tenant acme --expires-in 1d --expires-at 2099-01-01T00:00:00Z",
            "--expires-in",
        ),
        ("--name x --tenant acme --expires-at 2099-01-01", "expires_at"),
        ("--name x --tenant acme --metadata plan", "--metadata"),
        ("--name x --tenant acme --metadata '{'", "--metadata"),
        ("--name x --tenant acme --model '[]' --model message", "models"),
        ("--name x --tenant acme --right everything", "rights"),
        ("--name x --tenant acme --right ''", "rights"),
        ("--name x --tenant acme --right '[]' --right can_issue", "--right"),
        ("--name x --tenant acme --hours 'mon 08:00-18:00'", "hours"),
        ("--name x --tenant acme --hours 'mon 08:00-18:00 Mars'", "hours"),
        ("--name x", "tenant"),
        ("--name x --home acme --limit floor=7", "floor"),
        ("--name x --home acme --limit networks", "--limit"),
        ("--name x --home acme --limit methods=GET --method GET", "--limit"),
        ("--name x --home ''", "tenant"),
        ("--name x --tenant ''", "tenants"),
        ("--name x --tenant acme --secret kb", "--secret"),
    ],
)
def test_wrong_input_names_the_option(site: Callable[..., Ran], options: str, field: str):
    """Wrong input is status 2 and one line that names what is wrong; nothing is stored."""
    ran = site(f"issue {options}")
    assert (ran.status, ran.out) == (2, "")
    last = ran.err.splitlines()[-1]
    assert last.startswith("error: ")
    assert field in last
    assert site("list --json").data == []
    assert site(f"issue --json {options}").error["exit"] == 2


def test_limit_that_no_route_resolves_is_pointed_out(run: Callable[..., Ran]):
    """A key that could never pass is possible, but not silently."""
    assert "no route here names a model" in run("issue --name x --model message").err


def test_warnings_reach_scripts(run: Callable[..., Ran]):
    """What people are warned of stands in the object that scripts read."""
    told = run("issue --name x --model message --json")
    assert told.err == ""
    assert "no secret is set" in told.data["warnings"][0]
    assert "no route here names a model" in told.data["warnings"][1]
    assert run(f"show {told.data['id']} --json").data["warnings"] == []


# ----------------------------------------------------------------------------------- list and show


def test_list_fits_80_columns(site: Callable[..., Ran]):
    """Ids and states are whole, everything else is shortened, and no line is folded."""
    group = site(f"groups create {'g' * 50} --network 10.0.0.0/8 --json").data["id"]
    keys = [issued(site, "--tenant", "acme/" + "t" * 60, "--network", "10.0.0.0/8") for _ in "ab"]
    site(f"disable {keys[0]['id']}")
    lines = site("list").out.splitlines()
    assert len(lines) == 4
    assert all(len(line) <= 80 for line in lines)
    for key, state in zip(keys, ("disabled", "active"), strict=True):
        assert any(key["id"] in line and state in line for line in lines)
    assert group in site("groups list").out
    assert group not in site("list").out


def test_list_goes_on_after_an_id(site: Callable[..., Ran]):
    """Pages do not overlap, and people are told how to see the next one."""
    ids = sorted(str(issued(site, "--tenant", "acme")["id"]) for _ in range(3))
    page = site("list --limit 2")
    assert f"--after {ids[1]}" in page.err
    assert [key["id"] for key in site(f"list --after {ids[1]} --json").data] == ids[2:]
    assert site("list --home globex --json").data == []
    assert len(site("list --home acme --json").data) == 3
    assert site("list --limit 0").status == 2
    assert site("list --kind user").status == 2


def test_markup_and_odd_characters_are_printed_as_they_are(site: Callable[..., Ran]):
    """A name is text: it neither colours the table nor becomes a smiley."""
    site("issue", "--name", "[b]x :key:", "--tenant", "acme", "--metadata", "a=\x1b[31m")
    assert "[b]x :key:" in site("list").out
    node = site("list --json").data[0]["id"]
    assert "\x1b" not in site(f"show {node}").out


@pytest.mark.parametrize(
    ("options", "state"),
    [
        ("--expires-at 2020-01-01T00:00:00Z", "expired"),
        ("--not-before 2099-01-01T00:00:00Z", "not yet"),
        ("--expires-in 90d", "active"),
    ],
)
def test_state_is_one_word(site: Callable[..., Ran], options: str, state: str):
    """Whether a key lives is seen at a glance."""
    key = site(f"issue --name x --tenant acme --json {options}").data
    assert key["state"] == state
    assert state in site(f"show {key['id']}").out


def test_moments_are_shown_to_the_second(site: Callable[..., Ran]):
    """People see no microseconds; scripts get the moment that is stored."""
    key = site("issue --name x --home acme --expires-at 2099-01-01T00:00:00.123456Z --json").data
    assert key["limits"]["lifetime"] == [{"expires_at": "2099-01-01T00:00:00.123456Z"}]
    for command in (f"show {key['id']}", f"explain {key['id']} GET /domains/acme/messages"):
        shown = site(command).out
        assert "2099-01-01T00:00:00Z" in shown
        assert ".123456" not in shown
    assert ".1" not in site("list").out


# ---------------------------------------------------------------------------------------- changes


def test_restrict_narrows_and_never_widens(site: Callable[..., Ran]):
    """Two restrictions hold both."""
    node = issued(site, "--tenant", "acme", "--network", "10.0.0.0/8")["id"]
    changed = site(f"restrict {node} --network 0.0.0.0/0 --expires-in 30d --json").data
    assert changed["node"]["limits"]["networks"] == [["0.0.0.0/0"], ["10.0.0.0/8"]]
    assert changed["node"]["limits"]["lifetime"]
    assert site(f"restrict {node}").status == 2


def test_update_replaces_what_is_named(site: Callable[..., Ran]):
    """A named limit is written anew, '*' takes it away, '[]' is none, the rest stays."""
    node = issued(site, "--tenant", "acme", "--network", "10.0.0.0/8", "--read-only")["id"]
    site(f"update {node} --network '*' --method '[]' --name new --owner u_1 --role r")
    key = site(f"show {node} --json").data
    assert key["limits"] == {"methods": [[]], "read_only": [True]}
    assert (key["name"], key["owner"], key["role"]) == ("new", "u_1", "r")
    site(f"update {node} --no-read-only --method '*' --owner '[]' --metadata a=b --expires-in 1h")
    site(f"update {node} --expires-in '*'")
    key = site(f"show {node} --json").data
    assert (key["limits"], key["owner"], key["metadata"]) == ({}, None, {"a": "b"})
    assert site(f"update {node}").status == 2
    site(f"update {node} --hours '[]' --header-only")
    site(f"restrict {node} --hours 'daily 08:00-18:00 UTC'")
    key = site(f"show {node} --json").data
    assert key["limits"] == {"hours": [["daily 08:00-18:00 UTC"], []], "header_only": [True]}
    assert "in a header only" in site("list").out
    site(f"update {node} --hours '*' --no-header-only")
    assert site(f"show {node} --json").data["limits"] == {}


@pytest.mark.parametrize("make", ["issue --name x --home acme", "groups create x --home acme"])
def test_right_to_report_only_is_given_and_taken(site: Callable[..., Ran], make: str):
    """On keys and groups alike, by name; '[]' is none."""
    made = site(f"{make} --right report_only --json").data
    node = made.get("node", made)
    assert node["rights"] == ["report_only"]
    assert "report_only" in site(f"show {node['id']}").out
    told = site(f"update {node['id']} --right '[]' --json").data["node"]
    assert told["rights"] == []
    told = site(f"update {node['id']} --right report_only --json").data["node"]
    assert told["rights"] == ["report_only"]


def test_enable_disable_and_revoke(site: Callable[..., Ran]):
    """A disabled key can come back; a revoked one cannot."""
    node = issued(site, "--tenant", "acme")["id"]
    assert "disabled" in site(f"disable {node}").out
    assert site(f"show {node} --json").data["state"] == "disabled"
    assert "holds everywhere by" in site(f"enable {node}").out
    assert site(f"--yes revoke {node}").status == 0
    ran = site(f"enable {node}")
    assert ran.status == 2
    assert "for ever" in ran.err


@pytest.mark.parametrize("every", ["first", "last"])
def test_the_end_of_a_change_is_never_told_too_early(
    site: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch, every: str
):
    """It is told to the second, and until that second somebody may still accept the key."""
    at = {"first": 1_700_000_000.000_001, "last": 1_700_000_000.999_999}[every]
    node = issued(site, "--tenant", "acme")["id"]
    monkeypatch.setattr("keybound.clocks.time.time", lambda: at)
    assert site(f"disable {node} --json").data["effective_by"] == "2023-11-14T22:13:26Z"
    out = site(f"enable {node}").out
    assert "holds everywhere by 2023-11-14T22:13:26Z" in " ".join(out.split())
    monkeypatch.setattr("keybound.clocks.time.time", lambda: 1_700_000_000.0)
    assert site(f"disable {node} --json").data["effective_by"] == "2023-11-14T22:13:25Z"


def test_people_are_told_whether_a_change_was_announced(
    site: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch, redis_server, redis_url
):
    """Where there is a Redis to announce it; by whatever word, it holds by the same moment."""
    node = issued(site, "--tenant", "acme")["id"]
    assert "announced" not in site(f"disable {node}").out
    monkeypatch.setenv("KEYBOUND_SECRET", "correct-horse-battery-staple-0123456789")
    monkeypatch.setenv("KEYBOUND_REDIS", redis_url)
    out = site(f"enable {node}").out
    assert ", announced, holds" in " ".join(out.split())
    assert "announced" not in site(f"disable {node} --dry-run").out
    monkeypatch.setenv("KEYBOUND_REDIS", redis_server.url(user="somebody:hunter2@"))
    out = site(f"disable {node}").out
    assert ", not announced, holds" in " ".join(out.split())


def test_dry_run_writes_nothing(site: Callable[..., Ran]):
    """A dry run shows what would be, and leaves everything as it is."""
    node = issued(site, "--tenant", "acme")["id"]
    before = site(f"show {node} --json").data
    told = site(f"revoke {node} --dry-run --json").data
    assert (told["dry_run"], told["node"]["state"]) == (True, "revoked")
    assert "nothing was written" in site(f"disable {node} --dry-run").out
    assert site(f"show {node} --json").data == before


def test_revision_guards_against_each_other(site: Callable[..., Ran]):
    """A change that was decided on an older revision is a conflict."""
    node = issued(site, "--tenant", "acme")["id"]
    rev = site(f"show {node} --json").data["revision"]
    assert site(f"disable {node} --if-revision {rev}").status == 0
    ran = site(f"enable {node} --if-revision {rev} --json")
    assert (ran.status, ran.error["kind"]) == (4, "conflict")


def test_wait_returns_when_it_holds(run: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch):
    """With --wait the answer is not before the bound."""
    monkeypatch.setenv("KEYBOUND_REVOKE_WITHIN", "0.3")
    monkeypatch.setenv("KEYBOUND_SYNC_EVERY", "0.05")
    node = issued(run)["id"]
    ran = run(f"disable {node} --wait")
    assert "holds everywhere" in ran.out
    assert "by 20" not in ran.out


# --------------------------------------------------------------------------------- global options


def test_global_options_stand_before_or_after(run: Callable[..., Ran], folder: Path):
    """Where a global option stands makes no difference."""
    assert run("--database other.db init").status == 0
    assert json.loads(run("--json list --database other.db").out) == []
    assert run("groups --json list --database other.db").out == "[]\n"
    assert (folder / "other.db").exists()
    assert not (folder / "keybound.db").exists()


def test_store_in_use_is_named_to_people_alone(site: Callable[..., Ran], folder: Path):
    """People see which store is used; scripts see nothing but the result."""
    assert site("list").err == f"keys are in {folder / 'keybound.db'}\n"
    assert site("list --json").err == ""


def test_settings_file_is_chosen(run: Callable[..., Ran], folder: Path):
    """--settings reads that file, and a wrong one is named."""
    (folder / "prod.toml").write_text('[keybound]\ndatabase = "prod.db"\n', encoding="utf-8")
    assert run("init --settings prod.toml --json").data["store"] == str(folder / "prod.db")
    assert run("init --settings none.toml").status == 2


@pytest.mark.parametrize("kind", ["Guard", "AsyncGuard"])
def test_guard_of_an_application_is_used(
    run: Callable[..., Ran], folder: Path, kind: str, monkeypatch: pytest.MonkeyPatch
):
    """--app brings the application's own settings and routes, whichever guard it has."""
    name = f"shop_{kind.lower()}"
    monkeypatch.setitem(sys.modules, name, ModuleType(name))  # so that it is gone in the end
    monkeypatch.delitem(sys.modules, name)
    (folder / f"{name}.py").write_text(
        f"from keybound import {kind}, Route\n"
        f"guard = {kind}.from_settings(database='shop.db', routes=[Route('/x', model='m')])\n"
        "broken = None\n",
        encoding="utf-8",
    )
    assert run(f"--app {name}:guard init --json").data["store"] == str(folder / "shop.db")
    found = run(f"--app {name}:guard check --json").data
    assert (found["routes"], found["settings"]) == (1, [f"the guard {name}:guard"])
    for wrong in (f"{name}:broken", f"{name}:none", "nowhere:guard", name):
        ran = run(f"list --app {wrong}")
        assert ran.status == 2
        assert "--app" in ran.err
    assert run(f"list --app {name}:guard --database x.db").status == 2


def test_failing_application_shows_no_text_of_its_own(run: Callable[..., Ran], folder: Path):
    """What an application says while it fails may hold secrets, so only the kind is told."""
    (folder / "faulty.py").write_text("raise RuntimeError('hunter2')\n", encoding="utf-8")
    ran = run("list --app faulty:guard")
    assert ran.status == 2
    assert "RuntimeError" in ran.err
    assert "hunter2" not in ran.err


def test_unusable_store_is_one_line(run: Callable[..., Ran], folder: Path):
    """A file that is no store is status 5 and says what to do."""
    (folder / "keybound.db").write_text("not a database, but long enough to be read" * 50)
    ran = run("list --json")
    assert (ran.status, ran.error["kind"]) == (5, "store")


def test_usage_errors_are_objects_for_scripts(run: Callable[..., Ran]):
    """Even an unknown command is one JSON object."""
    assert run("bogus --json").error["kind"] == "usage"
    assert run("groups --json").status == 2


@pytest.mark.parametrize(
    "command", ["show {}", "explain {} GET /x", "list {}", "revoke {} --yes", "update {} --name x"]
)
def test_key_that_was_typed_by_mistake_is_not_repeated(site: Callable[..., Ran], command: str):
    """Whoever pastes a key where its id belongs does not find it in the log of errors."""
    key = issued(site, "--tenant", "acme")["key"]
    for form in (command, f"--json {command}"):
        ran = site(form.format(key))
        assert ran.status in {2, 3}
        assert not KEY.search(ran.out + ran.err)
        assert key[:12] in ran.err
