"""What the rules of an application say of requests, before Flask is asked."""

from __future__ import annotations

import gc
import weakref
from typing import TYPE_CHECKING, Any

import pytest
from flask import Blueprint, Flask
from werkzeug.routing import BaseConverter, IntegerConverter, Rule

from keybound import Guard, InputError, Limits, Reason, Route, Settings
from keybound.engine import Engine
from keybound.flask import Keybound
from keybound.stores import open_store
from keybound.testing import FakeClock

if TYPE_CHECKING:
    from collections.abc import Callable

UUID = "0a0b0c0d-0000-0000-0000-00000000000a"


def showing() -> Callable[..., dict[str, str]]:
    """Return a view that answers what it is called with."""

    def shown(**arguments: Any) -> dict[str, str]:
        return {name: repr(value) for name, value in arguments.items()}

    return shown


@pytest.mark.parametrize(
    ("rule", "path", "name"),
    [
        ("/v1/m/<model>", "/v1/m/invoice", "invoice"),
        ("/v1/m/<path:model>", "/v1/m/a/b", "a/b"),
        ("/v1/m/<any(a, b):model>", "/v1/m/b", "b"),
        ("/v1/m/<int:model>", "/v1/m/7", "7"),
        ("/v1/m/<int:model>", "/v1/m/007", "7"),
        ("/v1/m/<int(fixed_digits=3):model>", "/v1/m/007", "7"),
        ("/v1/m/<int(signed=True):model>", "/v1/m/-7", "-7"),
        ("/v1/m/<uuid:model>", f"/v1/m/{UUID}", UUID),
        ("/v1/m/<uuid:model>", f"/v1/m/{UUID.upper()}", UUID),
        ("/v1/m/<model>", "/v1/m/M\u00fcller", "M\u00fcller"),
        ("/v1/m/<float:model>", "/v1/m/7.0", None),
    ],
)
def test_argument_counts_as_the_view_gets_it(app, guard, client, key, why, rule, path, name):
    """``007`` that arrives as 7 is the model 7; what is no name is not known."""
    app.add_url_rule(rule, "m", showing())
    match = guard.engine.table.match("GET", path)
    assert match.model == name
    limited = key(models={name or "7.0": "read", "other": "read"})
    assert why(client.get(path, headers=limited)) == ("allowed" if name else "model_unresolved")
    assert why(client.get(path, headers=key())) == "allowed"
    assert why(client.get(path, headers=key(models={"007": "write"}))).startswith("model_")


def test_number_that_nobody_can_read_is_unknown(app, guard):
    """A converter that fails on what it matched names nothing, and breaks nothing."""
    app.add_url_rule("/v1/m/<int:model>", "m", showing())
    assert guard.engine.table.match("GET", "/v1/m/" + "9" * 5_000).model is None


class Lookup(BaseConverter):
    """A site's own converter, which finds things."""

    found: list[str] = []  # noqa: RUF012 - every test looks at the same

    def to_python(self, value: str) -> Any:
        """Find one."""
        self.found.append(value)
        return {"name": value}

    def to_url(self, value: Any) -> str:
        """Return its name."""
        name: str = value["name"]
        return name


class Code(BaseConverter):
    """A site's own converter, which matches another expression."""

    regex = "[A-Z]{2}"


class Offset(IntegerConverter):
    """A site's own converter, which makes another number of it."""

    def to_python(self, value: str) -> Any:
        """Return another number."""
        return int(value) + 1


@pytest.fixture
def converting(app: Flask) -> Flask:
    """Return the application with converters of its own."""
    app.url_map.converters.update(lookup=Lookup, code=Code, offset=Offset)
    Lookup.found.clear()
    return app


def test_converters_of_a_site_are_not_run_for_a_decision(converting, guard, client, key, why):
    """What they look up may change, so what they name is not known."""
    converting.add_url_rule("/v1/<lookup:model>/x", "x", showing())
    converting.add_url_rule("/v1/<offset:model>/y", "y", showing())
    assert guard.engine.table.match("GET", "/v1/invoice/x").model is None
    assert guard.engine.table.match("GET", "/v1/7/y").model is None
    assert Lookup.found == []
    limited = key(models={"invoice": "write", "7": "write", "8": "write"})
    assert why(client.get("/v1/invoice/x", headers=limited)) == "model_unresolved"
    assert why(client.get("/v1/7/y", headers=limited)) == "model_unresolved"
    assert client.get("/v1/invoice/x", headers=key()).json == {"model": "{'name': 'invoice'}"}


