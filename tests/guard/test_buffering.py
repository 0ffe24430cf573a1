"""Bodies that are read ahead: whole or not at all, and handed on as they came."""

from __future__ import annotations

import asyncio
from io import BytesIO
from typing import TYPE_CHECKING, Any

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

if TYPE_CHECKING:
    from collections.abc import Callable

FIELDS = BodyFields(("model",))
JSON = ("content-type", b"application/json")


class Trickling(BytesIO):
    """An input that returns less than it is asked for, as some servers' do."""

    def read(self, size: int | None = -1, /) -> bytes:
        """Return two bytes at most, or all."""
        return super().read(size if size is None or size < 0 else min(size, 2))


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
        ({"CONTENT_LENGTH": "0"}, b"", b""),
        ({"wsgi.input_terminated": True}, b"abc", b"abc"),
        ({"wsgi.input_terminated": True}, b"x" * 10, b"x" * 10),
        ({"wsgi.input_terminated": True}, b"x" * 11, None),
    ],
    ids=ascii,
)
def test_input_is_read_to_its_end_and_put_back(environ, body, kept):
    """To the length that it has, or to where the server ends it; also where it comes bit by bit."""
    for source in (BytesIO(body), Trickling(body)):
        given = {**environ, "wsgi.input": source}
        assert buffer_input(given, 10) == kept
        assert given["wsgi.input"].read() == (body if kept is None else kept)


@pytest.mark.parametrize("environ", [{}, {"CONTENT_LENGTH": ""}])
def test_input_without_an_end_is_left_alone(environ):
    """By PEP 3333 there is no body; whoever knows such a server better finds it as it was."""
    source = BytesIO(b"abc")
    given = {**environ, "wsgi.input": source}
    assert buffer_input(given, 10) == b""
    assert given["wsgi.input"] is source
    assert source.tell() == 0


LINES = b"one\ntwo\nthree and four\n\nfive"
SIZES = (0, 1, 3, 4, 5, 100)


def in_pieces(size: int) -> Callable[[Any], list[bytes]]:
    """Return what reads so many bytes at a time."""
    return lambda source: [source.read(size) for _ in LINES]


def in_lines(size: int) -> Callable[[Any], list[bytes]]:
    """Return what reads lines, and no more than so much of one."""
    return lambda source: [source.readline(size) for _ in LINES]


READERS: dict[str, Callable[[Any], list[bytes]]] = {
    "whole": lambda source: [source.read()],
    "whole, by None": lambda source: [source.read(None)],
    "whole, by a sign": lambda source: [source.read(-7)],
    "lines": list,
    "lines at once": lambda source: source.readlines(),
    "lines with a hint": lambda source: [b"".join(source.readlines(1000))],
    "line by line": lambda source: [source.readline(), source.readline(None), source.readline(-1)],
    **{f"{size} bytes": in_pieces(size) for size in SIZES},
    **{f"lines of {size}": in_lines(size) for size in SIZES},
}


@pytest.mark.parametrize("read_by", READERS)
def test_input_that_is_too_long_is_read_as_if_nobody_had(read_by):
    """Whatever was read of it, and in each way that PEP 3333 knows."""
    for body_max in range(len(LINES)):
        given = {"wsgi.input": BytesIO(LINES), "wsgi.input_terminated": True}
        assert buffer_input(given, body_max) is None
        assert READERS[read_by](given["wsgi.input"]) == READERS[read_by](BytesIO(LINES))


def test_rest_of_an_input_is_left_to_the_server_until_it_is_asked_for():
    """A stream stays one: nothing is read ahead."""
    source = BytesIO(LINES)
    given: dict[str, Any] = {"wsgi.input": source, "wsgi.input_terminated": True}
    assert buffer_input(given, 5) is None
    body = given["wsgi.input"]
    for read_next, arguments, at in (
        (body.read, (2,), 6),
        (body.readline, (), 6),
        (body.readline, (1,), 6),
        (body.read, (2,), 7),
        (body.readline, (), 8),
        (iter(body).__next__, (), 23),
    ):
        read_next(*arguments)
        assert source.tell() == at
    assert buffer_input(given, 3) is None  # of what is left, by a guard inside of another
    assert given["wsgi.input"].read() == b"\nfive"


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
