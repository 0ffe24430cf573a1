"""Models that a JSON body names: read last, read exactly, and handed on byte for byte."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from keybound import Limits, Route
from keybound.core.limits.dimensions import DIMENSIONS
from tests.shells.calls import Body
from tests.shells.test_nodes import Whim

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.shells.calls import Answer
    from tests.shells.sites import Site

JSON = (b"content-type", b"application/json")
CHAT = b'{"model": "chat",  "fallbacks": [],\n "text": "caf\xc3\xa9"}'
OTHER = b'{"model": "other"}'
SETTINGS: dict[str, Any] = {
    "routes": [Route("/silent", model="silent"), Route("/of/{rest}", model="body(model)")],
    "model_from": "body(model, fallbacks[*])",
    "body_max": 200,
}


async def awaited(chunks: Any) -> bytes:
    """Return what an asynchronous iterator gives."""
    return b"".join([chunk async for chunk in chunks])


READERS: dict[str, dict[str, Callable[[Any], Any]]] = {
    "body": {
        "starlette": lambda request: request.body(),
        "werkzeug": lambda request: request.get_data(),
        "django": lambda request: request.body,
    },
    "stream": {
        "starlette": lambda request: awaited(request.stream()),
        "werkzeug": lambda request: request.stream.read(),
        "django": lambda request: request.read(),
    },
    "json": {
        "starlette": lambda request: request.json(),
        "werkzeug": lambda request: request.get_json(),
        "django": lambda request: json.loads(request.body),
    },
}
NONE: dict[str, Callable[[Any], Any]] = dict.fromkeys(READERS["body"], lambda _request: None)


def limited(site: Site, **models: str) -> Any:
    """Return a key for some models."""
    return site.issue(limits=Limits(models=models or {"chat": "write"}))


def reads_first(site: Site) -> bool:
    """Return whether bodies are read before anybody is asked: by Django, under ASGI."""
    return (site.application.framework, site.application.protocol) == ("django", "asgi")


def post(site: Site, key: Any, body: bytes | Body, *more: Any, **sent: Any) -> Answer:
    """Send a body that says to be JSON."""
    return site.request("POST", key=key, body=body, headers=(JSON, *more), **sent)


def told(site: Site, key: Any, body: bytes | Body, **sent: Any) -> str:
    """Return why a body was refused, or that it was served."""
    answer = post(site, key, body, **sent)
    if answer.status == 200:
        return "served"
    reason: str = answer.problem["reason"]
    return reason


@pytest.mark.parametrize("how", READERS)
@pytest.mark.parametrize("parts", [(CHAT,), (CHAT[:9], b"", CHAT[9:])], ids=["one", "several"])
def test_application_reads_the_very_same_bytes(
    make_in_memory: Callable[..., Site], how: str, parts: tuple[bytes, ...]
):
    """In one part or several, with a length in the head or without one, in each of its ways."""
    site = make_in_memory(**SETTINGS)
    site.look(**READERS[how])
    key = limited(site)
    expected = json.loads(CHAT) if how == "json" else CHAT
    for body in (b"".join(parts), Body(*parts)):
        if site.application.framework == "django" and how == "stream":
            continue  # said in a test of its own
        chunked_by_wsgi = isinstance(body, Body) and site.application.protocol == "wsgi"
        if chunked_by_wsgi and site.application.framework == "django":
            continue  # Django reads no body without a length there
        assert told(site, key, body) == "served"
        assert site.looked == expected


def test_every_model_that_a_body_names_must_be_permitted(make_in_memory: Callable[..., Site]):
    """The first and its fallbacks; and with the access of the request."""
    site = make_in_memory(**SETTINGS)
    site.look(**NONE)
    key = limited(site, chat="write", small="read")
    for _ in range(2):
        assert told(site, key, CHAT) == "served"
        assert told(site, key, OTHER) == "model_not_allowed"
        assert told(site, key, b'{"model": "small"}') == "model_not_allowed"
        assert told(site, key, b'{"model": "chat", "fallbacks": ["chat"]}') == "served"
        assert told(site, key, b'{"model": "chat", "fallbacks": ["other"]}') == (
            "model_not_allowed"
        )
        assert told(site, key, b'{"model": "other", "fallbacks": ["chat"]}') == (
            "model_not_allowed"
        )


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"null",
        b"[]",
        b'"chat"',
        b'{"model": null}',
        b'{"model": ""}',
        b'{"model": ["chat"]}',
        b'{"model": "chat", "model": "chat"}',
        b'{"model": "chat", "model": "other"}',
        b'{"model": "chat"} {}',
        b'\xef\xbb\xbf{"model": "chat"}',
        '{"model": "chat"}'.encode("utf-16"),
        b'{"model": "chat", "x": NaN}',
        b'{"model": "chat", "x": "\xff"}',
        b'{"model": "chat", "fallbacks": "chat"}',
        b'{"model": "chat", "fallbacks": [7]}',
        b'{"model": "chat", "x": "' + b"x" * 200 + b'"}',
    ],
    ids=lambda body: repr(body[:40]),
)
def test_body_that_cannot_be_told_is_refused(make_in_memory: Callable[..., Site], body: bytes):
    """Whatever two parsers might read in two ways, or that names nothing."""
    site = make_in_memory(**SETTINGS)
    assert told(site, limited(site), body) == "model_unresolved"
    assert site.served == []


@pytest.mark.parametrize(
    "headers",
    [
        (),
        ((b"content-type", b"text/plain"),),
        ((b"content-type", b"application/json; charset=utf-16"),),
        (JSON, (b"content-encoding", b"gzip")),
        (JSON, (b"content-length", b"+9")),
    ],
    ids=repr,
)
def test_body_in_another_encoding_is_not_even_read(
    make_in_memory: Callable[..., Site], headers: Any
):
    """The head says enough."""
    site = make_in_memory(**SETTINGS)
    body = Body(CHAT)
    answer = site.request("POST", key=limited(site), body=body, headers=headers)
    assert (answer.status, answer.problem["reason"]) == (403, "model_unresolved")
    assert site.served == []
    assert body.reads == 0 or reads_first(site)


def test_body_that_is_too_long_by_its_head_is_not_read(make_in_memory: Callable[..., Site]):
    """Of one that has no length, a little more than may be."""
    site = make_in_memory(**SETTINGS)
    key = limited(site)
    parts = [b'{"model": "chat", "x": "', *[b"x" * 100] * 50, b'"}']
    body = Body(*parts)
    assert told(site, key, body) == "model_unresolved"
    if site.application.framework == "starlette":
        assert body.reads == 3
    body = Body(*parts)
    answer = post(site, key, body, (b"content-length", b"%d" % body.length))
    assert answer.problem["reason"] == "model_unresolved"
    assert body.reads == 0 or reads_first(site)
    assert site.served == []


def test_body_is_read_only_for_who_is_limited_in_models(make_in_memory: Callable[..., Site]):
    """And only when nothing else refuses: streams stay streams, and who is refused anyway waits."""
    site = make_in_memory(**SETTINGS)
    site.look(**NONE)
    free = site.issue()
    elsewhere = site.issue(limits=Limits(models={"chat": "write"}, networks="10.0.0.1"))
    reader = site.issue(limits=Limits(models={"chat": "write"}, methods="GET"))
    dead = limited(site)
    site.guard.revoke(dead.id)
    body = Body(CHAT)
    assert told(site, free, body) == "served"
    assert told(site, elsewhere, body) == "network_not_allowed"
    assert told(site, reader, body) == "method_not_allowed"
    assert post(site, dead, body).status == 401
    assert site.request("POST", body=body, headers=(JSON,)).status == 401
    assert told(site, limited(site, silent="write"), body, path="/silent") == "served"
    assert body.reads == 0 or reads_first(site)


@pytest.mark.parametrize("how", ["body", "stream"])
def test_body_that_is_too_long_to_name_a_model_is_handed_on_whole(
    make_in_memory: Callable[..., Site], monkeypatch: pytest.MonkeyPatch, how: str
):
    """To whoever needs none: what was read of it comes first, and then the rest."""
    monkeypatch.setitem(DIMENSIONS, "whim", Whim)
    site = make_in_memory(**SETTINGS)
    site.look(**READERS[how])
    key = site.issue(limits=Limits(whim="permit"))
    body = Body(CHAT, b" " * 300, b"end")
    assert told(site, key, body) == "served"
    by_wsgi = (site.application.framework, site.application.protocol) == ("django", "wsgi")
    assert site.looked == (b"" if by_wsgi else b"".join(body.parts))  # it reads none in chunks
    assert told(site, limited(site), Body(*body.parts)) == "model_unresolved"


def test_body_that_is_cut_short_is_handed_on_as_it_came(
    make_in_memory: Callable[..., Site], monkeypatch: pytest.MonkeyPatch
):
    """To whoever needs no model; under ASGI the server says that the client is gone."""
    monkeypatch.setitem(DIMENSIONS, "whim", Whim)
    site = make_in_memory(**SETTINGS)
    if site.application.protocol == "asgi":
        return
    site.look(
        werkzeug=lambda request: request.environ["wsgi.input"].read(50),
        django=lambda request: request.body,
    )
    key = site.issue(limits=Limits(whim="permit"))
    body = Body(b'{"mod', b'el": "chat"}', cut=True)
    assert post(site, key, body, (b"content-length", b"%d" % body.length)).status == 200
    assert site.looked == b'{"mod'


def test_body_that_never_comes_is_refused(make_in_memory: Callable[..., Site]):
    """The client that goes away halfway named no model."""
    site = make_in_memory(**SETTINGS)
    key = limited(site)
    body = Body(CHAT, b"more", cut=True)
    length = (b"content-length", b"%d" % body.length)
    if reads_first(site):
        with pytest.raises(IndexError):  # nothing is sent to who is gone
            post(site, key, body, length)
        assert site.served == []
        return
    answer = post(site, key, body, length)
    assert answer.problem["reason"] == "model_unresolved"
    assert site.served == []


def test_key_that_is_revoked_while_its_body_is_read_is_refused(
    make_in_memory: Callable[..., Site],
):
    """What was decided before the body came is decided again after it."""
    site = make_in_memory(**SETTINGS)
    key = limited(site)
    length = (b"content-length", b"%d" % len(CHAT))
    body = Body(CHAT, on_read=lambda: site.guard.revoke(key.id))
    answer = post(site, key, body, length)
    assert answer.status == 401
    assert site.reason(answer) == "revoked"
    assert site.served == []


def test_route_says_which_field_names_its_model(make_in_memory: Callable[..., Site]):
    """In place of the setting."""
    site = make_in_memory(**SETTINGS)
    site.look(**NONE)
    key = limited(site)
    assert told(site, key, CHAT, path="/of/it") == "served"
    fallback = b'{"model": "chat", "fallbacks": ["other"]}'
    assert told(site, key, fallback, path="/of/it") == "served"
    assert told(site, key, OTHER, path="/of/it") == "model_not_allowed"
    assert told(site, key, CHAT, path="/silent") == "model_not_allowed"


def test_function_names_models(make_in_memory: Callable[..., Site]):
    """Of the setting or of a route; it is shown the head, and every model must be permitted."""

    def by_header(head: Any) -> list[str]:
        return [line.decode() for line in head.lines("x-model")]

    site = make_in_memory(
        model_from=by_header, routes=[Route("/route", model=lambda head: head.path.strip("/"))]
    )
    key, other = limited(site), limited(site, route="write")
    for _ in range(2):
        for model, expected in ((b"chat", 200), (b"other", 403), (None, 403)):
            headers = () if model is None else ((b"x-model", model),)
            assert site.request(headers=headers, key=key).status == expected
        assert site.request(path="/route", key=other).status == 200
        assert site.request(path="/route", key=key).status == 403


def test_handshake_has_no_body_and_so_no_model(make_asgi_in_memory: Callable[..., Site]):
    """A key without limits in models opens it; one with such limits does not."""
    site = make_asgi_in_memory(**SETTINGS)
    assert site.request("WEBSOCKET", key=site.issue()).status == 101
    assert site.request("WEBSOCKET", key=limited(site), headers=(JSON,)).status == 403