def test_converter_that_only_matches_is_known(converting, guard):
    """It hands on what stands in the path."""
    converting.add_url_rule("/v1/<code:tenant>/x", "x", showing())
    assert guard.engine.table.match("GET", "/v1/CH/x").tenant == "CH"
    assert guard.engine.table.match("GET", "/v1/ch/x").tenant is None


def test_tenant_of_a_rule_is_that_of_the_request(app, client, key, why):
    """As it is with routes that are configured."""
    app.add_url_rule("/v1/<tenant>/x", "x", showing())
    assert client.get("/v1/acme/x", headers=key()).json == {"tenant": "'acme'"}
    assert why(client.get("/v1/evil/x", headers=key())) == "tenant_mismatch"
    assert why(client.get("/v1/home", headers=key())) == "tenant_unresolved"


def test_default_of_a_rule_is_an_argument(app, guard):
    """It names a model as well as the path does, and whatever Flask redirects."""
    app.add_url_rule("/v1/invoices", "x", showing(), defaults={"model": "invoice"})
    app.add_url_rule("/v1/all/<model>", "x")
    table = guard.engine.table
    assert table.match("GET", "/v1/invoices").model == "invoice"
    assert table.match("GET", "/v1/all/device").model == "device"
    assert table.match("GET", "/v1/all/invoice").model == "invoice"


def test_model_may_be_the_blueprint_or_the_endpoint():
    """Where a configured route says so; a blueprint within another has the names of both."""
    routes = [Route("/v1/b/*", model="{blueprint}"), Route("/v1/*", model="{endpoint}")]
    guard = Guard.from_settings(database="memory://", routes=routes)
    app = Flask("shop", static_folder=None)
    Keybound(app, guard)
    outer, inner = Blueprint("billing", "billing"), Blueprint("tax", "tax")
    inner.add_url_rule("/x", "x", showing())
    outer.register_blueprint(inner, url_prefix="/tax")
    outer.add_url_rule("/y", "y", showing())
    app.register_blueprint(outer, url_prefix="/v1/b")
    app.add_url_rule("/v1/z", "z", showing())
    table = guard.engine.table
    found = [table.match("GET", path).model for path in ("/v1/b/tax/x", "/v1/b/y", "/v1/z")]
    assert found == ["billing.tax", "billing", "z"]
    assert table.match("GET", "/v1/b/nothing").model is None


def test_redirect_to_a_slash_is_decided_as_its_target(app, kb, client, key, why):
    """Whoever may go there is sent there; whoever may not is told so at once."""
    app.add_url_rule("/v1/invoices/", "x", kb.requires(model="invoice")(showing()))
    limited = key(models={"invoice": "read"})
    assert client.get("/v1/invoices", headers=limited).status_code == 308
    assert client.get("/v1/invoices", headers=limited, follow_redirects=True).status_code == 200
    other = key(models={"device": "read"})
    assert why(client.get("/v1/invoices", headers=other)) == "model_not_allowed"


def test_pages_that_are_not_there_need_a_key_too(app, client, key):
    """Whoever has none learns nothing; whoever has one gets Flask's own answers."""
    app.add_url_rule("/v1/x", "x", showing(), methods=["POST"])
    app.add_url_rule("/v1/old", "old", redirect_to="/v1/x")
    for path in ("/v1/nothing", "/v1/x", "/v1/old"):
        assert client.get(path).status_code == 401
    statuses = [client.get(f"/v1/{path}", headers=key()).status_code for path in ("n", "x", "old")]
    assert statuses == [404, 405, 308]
    options = client.options("/v1/x", headers=key(read_only=True))
    assert set(options.allow) == {"OPTIONS", "POST"}


def test_static_files_are_guarded(guard, key, tmp_path):
    """As everything that Flask serves."""
    (tmp_path / "a.txt").write_text("served", encoding="utf-8")
    app = Flask("files", static_folder=str(tmp_path), static_url_path="/v1/static")
    Keybound(app, guard)
    app.add_url_rule("/v1/x", "x", showing())
    client = app.test_client()
    assert client.get("/v1/static/a.txt").status_code == 401
    with client.get("/v1/static/a.txt", headers=key()) as answer:
        assert answer.data == b"served"


