"""Inside of a request: the identity, ``require``, and requests that came another way."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from flask import (
    Flask,
    Response,
    abort,
    g,
    has_request_context,
    request,
    stream_with_context,
)
from werkzeug.exceptions import HTTPException
from werkzeug.routing import Rule

import keybound
from keybound import Guard, InputError
from keybound.flask import Keybound, current_key, require
from keybound.flask.refusals import HTTPRefusedError
from keybound.rules import Rules


def test_identity_is_wherever_one_looks_for_it(app, client, key):
    """In ``current_key``, in ``flask.g``, in the environment and in ``keybound.current_key()``."""

    @app.get("/v1/x")
    def x() -> list[str]:
        found = [current_key, g.api_key, request.environ["keybound"], keybound.current_key()]
        return [identity.name for identity in found]

    assert client.get("/v1/x", headers=key()).json == ["CI"] * 4


def is_nobody() -> bool:
    """Return whether nobody calls, in the way that people ask."""
    caller: object = current_key
    return not caller


def test_nobody_is_false_and_nothing(app, client, key):
    """Where no key was needed, and outside of requests."""

    @app.get("/open")
    def opened() -> list[bool]:
        return [is_nobody(), current_key == None, g.api_key is None]  # noqa: E711

    assert client.get("/open", headers=key()).json == [True, True, True]
    assert is_nobody()
    with pytest.raises(RuntimeError, match="outside of request"):
        str(current_key.name)
    with app.test_request_context("/v1/home"):
        assert is_nobody()
    with client:
        client.get("/v1/home", headers=key())
        assert current_key.name == "CI"
    assert is_nobody()


def test_identity_lasts_as_long_as_the_answer(app, client, key):
    """A body that is made bit by bit knows it, the way Flask knows its request."""

    @app.get("/v1/x")
    def x() -> Any:
        def body():
            yield current_key.name
            yield f", {g.api_key.tenant}"

        return stream_with_context(body())

    assert client.get("/v1/x", headers=key()).text == "CI, acme"


@pytest.mark.parametrize("kept", [True, False])
def test_pieces_know_who_calls_where_they_know_their_request(app, client, key, *, kept):
    """Flask keeps its request for a body in ``stream_with_context``, and with it the identity."""

    @app.get("/v1/x")
    def x() -> Any:
        def body():
            caller = keybound.current_key()
            assert has_request_context() is (caller is not None)
            yield "nobody" if caller is None else caller.name

        return Response(stream_with_context(body()) if kept else body())

    assert client.get("/v1/x", headers=key()).text == ("CI" if kept else "nobody")


def test_threads_have_their_own_identity(app, guard):
    """Requests that are served at the same time do not see each other's."""
    meeting = threading.Barrier(2, timeout=10)
    seen: dict[str, str] = {}

    @app.get("/v1/x/<name>")
    def x(name: str) -> str:
        meeting.wait()
        seen[name] = current_key.key_id
        return ""

    issued = {name: guard.issue(name=name, tenant="acme") for name in ("a", "b")}

    def call(name: str) -> None:
        headers = {"Authorization": f"Bearer {issued[name].secret.reveal()}"}
        app.test_client().get(f"/v1/x/{name}", headers=headers)

    threads = [threading.Thread(target=call, args=(name,)) for name in issued]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == {name: key.id for name, key in issued.items()}


# ------------------------------------------------------------------------------------ require


def test_view_asks_for_more(app, client, key, why):
    """It gets the identity, or the request is refused as every other."""

    @app.post("/v1/x/<int:kind>")
    def x(kind: int) -> str:
        assert kind == 7
        return require("reports", model="kind-{kind}", tenant="~").name

    assert client.post("/v1/x/07", headers=key(scopes="reports")).text == "CI"
    refused = client.post("/v1/x/7", headers=key())
    assert why(refused) == "insufficient_scope"
    assert refused.status_code == 403
    assert refused.headers["Cache-Control"] == "no-store"
    assert 'scope="reports"' in refused.headers["WWW-Authenticate"]
    assert refused.mimetype == "application/problem+json"
    assert refused.json["scopes"] == ["reports"]


def test_require_needs_a_key(app, client, why):
    """Where nobody else asked for one."""
    app.add_url_rule("/open", "open", lambda: require().name)
    app.add_url_rule("/wrong", "wrong", lambda: require("a,b").name)
    assert why(client.get("/open")) == "missing_credentials"
    app.testing = True
    with pytest.raises(InputError, match=r"^scopes"):
        client.get("/wrong")


