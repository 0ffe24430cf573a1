"""Keeps the table of a guard up to date with the router of an application."""

from __future__ import annotations

import re
from operator import is_
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from starlette.applications import Starlette
from starlette.routing import Host, Mount

from keybound.core.declared import DeclaredRoute, UnreadRoute
from keybound.fastapi.inside import look_again
from keybound.fastapi.nesting import among, applications, contexts
from keybound.fastapi.routers import declared
from keybound.installing import refuse_open
from keybound.starlette import HTTPRefusedError, RefusedResponse

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from fastapi import FastAPI
    from starlette.requests import Request
    from starlette.routing import BaseRoute, Router

    from keybound.engine import Engine
    from keybound.guard import AsyncGuard


class Declarations:
    """What the router of an application declares to the engine of a guard.

    A route that joins the application itself counts from its first request on. One that joins an
    included router or a mounted application, or replaces another, is noticed when the table is
    asked for what it does not have, when a key is looked up, and before every verb.
    """

    def __init__(self, app: FastAPI, guard: AsyncGuard) -> None:
        """Read nothing yet: routes are added after this."""
        self.app = app
        self.guard = guard.of(app)
        self._engine: Engine | None = None
        self._routes: Sequence[BaseRoute] = ()
        self._length = 0
        self._read: WeakKeyDictionary[Engine, tuple[object, ...]] = WeakKeyDictionary()
        guard.engine.add_source(self._declare)
        app.exception_handlers[HTTPRefusedError] = _refuse

    def seem_current(self) -> bool:
        """Return whether nothing changed that can be seen at a glance, as every request does."""
        routes = self.app.router.routes
        return (
            routes is self._routes
            and len(routes) == self._length
            and self.guard.engine is self._engine
        )

    def refresh(self) -> None:
        """Read the router if it changed since the last time, or if the guard has another engine.

        Raises ``InputError`` for demands on one route that contradict each other, ``SettingsError``
        where there are routes besides FastAPI's own documents, and none can need a key.
        """
        engine = self.guard.engine
        engine.add_source(self._declare)
        routes = self.app.router.routes
        length = len(routes)
        self._declare(engine)
        app = self.app
        documents = {
            app.openapi_url,
            app.docs_url,
            app.redoc_url,
            app.swagger_ui_oauth2_redirect_url,
        }
        every = list(declared(routes, within=(self.app,)))
        unread = [route for route in every if isinstance(route, UnreadRoute)]
        if not unread and all(hasattr(route, "path_regex") for route in contexts(routes)):
            refuse_open(self.guard.table, (route for route in every if route.path not in documents))
        self._engine, self._routes, self._length = engine, routes, length

    def _declare(self, engine: Engine) -> None:
        routes = self.app.router.routes
        every = tuple(_every(routes, (self.app,)))
        read = self._read.get(engine)
        if read is not None and len(read) == len(every) and all(map(is_, read, every)):
            return
        within = (self.app,)
        mounted = list(_mounted(routes, within))
        for each, under in mounted:
            if isinstance(each, Starlette):
                each.exception_handlers.setdefault(HTTPRefusedError, _refuse)
            look_again(_router(each), under=under, whole=False)
        if mounted:  # they go by what the router around them saw
            look_again(self.app.router, whole=True)
        every_route = declared(routes, within=within)
        engine.declare_routes(self.app, [*every_route, Unmatched(engine.refresh)])
        self._read[engine] = every


async def _refuse(_connection: Request, error: Exception) -> RefusedResponse:
    assert isinstance(error, HTTPRefusedError)  # noqa: S101 - it is registered for nothing else
    return RefusedResponse(error.refusal)


class Unmatched(DeclaredRoute):
    """Behind all routes of an application: asked when none of them is meant, it never answers.

    Either there is none, or it was added where nobody looks at every request.
    """

    __slots__ = ("_notice",)

    _notice: Callable[[], None]

    def __init__(self, notice: Callable[[], None]) -> None:
        """Call ``notice`` when no route is meant."""
        super().__init__("/*", re.compile(""), None)
        object.__setattr__(self, "_notice", notice)

    def answers(self, method: str) -> bool:  # noqa: ARG002 - it is for no method
        """Return ``False``."""
        self._notice()
        return False


def _router(app: Starlette | Router) -> Router:
    return app.router if isinstance(app, Starlette) else app


def _mounted(
    routes: Sequence[BaseRoute], within: tuple[object, ...]
) -> Iterator[tuple[Starlette | Router, re.Pattern[str] | None]]:
    """Yield applications within the application, and what matches the paths of their mounts."""
    for each in contexts(routes):
        original = getattr(each, "original_route", each)
        if isinstance(original, Mount | Host):
            for app in applications(original):
                if not among(app, within):
                    yield app, getattr(each, "path_regex", None)
                    yield from _mounted(app.routes, (*within, app))


def _every(
    routes: Sequence[BaseRoute], within: tuple[object, ...] = ()
) -> Iterator[BaseRoute | Starlette | Router]:
    """Yield every route, those of included routers and mounted applications too."""
    for each in routes:
        yield each
        router: Any = getattr(each, "original_router", None)  # of those that are included
        inside: list[Any] = [] if router is None else [router]
        for inner in applications(each) if isinstance(each, Mount | Host) else inside:
            if not among(inner, within):
                yield inner
                yield from _every(inner.routes, (*within, inner))
