"""What stands within the mounts of an application, whatever middleware is around it.

FastAPI 0.115 keeps the routes of included routers flat; later ones nest them, and tell with
``iter_route_contexts`` which path and which dependencies a route has where it is included.
"""

from __future__ import annotations

from contextlib import suppress
from itertools import chain
from types import CellType, FunctionType, MethodType
from typing import TYPE_CHECKING, Any, cast

from fastapi import routing
from starlette.applications import Starlette
from starlette.routing import Router

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from starlette.routing import BaseRoute, Host, Mount

_ATTRIBUTES = ("func", "args", "keywords", "__self__", "__defaults__", "__kwdefaults__")
"""Where partial functions, methods and functions keep what is theirs."""

_NESTED_MAX = 300
"""Objects that are looked through for applications within them."""


def contexts(routes: Sequence[BaseRoute]) -> Iterator[Any]:
    """Yield routes as they are where they are included, in the order in which they are tried."""
    flatten: Callable[[Sequence[BaseRoute]], Iterator[Any]]
    flatten = getattr(routing, "iter_route_contexts", iter)
    return flatten(routes)


def applications(route: Mount | Host) -> list[Starlette | Router]:
    """Return what has routes of its own within a mount or behind a host, whatever is around it."""
    return [app for app in reached(route.app) if issubclass(type(app), Starlette | Router)]


def among(app: object, others: Iterable[object]) -> bool:
    """Return whether it is one of these itself, and not merely equal to one."""
    return any(app is each for each in others)


def reached(app: object) -> Iterator[Any]:
    """Yield an application and what it may call, down to what has routes of its own."""
    seen, queue = {id(app)}, [app]
    for each in queue:
        yield each
        if issubclass(type(each), Starlette | Router):  # ``isinstance`` would ask a proxy
            continue
        for held in _held(each):
            if callable(held) and id(held) not in seen and len(queue) < _NESTED_MAX:
                seen.add(id(held))
                queue.append(held)


def replaced(app: object, inner: object, other: object) -> bool:
    """Put ``other`` where middleware holds a method; return whether there was any."""
    found = False
    for each in list(reached(app)):
        attributes = _attribute(each, "__dict__")
        names = [name for name in attributes or () if _is_method(attributes[name], inner)]
        cells = [cell for cell in _cells(each) if _is_method(cell.cell_contents, inner)]
        for name in names:
            setattr(each, name, other)
        for cell in cells:
            cell.cell_contents = other
        found = found or bool(names or cells)
    return found


def _is_method(held: object, method: object) -> bool:
    return type(held) is MethodType and held == method  # what else there is may not be comparable


def _held(app: object) -> Iterator[object]:
    """Yield what middleware may wrap: what an object or a function can call by a name."""
    if isinstance(app, type):
        return
    for held in _named(app):
        if isinstance(held, dict):
            yield from cast("dict[object, object]", held).values()
        elif isinstance(held, list | tuple):
            yield from cast("Sequence[object]", held)
        else:
            yield held


def _named(app: object) -> Iterator[object]:
    yield _attribute(app, "app")
    attributes = _attribute(app, "__dict__")
    if isinstance(attributes, dict):
        yield from cast("dict[str, object]", attributes).values()
    slots = (getattr(each, "__slots__", ()) for each in type(app).__mro__)
    names = [[each] if isinstance(each, str) else each for each in slots]
    for name in chain(_ATTRIBUTES, *names):
        yield _attribute(app, name)
    yield from (cell.cell_contents for cell in _cells(app))
    for called in (app, _attribute(type(app), "__call__")):
        if isinstance(called, FunctionType):
            yield from map(called.__globals__.get, called.__code__.co_names)


def _cells(app: object) -> list[CellType]:
    """Return those of the variables around a function that something was assigned to."""
    every = (app.__closure__ or ()) if isinstance(app, FunctionType) else ()
    return [cell for cell in every if _is_filled(cell)]


def _is_filled(cell: CellType) -> bool:
    try:
        return cell.cell_contents is not None
    except ValueError:
        return False


def _attribute(app: object, name: str) -> Any:  # noqa: ANN401 - whatever it is
    with suppress(Exception):  # an object may do anything when it is asked for one
        return getattr(app, name, None)
