"""Settings: the same names from everywhere, and nothing wrong gets past the start."""

from __future__ import annotations

import pickle
from math import inf

import pytest

from keybound import Guard, Route, Secret, Settings, SettingsError
from keybound.core.decision import Allowed

SECRET = "correct-horse-battery-staple-0123456789"


@pytest.fixture(autouse=True)
def _empty_place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_nothing_configured_works():
    """Without any setting a guard issues and recognises keys in an SQLite file."""
    guard = Guard.from_settings()
    issued = guard.issue(name="first")
    raw = b"Bearer " + issued.secret.reveal().encode()
    outcome = guard.authorize("GET", "/", None, raw)
    assert isinstance(outcome, Allowed)
    assert outcome.identity.key_id == issued.id
    guard.close()


def test_python_wins_over_the_environment_and_that_over_the_file(tmp_path, monkeypatch):
    """One name has one meaning in all three places, and the nearest place wins."""
    (tmp_path / "keybound.toml").write_text(
        '[keybound]\nrealm = "file"\nprefix = "file"\nenvironment = "file"\n'
    )
    monkeypatch.setenv("KEYBOUND_REALM", "variable")
    monkeypatch.setenv("KEYBOUND_PREFIX", "variable")
    settings = Settings.load({"realm": "python"})
    assert (settings.realm, settings.prefix, settings.environment) == ("python", "variable", "file")


def test_the_file_may_be_elsewhere(tmp_path, monkeypatch):
    """``KEYBOUND_SETTINGS`` and the argument name a file; the argument wins."""
    (tmp_path / "one.toml").write_text('[keybound]\nrealm = "one"\n')
    (tmp_path / "two.toml").write_text('[keybound]\nrealm = "two"\n')
    monkeypatch.setenv("KEYBOUND_SETTINGS", str(tmp_path / "one.toml"))
    assert Settings.load().realm == "one"
    assert Settings.load(file=tmp_path / "two.toml").realm == "two"


def test_every_kind_of_value_can_come_from_the_environment(monkeypatch):
    """Numbers, booleans, durations, lists and routes are read from text."""
    monkeypatch.setenv("KEYBOUND_STORE_CONNECTIONS", "4")
    monkeypatch.setenv("KEYBOUND_REVEAL_REASON", "true")
    monkeypatch.setenv("KEYBOUND_REVOKE_WITHIN", "30")
    monkeypatch.setenv("KEYBOUND_SYNC_EVERY", "2s")
    monkeypatch.setenv("KEYBOUND_STALE_GRACE", "0")
    monkeypatch.setenv("KEYBOUND_PROTECT", "/v1/*, /v2/*")
    monkeypatch.setenv("KEYBOUND_CREDENTIALS", "bearer, scheme_param(Token, token),header(X-Key)")
    monkeypatch.setenv("KEYBOUND_RETIRED_SECRETS", SECRET)
    monkeypatch.setenv("KEYBOUND_ROUTES", '[{"path": "/v1/{tenant}/x", "methods": ["GET"]}]')
    settings = Settings.load()
    assert settings.store_connections == 4
    assert settings.reveal_reason is True
    assert (settings.revoke_within, settings.sync_every, settings.stale_grace) == (30.0, 2.0, 0.0)
    assert settings.protect == ("/v1/*", "/v2/*")
    assert settings.credentials == ("bearer", "scheme_param(Token, token)", "header(X-Key)")
    assert settings.retired_secrets[0].reveal() == SECRET
    assert settings.routes == (Route("/v1/{tenant}/x", methods="GET"),)


def test_routes_come_from_toml(tmp_path):
    """The route table can be written in the file, with the members of ``Route``."""
    (tmp_path / "keybound.toml").write_text(
        '[[keybound.routes]]\npath = "/a"\nmodel = "m"\n[[keybound.routes]]\npath = "/b"\n'
    )
    assert [route.path for route in Settings.load().routes] == ["/a", "/b"]


