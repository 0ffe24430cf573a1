"""Methods that a request asks to be taken for: all of them are found, and finding them is cheap."""

from __future__ import annotations

import time

import pytest

from keybound.core.bodies import head_allows
from keybound.core.overriding import HEADERS, may_ask, methods_asked
from tests.core.heads import FakeHead, head_with
from tests.core.speed import SLOW


@pytest.mark.parametrize("name", HEADERS)
@pytest.mark.parametrize(
    ("value", "asked"),
    [
        (b"DELETE", ("DELETE",)),
        (b" delete\t", ("DELETE",)),
        (b"POST", ()),
        (b"", ()),
        (b"PUT, DELETE", ("DELETE", "PUT")),
        (b"PUT DELETE", ("?",)),
        (b"\xff", ("?",)),
        (b"A,B,C,D", ("A", "B", "C", "D")),
        (b"A,B,C,D,E", ("?",)),
        (b"PUT," * 100, ("?", "PUT")),
    ],
)
def test_headers_are_read_leniently(name: str, value: bytes, asked: tuple[str, ...]):
    """As whoever is behind us may read them."""
    assert methods_asked(head_with({name: [value]}, method="POST")) == asked


@pytest.mark.parametrize(
    "query",
    [
        b"_method=DELETE",
        b"a=1&_method=delete",
        b"a=1;_method=DELETE&b",
        b"%5Fmethod=DELETE",
        b"_m%65thod=%44ELETE",
        b"_METHOD=DELETE",
        b"+_method+=+DELETE",
        b"_method=DELETE&" + b"a&" * 50,
    ],
)
def test_queries_are_read_leniently(query: bytes):
    """With any separator, encoding and case."""
    assert may_ask(query)
    assert methods_asked(FakeHead(query=query)) == ("DELETE",)


@pytest.mark.parametrize("query", [b"", b"a=_method", b"_methods=PUT", b"a=%26&b=%3D", b"_method"])
def test_queries_without_the_field_ask_for_nothing(query: bytes):
    """Though a look may not tell them apart."""
    assert methods_asked(FakeHead(query=query)) == ()


def test_too_many_fields_are_not_searched():
    """Nobody asks so: it may be any method."""
    assert methods_asked(FakeHead(query=b"&" * 2_000 + b"_method=GET")) == ("?",)


def test_names_that_are_too_long_are_not_read():
    """Where one is the field, or may be."""
    assert methods_asked(FakeHead(query=b"%20" * 400 + b"_method=GET")) == ("?",)
    assert methods_asked(FakeHead(query=b"x" * 2_000 + b"=1&%5fmethod=PUT")) == ("?",)
    assert methods_asked(FakeHead(query=b"x" * 2_000 + b"=%31")) == ()


@pytest.mark.parametrize("separator", [b"&", b";"])
def test_as_many_fields_as_anybody_asks_with_are_searched(separator: bytes):
    """One more are too many."""
    most = separator * 1_000 + b"_method=PUT"
    assert methods_asked(FakeHead(query=most)) == ("PUT",)
    assert methods_asked(FakeHead(query=separator + most)) == ("?",)


def test_the_longest_name_is_read():
    """One of more characters is not."""
    longest = b"%20" * 331 + b"_method"
    assert len(longest) == 1_000
    assert methods_asked(FakeHead(query=longest + b"=PUT")) == ("PUT",)
    assert methods_asked(FakeHead(query=b"+" + longest + b"=PUT")) == ("?",)


@pytest.mark.parametrize(
    "query",
    [
        b"%" + b"&" * 65_000,
        b"_method=&" * 8_000,
        b"%61" * 20_000,
        b"x=" + b"%61" * 20_000 + b"&_method=PUT",
        b"%61" * 20_000 + b"&_method=PUT",
    ],
)
def test_finding_them_takes_next_to_no_time(query: bytes):
    """Whoever has no key may send such a query."""
    heads = [FakeHead(query=query), head_with({HEADERS[0]: [b"A," * 32_000]})]
    for head in heads:
        took = min(_seconds(head) for _ in range(3))
        assert took < 0.02 * SLOW


def _seconds(head: FakeHead) -> float:
    begun = time.process_time()
    methods_asked(head)
    return time.process_time() - begun


def test_media_types_that_are_too_long_are_none():
    """Whatever their parameters are."""
    assert head_allows(b"application/json" + b";" * 100, None, None, 1)
    assert not head_allows(b"application/json" + b";" * 1_000, None, None, 1)
