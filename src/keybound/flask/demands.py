"""What Flask's views ask of a key: marks on functions, classes and blueprints.

``requires`` marks the function that it decorates as well as the wrapper that it returns. Flask has
one of the two, whichever stands below ``@app.route``; so a ``requires`` above it is found, too.
"""

from __future__ import annotations

from functools import partial, wraps
from inspect import iscoroutinefunction
from itertools import chain
from typing import TYPE_CHECKING, Any, TypeVar, cast

from flask.views import MethodView, View

from keybound.core.demands import Demand
from keybound.core.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from flask import Flask

F = TypeVar("F")

_MARK = "__keybound__"
"""Where a function has what is asked for it, by whatever is around it as well."""

_OWN = "__keybound_asks__"
"""Where a function that we put around a view has what it asks for."""

_WRAPPED_MAX = 100
"""Functions around a function that are looked through."""


class Marks:
    """Counts all marks that were made, so that whoever read them knows that there are more."""

    made = 0


def demanding(view: F, demand: Demand, check: Callable[[Demand], object]) -> F:
    """Return a view that calls ``check`` before it runs; its demand can be read from it.

    A class of views gets it as the outermost of its ``decorators``. Raises ``InputError`` for what
    is no view.
    """
    around = partial(demanding, demand=demand, check=check)
    if isinstance(view, type) and issubclass(view, View):
        view.decorators = [*view.decorators, around]
        return cast("F", view)
    if isinstance(view, type) or not callable(view):
        raise InputError("requires", f"{view!r} is no view", fix="decorate a function or a View")
    mark(view, demand)
    called = cast("Callable[..., Any]", view)
    checked = (_awaiting if iscoroutinefunction(view) else _calling)(called, demand, check)
    setattr(checked, _MARK, (demand,))
    setattr(checked, _OWN, demand)
    return cast("F", checked)


def _calling(
    view: Callable[..., Any], demand: Demand, check: Callable[[Demand], object]
) -> Callable[..., Any]:
    @wraps(view)
    def checked(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - as the view has it
        check(demand)
        return view(*args, **kwargs)

    return checked


def _awaiting(
    view: Callable[..., Any], demand: Demand, check: Callable[[Demand], object]
) -> Callable[..., Any]:
    @wraps(view)
    async def checked(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - as the view has it
        check(demand)
        return await view(*args, **kwargs)

    return checked


def mark(subject: object, demand: Demand) -> None:
    """Note a demand on a function and on all that it wraps, or on a blueprint."""
    Marks.made += 1
    for each in layers(subject):
        try:
            setattr(each, _MARK, tuple(dict.fromkeys((*_marks(each), demand))))
        except AttributeError:  # a bound method, say: what is around it is marked
            continue


def demands_of(app: Flask, endpoint: str, method: str | None) -> tuple[Demand, ...]:
    """Return what an endpoint asks for with a method, its blueprints' demands first.

    Without a method, what it asks for with every one.
    """
    every = (_asked(list(layers(each))) for each in subjects_of(app, endpoint, method))
    return tuple(dict.fromkeys(chain.from_iterable(every)))


def subjects_of(app: Flask, endpoint: str, method: str | None) -> Iterator[object]:
    """Yield everything that may be marked for an endpoint, as far as it can be seen."""
    names = endpoint.split(".")[:-1]
    for length in range(len(names)):
        yield app.blueprints.get(".".join(names[: length + 1]))
    view: object = app.view_functions.get(endpoint)
    yield view
    kind = next((found for each in layers(view) if (found := _view_class(each))), None)
    if kind is None:
        return
    yield kind.dispatch_request
    if method is not None and issubclass(kind, MethodView):
        handler: object = getattr(kind, method.lower(), None)
        if handler is None and method == "HEAD":  # as MethodView does it
            handler = getattr(kind, "get", None)
        yield handler


def _asked(around: list[object]) -> Iterator[Demand]:
    """Yield what a function asks for that is ``around`` others, outermost first."""
    own = [getattr(each, _OWN) for each in around if isinstance(getattr(each, _OWN, None), Demand)]
    # Something of ours within says what it asks; others of the same function are for other views.
    marked = around[:1] if own else around
    yield from own
    yield from chain.from_iterable(map(_marks, marked))


def _view_class(view: object) -> type[View] | None:
    kind: object = getattr(view, "view_class", None)
    return kind if isinstance(kind, type) and issubclass(kind, View) else None


def _marks(subject: object) -> tuple[Demand, ...]:
    marks: object = getattr(subject, _MARK, ())
    every = cast("tuple[object, ...]", marks) if isinstance(marks, tuple) else ()
    return tuple(each for each in every if isinstance(each, Demand))


def layers(subject: object) -> Iterator[object]:
    """Yield a function, and what it wraps, as ``functools.wraps`` tells."""
    for _ in range(_WRAPPED_MAX):
        if subject is None:
            return
        yield subject
        subject = getattr(subject, "__wrapped__", None)
