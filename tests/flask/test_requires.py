"""What views require, however they are decorated."""

from __future__ import annotations

import functools
from typing import Any

import pytest
from flask import Blueprint, Flask
from flask.views import MethodView, View

from keybound import InputError
from keybound.flask import Keybound, current_key


def passing(view):
    """Decorate as one should."""

    @functools.wraps(view)
    def around(*args: Any, **kwargs: Any) -> Any:
        return view(*args, **kwargs)

    return around


def hiding(view):
    """Decorate without telling what is inside."""

    def around(*args: Any, **kwargs: Any) -> Any:
        return view(*args, **kwargs)

    around.__name__ = view.__name__
    return around


def plain() -> str:
    """Answer."""
    return "served"


async def awaited() -> str:
    """Answer, in a coroutine."""
    return "served"


def below(app, requires, view):
    """Decorate as documented."""
    app.route("/v1/x")(requires(view))


def above(app, requires, view):
    """Decorate what Flask was given already."""
    requires(app.route("/v1/x")(view))


def above_a_wrapper(app, requires, view):
    """Decorate what is around a view that Flask was given."""
    requires(passing(app.route("/v1/x")(view)))


def inside_a_wrapper(app, requires, view):
    """Decorate, and then decorate with something else."""
    app.route("/v1/x")(passing(requires(view)))


def inside_what_hides(app, requires, view):
    """Decorate, and then hide it."""
    app.route("/v1/x")(hiding(requires(view)))


def replacing(app, requires, view):
    """Decorate what stands among the views."""
    app.route("/v1/x")(view)
    endpoint = view.__name__
    app.view_functions[endpoint] = requires(app.view_functions[endpoint])


WAYS = [below, above, above_a_wrapper, inside_a_wrapper, inside_what_hides, replacing]


COMBINED = [
    *((way, plain) for way in WAYS),
    *((way, awaited) for way in WAYS if not way.__name__.startswith("inside")),
]


@pytest.mark.parametrize(("way", "view"), COMBINED, ids=lambda each: each.__name__)
def test_demand_holds_wherever_the_decorator_stands(app, kb, client, key, why, way, view):
    """Scope and model are asked for, and a view that asks too much is never called."""
    way(app, kb.requires("reports", model="report"), _copied(view))
    assert why(client.get("/v1/x")) == "missing_credentials"
    assert why(client.get("/v1/x", headers=key())) == "insufficient_scope"
    granted = key(scopes="reports")
    for _ in range(2):  # decided anew, and remembered
        assert client.get("/v1/x", headers=granted).text == "served"
    other = key(scopes="reports", models={"invoice": "write"})
    expected = "model_unresolved" if way is inside_what_hides else "model_not_allowed"
    assert why(client.get("/v1/x", headers=other)) == expected


def _copied(view):
    """Return a function of its own, since a mark is on the function."""
    copied = type(view)(view.__code__, view.__globals__, view.__name__)
    copied.__qualname__ = view.__qualname__
    return copied


@pytest.mark.parametrize("way", [w for w in WAYS if w is not inside_what_hides])
def test_what_can_be_seen_is_in_the_table(app, kb, guard, way):
    """``explain`` knows it before there was a request."""
    way(app, kb.requires("reports", model="report", access="write"), _copied(plain))
    match = guard.engine.table.match("GET", "/v1/x")
    assert (match.scopes, match.model, match.access) == (("reports",), "report", "write")
    assert match.auth == "required"


def test_a_key_is_asked_for_where_nothing_is_protected(app, kb, client, key):
    """A demand guards its view by itself."""
    below(app, kb.requires(), _copied(plain))
    app.add_url_rule("/open", "open", lambda: repr(current_key))
    app.add_url_rule("/closed", "closed", kb.requires()(lambda: current_key.name))
    assert client.get("/closed").status_code == 401
    assert client.get("/closed", headers=key()).text == "CI"
    assert client.get("/open", headers=key()).text == "None"


def test_several_demands_hold_together(app, kb, client, key, why):
    """Scopes add up, and the strictest access counts."""
    view = kb.requires("a", access="read")(kb.requires("b", access="write")(_copied(plain)))
    app.add_url_rule("/v1/x", "x", view)
    assert why(client.get("/v1/x", headers=key(scopes="a"))) == "insufficient_scope"
    assert why(client.get("/v1/x", headers=key(scopes=["a", "b"]))) == "allowed"
    reader = key(scopes=["a", "b"], read_only=True)
    assert why(client.get("/v1/x", headers=reader)) == "method_not_allowed"


