"""Functions of the site's own that tell a fact of a request: what they answer is never trusted."""

from __future__ import annotations

from inspect import isasyncgenfunction, iscoroutine, iscoroutinefunction
from typing import TYPE_CHECKING, TypeVar

from keybound.core.errors import FactError, InputError

if TYPE_CHECKING:
    from collections.abc import Callable

    from keybound.core.head import Head

T = TypeVar("T")


def is_awaited(function: object) -> bool:
    """Return whether what a function answers would have to be awaited, as far as that is seen."""
    called = (function, getattr(function, "__call__", None))  # noqa: B004 - is it async? it can be called
    return any(iscoroutinefunction(each) or isasyncgenfunction(each) for each in called)


def check_function(field: str, function: object) -> None:
    """Raise ``InputError`` naming ``field`` for a function that would have to be awaited."""
    if is_awaited(function):
        raise InputError(
            field, "is an async function", fix="give a plain one: it must not wait for anything"
        )


def answer_of(
    setting: str, function: Callable[[Head], object], head: Head, read: Callable[[object], T]
) -> T:
    """Return what ``read`` makes of the answer; raises ``FactError`` for whatever goes wrong."""
    try:
        answer = function(head)
        if iscoroutine(answer):  # nobody will await it
            answer.close()
        return read(answer)
    except Exception as error:
        raise FactError(setting, function, error) from error