@pytest.mark.parametrize("trapped", [False, True])
def test_refusal_of_a_view_passes_handlers_of_errors(app, client, key, why, trapped):
    """Whatever a site makes of other errors, it does not make an answer of a refusal."""
    app.config["TRAP_HTTP_EXCEPTIONS"] = trapped
    app.add_url_rule("/v1/x", "x", lambda: require("a").name)
    app.register_error_handler(403, lambda _error: ("swallowed", 200))
    app.register_error_handler(HTTPException, lambda _error: ("swallowed", 200))
    app.register_error_handler(Exception, lambda _error: ("swallowed", 200))
    assert why(client.get("/v1/x", headers=key())) == "insufficient_scope"


def test_view_sees_the_refusal_as_an_exception(app, client, key):
    """Both as one of ours and as one of Werkzeug's; it says nothing of the key."""
    caught: list[Exception] = []

    @app.get("/v1/x")
    def x() -> str:
        try:
            require("a")
        except HTTPRefusedError as error:
            caught.append(error)
            raise
        return "served"

    client.get("/v1/x", headers=key())
    (error,) = caught
    assert isinstance(error, keybound.KeyboundError)
    assert isinstance(error, HTTPException)


# ------------------------------------------------------------------------- requests by other ways


def test_request_that_did_not_pass_the_middleware_is_refused(app, client, key, caplog, why):
    """Whoever replaces ``app.wsgi_app`` gets 503 for everything, and the log says why."""
    app.add_url_rule("/open", "open", lambda: "served")
    app.wsgi_app = Flask.wsgi_app.__get__(app)
    for path in ("/v1/home", "/open", "/nothing"):
        answer = client.get(path, headers=key())
        assert (answer.status_code, why(answer)) == (503, "store_unavailable")
    assert "did not pass keybound" in caplog.text


def test_nothing_of_the_application_runs_before_the_second_look(app, client):
    """Neither what was registered before keybound nor what comes first."""
    ran: list[str] = []
    app.before_request_funcs.setdefault(None, []).insert(0, lambda: ran.append("first"))
    app.url_value_preprocessors[None].append(lambda *_: ran.append("values"))
    app.wsgi_app = Flask.wsgi_app.__get__(app)
    assert client.get("/v1/home").status_code == 503
    assert ran == []


def test_view_called_without_a_request_of_ours_does_not_run(app, kb):
    """A context that a test or a job makes has no identity."""
    view = kb.requires("a")(lambda: "served")
    app.add_url_rule("/v1/x", "x", view)
    with app.test_request_context("/v1/x"), pytest.raises(HTTPRefusedError):
        view()


def test_view_that_calls_another_needs_what_that_needs(app, kb, client, key, why):
    """The other one checks for itself."""
    inner = kb.requires("inner")(lambda: "inner")

    @kb.requires("outer")
    def outer() -> Any:
        return inner()

    app.add_url_rule("/v1/inner", "inner", inner)
    app.add_url_rule("/v1/outer", "outer", outer)
    assert why(client.get("/v1/outer", headers=key(scopes="outer"))) == "insufficient_scope"
    assert client.get("/v1/outer", headers=key(scopes=["inner", "outer"])).text == "inner"


def test_what_one_application_met_another_has_to_meet_again(app, kb, client, guard, key, why):
    """A view that passes its request on to another application passes nothing else on."""
    other = Flask("other", static_folder=None)
    other_kb = Keybound(other, guard)

    @other_kb.requires(model="{model}")
    def read() -> str:
        return "read"

    @other.get("/v1/books/<model>")
    @other_kb.requires(model="book")
    def books(model: str) -> str:  # noqa: ARG001 - the demand on what it calls is about it
        return read()

    @app.get("/v1/pass/<model>/<path:rest>")
    @kb.requires(model="{model}")
    def pass_on(model: str, rest: str) -> Any:  # noqa: ARG001 - the demand is about it
        return Response.from_app(other, {**request.environ, "PATH_INFO": f"/v1/{rest}"})

    mine = key(models={"book": "read"})
    for _ in range(2):
        assert client.get("/v1/pass/book/books/book", headers=mine).text == "read"
        for sender, path in (other.test_client(), ""), (client, "/pass/book"):
            answer = sender.get(f"/v1{path}/books/diary", headers=mine)
            assert why(answer) == "model_not_allowed"


def test_handler_of_errors_that_asks_for_more_is_answered(app, client, key, why):
    """As a view is, and not as a handler that broke."""

    @app.after_request
    def mark(response: Response) -> Response:
        response.headers["X-After"] = "yes"
        return response

    @app.errorhandler(404)
    def missing(_error: Any) -> str:
        require("more")
        return "missing"

    assert why(client.get("/v1/nowhere", headers=key())) == "insufficient_scope"
    app.testing = False
    refused = client.get("/v1/nowhere", headers=key())
    assert (refused.status_code, refused.headers["X-After"]) == (403, "yes")
    assert client.get("/v1/nowhere", headers=key(scopes="more")).text == "missing"


