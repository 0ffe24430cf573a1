"""Renderers of refusals: what they may change, what stays, and what comes of broken ones."""

from __future__ import annotations

import json
import sys
from dataclasses import FrozenInstanceError, replace
from typing import TYPE_CHECKING, Any

import pytest

from keybound import Guard, Settings, SettingsError
from keybound.asgi import APIKeyMiddleware
from keybound.core.decision import Denied
from keybound.core.reasons import Reason
from keybound.engine import Engine
from keybound.rendering import RefusalResponse, load_renderer
from keybound.stores.memory import MemoryStore
from keybound.testing import FakeClock

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from keybound.rendering import PublicRefusal

CHALLENGE = "www-authenticate"
UNKNOWN = Denied(Reason.UNKNOWN_KEY)
ANSWER = RefusalResponse(418, (("x-site", "yes"),), b"short")


def guard_with(renderer: object, clock: FakeClock | None = None) -> Guard:
    """Return a guard whose refusals a site renders."""
    settings = Settings(database="memory://", renderer=renderer)  # type: ignore[arg-type]
    return Guard(Engine(settings, MemoryStore(), clock or FakeClock(), background=False))


def refuse(renderer: object, denied: Denied = UNKNOWN) -> RefusalResponse:
    """Return the answer to a denied request."""
    return guard_with(renderer).refuse(denied)


def values(answer: RefusalResponse, name: str) -> list[str]:
    """Return every value of a header."""
    return [value for each, value in answer.headers if each == name]


def test_what_every_refusal_has_stays():
    """No cache keeps it, the id leads to why, and caches know what it depends on."""
    answer = refuse(lambda *_: ANSWER)
    assert (answer.status, answer.body) == (418, b"short")
    assert values(answer, "x-site") == ["yes"]
    assert values(answer, "content-length") == ["5"]
    assert values(answer, "cache-control") == ["no-store"]
    assert values(answer, "vary") == ["Authorization"]
    assert len(*values(answer, "keybound-denial")) == 96
    assert values(answer, "www-authenticate") == []


def test_a_renderer_may_set_these_itself():
    """Then they are there once, as it says."""
    own = {
        "Cache-Control": "no-store, private",
        "Vary": "X-API-Key",
        "Keybound-Denial": "elsewhere",
        "WWW-Authenticate": "Own",
        "Retry-After": "30",
    }
    denied = Denied(Reason.STORE_UNAVAILABLE)
    answer = refuse(lambda *_: RefusalResponse(401, tuple(own.items()), b""), denied)
    assert sorted(answer.headers) == sorted(
        [
            ("content-length", "0"),
            ("content-type", "text/plain; charset=utf-8"),
            *((name.lower(), value) for name, value in own.items()),
        ]
    )


@pytest.mark.parametrize(
    "reason", [Reason.REVOKED, Reason.NETWORK_NOT_ALLOWED, Reason.STORE_UNAVAILABLE]
)
def test_a_401_always_asks_for_a_key(reason: Reason):
    """Whatever it was before: RFC 9110 section 15.5.2."""
    asked = values(refuse(lambda *_: replace(ANSWER, status=401), Denied(reason)), CHALLENGE)
    ours = values(refuse(None, Denied(reason)), CHALLENGE)
    assert asked == (ours or ['Bearer realm="api"', 'ApiKey realm="api", param="rest_api_key"'])


def test_a_403_says_which_scopes_are_needed_as_long_as_it_is_one():
    """A site that hides what may not be used hides that as well."""
    denied = Denied(Reason.INSUFFICIENT_SCOPE, key="key_1", scopes=("a", "b"))
    shown = values(refuse(lambda *_: replace(ANSWER, status=403), denied), CHALLENGE)
    assert shown == values(refuse(None, denied), CHALLENGE)
    assert 'scope="a b"' in shown[0]
    assert values(refuse(lambda *_: replace(ANSWER, status=404), denied), CHALLENGE) == []


def test_headers_that_belong_to_the_server_are_not_taken():
    """A wrong length or a kept connection would make two answers of one."""
    theirs = (("Content-Length", "500"), ("Transfer-Encoding", "chunked"), ("Connection", "close"))
    answer = refuse(lambda *_: RefusalResponse(400, theirs, b"abc"))
    assert values(answer, "content-length") == ["3"]
    assert values(answer, "transfer-encoding") == values(answer, "connection") == []


def test_none_is_the_usual_answer():
    """So is the answer itself."""
    for renderer in (lambda *_: None, lambda _refused, answer: answer):
        answer = refuse(renderer)
        assert answer.status == 401
        assert json.loads(answer.body)["type"] == "urn:keybound:problem:invalid_token"
        assert len(values(answer, "www-authenticate")) == 2


def test_what_a_renderer_is_told_cannot_be_changed_for_others():
    """The value is frozen, and its dictionary is of this refusal alone."""
    seen: list[PublicRefusal] = []

    def render(refused: PublicRefusal, _answer: RefusalResponse) -> None:
        seen.append(refused)
        with pytest.raises(FrozenInstanceError):
            refused.status = 200  # type: ignore[misc]
        refused.problem.clear()

    guard = guard_with(render)
    answers = [guard.refuse(UNKNOWN) for _ in range(2)]
    assert all(json.loads(answer.body)["status"] == 401 for answer in answers)
    assert [(each.status, each.reason) for each in seen] == [(401, None)] * 2
    assert seen[0].headers == answers[0].headers


def raising(*_: object) -> None:
    """Fail."""
    msg = "a secret text"
    raise OSError(msg)


