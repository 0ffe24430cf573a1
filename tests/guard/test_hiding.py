"""Taking keys out of scopes and environments, and nothing else."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from keybound.core.credentials import parse_forms
from keybound.core.places import Places
from keybound.hiding import (
    DEPRECATION,
    deprecating,
    hide_in_environ,
    hide_in_scope,
    start_deprecating,
)

PLACES = Places(parse_forms(["bearer", "header(X-API-Key)", "query(key)", "cookie(sid)"]))


def test_scope_keeps_everything_but_keys():
    """The query always, headers where that is asked for."""
    headers = [
        (b"authorization", b"x"),
        (b"cookie", b"a=1; sid=x"),
        (b"x-api-key", b"x"),
        (b"b", b"2"),
    ]
    scope = {"query_string": b"a=1&key=x", "headers": headers, "raw_path": b"/p?key=x&a=1"}
    hide_in_scope(scope, PLACES)
    assert scope == {"query_string": b"a=1", "headers": headers, "raw_path": b"/p?a=1"}
    hide_in_scope(scope, PLACES, [PLACES])
    assert scope["headers"] == [(b"cookie", b"a=1"), (b"b", b"2")]


def test_scope_without_a_query_stays():
    """Nothing is added to it."""
    scope: dict[str, Any] = {"headers": []}
    hide_in_scope(scope, PLACES)
    assert scope == {"headers": []}
    scope = {"headers": [], "query_string": b"", "raw_path": b"/p"}
    hide_in_scope(scope, PLACES, [PLACES])
    assert scope == {"headers": [], "query_string": b"", "raw_path": b"/p"}


def test_environment_keeps_everything_but_keys():
    """In each variable that repeats what the client asked for."""
    environ = {
        "QUERY_STRING": "key=x&b=%2F\xe9",
        "RAW_URI": "/p?key=x&b=%2F",
        "REQUEST_URI": "http://h/p?key=x",
        "HTTP_AUTHORIZATION": "x",
        "HTTP_X_API_KEY": "x",
        "HTTP_COOKIE": "sid=x; a=1",
        "HTTP_B": "2",
    }
    hide_in_environ(environ, PLACES)
    assert environ["QUERY_STRING"] == "b=%2F\xe9"
    assert (environ["RAW_URI"], environ["REQUEST_URI"]) == ("/p?b=%2F", "http://h/p?")
    assert environ["HTTP_AUTHORIZATION"] == "x"
    hide_in_environ(environ, PLACES, [PLACES])
    hidden = {name: value for name, value in environ.items() if name.startswith("HTTP_")}
    assert hidden == {"HTTP_COOKIE": "a=1", "HTTP_B": "2"}


def test_environment_without_any_of_it_stays():
    """Nothing is added to it."""
    environ: dict[str, str] = {"RAW_URI": "/p"}
    hide_in_environ(environ, PLACES, [PLACES])
    assert environ == {"RAW_URI": "/p"}


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("http.response.start", True),
        ("websocket.http.response.start", True),
        ("websocket.accept", True),
        ("http.response.body", False),
        ("websocket.send", False),
    ],
)
def test_answers_of_asgi_say_that_queries_are_deprecated(kind, told):
    """The message that has the headers, and no other."""
    sent = []

    async def send(message):
        sent.append(message)

    async def answer():
        await deprecating(send)({"type": kind})

    asyncio.run(answer())
    name, value = DEPRECATION
    field = [(name.encode(), value.encode())]
    assert sent == [{"type": kind, "headers": field} if told else {"type": kind}]


def test_answers_of_wsgi_say_the_same():
    """Behind what the application says."""
    given = []

    def start_response(*all_of_it):
        given.append(all_of_it)
        return "write"

    start = start_deprecating(start_response)
    assert start("200 OK", [("A", "b")]) == "write"
    start("500 Oops", [], ("type", "error", None))
    assert given == [
        ("200 OK", [("A", "b"), DEPRECATION]),
        ("500 Oops", [DEPRECATION], ("type", "error", None)),
    ]