def test_demand_that_is_hidden_is_as_strict_as_it_says(app, kb, client, key, why):
    """What is seen around it does not make a reading of its writing."""
    inner = kb.requires(model="m", access="write")(_copied(plain))
    view = kb.requires(model="m", access="read")(hiding(inner))
    app.add_url_rule("/v1/x", "x", view, methods=["POST"])
    assert why(client.post("/v1/x", headers=key(models={"m": "read"}))) == "model_not_allowed"
    assert why(client.post("/v1/x", headers=key(models={"m": "write"}))) == "allowed"


def test_one_function_may_be_several_views(app, kb, client, key, why):
    """Each asks what stands around it; the function as it is asks all of that."""
    generic = _copied(plain)
    app.add_url_rule("/v1/a", "a", kb.requires(model="a")(generic))
    app.add_url_rule("/v1/b", "b", kb.requires("b", model="b")(generic))
    limited = key(models={"a": "read", "b": "read"})
    assert client.get("/v1/a", headers=limited).text == "served"
    assert why(client.get("/v1/b", headers=limited)) == "insufficient_scope"


def test_decorated_twice_is_asked_for_wherever_it_is_served(app, kb, client, key, why):
    """A name that was decorated above one route, and given to another."""

    @kb.requires("above")
    @app.get("/v1/a")
    def view() -> str:
        return "served"

    app.add_url_rule("/v1/b", "b", view)
    for path in ("/v1/a", "/v1/b"):
        assert why(client.get(path, headers=key())) == "insufficient_scope"
        assert client.get(path, headers=key(scopes="above")).text == "served"


def test_demand_that_is_hidden_is_told(app, kb, client, key, caplog):
    """A decorator above one that hides the view is never called: that is said, not forgotten."""

    @kb.requires("reports")
    @hiding
    @app.get("/v1/x")
    def lost() -> str:
        return "served"

    assert client.get("/v1/x", headers=key()).text == "served"
    assert "hiding.<locals>.around is seen on no view of shop" in caplog.text


def test_demand_that_is_seen_is_not_told_of(app, kb, client, key, caplog):
    """Nor is one above or below the route."""
    below(app, kb.requires("a"), _copied(plain))
    app.add_url_rule("/v1/y", "y", above_nothing := _copied(plain))
    kb.requires("b")(above_nothing)
    client.get("/v1/home", headers=key())
    assert "seen on no view" not in caplog.text


# ------------------------------------------------------------------------------------- classes


def test_classes_of_views(app, kb, client, key, why):
    """The whole class, one method, and ``dispatch_request`` may ask."""

    class Orders(MethodView):
        decorators = [kb.requires(model="order")]  # noqa: RUF012 - as Flask writes it

        def get(self) -> str:
            return "listed"

        @kb.requires("orders")
        def post(self) -> str:
            return "made"

    class Single(View):
        @kb.requires("single")
        def dispatch_request(self) -> str:
            return "served"

    app.add_url_rule("/v1/orders", view_func=Orders.as_view("orders"))
    app.add_url_rule("/v1/single", view_func=Single.as_view("single"))
    limited = {"models": {"order": "write"}}
    assert client.get("/v1/orders", headers=key(**limited)).text == "listed"
    assert client.head("/v1/orders", headers=key(**limited)).status_code == 200
    assert why(client.post("/v1/orders", headers=key(**limited))) == "insufficient_scope"
    assert client.post("/v1/orders", headers=key(**limited, scopes="orders")).text == "made"
    other = key(models={"invoice": "write"})
    assert why(client.get("/v1/orders", headers=other)) == "model_not_allowed"
    assert why(client.get("/v1/single", headers=key())) == "insufficient_scope"
    assert client.get("/v1/single", headers=key(scopes="single")).text == "served"


def test_method_of_a_class_may_only_read(app, kb, client, key, why, guard):
    """A POST that searches says so itself, and the other POSTs of the class stay writes."""

    class Orders(MethodView):
        decorators = [kb.requires(model="order")]  # noqa: RUF012 - as Flask writes it

        @kb.requires(access="read")
        def post(self) -> str:
            return "found"

        def put(self) -> str:
            return "changed"

    app.add_url_rule("/v1/orders", view_func=Orders.as_view("orders"))
    reader = key(read_only=True, models={"order": "read"})
    assert client.post("/v1/orders", headers=reader).text == "found"
    assert why(client.put("/v1/orders", headers=reader)) == "method_not_allowed"
    assert guard.engine.table.match("POST", "/v1/orders").access == "read"
    assert guard.engine.table.match("PUT", "/v1/orders").access == "write"