def odd(**members: Any) -> Any:
    """Return a renderer whose answer has odd members."""
    return lambda *_: replace(ANSWER, **members)


BROKEN = {
    "raises": (raising, "OSError"),
    "too few parameters": (lambda _refused: None, "TypeError"),
    "text": (lambda *_: "denied", "the renderer returned str"),
    "tuple": (lambda *_: (403, (), b""), "the renderer returned tuple"),
    "status 200": (odd(status=200), "between 400 and 599"),
    "status 302": (odd(status=302), "between 400 and 599"),
    "status 600": (odd(status=600), "between 400 and 599"),
    "status True": (odd(status=True), "between 400 and 599"),
    "status text": (odd(status="403"), "between 400 and 599"),
    "body text": (odd(body="denied"), "the body is not bytes"),
    "body latin-1": (odd(body=b"verweigert \xfc"), "UnicodeDecodeError"),
    "value CRLF": (odd(headers=(("x-a", "a\r\nset-cookie: a=b"),)), "characters"),
    "value LF": (odd(headers=(("x-a", "a\nb"),)), "characters"),
    "value ends in LF": (odd(headers=(("x-a", "a\n"),)), "characters"),
    "value NUL": (odd(headers=(("x-a", "a\0"),)), "characters"),
    "value letters": (odd(headers=(("x-a", "\u5e97"),)), "characters"),
    "name CRLF": (odd(headers=(("x-a\r\nset-cookie", "a"),)), "characters"),
    "name colon": (odd(headers=(("x-a:", "a"),)), "characters"),
    "name empty": (odd(headers=(("", "a"),)), "characters"),
    "value a number": (odd(headers=(("x-a", 1),)), "TypeError"),
    "headers none": (odd(headers=None), "TypeError"),
    "headers text": (odd(headers=("x-a",)), "ValueError"),
}


@pytest.mark.parametrize(("renderer", "told"), BROKEN.values(), ids=list(BROKEN))
def test_a_rendering_that_cannot_be_sent_leaves_the_refusal(
    renderer: Any, told: str, caplog: pytest.LogCaptureFixture
):
    """It is refused as it would be without one, and the operator is told once a minute."""
    clock = FakeClock()
    guard = guard_with(renderer, clock)
    for _ in range(3):
        answer = guard.refuse(UNKNOWN)
        assert answer.status == 401
        assert values(answer, "content-type") == ["application/problem+json"]
        assert all(value.isprintable() for _, value in answer.headers)
    assert caplog.text.count("cannot render a refusal: ") == 1
    assert told in caplog.text
    assert "a secret text" not in caplog.text
    clock.advance(seconds=61)
    guard.refuse(UNKNOWN)
    assert caplog.text.count("cannot render a refusal: ") == 2


# ------------------------------------------------------------------------------------- the setting


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Return the name of a module of a site."""
    text = (
        "from keybound.rendering import RefusalResponse\n"
        "class Site:\n"
        "    @staticmethod\n"
        "    def render(refused, answer):\n"
        "        return RefusalResponse(418, (), b'site')\n"
        "def render(refused, answer):\n"
        "    return RefusalResponse(418, (), b'text')\n"
        "async def waits(refused, answer): ...\n"
        "NUMBER = 1\n"
    )
    (tmp_path / "site_of_a_test.py").write_text(text, encoding="utf-8")
    (tmp_path / "broken_site_of_a_test.py").write_text("raise OSError('a secret text')", "utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    yield "site_of_a_test"
    sys.modules.pop("site_of_a_test", None)


def test_a_renderer_may_be_named(module: str):
    """A settings file and the environment have text alone."""
    assert refuse(f"{module}:render").body == b"text"
    assert refuse(f"{module}:Site.render").body == b"site"
    assert load_renderer(raising) is raising
    assert load_renderer(None) is None


@pytest.mark.parametrize(
    "value",
    ["", "render", "a.b", ":render", "a:", "a:b:c", "a b:c", ".a:b", "a:b.", 5, ["a:b"]],
    ids=repr,
)
def test_what_names_no_function_is_no_setting(value: object):
    """The start fails, naming the setting and what to write."""
    with pytest.raises(SettingsError, match=r"renderer: .*package\.module:function"):
        Settings(renderer=value)  # type: ignore[arg-type]


def test_a_renderer_that_would_have_to_be_awaited_is_refused(module: str):
    """Refusals are rendered alike where nothing is awaited."""

    class Waiting:
        async def __call__(self, *_: object) -> None: ...

    with pytest.raises(SettingsError, match="without async"):
        Settings(renderer=Waiting())  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match="without async"):
        load_renderer(f"{module}:waits")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("no_such_module_of_a_test:render", "No module named"),
        ("site_of_a_test:missing", "no attribute 'missing'"),
        ("site_of_a_test:NUMBER", "is int, no function"),
        ("broken_site_of_a_test:render", "OSError"),
    ],
)
def test_a_renderer_that_cannot_be_had_stops_the_start(
    module: str, name: str, said: str, caplog: pytest.LogCaptureFixture
):
    """Whoever serves is told at start; whoever only changes keys does not need it."""
    assert module
    guard = guard_with(name)
    guard.issue(name="CI")
    with pytest.raises(SettingsError, match=said) as caught:
        APIKeyMiddleware(lambda *_: None, guard.to_async())  # type: ignore[arg-type]
    assert "a secret text" not in str(caught.value)
    assert guard.refuse(UNKNOWN).status == 401
    assert said in caplog.text