def test_applications_that_begin_together_are_all_guarded(guard, monkeypatch, key, why):
    """What one declares while another is being compiled is not lost."""
    headers = key()  # before any application declares anything
    apps: dict[str, Flask] = {}
    for name in "ab":
        apps[name] = Flask(name, static_folder=None)
        Keybound(apps[name], guard)
        rule = f"/v1/{name}/<tenant>"
        apps[name].add_url_rule(rule, "one", lambda tenant: tenant)
    compile_rules, begun, go_on = Rules, threading.Event(), threading.Event()

    def slowly(*args: Any, **how: Any) -> Any:
        compiled = compile_rules(*args, **how)
        if not begun.is_set():
            begun.set()
            go_on.wait(10)
        return compiled

    monkeypatch.setattr("keybound.ruling.Rules", slowly)

    def send(name: str) -> None:
        apps[name].test_client().get(f"/v1/{name}/acme", headers=headers)

    threads = [threading.Thread(target=send, args=(name,)) for name in apps]
    threads[0].start()
    assert begun.wait(10)
    threads[1].start()
    threads[1].join(0.3)  # as far as it comes
    go_on.set()
    for thread in threads:
        thread.join(10)
    for name, app in apps.items():
        answer = app.test_client().get(f"/v1/{name}/globex", headers=headers)
        assert why(answer) == "tenant_mismatch"
    assert len(guard.engine.table._routers) == 2  # noqa: SLF001


def test_view_that_the_table_does_not_know_is_looked_at_itself(app, client, guard, key, why):
    """Whatever became of what an application declared, its views are about what they are about."""
    app.add_url_rule("/v1/<tenant>", "one", lambda tenant: tenant)
    headers = key()
    assert client.get("/v1/acme", headers=headers).text == "acme"
    guard.engine._declared.clear()  # noqa: SLF001
    guard.engine.renew()
    assert why(client.get("/v1/globex", headers=headers)) == "tenant_mismatch"


CHANGES = [
    ("PATH_INFO", "/v1/writes", "model_not_allowed"),
    ("PATH_INFO", "/v1/b\u00fccher".encode().decode("latin-1"), "allowed"),
    ("PATH_INFO", "/v1/../x", "invalid_path"),
    ("PATH_INFO", "/open", "allowed"),
    ("REQUEST_METHOD", "POST", "method_not_allowed"),
    ("REMOTE_ADDR", "10.0.0.2", "network_not_allowed"),
    ("REMOTE_ADDR", "127.0.0.1", "allowed"),
]


@pytest.mark.parametrize(("name", "value", "expected"), CHANGES)
def test_what_a_middleware_inside_changes_is_decided_as_well(
    bare, guard, key, why, name, value, expected
):
    """A request is let through as it came, and as Flask got it."""
    inner = bare.wsgi_app

    def rewriting(environ: Any, start_response: Any) -> Any:
        environ[name] = value
        return inner(environ, start_response)

    bare.wsgi_app = rewriting
    kb = Keybound(bare, guard)
    seen: list[Any] = []

    def look() -> str:
        seen.append((current_key.name, keybound.current_key().name, g.api_key.name))
        return "served"

    methods = ["GET", "POST"]
    bare.add_url_rule("/v1/reads", "reads", kb.requires(model="a")(look), methods=methods)
    bare.add_url_rule("/v1/writes", "writes", kb.requires(model="b")(lambda: "b"))
    bare.add_url_rule("/v1/b\u00fccher", "books", kb.requires(model="a")(look))
    bare.add_url_rule("/open", "open", lambda: look())  # noqa: PLW0108 - a mark is on the function
    limited = key(models={"a": "read"}, read_only=True, networks="127.0.0.1")
    for _ in range(2):
        assert why(bare.test_client().get("/v1/reads", headers=limited)) == expected
    assert seen == ([("CI", "CI", "CI")] * 2 if expected == "allowed" else [])
    assert keybound.current_key() is None


