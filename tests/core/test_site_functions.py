"""Functions of a site's own: those that would have to be awaited are seen before they are asked."""

from __future__ import annotations

import pytest

from keybound.core.errors import FactError, InputError
from keybound.core.site_functions import answer_of, check_function, is_awaited
from tests.core.heads import FakeHead


def plain(_head):
    """Return at once."""
    return "x"


async def later(_head):
    """Return some time."""
    return "x"


async def bit_by_bit(_head):
    """Yield some time."""
    yield "x"


class Called:
    """What is called is a method of it."""

    def __init__(self, function):
        """Call this."""
        self.function = function


class Plain(Called):
    """One that answers."""

    def __call__(self, head):
        """Answer."""
        return self.function(head)


class Later(Called):
    """One that has to be awaited."""

    async def __call__(self, head):
        """Answer some time."""
        return self.function(head)


class BitByBit(Called):
    """One that has to be iterated over."""

    async def __call__(self, head):
        """Answer bit by bit."""
        yield self.function(head)


@pytest.mark.parametrize("function", [later, bit_by_bit, Later(plain), BitByBit(plain)])
def test_what_has_to_be_awaited_is_refused_at_start(function):
    """Be it a function or what is called like one, and whether it yields."""
    assert is_awaited(function)
    with pytest.raises(InputError, match="tenant_from: is an async function"):
        check_function("tenant_from", function)


@pytest.mark.parametrize("function", [plain, Plain(plain), Plain(later), len, 7])
def test_what_answers_at_once_is_taken(function):
    """As far as that is seen."""
    assert not is_awaited(function)
    check_function("tenant_from", function)


def text_of(answer):
    """Return an answer that is text."""
    if not isinstance(answer, str):
        raise TypeError
    return answer


def test_an_answer_is_what_is_read_of_it():
    """Of that of the function, which is given the head."""
    assert answer_of("model_from", lambda head: head.path, FakeHead(path="/x"), text_of) == "/x"


@pytest.mark.parametrize("function", [Plain(later), lambda _head: 1 / 0], ids=["later", "fails"])
def test_an_answer_that_cannot_be_read_is_an_error_of_its_setting(function):
    """The coroutine that nobody awaits is closed."""
    with pytest.raises(FactError, match="model_from: "):
        answer_of("model_from", function, FakeHead(), text_of)
