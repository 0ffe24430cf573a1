"""Bodies that are read ahead: whole or not at all, and handed on as they came."""

from __future__ import annotations

import asyncio
from io import BytesIO

import pytest

from keybound.buffering import (
    buffer_input,
    buffered,
    is_worth_reading,
    with_models,
)
from keybound.core.bodies import BodyFields
from keybound.core.told import PLAIN, ReadBody, Told
from tests.core.heads import FakeHead

FIELDS = BodyFields(("model",))
JSON = ("content-type", b"application/json")


def part(body=b"", *, more=False):
    """Return what a server says of a part of a body."""
    return {"type": "http.request", "body": body, "more_body": more}


GONE = {"type": "http.disconnect"}


def read(*messages, body_max=10):
    """Return the body of a request, and all that the application hears then."""

    async def read_all():
        waiting = list(messages)

        async def receive():
            return waiting.pop(0)

        body, again = await buffered(receive, body_max)
        heard = [await again()]
        while waiting or heard[-1].get("more_body"):
            heard.append(await again())
        return body, heard

    return asyncio.run(read_all())


def test_body_is_read_whole_and_heard_again():
    """In one part, with what comes behind it."""
    assert read(part(b"abc")) == (b"abc", [part(b"abc")])
    assert read({"type": "http.request"}) == (b"", [part()])
    parts = part(b"abc", more=True), part(more=True), part(b"def")
    assert read(*parts, GONE) == (b"abcdef", [part(b"abcdef"), GONE])
    assert read(part(b"x" * 10))[0] == b"x" * 10


def test_body_that_is_too_long_or_never_comes_is_none():
    """What was read of it is heard all the same: nobody sees a body without its beginning."""
    assert read(part(b"x" * 11)) == (None, [part(b"x" * 11)])
    long = part(b"x" * 6, more=True), part(b"y" * 6, more=True), part(b"z")
    assert read(*long) == (None, [part(b"x" * 6 + b"y" * 6, more=True), part(b"z")])
    assert read(part(b"x", more=True), GONE) == (None, [part(b"x", more=True), GONE])
    assert read(GONE) == (None, [part(more=True), GONE])


@pytest.mark.parametrize(
    ("environ", "body", "kept"),
    [
        ({"CONTENT_LENGTH": "3"}, b"abc", b"abc"),
        ({"CONTENT_LENGTH": "3"}, b"abcdef", b"abc"),
        ({"CONTENT_LENGTH": "4"}, b"abc", None),
        ({"CONTENT_LENGTH": "11"}, b"x" * 11, None),
        ({"CONTENT_LENGTH": "+3"}, b"abc", None),
        ({"CONTENT_LENGTH": "\u0663"}, b"abc", None),
        ({"CONTENT_LENGTH": ""}, b"abc", b""),
        ({}, b"abc", b""),
        ({"wsgi.input_terminated": True}, b"abc", b"abc"),
        ({"wsgi.input_terminated": True}, b"x" * 10, b"x" * 10),
        ({"wsgi.input_terminated": True}, b"x" * 11, None),
    ],
    ids=ascii,
)
def test_input_is_read_to_its_end_and_put_back(environ, body, kept):
    """To the length that it has, or to where the server ends it."""
    given = {**environ, "wsgi.input": BytesIO(body)}
    assert buffer_input(given, 10) == kept
    if kept is not None:
        assert given["wsgi.input"].read() == kept


def test_head_says_whether_a_body_is_worth_reading():
    """Two lines of a header are one that nobody can read."""
    assert is_worth_reading(FakeHead((JSON,)), 10)
    assert is_worth_reading(FakeHead((JSON, ("content-length", b"10"))), 10)
    assert not is_worth_reading(FakeHead((JSON, ("content-length", b"11"))), 10)
    assert not is_worth_reading(FakeHead((JSON, JSON)), 10)
    assert not is_worth_reading(FakeHead((JSON, ("content-encoding", b"gzip"))), 10)
    assert not is_worth_reading(FakeHead((JSON, ("content_encoding", b"gzip"))), 10)
    assert not is_worth_reading(FakeHead(), 10)


def test_models_of_a_body_are_told_with_the_rest():
    """Also that there are none to tell."""
    head = FakeHead((JSON,))
    known = ReadBody(FIELDS, ("a",))
    assert with_models(None, FIELDS, head, b'{"model": "a"}') == PLAIN._replace(body=known)
    told, untold = Told(tenant="acme"), ReadBody(FIELDS, None)
    for sender, body in ((head, b"{}"), (head, None), (FakeHead(), b'{"model": "a"}')):
        assert with_models(told, FIELDS, sender, body) == told._replace(body=untold)
