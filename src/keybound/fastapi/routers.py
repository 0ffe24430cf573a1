"""What an application's router says of its paths, read into the guard's table.

FastAPI 0.115 keeps the routes of included routers flat; later ones nest them, and tell with
``iter_route_contexts`` which path and which dependencies a route has where it is included.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from fastapi import routing
from starlette.applications import Starlette
from starlette.routing import Mount, WebSocketRoute

from keybound.core.declared import DeclaredRoute
from keybound.core.errors import InputError
from keybound.core.facts import WEBSOCKET
from keybound.fastapi.demands import RefusedError, demands_of
from keybound.starlette import RefusedResponse

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence, Sized

    from fastapi import FastAPI
    from starlette.requests import Request
    from starlette.routing import BaseRoute

    from keybound.core.facts import Access
    from keybound.core.routes import Auth
    from keybound.engine import Engine
    from keybound.fastapi.demands import Demand
    from keybound.guard import AsyncGuard

_REST = "/(?P<path>.*)"
"""What Starlette appends to the path of a mount, for what is left to the mounted."""


class Declarations:
    """Keeps the table of a guard up to date with the router of an application."""

    def __init__(self, app: FastAPI, guard: AsyncGuard) -> None:
        """Read nothing yet: routes are added after this."""
        self.app = app
        self.guard = guard
        self._engine: Engine | None = None
        self._lists: list[Sized] = []
        self._length = 0
        app.exception_handlers[RefusedError] = self._refuse

    def refresh(self) -> None:
        """Read the router if it grew since the last time, or if the guard has another table.

        Raises ``InputError`` for demands on one route that contradict each other.
        """
        engine = self.guard.engine
        if engine is self._engine and sum(map(len, self._lists)) == self._length:
            return
        routes = self.app.routes
        engine.declare_routes(self.app, declared(routes))
        for each in _mounted(routes):
            each.exception_handlers.setdefault(RefusedError, self._refuse)
        self._lists = list(_lists(routes))
        self._length = sum(map(len, self._lists))
        self._engine = engine

    async def _refuse(self, _connection: Request, error: Exception) -> RefusedResponse:
        assert isinstance(error, RefusedError)  # noqa: S101 - it is registered for nothing else
        return RefusedResponse(self.guard.refuse(error.denied))


def contexts(routes: Sequence[BaseRoute]) -> Iterator[Any]:
    """Yield routes as they are where they are included, in the order in which they are tried."""
    flatten: Callable[[Sequence[BaseRoute]], Iterator[Any]]
    flatten = getattr(routing, "iter_route_contexts", iter)
    return flatten(routes)


def declared(
    routes: Sequence[BaseRoute], *, outer: str = "", shown: str = ""
) -> Iterator[DeclaredRoute]:
    """Yield every route, also those that demand nothing, since the first that matches is meant.

    ``outer`` is the expression, and ``shown`` the path, under which the routes are mounted. What is
    chosen by more than path and method, a host for instance, is left to the dependencies.
    """
    for each in contexts(routes):
        regex = getattr(each, "path_regex", None)
        if regex is None:
            continue
        original = getattr(each, "original_route", each)
        inner = regex.pattern.removeprefix("^").removesuffix("$")
        path, whole = shown + each.path_format, re.compile(_joined(outer, inner))
        if isinstance(original, Mount):
            below = _joined(outer, inner.removesuffix(_REST))
            yield from declared(each.routes, outer=below, shown=shown + each.path)
            yield DeclaredRoute(path, whole, None)
            yield DeclaredRoute(path, whole, [WEBSOCKET])
        elif isinstance(original, WebSocketRoute):
            yield _route(path, whole, [WEBSOCKET], each)
        else:
            yield _route(path, whole, each.methods, each)


def _route(
    path: str, regex: re.Pattern[str], methods: Iterable[str] | None, route: object
) -> DeclaredRoute:
    dependant = getattr(route, "dependant", None)
    demands = [] if dependant is None else list(demands_of(dependant))
    return DeclaredRoute(
        path,
        regex,
        methods,
        model=_agreed("model", path, {demand.model for demand in demands}),
        access=_strictest_access(demands),
        scopes=[scope for demand in demands for scope in demand.scopes],
        tenant=_agreed("tenant", path, {demand.tenant for demand in demands}),
        auth=_strictest_auth(demands),
    )


def _strictest_access(demands: Sequence[Demand]) -> Access | None:
    named = {demand.access for demand in demands}
    return "write" if "write" in named else "read" if "read" in named else None


def _strictest_auth(demands: Sequence[Demand]) -> Auth:
    if any(demand.auth == "required" for demand in demands):
        return "required"
    return "optional" if demands else "exempt"


def _agreed(name: str, path: str, wanted: set[str | None]) -> str | None:
    values = sorted(value for value in wanted if value is not None)
    if len(values) > 1:
        raise InputError(name, f"{path} requires {' and '.join(values)}", fix="name one of them")
    return values[0] if values else None


def _joined(outer: str, inner: str) -> str:
    """Put one expression behind another; of a name that both have, the router takes the inner."""
    for name in re.compile(inner).groupindex:
        outer = outer.replace(f"(?P<{name}>", "(?:")
    return outer + inner


def _mounted(routes: Sequence[BaseRoute]) -> Iterator[Starlette]:
    """Yield applications within the application, which handle errors themselves."""
    for each in contexts(routes):
        app = getattr(each, "app", None)
        if isinstance(app, Starlette):
            yield app
            yield from _mounted(app.routes)


def _lists(routes: Sequence[BaseRoute]) -> Iterator[Sized]:
    """Yield every list to which a route may be added later."""
    yield routes
    for each in routes:
        included = getattr(each, "original_router", each)
        inner = getattr(included, "routes", None)
        if inner is not None:
            yield from _lists(inner)