@pytest.mark.parametrize("where", ["python", "variable", "file"])
def test_an_unknown_name_is_refused_with_the_nearest_right_one(where, tmp_path, monkeypatch):
    """A typing error never silently means the default."""
    given = {}
    if where == "python":
        given = {"revoke_witin": 3}
    elif where == "variable":
        monkeypatch.setenv("KEYBOUND_REVOKE_WITIN", "3")
    else:
        (tmp_path / "keybound.toml").write_text("[keybound]\nrevoke_witin = 3\n")
    with pytest.raises(SettingsError, match=r"(?i)revoke_witin.*did you mean 'revoke_within'"):
        Settings.load(given)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("database", "", "database"),
        ("database", None, "write 1 to 4,096 characters"),
        ("store_connections", 1, "a whole number from 2 to"),
        ("store_connections", "many", "a whole number from"),
        ("store_connections", True, "a whole number from"),
        ("cache_size_max", 1.5, "a whole number from"),
        ("cache_compiled_max", 0, "a whole number from 1 to"),
        ("unknown_keys_max", -1, "a whole number from 0 to"),
        ("unknown_keys_max", "none", "a whole number from"),
        ("secret", "changeme", "32 or more random characters"),
        ("secret", "a" * 40, "32 or more random characters"),
        ("secret", 12345, "is int"),
        ("retired_secrets", SECRET, "is not a list"),
        ("retired_secrets", [SECRET, "short"], "32 or more"),
        ("prefix", "Kb", "not 1 to 16 of a-z"),
        ("environment", "no_underscore", "not 1 to 16 of a-z"),
        ("environment", "Prod", "for example 'live'"),
        ("prefix", "Prod", "for example 'kb'"),
        ("accepted_prefixes", "kb", "a list of texts"),
        ("protect", [], "a list with at least one text"),
        ("protect", ["v1/*"], "does not start with a slash"),
        ("protect", ["/v1/*/x"], "is not a pattern"),
        ("routes", {"path": "/x"}, "is not a list"),
        ("routes", [{"path": "/x", "modle": "m"}], "unknown field `modle`"),
        ("routes", [{"model": "m"}], "missing required field `path`"),
        ("routes", [{"path": "/x", "auth": "optionl"}], "did you mean 'optional'"),
        ("routes", ["/x"], "routes[0]: expected `object`"),
        (
            "routes",
            [{"path": "/a"}, {"path": "/b", "access": "raed"}],
            "routes[1] (/b): access: 'raed' is unknown; did you mean 'read'",
        ),
        ("routes", [{"path": "/a", "modle": "m"}], "routes[0] (/a): "),
        ("routes", [{"path": "b"}], "routes[0] (b): path: "),
        ("credentials", ["barer"], "did you mean 'bearer'"),
        ("credentials", [], "a list with at least one text"),
        ("credentials", "bearer", "a list with at least one text"),
        ("body_max", 0, "a whole number from 1 to 1,073,741,824"),
        ("store_connections", "many", "a whole number from 2 to 1,000"),
        ("database", 5, "1 to 4,096 characters"),
        ("revoke_within", "soon", "is not a duration"),
        ("revoke_within", 0, "is not a duration"),
        ("revoke_within", -1, "is not a duration"),
        ("revoke_within", True, "is not a duration"),
        ("sync_every", 3, "more than a third of revoke_within"),
        ("sync_every", inf, "is not a duration"),
        ("sync_every", None, "is not a duration"),
        ("stale_grace", False, "is not a duration"),
        ("redis", "http://host:6379", "does not begin with redis://"),
        ("redis", 6379, "is int"),
        ("redis", "redis://u:12/hunter2@host/0", "write them as %2F %3F %23 %40"),
        ("redis", "redis://:12#hunter2@host", "write them as %2F %3F %23 %40"),
        ("redis", "redis://:12?hunter2@host", "write them as %2F %3F %23 %40"),
        ("redis", "redis://u:hunter@2@host", "write them as %2F %3F %23 %40"),
        ("redis", "redis://u:12[hunter2@host/0", "%5B %5D"),
        ("redis", "redis://u:12[3]hunter2@host/0", "%5B %5D"),
        ("redis", "redis://u:hunter2\u2100@host/0", "%5B %5D"),
        ("redis", "redis://host", "needs a secret"),
        ("redis_timeout", "5m", "0.001 to 2, such as '50ms'"),
        ("redis_timeout", "0ms", "0.001 to 2"),
        ("redis_timeout", "soon", "is not a duration"),
        ("realm", 'with "quotes"', "printable ASCII without"),
        ("realm", "two\nlines", "printable ASCII without"),
        ("reveal_reason", "maybe", "write true or false"),
        ("wildcard_scopes", 1, "write true or false"),
    ],
)
def test_a_value_that_cannot_work_names_the_setting_and_the_problem(name, value, said):
    """Every wrong value stops the start with an error that says which and why."""
    with pytest.raises(SettingsError) as caught:
        Settings.load({name: value})
    assert str(caught.value).startswith(name)
    assert said.lower() in str(caught.value).lower()