def test_what_is_changed_now_and_then_is_decided_when_it_is(bare, guard, key, why):
    """What was looked at as it came is looked at again when somebody changed it."""
    inner = bare.wsgi_app

    def rewriting(environ: Any, start_response: Any) -> Any:
        environ.update({"REMOTE_ADDR": "10.0.0.2"} if "HTTP_X_PEER" in environ else {})
        environ.update({"PATH_INFO": "/v1/2"} if "HTTP_X_PATH" in environ else {})
        return inner(environ, start_response)

    bare.wsgi_app = rewriting
    Keybound(bare, guard)
    bare.add_url_rule("/v1/<int:model>", "number", lambda model: str(model))  # noqa: PLW0108
    client, limited = bare.test_client(), key(networks="127.0.0.1", models={"1": "read"})
    for _ in range(2):
        assert client.get("/v1/1", headers=limited).text == "1"
        changed = {**limited, "X-Peer": "x"}
        assert why(client.get("/v1/1", headers=changed)) == "network_not_allowed"
        changed = {**limited, "X-Path": "x"}
        assert why(client.get("/v1/1", headers=changed)) == "model_not_allowed"


def test_rewritten_request_gets_no_key_that_it_had_not(bare, guard, key):
    """From an open path to a guarded one: the key is asked for there."""
    inner = bare.wsgi_app

    def rewriting(environ: Any, start_response: Any) -> Any:
        environ["PATH_INFO"] = "/v1/home"
        return inner(environ, start_response)

    bare.wsgi_app = rewriting
    Keybound(bare, guard)
    bare.view_functions["home"] = lambda: keybound.current_key().name
    assert bare.test_client().get("/open").status_code == 401
    assert bare.test_client().get("/open", headers=key()).text == "CI"
    assert keybound.current_key() is None


def test_what_is_done_on_a_path_that_needs_no_key_is_held_to_the_key(bare, guard, key, why):
    """A method that changes with the path is one that the key was not asked about."""
    inner = bare.wsgi_app

    def rewriting(environ: Any, start_response: Any) -> Any:
        environ.update({"PATH_INFO": "/me", "REQUEST_METHOD": "DELETE"})
        return inner(environ, start_response)

    bare.wsgi_app = rewriting
    Keybound(bare, guard)
    bare.add_url_rule("/me", "me", lambda: current_key.name, methods=["DELETE"])
    client = bare.test_client()
    for _ in range(2):
        assert client.get("/v1/home", headers=key()).text == "CI"
        assert why(client.get("/v1/home", headers=key(methods="GET"))) == "method_not_allowed"
    assert guard.engine.counts.uses == 2


def test_request_within_a_request_is_decided_by_itself(app, client, key):
    """An application that asks itself does it with a key, or gets none of it."""
    app.add_url_rule("/v1/x", "x", lambda: app.test_client().get("/v1/home").text)
    assert "missing_credentials" in client.get("/v1/x", headers=key()).text


def test_abort_and_errors_stay_those_of_the_site(app, client, key):
    """What is no refusal of ours is none of our business."""
    app.add_url_rule("/v1/x", "x", lambda: abort(418))
    app.add_url_rule("/v1/y", "y", lambda: 1 / 0)
    assert client.get("/v1/x", headers=key()).status_code == 418
    assert client.get("/v1/y", headers=key()).status_code == 500
    assert keybound.current_key() is None


def test_look_inside_that_fails_is_a_denial(app, client, key, why, caplog, monkeypatch):
    """No half-checked request goes on."""
    headers = key()
    assert client.get("/v1/home", headers=headers).status_code == 200

    def fail(*_: object) -> None:
        msg = "a secret text"
        raise OSError(msg)

    protection = app.extensions["keybound"]
    monkeypatch.setattr(protection._declarations, "demands", fail)  # noqa: SLF001
    protection._settled.clear()  # noqa: SLF001
    assert why(client.get("/v1/home", headers=headers)) == "store_unavailable"
    assert "cannot decide: OSError" in caplog.text
    assert "a secret text" not in caplog.text


def test_long_paths_are_looked_at_every_time(app, kb, client, key, why):
    """What is not remembered is not forgotten."""
    app.add_url_rule("/v1/<path:rest>", "x", kb.requires("a")(lambda rest: str(len(rest))))
    path = "/v1/" + "x" * 300
    for _ in range(2):
        assert client.get(path, headers=key(scopes="a")).text == "300"
        assert why(client.get(path, headers=key())) == "insufficient_scope"


def test_long_methods_are_looked_at_every_time(app, client, key):
    """A client makes them up; nothing of them is kept."""
    headers = key()
    for method in ("PROPFIND", "X" * 17) * 3:
        assert client.open("/v1/home", method=method, headers=headers).status_code == 405
    assert len(app.extensions["keybound"]._settled) == 0  # noqa: SLF001