# ------------------------------------------------------ what is chosen by more than method and path


def test_views_that_a_host_chooses_are_checked_when_they_are_chosen(guard, key, why):
    """The table knows nothing of them, so limited keys are refused, and demands hold inside."""
    app = Flask("hosts", static_folder=None, host_matching=True)
    kb = Keybound(app, guard)
    app.add_url_rule("/v1/x", "a", kb.requires("a")(lambda: "a"), host="a.example")
    app.add_url_rule("/v1/x", "b", lambda: "b", host="b.example")
    app.add_url_rule("/x", "c", kb.requires("c")(lambda: "c"), host="c.example")
    assert guard.engine.table.match("GET", "/v1/x").view is None
    client = app.test_client()

    def get(host: str, path: str, **limits: Any) -> Any:
        return why(client.get(path, base_url=f"http://{host}", headers=key(**limits)))

    for _ in range(2):
        assert get("a.example", "/v1/x") == "insufficient_scope"
        assert get("a.example", "/v1/x", scopes="a") == "allowed"
        assert get("b.example", "/v1/x") == "allowed"
        assert get("b.example", "/v1/x", models={"m": "read"}) == "model_unresolved"
        assert get("c.example", "/x", scopes="c") == "missing_credentials"


def test_views_of_subdomains_are_checked_when_they_are_chosen(guard, key, why):
    """Where an application has them."""
    app = Flask("domains", static_folder=None, subdomain_matching=True)
    app.config["SERVER_NAME"] = "example.test"
    kb = Keybound(app, guard)
    app.add_url_rule("/v1/x", "a", kb.requires("a")(lambda: "a"), subdomain="a")
    app.add_url_rule("/v1/x", "b", lambda: "b")
    assert guard.engine.table.match("GET", "/v1/x").view is None
    client = app.test_client()
    at_a = {"base_url": "http://a.example.test", "headers": key()}
    assert why(client.get("/v1/x", **at_a)) == "insufficient_scope"
    assert client.get("/v1/x", base_url="http://example.test", headers=key()).text == "b"


def test_configured_routes_know_what_a_host_chooses():
    """What a site says of a path holds for every view there, and a view may ask for more."""
    routes = [Route("/v1/x", model="invoice")]
    guard = Guard.from_settings(database="memory://", routes=routes)
    app = Flask("hosts", static_folder=None, host_matching=True)
    kb = Keybound(app, guard)
    app.add_url_rule("/v1/x", "a", kb.requires(model="device")(lambda: "a"), host="a.example")
    app.add_url_rule("/v1/x", "b", lambda: "b", host="b.example")
    issued = guard.issue(name="CI", tenant="acme", limits=Limits(models={"invoice": "read"}))
    headers = {"Authorization": f"Bearer {issued.secret.reveal()}"}
    client = app.test_client()
    for _ in range(2):
        assert client.get("/v1/x", base_url="http://b.example", headers=headers).text == "b"
        refused = client.get("/v1/x", base_url="http://a.example", headers=headers)
        assert b"model_not_allowed" in refused.data


def test_what_one_key_met_another_has_to_meet():
    """Where a configured route decides, what the view asks is looked at for each."""
    routes = [Route("/v1/x", tenant="~")]
    guard = Guard.from_settings(database="memory://", routes=routes)
    app = Flask("shop", static_folder=None)
    kb = Keybound(app, guard)
    app.add_url_rule("/v1/x", "x", kb.requires("a")(lambda: "x"))
    client = app.test_client()
    headers: list[dict[str, str]] = []
    for scopes in (["a"], []):
        issued = guard.issue(name="CI", tenant="acme", limits=Limits(scopes=scopes))
        headers.append({"Authorization": f"Bearer {issued.secret.reveal()}"})
    for _ in range(3):
        assert client.get("/v1/x", headers=headers[0]).text == "x"
        assert client.get("/v1/x", headers=headers[1]).status_code == 403


UPGRADE = {"Connection": "Upgrade", "Upgrade": "websocket"}