@pytest.mark.parametrize(
    ("given", "chosen"),
    [
        ({}, 1.0),
        ({"revoke_within": 60}, 1.0),
        ({"revoke_within": "2s"}, 2 / 3),
        ({"revoke_within": 0.3}, 0.3 / 3),
        ({"revoke_within": 2, "sync_every": 0.5}, 0.5),
    ],
)
def test_a_bound_alone_is_enough(given, chosen):
    """Unless somebody chose it, the pause between syncs fits whatever bound is set."""
    assert Settings.load(given).sync_every == chosen
    assert Settings(**given).sync_every == chosen


@pytest.mark.parametrize(
    ("given", "seconds"), [(0.2, 0.2), ("0.3", 0.3), ("50ms", 0.05), (" 5 ms ", 0.005), ("1s", 1.0)]
)
def test_the_patience_with_redis_may_be_in_milliseconds(given, seconds, monkeypatch):
    """As text from anywhere, or as a number of seconds."""
    assert Settings.load({"redis_timeout": given}).redis_timeout == seconds
    monkeypatch.setenv("KEYBOUND_REDIS_TIMEOUT", str(given))
    assert Settings.load().redis_timeout == seconds


@pytest.mark.parametrize("scheme", ["redis", "rediss", "unix"])
def test_redis_needs_a_url_and_a_secret_and_nothing_else(scheme, monkeypatch):
    """The same from the environment as from Python."""
    monkeypatch.setenv("KEYBOUND_SECRET", SECRET)
    monkeypatch.setenv("KEYBOUND_REDIS", f"{scheme}://host")
    settings = Settings.load()
    assert settings.redis is not None
    assert settings.redis.reveal() == f"{scheme}://host"
    assert Settings.load({"redis": None}).redis is None


@pytest.mark.parametrize(
    "name",
    ["SERVICE_HOST", "SERVICE_PORT", "SERVICE_PORT_HTTP", "PORT", "PORT_80_TCP_ADDR", "API_PORT"],
)
def test_a_variable_of_a_container_platform_is_said_to_be_one(monkeypatch, name):
    """Where a service is called keybound, whoever deploys learns why a strange name is there."""
    monkeypatch.setenv(f"KEYBOUND_{name}", "tcp://10.0.0.1:80")
    with pytest.raises(SettingsError, match=r"container platform.*unset it, or rename") as caught:
        Settings.load()
    assert str(caught.value).startswith(f"KEYBOUND_{name}: ")


@pytest.mark.parametrize(
    ("name", "value"),
    [("secret", "hunter2"), ("retired_secrets", ["hunter2"]), ("redis", "http://:hunter2@host")],
)
def test_an_error_about_a_secret_does_not_show_it(name, value):
    """What is wrong with a secret is said without the secret."""
    with pytest.raises(SettingsError) as caught:
        Settings.load({name: value})
    assert "hunter2" not in str(caught.value)


def test_settings_can_be_printed_without_printing_the_secret():
    """A repr of the settings, and of a guard made with them, holds no secret."""
    settings = Settings(
        secret=Secret(SECRET),
        retired_secrets=(Secret(SECRET + "old"),),
        redis=Secret("redis://:hunter2@host"),
    )
    assert "hunter2" not in repr(settings)
    guard = Guard.from_settings(secret=SECRET, database="memory://")
    assert SECRET not in repr(settings) + repr(guard)
    with pytest.raises(TypeError, match="reveal"):
        pickle.dumps(settings)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[keybound\n", "line 1"),
        ("[other]\nx = 1\n", "has other"),
        ("keybound = 3\n", r"no table \[keybound\]"),
    ],
)
def test_a_file_that_is_not_ours_is_named_with_its_path(tmp_path, text, said):
    """A broken settings file is an error with its absolute path."""
    file = tmp_path / "keybound.toml"
    file.write_text(text)
    with pytest.raises(SettingsError, match=said) as caught:
        Settings.load()
    assert str(file) in str(caught.value)


def test_a_file_that_was_named_must_be_there(tmp_path):
    """A settings file that somebody named and that does not exist stops the start."""
    with pytest.raises(SettingsError, match="No such file"):
        Settings.load(file=tmp_path / "absent.toml")


def test_lists_from_the_environment_may_be_json(monkeypatch):
    """A list that needs commas is written as JSON, and broken JSON is said to be that."""
    monkeypatch.setenv("KEYBOUND_PROTECT", '["/a/*"]')
    assert Settings.load().protect == ("/a/*",)
    monkeypatch.setenv("KEYBOUND_PROTECT", '["/a/*"')
    with pytest.raises(SettingsError, match="protect: is not JSON"):
        Settings.load()