def test_class_is_decorated_as_a_function_is(app, kb, client, key, why):
    """``@kb.requires`` on a class is the outermost of its decorators, and not on its parent."""

    class Parent(View):
        def dispatch_request(self) -> str:
            return "served"

    @kb.requires("child")
    class Child(Parent):
        pass

    app.add_url_rule("/v1/parent", view_func=Parent.as_view("parent"))
    app.add_url_rule("/v1/child", view_func=Child.as_view("child"))
    assert client.get("/v1/parent", headers=key()).text == "served"
    assert why(client.get("/v1/child", headers=key())) == "insufficient_scope"
    assert client.get("/v1/child", headers=key(scopes="child")).text == "served"


def test_what_is_no_view_is_refused(kb):
    """The mistake is named where it is made."""
    with pytest.raises(InputError, match="is no view"):
        kb.requires()("text")
    with pytest.raises(InputError, match="is no view"):
        kb.requires()(dict)
    with pytest.raises(InputError, match=r"^scopes"):
        kb.requires("a,b")


# ---------------------------------------------------------------------------------- blueprints


def test_blueprint_asks_for_all_its_views(app, kb, client, key, why):
    """Those that join it later too, and the blueprints within it."""
    outer, inner = Blueprint("outer", "outer"), Blueprint("inner", "inner")
    kb.protect(outer, "outer", model="{blueprint}")
    inner.add_url_rule("/x", "x", kb.requires("inner")(_copied(plain)))
    outer.register_blueprint(inner, url_prefix="/inner")
    outer.add_url_rule("/y", "y", _copied(plain))
    app.register_blueprint(outer, url_prefix="/v1/outer")
    app.register_blueprint(outer, url_prefix="/v1/again", name="again")
    app.add_url_rule("/v1/outside", "outside", _copied(plain))
    assert why(client.get("/v1/outer/y", headers=key())) == "insufficient_scope"
    assert why(client.get("/v1/again/y", headers=key())) == "insufficient_scope"
    assert client.get("/v1/outside", headers=key()).text == "served"
    assert why(client.get("/v1/outer/inner/x", headers=key(scopes="outer"))) == "insufficient_scope"
    both = {"scopes": ["outer", "inner"]}
    limited = key(**both, models={"outer.inner": "read"})
    assert client.get("/v1/outer/inner/x", headers=limited).text == "served"
    assert why(client.get("/v1/outer/y", headers=limited)) == "model_not_allowed"
    assert (
        client.get("/v1/again/y", headers=key(**both, models={"again": "read"})).status_code == 200
    )


# -------------------------------------------------------------------------------- what cannot be


@pytest.mark.parametrize("method", ["DELETE", "PATCH", "PUT"])
def test_change_cannot_be_declared_a_reading(app, kb, client, caplog, method):
    """The application does not serve, and the log says which rule is wrong."""
    view = kb.requires(access="read")(_copied(plain))
    app.add_url_rule("/v1/x", "x", view, methods=["POST", method])
    assert client.get("/v1/home").status_code == 503
    assert f"'read' for {method} of /v1/x" in caplog.text


def test_demands_that_contradict_each_other_close_the_application(app, kb, client, caplog):
    """No request is served under half of what was declared."""
    app.add_url_rule("/v1/x", "x", kb.requires(model="a")(kb.requires(model="b")(_copied(plain))))
    assert client.get("/v1/home").status_code == 503
    assert "/v1/x (x) requires a and b" in caplog.text


def test_field_that_a_rule_lacks_is_named(app, kb, client, caplog):
    """A template is filled from the arguments of its rule."""
    app.add_url_rule("/v1/<kind>", "x", kb.requires(model="{knd}")(lambda kind: kind))
    assert client.get("/v1/home").status_code == 503
    assert "{knd} is not a field of /v1/{kind}" in caplog.text


def test_view_of_an_application_that_is_not_guarded_does_not_run(kb):
    """It says what is missing."""
    bare = Flask("bare")
    bare.testing = True
    bare.add_url_rule("/x", "x", kb.requires()(_copied(plain)))
    with pytest.raises(RuntimeError, match="bare is not guarded: call init_app"):
        bare.test_client().get("/x")


def test_blueprint_that_is_protected_late_is_protected(app: Flask, kb: Keybound, key: Any):
    """Also where requests were served before, and a key was known to pass."""
    bills = Blueprint("bills", "bills", url_prefix="/v1/bills")
    bills.add_url_rule("/", "all", lambda: "bills")
    public = Blueprint("public", "public", url_prefix="/public")
    public.add_url_rule("/", "all", lambda: "public")
    app.register_blueprint(bills)
    app.register_blueprint(public)
    client = app.test_client()
    headers = key()
    for _ in range(3):
        assert client.get("/v1/bills/", headers=headers).status_code == 200
        assert client.get("/public/").status_code == 200
    kb.protect(bills, "bills")
    kb.protect(public, "bills")
    assert client.get("/v1/bills/", headers=headers).status_code == 403
    assert client.get("/public/").status_code == 401
