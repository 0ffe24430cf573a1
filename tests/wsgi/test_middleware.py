"""The plain middleware: what PEP 3333 lets applications and servers do."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any, cast

import pytest

import keybound
from keybound import InputError, SettingsError
from keybound.wsgi import APIKeyMiddleware, require
from tests.shells.calls import call_wsgi, environ_of


def serving(environ, start_response):
    """Answer with the key, or with nobody."""
    start_response("200 OK", [("Content-Type", "text/plain")])
    identity = environ["keybound"]
    return [identity.name.encode() if identity else b"nobody"]


def environ(path="/own", *, method="GET", authorization=None, **changes):
    """Return what a server makes of a request; ``None`` takes a member away."""
    made = environ_of(path, method=method, headers=[], client=("127.0.0.1", 1), query=b"")
    if authorization is not None:
        made["HTTP_AUTHORIZATION"] = authorization
    made |= changes
    return {name: value for name, value in made.items() if value is not None}


# ------------------------------------------------------------------------------------ the request


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"PATH_INFO": None}, 403),
        ({"PATH_INFO": ""}, 403),
        ({"PATH_INFO": "/m\xfcller"}, 400),
        ({"PATH_INFO": "/d/acme/\xff"}, 400),
        ({"PATH_INFO": "/d/acme/\u0142"}, 400),
        ({"PATH_INFO": "/d/acme/\xed\xa0\x80"}, 400),
        ({"PATH_INFO": "/d/acme/\xc0\xae"}, 400),
        ({"PATH_INFO": "own"}, 400),
        ({"PATH_INFO": "http://evil/own"}, 400),
        ({"PATH_INFO": "//own"}, 400),
        ({"PATH_INFO": "/open/../own"}, 400),
        ({"PATH_INFO": "/own", "SCRIPT_NAME": "/mounted"}, 200),
        ({"PATH_INFO": "/elsewhere", "SCRIPT_NAME": "/own"}, 403),
        ({"REMOTE_ADDR": None}, 200),
        ({"REMOTE_ADDR": ""}, 200),
    ],
    ids=str,
)
def test_path_is_the_one_that_the_application_gets(guard, key, changes, status):
    """What is left of it under a mount point; bytes that are not UTF-8 are no path."""
    app = APIKeyMiddleware(serving, guard)
    assert call_wsgi(app, environ(authorization=key(), **changes)).status == status


def test_tenant_is_read_as_utf_8(guard):
    """A server hands on bytes as if they were Latin-1."""
    issued = guard.issue(name="CI", tenant="m\u00fcller")
    app = APIKeyMiddleware(serving, guard)
    value = f"Bearer {issued.secret.reveal()}"
    path = "/d/m\u00fcller/x".encode().decode("latin-1")
    assert call_wsgi(app, environ(authorization=value, PATH_INFO=path)).status == 200
    assert call_wsgi(app, environ("/d/muller/x", authorization=value)).status == 403


@pytest.mark.parametrize("peer", ["", None, "localhost", "unix:", "127.0.0.1:80", "fe80::1%eth0"])
def test_peer_that_is_no_address_is_unknown(guard, key, peer):
    """Servers on a unix socket have none; a key that is limited in networks needs one."""
    app = APIKeyMiddleware(serving, guard)
    answer = call_wsgi(app, environ(authorization=key(networks="127.0.0.1"), REMOTE_ADDR=peer))
    assert guard.explain_denial(answer.denial).reason == "network_unknown"
    assert call_wsgi(app, environ(authorization=key(), REMOTE_ADDR=peer)).status == 200


def values(good):
    """Return what stands in the environment, and what that is."""
    other = good.swapcase()
    return {
        f"{good},{good}": "duplicate_credentials",
        f"{good},{other}": "duplicate_credentials",
        f"Basic dTpw,{good}": "duplicate_credentials",
        ",".join([good] * 5): "duplicate_credentials",
        ",".join(["Bearer x"] * 1_000): "malformed_credentials",
        good.replace(" ", "\r\n "): "malformed_credentials",
        good.replace(" ", " \u0430"): "malformed_credentials",
        good.replace(" ", " \xa0"): "malformed_credentials",
        good.replace("kb_", "kb%5F"): "malformed_credentials",
        good.replace("Bearer ", "Bearer\x0b"): "malformed_credentials",
        f"{good}\x7f": "malformed_credentials",
        f"{good[:20]}\x00{good[20:]}": "malformed_credentials",
        "Bearer *": "malformed_credentials",
        "Bearer undefined": "malformed_credentials",
        "Bearer ' OR 1=1 --": "malformed_credentials",
        "Bearer " + "A" * 8_000: "malformed_credentials",
        "": "malformed_credentials",
    }


@pytest.mark.parametrize("number", range(len(values("Bearer kb_live_" + "x" * 38))))
def test_value_that_is_not_one_credential_is_none(guard, key, number):
    """Two lines, which servers join, and everything that no server should hand on."""
    value, reason = list(values(key()).items())[number]
    app = APIKeyMiddleware(serving, guard)
    answer = call_wsgi(app, environ(authorization=value))
    assert guard.explain_denial(answer.denial).reason == reason


def test_other_variables_carry_no_credential(guard, key):
    """Whatever servers and proxies make of other headers."""
    value = key()
    names = ("HTTP_PROXY_AUTHORIZATION", "HTTP_X_API_KEY", "HTTP_COOKIE", "REMOTE_USER")
    others = dict.fromkeys((*names, "AUTHORIZATION", "REDIRECT_HTTP_AUTHORIZATION"), value)
    answer = call_wsgi(APIKeyMiddleware(serving, guard), environ(**others))
    assert guard.explain_denial(answer.denial).reason == "missing_credentials"


def test_forged_identity_does_not_come_in(guard, key):
    """Neither as a header nor as a variable; what a server sets is replaced."""
    seen: list[dict[str, Any]] = []

    def look(environ, start_response):
        seen.append(dict(environ))
        return serving(environ, start_response)

    forged = {
        "HTTP_X_KEYBOUND_KEY": "x",
        "HTTP_X_KEYBOUND_": "x",
        "HTTP_X_KEYBOUNDARY": "kept",
        "keybound": "x",
        "keybound.guard": "x",
    }
    app = APIKeyMiddleware(look, guard)
    assert call_wsgi(app, environ("/open", **forged)).body == b"nobody"
    assert call_wsgi(app, environ(authorization=key(), **forged)).body == b"CI"
    for environment in seen:
        assert not [name for name in environment if name.startswith("HTTP_X_KEYBOUND_")]
        assert environment["HTTP_X_KEYBOUNDARY"] == "kept"
        assert environment["keybound.guard"].engine is guard.engine


@pytest.mark.parametrize("method", ["get", "Head", "WEBSOCKET", "BREW"])
def test_method_that_is_not_exactly_a_reading_one_writes(guard, key, method):
    """What an application makes of it is its own business."""
    app = APIKeyMiddleware(serving, guard)
    answer = call_wsgi(app, environ(method=method, authorization=key(read_only=True)))
    assert guard.explain_denial(answer.denial).reason == "method_not_allowed"


def test_request_without_a_method_is_one_of_an_unknown_method(guard, key):
    """No server leaves it out; a gateway that does gets an answer, and reads nothing by it."""
    app = APIKeyMiddleware(serving, guard)
    answer = call_wsgi(app, environ(authorization=key(read_only=True), REQUEST_METHOD=None))
    assert guard.explain_denial(answer.denial).reason == "method_not_allowed"
    assert call_wsgi(app, environ(REQUEST_METHOD=None)).status == 401


# -------------------------------------------------------------------------------- the application


class Closing:
    """A body that has to be closed."""

    def __init__(self) -> None:
        """Be open."""
        self.closed = 0

    def __iter__(self):
        """Yield."""
        yield b"body"

    def close(self) -> None:
        """Count."""
        self.closed += 1


def test_body_is_the_application_s_own(guard, key):
    """It is handed on untouched, so that servers send files and close it as they would."""
    body = Closing()

    def app(_environ, start_response):
        start_response("200 OK", [])
        return body

    assert APIKeyMiddleware(app, guard)(environ(authorization=key()), lambda *_: None) is body
    answer = call_wsgi(APIKeyMiddleware(app, guard), environ(authorization=key()))
    assert (answer.body, body.closed) == (b"body", 1)


def test_generator_has_its_identity_while_it_runs(guard, key):
    """Nothing of it has run when it is returned; between its steps nobody is calling."""
    closed: list[bool] = []

    def app(environ, start_response):
        try:
            start_response("200 OK", [])
            yield keybound.current_key().name.encode()
            yield require(environ).name.encode()
        finally:
            closed.append(True)

    body = iter(APIKeyMiddleware(app, guard)(environ(authorization=key()), lambda *_: None))
    for _ in range(2):
        assert next(body) == b"CI"
        assert keybound.current_key() is None
    assert list(body) == []
    stopped: Any = APIKeyMiddleware(app, guard)(environ(authorization=key()), lambda *_: None)
    assert next(iter(stopped)) == b"CI"
    stopped.close()
    assert closed == [True, True]


def test_what_is_no_generator_is_iterated_after_the_request(guard, key):
    """It is handed to the server as it is, and may take along who called."""

    class Pieces:
        def __init__(self, _environ, start_response):
            start_response("200 OK", [])
            self.caller = keybound.current_key()

        def __iter__(self):
            yield f"{self.caller.name}, {keybound.current_key()}".encode()

    answer = call_wsgi(APIKeyMiddleware(Pieces, guard), environ(authorization=key()))
    assert answer.body == b"CI, None"


def test_identity_is_gone_after_the_request(guard, key):
    """Also when the application fails; and within a request it is that of the innermost."""

    def failing(_environ, _start_response):
        assert keybound.current_key().name == "CI"
        msg = "broken"
        raise OSError(msg)

    with pytest.raises(OSError, match="broken"):
        APIKeyMiddleware(failing, guard)(environ(authorization=key()), lambda *_: None)
    assert keybound.current_key() is None

    inner = APIKeyMiddleware(serving, guard)

    def asking(_environ, start_response):
        assert call_wsgi(inner, environ("/open")).body == b"nobody"
        start_response("200 OK", [])
        return [keybound.current_key().name.encode()]

    answer = call_wsgi(APIKeyMiddleware(asking, guard), environ(authorization=key()))
    assert answer.body == b"CI"


def more(environ, start_response):
    """Ask for a scope before anything is answered."""
    require(environ, "more", model="x")
    return serving(environ, start_response)


def more_late(environ, start_response):
    """Ask for a scope within a generator."""
    require(environ, "more", model="x")
    start_response("200 OK", [])
    yield b"served"


@pytest.mark.parametrize("app", [more, more_late])
def test_application_asks_for_more(guard, key, app):
    """It only narrows, and is answered as every refusal."""
    guarded = APIKeyMiddleware(app, guard)
    answer = call_wsgi(guarded, environ(authorization=key()))
    assert guard.explain_denial(answer.denial).reason == "insufficient_scope"
    assert (answer.status, answer.problem["scopes"]) == (403, ["more"])
    granted = key(scopes="more")
    assert call_wsgi(guarded, environ(authorization=granted)).status == 200
    assert call_wsgi(guarded, environ("/open", authorization=granted)).status == 401
    head = call_wsgi(guarded, environ(method="HEAD", authorization=key()))
    assert (head.status, head.body) == (403, b"")
    with pytest.raises(InputError, match=r"^access"):
        require(environ(keybound=None), access=cast("Any", "change"))
    with pytest.raises(RuntimeError, match="did not pass APIKeyMiddleware"):
        require(environ(keybound=None), "more")


def test_refusal_after_the_answer_began_is_an_error(guard, key):
    """Nothing can be taken back that was sent: the server is told, and ends the connection."""

    def app(environ, start_response):
        start_response("200 OK", [])
        return require(environ, "more")

    started: list[Any] = []

    def start_response(status: str, headers: Any, error: Any = None) -> None:
        if started and error:
            raise error[1]
        started.append((status, headers))

    with pytest.raises(keybound.KeyboundError, match="insufficient_scope"):
        APIKeyMiddleware(app, guard)(environ(authorization=key()), start_response)
    assert [status for status, _ in started] == ["200 OK"]


def test_head_is_refused_without_a_body(guard):
    """It says how long that would be."""
    head = call_wsgi(APIKeyMiddleware(serving, guard), environ(method="HEAD"))
    get = call_wsgi(APIKeyMiddleware(serving, guard), environ())
    assert head.status == get.status == 401
    assert (head.body, head.all("content-length")) == (b"", get.all("content-length"))
    assert [str(len(get.body))] == get.all("content-length")


def test_threads_do_not_see_each_other(guard):
    """Requests at the same time, each with a key of its own, cold and warm."""
    meeting = threading.Barrier(8, timeout=20)
    seen: list[tuple[str, str, str]] = []

    def app(environ, start_response):
        meeting.wait()
        seen.append((environ["asked"], environ["keybound"].name, keybound.current_key().name))
        return serving(environ, start_response)

    guarded = APIKeyMiddleware(app, guard)

    def ask(name: str) -> None:
        value = f"Bearer {guard.issue(name=name, tenant='acme').secret.reveal()}"
        for _ in range(20):
            call_wsgi(guarded, environ(authorization=value, asked=name))

    threads = [threading.Thread(target=ask, args=(f"key {n}",)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(seen) == 160
    assert all(len(set(names)) == 1 for names in seen)


def test_failure_of_whatever_kind_is_a_denial(guard, key, caplog, monkeypatch):
    """Nothing that goes wrong lets a request through, or tells more than its kind."""
    value = key()

    def fail(*_: object) -> None:
        msg = "a secret text"
        raise OSError(msg)

    app = APIKeyMiddleware(serving, guard)
    monkeypatch.setattr(app.guard, "decide", fail)
    answer = call_wsgi(app, environ(authorization=value))
    assert (answer.status, answer.all("retry-after")) == (503, ["1"])
    assert "cannot decide: OSError" in caplog.text
    assert "a secret text" not in caplog.text


def test_installed_twice_is_refused(guard):
    """A second guard would say everything twice."""
    around: Any = SimpleNamespace(app=APIKeyMiddleware(serving, guard))
    with pytest.raises(SettingsError, match="installed twice"):
        APIKeyMiddleware(around, guard)
    with pytest.raises(SettingsError, match="give a Guard"):
        APIKeyMiddleware(serving, cast("Any", guard.to_async()))


def test_credential_is_in_no_frame_of_an_error(guard, key):
    """Who reports an error with its variables finds the key where the server put it alone."""

    def failing(_environ, _start_response):
        raise ZeroDivisionError

    value = key()
    asked = environ(authorization=value)
    with pytest.raises(ZeroDivisionError) as caught:
        APIKeyMiddleware(failing, guard)(asked, print)
    (ours,) = (each.frame.f_locals for each in caught.traceback if each.name == "__call__")
    holding = {name for name, held in ours.items() if value in repr(held)}
    assert holding == {"environ"}


def test_credential_is_in_no_frame_of_an_interruption(guard, key, monkeypatch):
    """As servers end workers that take too long, while the store is asked."""

    def interrupted(_effect):
        raise SystemExit

    value = key()
    monkeypatch.setattr(guard.engine.store, "perform", interrupted)
    guard.engine.renew()
    with pytest.raises(SystemExit) as caught:
        APIKeyMiddleware(serving, guard)(environ(authorization=value), print)
    frames = [each.frame.f_locals for each in caught.traceback[1:-1]]
    assert len(frames) > 2
    holding = {name for each in frames for name, held in each.items() if value in repr(held)}
    assert holding == {"environ"}
