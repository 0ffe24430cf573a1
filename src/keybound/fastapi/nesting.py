"""What stands within the mounts of an application, whatever middleware is around it.

FastAPI 0.115 keeps the routes of included routers flat; later ones nest them, and tell with
``iter_route_contexts`` which path and which dependencies a route has where it is included.
"""

from __future__ import annotations

from contextlib import suppress
from itertools import chain
from types import FunctionType
from typing import TYPE_CHECKING, Any, cast

from fastapi import routing
from starlette.applications import Starlette
from starlette.routing import Router

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from starlette.routing import BaseRoute, Host, Mount

_ATTRIBUTES = ("func", "args", "keywords", "__self__", "__defaults__", "__kwdefaults__")
"""Where partial functions, methods and functions keep what is theirs."""

_NESTED_MAX = 100
"""Objects that are looked through for applications within them."""


def contexts(routes: Sequence[BaseRoute]) -> Iterator[Any]:
    """Yield routes as they are where they are included, in the order in which they are tried."""
    flatten: Callable[[Sequence[BaseRoute]], Iterator[Any]]
    flatten = getattr(routing, "iter_route_contexts", iter)
    return flatten(routes)


def applications(route: Mount | Host) -> list[Starlette | Router]:
    """Return what has routes of its own within a mount or behind a host, whatever is around it."""
    found: list[Starlette | Router] = []
    seen, queue = {id(route.app)}, list[Any]([route.app])
    for app in queue:
        if issubclass(type(app), Starlette | Router):  # ``isinstance`` would ask a proxy
            found.append(app)
            continue
        for each in _held(app):
            if callable(each) and id(each) not in seen and len(queue) < _NESTED_MAX:
                seen.add(id(each))
                queue.append(each)
    return found


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
    attributes = _attribute(app, "__dict__")
    if isinstance(attributes, dict):
        yield from cast("dict[str, object]", attributes).values()
    slots = (getattr(each, "__slots__", ()) for each in type(app).__mro__)
    names = [[each] if isinstance(each, str) else each for each in slots]
    for name in chain(_ATTRIBUTES, *names):
        yield _attribute(app, name)
    if isinstance(app, FunctionType):
        for cell in app.__closure__ or ():
            with suppress(ValueError):  # nothing was assigned yet
                yield cell.cell_contents
        yield from map(app.__globals__.get, app.__code__.co_names)


def _attribute(app: object, name: str) -> Any:  # noqa: ANN401 - whatever it is
    with suppress(Exception):  # an object may do anything when it is asked for one
        return getattr(app, name, None)
