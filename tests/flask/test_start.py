"""How keybound is put into an application, and where it would not protect."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from flask import Flask
from flask.cli import FlaskGroup
from werkzeug.middleware.proxy_fix import ProxyFix

import keybound.wsgi
from keybound import AsyncGuard, Guard, Route, SettingsError
from keybound.flask import Keybound


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    """Look for settings where there are none."""
    monkeypatch.chdir(tmp_path)


def an_app(**config):
    """Return an application with a view."""
    app = Flask("shop", static_folder=None)
    app.config.update(config)
    app.add_url_rule("/v1/x", "x", lambda: "served")
    return app


def test_settings_are_in_the_configuration(monkeypatch, tmp_path):
    """Arguments win over it, it wins over the environment, and that over the file."""
    (tmp_path / "keybound.toml").write_text(
        '[keybound]\nrealm = "file"\nprefix = "file"\nenvironment = "file"\nrevoke_within = 7'
    )
    monkeypatch.setenv("KEYBOUND_REALM", "variable")
    monkeypatch.setenv("KEYBOUND_PREFIX", "variable")
    monkeypatch.setenv("KEYBOUND_ENVIRONMENT", "variable")
    config = {"REALM": "configured", "PREFIX": "configured", "DATABASE": "memory://"}
    app = an_app(KEYBOUND=config)
    settings = Keybound(app, realm="given").guard.settings
    found = settings.realm, settings.prefix, settings.environment, settings.revoke_within
    assert found == ("given", "configured", "variable", 7.0)
    assert settings.database == "memory://"


def test_routes_are_settings_too():
    """As they are everywhere."""
    routes = [{"path": "/v1/x", "model": "x"}, Route("/v1/y", model="y")]
    kb = Keybound()
    kb.init_app(an_app(KEYBOUND={"DATABASE": "memory://", "ROUTES": routes}))
    assert [route.model for route in kb.guard.settings.routes] == ["x", "y"]


@pytest.mark.parametrize(
    ("config", "named"),
    [
        ({"REVOKE_WITHN": 5}, r"KEYBOUND\['REVOKE_WITHN'\]: is no setting; .*'REVOKE_WITHIN'"),
        ({"realm": "x"}, r"KEYBOUND\['realm'\]: is no setting; "),
        ({7: "x"}, r"KEYBOUND\[7\]: is no setting"),
        ({"REALM": 'a"b'}, "^realm"),
        ("memory://", "^KEYBOUND: is str; write a dictionary"),
    ],
    ids=str,
)
def test_configuration_that_cannot_work_is_named(config, named):
    """The start stops, and says which name and what is near it."""
    with pytest.raises(SettingsError, match=named):
        Keybound(an_app(KEYBOUND=config))


def test_guard_is_given_or_made():
    """Never both, since one of them would be ignored."""
    guard = Guard.from_settings(database="memory://")
    app = an_app()
    kb = Keybound(guard=guard)
    kb.init_app(app)
    assert kb.guard is guard
    assert app.extensions["keybound"].given is guard
    with pytest.raises(SettingsError, match="besides realm"):
        Keybound(an_app(), guard, realm="x")
    with pytest.raises(SettingsError, match=r"besides app.config\['KEYBOUND'\]"):
        Keybound(an_app(KEYBOUND={"REALM": "x"}), guard)


def test_guard_is_that_of_the_current_application():
    """One extension may guard several applications."""
    one, two = (Guard.from_settings(database="memory://") for _ in range(2))
    kb = Keybound()
    with pytest.raises(RuntimeError, match="call init_app"):
        str(kb.guard)
    first, second = an_app(), an_app()
    kb.init_app(first, one)
    kb.init_app(second, two)
    assert kb.guard is two
    with first.app_context():
        assert kb.guard is one


def test_nothing_is_opened_before_the_first_request(tmp_path):
    """Nor is a store made by a request without a key."""
    app = an_app(KEYBOUND={"DATABASE": str(tmp_path / "keys.db")})
    Keybound(app)
    assert app.test_client().get("/v1/x").status_code == 401
    assert not (tmp_path / "keys.db").exists()


def test_guard_that_awaits_is_refused():
    """Flask blocks."""
    guard: Any = AsyncGuard.from_settings(database="memory://")
    with pytest.raises(SettingsError, match=r"is AsyncGuard; give a Guard, or .to_sync\(\)"):
        Keybound(an_app(), guard)


def test_installed_twice_is_refused():
    """In either order, and with the plain middleware."""
    guard = Guard.from_settings(database="memory://")
    app = an_app()
    kb = Keybound(app, guard)
    with pytest.raises(SettingsError, match="called for shop already"):
        kb.init_app(app)
    with pytest.raises(SettingsError, match="called for shop already"):
        Keybound(app, guard)
    with pytest.raises(SettingsError, match="installed twice"):
        keybound.wsgi.APIKeyMiddleware(app, guard)
    wrapped = an_app()
    wrapped.wsgi_app = keybound.wsgi.APIKeyMiddleware(wrapped.wsgi_app, guard)
    with pytest.raises(SettingsError, match="installed twice"):
        Keybound(wrapped, guard)
    assert wrapped.extensions == {}


def test_proxy_inside_is_refused_and_outside_works():
    """Inside, the address of every client would be that of the proxy."""
    guard = Guard.from_settings(database="memory://")
    app = an_app()
    app.wsgi_app = ProxyFix(app.wsgi_app)
    with pytest.raises(SettingsError, match="around ProxyFix; call it before"):
        Keybound(app, guard)
    app = an_app()
    Keybound(app, guard)
    app.wsgi_app = ProxyFix(app.wsgi_app)
    issued = guard.issue(name="CI", limits={"networks": "203.0.113.7"})
    headers = {"Authorization": f"Bearer {issued.secret.reveal()}"}
    client = app.test_client()
    assert client.get("/v1/x", headers=headers).status_code == 403
    proxied = headers | {"X-Forwarded-For": "203.0.113.7"}
    assert client.get("/v1/x", headers=proxied).text == "served"


# ------------------------------------------------------------------- where nothing would be guarded


@pytest.mark.parametrize("static", [None, "static"])
def test_application_of_which_nothing_is_guarded_does_not_serve(static, caplog, monkeypatch):
    """Static files alone do not count, and the log says what to do."""
    monkeypatch.setenv("FLASK_RUN_FROM_CLI", "false")  # Flask sets it, for good
    app = Flask("shop", static_folder=static)
    app.config["KEYBOUND"] = {"DATABASE": "memory://", "PROTECT": ["/static/*", "/v2/*"]}
    Keybound(app)
    app.add_url_rule("/v1/x", "x", lambda: "served")
    for path in ("/v1/x", "/v2/x", "/nothing"):
        answer = app.test_client().get(path)
        assert answer.status_code == 503
        assert "Keybound-Denial" in answer.headers
    assert caplog.text.count("/static/*, /v2/* and the views guard no rule of shop") == 1
    commands = FlaskGroup(create_app=lambda: app)
    assert app.test_cli_runner().invoke(commands, ["routes"]).exit_code == 0


def test_application_is_guarded_by_what_its_views_ask():
    """Or by a configured route, or as soon as there is a rule that is protected."""
    app = Flask("shop", static_folder=None)
    app.config["KEYBOUND"] = {"DATABASE": "memory://", "PROTECT": ["/v2/*"]}
    kb = Keybound(app)
    client = app.test_client()
    assert client.get("/v1/x").status_code == 503
    app.add_url_rule("/v1/x", "x", kb.requires()(lambda: "served"))
    assert client.get("/v1/x").status_code == 401


def test_configured_route_that_matches_no_rule_is_told(caplog):
    """A misspelt path limits nothing; whatever may match is not told of."""
    routes = [
        Route("/v1/{tenant}/x", model="x"),
        Route("/v1/f/{rest:path}"),
        Route("/v1/misspelt", model="x"),
    ]
    app = Flask("shop", static_folder=None)
    Keybound(app, Guard.from_settings(database="memory://", routes=routes))
    app.add_url_rule("/v1/<kind>/x", "x", lambda kind: kind)
    app.add_url_rule("/v1/f/<path:rest>", "f", lambda rest: rest)
    with caplog.at_level(logging.WARNING):
        app.test_client().get("/v1/a/x")
        app.test_client().get("/v1/a/x")
    told = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert told == ["routes: /v1/misspelt matches no rule of shop"]