def test_websocket_is_a_write_unless_its_view_says_otherwise(app, kb, client, key, why):
    """A GET that opens a connection of both directions does more than read."""
    app.url_map.add(Rule("/v1/live", endpoint="live", methods=["GET"], websocket=True))
    app.view_functions["live"] = lambda: "connected"
    app.url_map.add(Rule("/v1/feed", endpoint="feed", methods=["GET"], websocket=True))
    app.view_functions["feed"] = kb.requires(access="read")(lambda: "connected")
    reader = key(read_only=True)
    for _ in range(2):
        assert client.get("/v1/live", headers={**UPGRADE, **key()}).text == "connected"
        assert why(client.get("/v1/live", headers={**UPGRADE, **reader})) == "method_not_allowed"
        assert client.get("/v1/feed", headers={**UPGRADE, **reader}).text == "connected"


@pytest.mark.parametrize("live", ["/v1/x", "/v1/<model>"])
@pytest.mark.parametrize("first", [True, False])
def test_header_that_chooses_another_view_opens_nothing(app, kb, client, key, why, live, first):
    """Who asks for the WebSocket of a path gets what it may do there, not with the page."""
    app.view_functions["live"] = lambda **_: "connected"
    if first:
        app.url_map.add(Rule(live, endpoint="live", methods=["GET"], websocket=True))
    app.add_url_rule("/v1/x", "page", kb.requires(model="page")(lambda: "page"))
    if not first:
        app.url_map.add(Rule(live, endpoint="live", methods=["GET"], websocket=True))
    limited = key(models={"page": "write"})
    for _ in range(2):
        assert client.get("/v1/x", headers=limited).text == "page"
        refused = why(client.get("/v1/x", headers={**UPGRADE, **limited}))
        assert refused == ("model_unresolved" if live == "/v1/x" else "model_not_allowed")
        assert client.get("/v1/x", headers={**UPGRADE, **key()}).text == "connected"
        reading = {**UPGRADE, **key(read_only=True)}
        assert why(client.get("/v1/x", headers=reading)) == "method_not_allowed"
        both = {**UPGRADE, **key(models={"page": "read", "x": "write"})}
        expected = "model_unresolved" if live == "/v1/x" else "allowed"
        assert why(client.get("/v1/x", headers=both)) == expected


# ---------------------------------------------------------------------------------- when it is read


def test_rules_are_there_without_a_request(app, kb, guard):
    """Whoever only imports the guard explains and issues under what the application requires."""
    app.add_url_rule("/v1/<tenant>/a", "a", kb.requires("a", model="message")(showing()))
    assert guard.engine.table.tenancy
    match = guard.engine.table.match("GET", "/v1/acme/a")
    assert (match.scopes, match.model, match.tenant) == (("a",), "message", "acme")
    issued = guard.issue(name="CI", tenant="acme", limits=Limits(scopes="a"))
    explained = guard.explain(issued.id, "GET", "/v1/evil/a")
    assert explained.reason is Reason.TENANT_MISMATCH


def test_rules_and_demands_that_join_after_a_verb_count(app, kb, guard):
    """A key that is issued while the module is imported does not end what may be declared."""
    view = lambda: "x"  # noqa: E731 - it is decorated below
    app.add_url_rule("/v1/a", "a", view)
    guard.issue(name="early")
    kb.requires("late")(view)
    assert guard.engine.table.match("GET", "/v1/a").scopes == ("late",)
    app.add_url_rule("/v1/b", "b", kb.requires("b")(lambda: "b"))
    assert guard.engine.table.match("GET", "/v1/b").scopes == ("b",)


def test_wrong_rule_shows_in_verbs(app, kb, guard):
    """What would keep the application from serving is an error on the command line."""
    app.add_url_rule("/v1/a", "a", kb.requires(model="{b}")(showing()))
    with pytest.raises(InputError, match=r"\{b\} is not a field"):
        guard.issue(name="CI")


def test_guard_with_another_engine_has_the_rules(app, kb, guard, client):
    """Whatever engine a guard is bound to, the rules are there for its first request."""
    app.add_url_rule("/open/b", "b", kb.requires("b")(lambda: "b"))
    assert client.get("/open/b").status_code == 401
    settings = Settings(database="memory://", protect=("/v1/*",))
    other = Engine(settings, open_store("memory://"), FakeClock(), background=False)
    guard.bind(other)
    issued = Guard(other).issue(name="CI")
    other._sources.clear()  # noqa: SLF001 - as if nobody asked before
    answer = client.get("/open/b", headers={"Authorization": f"Bearer {issued.secret.reveal()}"})
    assert answer.json["scopes"] == ["b"]