def test_many_paths_are_looked_at_in_bounded_memory(app, client, key, monkeypatch):
    """The oldest are forgotten together."""

    def str_of(number: int) -> str:
        return str(number)

    monkeypatch.setattr("keybound.flask.settled.SETTLED_MAX", 8)
    app.add_url_rule("/v1/<int:number>", "x", str_of)
    headers = key()
    for number in range(20):
        assert client.get(f"/v1/{number}", headers=headers).text == str(number)
        assert client.get(f"/v1/{number}", headers=headers).text == str(number)
    assert 0 < len(app.extensions["keybound"]._settled) <= 8  # noqa: SLF001


def test_rules_that_change_while_a_request_is_under_way(bare, guard, key, why):
    """It was decided under others, so the view that Flask chose is looked at strictly."""
    inner = bare.wsgi_app
    kb: list[Keybound] = []
    late = {"late": lambda: "late", "asking": lambda: "asking"}

    def changing(environ: Any, start_response: Any) -> Any:
        if "late" not in bare.view_functions:
            late["asking"] = kb[0].requires("asking")(late["asking"])
            for endpoint, view in late.items():
                bare.url_map.add(Rule(f"/open/{endpoint}", endpoint=endpoint))
                bare.url_map.add(Rule(f"/v1/{endpoint}", endpoint=endpoint))
                bare.view_functions[endpoint] = view
            assert guard.engine.table  # whoever asks has them read
        return inner(environ, start_response)

    bare.wsgi_app = changing
    kb.append(Keybound(bare, guard))
    client, good = bare.test_client(), key()
    assert why(client.get("/open/asking", headers=good)) == "missing_credentials"
    for _ in range(2):
        assert why(client.get("/open/asking", headers=good)) == "insufficient_scope"
        assert client.get("/open/late", headers=good).text == "late"
        assert why(client.get("/v1/asking", headers=good)) == "insufficient_scope"
    assert client.get("/open/asking", headers=key(scopes="asking")).text == "asking"


@pytest.mark.parametrize("read", [False, True], ids=["cold", "warm"])
def test_rule_that_takes_another_s_place_is_not_what_was_decided_on(bare, guard, key, why, read):
    """Whoever may use the model of one view may not be in the other, which names none."""
    inner = bare.wsgi_app

    def changing(environ: Any, start_response: Any) -> Any:
        if environ["PATH_INFO"] == "/v1/late" and "late" not in bare.view_functions:
            bare.url_map.add(Rule("/v1/late", endpoint="late"))
            bare.view_functions["late"] = lambda: "late"
            if read:
                assert guard.engine.table
        return inner(environ, start_response)

    bare.wsgi_app = changing
    Keybound(bare, guard)
    bare.add_url_rule("/v1/<model>", "any", lambda model: model.upper())
    client = bare.test_client()
    warm, cold = (key(models={"late": "read", "home": "read", "x": "read"}) for _ in range(2))
    assert client.get("/v1/x", headers=warm).text == "X"
    for _ in range(2):
        refused = client.get("/v1/late", headers=warm if read else cold)
        assert why(refused) == "model_unresolved"


def test_two_guards_do_not_take_each_other_s_word(app):
    """What another guard let through is not let through by this one."""
    other = Guard.from_settings(database="memory://")
    environ_guard = keybound.wsgi.APIKeyMiddleware(Flask.wsgi_app.__get__(app), other)
    issued = other.issue(name="other", tenant="acme")
    app.wsgi_app = environ_guard
    headers = {"Authorization": f"Bearer {issued.secret.reveal()}"}
    assert app.test_client().get("/v1/home", headers=headers).status_code == 503


def test_current_key_is_that_of_the_innermost_request(app, client, key):
    """Whatever stands in what, each application sees its own caller and no other."""
    inner_guard = Guard.from_settings(database="memory://", protect=["/v1/*"])
    issued = inner_guard.issue(name="inner")
    seen: list[Any] = []

    def look(_environ: Any, start_response: Any) -> list[bytes]:
        found = keybound.current_key()
        seen.append(found and found.name)
        start_response("200 OK", [])
        return []

    inner = keybound.wsgi.APIKeyMiddleware(look, inner_guard)

    @app.get("/v1/outer")
    def outer() -> str:
        good = {"HTTP_AUTHORIZATION": f"Bearer {issued.secret.reveal()}"}
        for path, more in (("/v1/x", good), ("/open", {})):
            client_of(inner, path, more)
        found = keybound.current_key()
        seen.append(found and found.name)
        return "done"

    assert client.get("/v1/outer", headers=key()).text == "done"
    assert seen == ["inner", None, "CI"]


def client_of(app: Any, path: str, more: dict[str, str]) -> None:
    """Ask an application within the process."""
    list(app({"REQUEST_METHOD": "GET", "PATH_INFO": path, **more}, lambda *_: None))
