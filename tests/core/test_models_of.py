"""Where models come from besides the path: bodies and functions, all of which must be permitted."""

from __future__ import annotations

from enum import StrEnum
from itertools import repeat
from typing import Any

import pytest

from keybound.core.errors import FactError, InputError
from keybound.core.models_of import ModelSource, called
from tests.core.heads import FakeHead, head_with


def by_header(head):
    """Return the models of a header, as a function of a site might."""
    return [line.decode() for line in head.lines("x-model")]


def other(_head):
    """Return one model."""
    return "other"


async def awaited(_head):
    """Be awaited by nobody."""


def test_a_source_is_a_body_a_function_or_a_list_of_them():
    """Fields of several bodies are read together."""
    assert str(ModelSource.parse("body(model)").body) == "body(model)"
    assert ModelSource.parse(other).calls == (other,)
    source = ModelSource.parse(["body(model)", other, " body (a.b, model)", by_header])
    assert str(source.body) == "body(model, a.b)"
    assert source.calls == (other, by_header)
    assert source.template is None


def test_a_route_may_have_one_template_among_them():
    """A setting for every path may not: there is nothing that it could mean."""
    source = ModelSource.parse(["{model}", "body(model)"], field="model", templates=True)
    assert (source.template, str(source.body)) == ("{model}", "body(model)")
    with pytest.raises(InputError, match=r"'\{model\}' cannot stand here"):
        ModelSource.parse("{model}")


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (None, "names no model"),
        (7, "names no model"),
        ([["body(model)"]], "names no model"),
        ([], "names nothing"),
        ("chat", "cannot stand here"),
        ("body", "cannot stand here"),
        ("bodies(model)", "did you mean 'body'"),
        ("header(X-Model)", "'header' is unknown"),
        ("body(a b)", "is no field of a body"),
        (awaited, "async"),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_a_source_that_cannot_work_is_refused_at_start(value, said):
    """The setting is named, and what is wrong with it."""
    with pytest.raises(InputError, match="model_from") as caught:
        ModelSource.parse(value)
    assert said in str(caught.value)


def test_two_templates_are_refused():
    """One text says what a path names."""
    with pytest.raises(InputError, match=r"'\{b\}' cannot stand here"):
        ModelSource.parse(["{a}", "{b}"], field="model", templates=True)


class Model(StrEnum):
    """Models of a site."""

    CHAT = "chat"


@pytest.mark.parametrize(
    ("answer", "models"),
    [
        *(("a", ("a",)), (["a", "b", "a"], ("a", "b")), (("a",), ("a",)), (Model.CHAT, ("chat",))),
        ((name for name in "ab"), ("a", "b")),
        *((None, ()), ("", ()), ([], ()), (["a", ""], ()), (["a", None], ()), (b"a", ())),
        *((7, ()), (True, ()), ({"a": 1}, ()), ("a" * 257, ()), ("\ud800", ())),
        *(([f"m{n}" for n in range(101)], ()), (repeat("a"), ())),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_a_function_names_models_or_tells_nothing(answer, models):
    """Texts that are names, in a bounded number; anything else is not known."""
    found = called(lambda _head: answer, FakeHead())
    assert found == models
    assert all(type(model) is str for model in found)


def test_a_function_sees_the_head_of_the_request():
    """Without one, nothing is asked and nothing known."""
    assert called(by_header, head_with({"x-model": [b"a", b"b"]})) == ("a", "b")
    assert called(by_header, None) == ()


def test_what_must_be_awaited_is_not_known():
    """A coroutine is closed, so that nothing is left behind."""
    hidden: Any = lambda head: awaited(head)  # noqa: E731, PLW0108 - so that nobody sees it is async
    assert called(hidden, FakeHead()) == ()


def test_a_function_that_fails_says_so_by_its_kind_of_error():
    """Also where it fails while its answer is read."""

    def failing(_head):
        """Begin well."""
        yield "a"
        raise LookupError

    with pytest.raises(FactError, match=r"model_from: .*failing raised LookupError$"):
        called(failing, FakeHead())