def test_rule_that_is_added_while_serving_is_noticed(app, kb, client, key, why, guard):
    """Behind Flask's back, too; its first request is decided by what it asks for."""
    assert client.get("/v1/home", headers=key()).status_code == 200
    app.url_map.add(Rule("/v1/late", endpoint="late", methods=["GET"]))
    app.view_functions["late"] = kb.requires("late", model="late")(lambda: "late")
    limited = key(models={"late": "read"})  # to issue it is to read the rules
    assert why(client.get("/v1/late", headers=limited)) == "insufficient_scope"
    known = key()
    assert client.get("/v1/home", headers=known).status_code == 200
    app.url_map.add(Rule("/v1/later", endpoint="later", methods=["GET"]))
    app.view_functions["later"] = kb.requires("later")(lambda: "later")
    for _ in range(2):
        assert why(client.get("/v1/later", headers=known)) == "insufficient_scope"
    assert guard.engine.rules.table.match("GET", "/v1/later").scopes == ("later",)


def test_key_that_is_limited_does_not_reach_a_rule_that_was_not_read(app, kb, client, key):
    """Nobody decided what it is about, when Flask chose it."""
    limited = key(models={"home": "read"}, scopes="a")
    app.add_url_rule("/v1/m", "m", kb.requires(model="home")(lambda: "m"))
    assert client.get("/v1/m", headers=limited).status_code == 200
    app.url_map.add(Rule("/open/x", endpoint="x", methods=["GET"]))
    app.view_functions["x"] = lambda: "x"
    assert client.get("/open/x", headers=limited).text == "x"  # no key is looked at


def test_replaced_view_is_read_again(app, kb, client, key, why):
    """An extension that replaces views replaces their demands."""
    app.add_url_rule("/v1/a", "a", kb.requires("old")(lambda: "a"))
    assert why(client.get("/v1/a", headers=key(scopes="new"))) == "insufficient_scope"
    app.view_functions["a"] = kb.requires("new")(lambda: "new")
    assert client.get("/v1/a", headers=key(scopes="new")).text == "new"


def test_application_that_is_gone_leaves_nothing(guard):
    """A guard outlives an application, and keeps neither it nor its rules alive."""
    app = Flask("gone", static_folder=None)
    kb = Keybound(app, guard)
    app.add_url_rule("/v1/a", "a", kb.requires("a")(showing()))
    app.test_client().get("/v1/a")
    gone = weakref.ref(app)
    del app, kb
    gc.collect()
    assert gone() is None
    assert guard.engine.table is not None


def test_two_applications_share_a_guard(guard, key, why):
    """Each is decided by its own rules, and neither by those of the other."""
    one, two = Flask("one", static_folder=None), Flask("two", static_folder=None)
    kb = Keybound(guard=guard)
    for app, scope in ((one, "one"), (two, "two")):
        kb.init_app(app)
        app.add_url_rule("/v1/x", "x", kb.requires(scope)(lambda: "served"))
        app.add_url_rule(f"/v1/{scope}", scope, lambda: "served")
    assert why(one.test_client().get("/v1/x", headers=key(scopes="one"))) == "allowed"
    # The table has the rule of the first: what the second asks for is checked besides.
    assert why(two.test_client().get("/v1/x", headers=key(scopes="one"))) == "insufficient_scope"
    assert why(two.test_client().get("/v1/x", headers=key(scopes=["one", "two"]))) == "allowed"
    limited = key(models={"m": "read"})
    assert why(two.test_client().get("/v1/two", headers=limited)) == "model_unresolved"


def test_slash_at_the_end_evades_nothing_where_flask_does_not_care():
    """With ``strict_slashes`` off Flask takes both paths for one view, and so do demands."""
    app = Flask("shop")
    app.url_map.strict_slashes = False
    routes = [Route("/v1/admin", scopes="admin"), Route("/v1/staff/", scopes="staff")]
    guard = Guard.from_settings(database="memory://", protect=["/v1"], routes=routes)
    Keybound(app, guard)
    for path in ("/v1", "/v1/admin", "/v1/staff/"):
        app.add_url_rule(path, path, lambda: "served")
    client = app.test_client()
    paths = ("/v1/", "/v1/admin/", "/v1/staff")
    assert [client.get(path).status_code for path in paths] == [401, 401, 401]
    secret = guard.issue(name="CI").secret.reveal()
    headers = {"Authorization": f"Bearer {secret}"}
    assert [client.get(path, headers=headers).status_code for path in paths] == [200, 403, 403]
