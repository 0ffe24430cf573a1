"""Methods that a request asks to be taken for: read as leniently as anybody reads them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keybound.core.overriding import HEADERS, may_ask, methods_asked
from tests.core.heads import FakeHead


def by_header(*values, name="x-http-method-override", method="GET"):
    """Return what a request asks for in lines of one header."""
    return methods_asked(FakeHead(tuple((name, value) for value in values), method=method))


def by_query(query):
    """Return what one asks for in its query."""
    return methods_asked(FakeHead((), query))


@pytest.mark.parametrize("name", HEADERS)
def test_each_header_asks(name):
    """In any case, with blanks around it; what is no method at all is unknown."""
    assert by_header(b"delete", name=name) == ("DELETE",)
    assert by_header(b" \tPuT ", name=name) == ("PUT",)
    for odd in (b"DEL ETE", b"\xe9", b"DELETE1", b"X" * 17):
        assert by_header(odd, name=name) == ("?",)


def test_nothing_is_asked_by_nothing():
    """No header, an empty one, blanks, or the method that the request has anyway."""
    assert by_header() == by_header(b"") == by_header(b" \t") == by_header(b", ,") == ()
    assert by_header(b"POST", b"post", method="POST") == ()
    assert by_header(b"POST", method="post") == ("POST",)


def test_several_are_asked_in_order_and_each_once():
    """In several lines, or in one line with commas, as a server may have joined them."""
    assert by_header(b"PUT", b"DELETE", b"PUT") == ("DELETE", "PUT")
    assert by_header(b"PUT, DELETE,PUT") == ("DELETE", "PUT")
    assert by_header(b"A", b"B", b"C", b"D") == ("A", "B", "C", "D")
    assert by_header(b"A", b"B", b"C", b"D", b"E") == ("?",)  # nobody asks for so many


@pytest.mark.parametrize(
    "query",
    [
        b"_method=DELETE",
        b"a=1&_method=delete",
        b"a=1;_method=DELETE",
        b"_METHOD=DELETE",
        b"%5fmethod=DELETE",
        b"_method=%44ELETE",
        b"_method=+DELETE+",
        b"+_method+=DELETE",
        b"_method=GET&_method=DELETE",
    ],
)
def test_field_of_the_query_asks(query):
    """However it is written."""
    assert may_ask(query)
    assert by_query(query) == ("DELETE",)


@pytest.mark.parametrize(
    "query",
    [
        b"",
        b"method=DELETE",
        b"x_method=DELETE",
        b"_methods=PUT",
        b"_method",
        b"_method=&",
    ],
)
def test_other_fields_do_not(query):
    """Nor does one that is empty."""
    assert by_query(query) == ()


@given(st.binary(max_size=40))
def test_whatever_asks_is_seen_at_a_glance(query):
    """The look that costs nothing misses nothing."""
    asked = by_query(query)
    assert not asked or may_ask(query)
    assert list(asked) == sorted(set(asked))


@given(st.lists(st.binary(max_size=20), max_size=6))
def test_what_is_asked_is_a_method_in_capitals_or_unknown(values):
    """So that a table can be asked about it."""
    for method in by_header(*values):
        assert method == "?" or (method.isascii() and method == method.upper())


@pytest.mark.parametrize("name", HEADERS)
def test_header_with_underscores_asks_too(name):
    """As WSGI has all of them; beside the other spelling both count."""
    assert by_header(b"PUT", name=name.replace("-", "_")) == ("PUT",)
    assert by_header(b"PUT", name=name.replace("-", "_", 1)) == ("PUT",)
    both = FakeHead(((name, b"PUT"), (name.replace("-", "_"), b"DELETE")))
    assert methods_asked(both) == ("DELETE", "PUT")
