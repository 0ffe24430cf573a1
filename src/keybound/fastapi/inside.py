"""A second look, for applications whose own middleware stands between keybound and their router.

It may change what was decided on: a method that a header overrides, a path, the client's address.
Then both are decided, what came and what became of it; that can only narrow.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from starlette.middleware.exceptions import ExceptionMiddleware

from keybound.asgi import APIKeyMiddleware
from keybound.context import GUARD
from keybound.handshakes import HANDSHAKE

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from fastapi import FastAPI

    from keybound.asgi import ASGIApp, Receive, Scope, Send
    from keybound.guard import AsyncGuard

    Serve = Callable[[Scope, Receive, Send], Coroutine[Any, Any, None]]

_CAME_AS = "keybound.came_as"
"""Where the scope holds what was decided on."""

_CAME_WITH = "keybound.came_with"
"""Where it holds what the key was in, which may be hidden from the application by now."""

_DECIDED = ("keybound", "user", "auth", GUARD, HANDSHAKE)
"""What the scope has of a decision."""


def looking_again(inner: ASGIApp, app: FastAPI, guard: AsyncGuard) -> ASGIApp:
    """Return what stands within keybound in ``app``, with a second look where one is needed.

    ``inner`` is Starlette's own around the router, or middleware of the application's: without
    that nothing can change, and no request pays.
    """
    if isinstance(inner, ExceptionMiddleware):
        return inner
    router = app.router  # around which nobody can hide
    router.middleware_stack = _Again(router.middleware_stack, guard)

    async def record(scope: Scope, receive: Receive, send: Send) -> None:
        scope[_CAME_AS] = _facts(scope)
        await inner(scope, receive, send)

    return record


def keeping(serve: Serve) -> Serve:
    """Return what serves a connection of which the second look finds the key."""

    def keep(scope: Scope, receive: Receive, send: Send) -> Coroutine[Any, Any, None]:
        if scope["type"] != "lifespan":
            scope[_CAME_WITH] = _CameWith(scope["headers"], scope.get("query_string"))
        return serve(scope, receive, send)

    return keep


class _CameWith:
    """The headers and the query of a request; nothing of them is shown."""

    __slots__ = ("headers", "query")

    def __init__(self, headers: Any, query: bytes | None) -> None:  # noqa: ANN401 - as servers have them
        """Hold both."""
        self.headers = headers
        self.query = query


class _Again:
    """Decides on requests that are not what they came as."""

    def __init__(self, app: ASGIApp, guard: AsyncGuard) -> None:
        """Stand around the router."""
        self.app = app
        self._guard = guard

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        same = scope["type"] == "lifespan" or scope.get(_CAME_AS) == _facts(scope)
        if same:
            await self.app(scope, receive, send)
            return

        async def serve(decided: Scope, receive: Receive, send: Send) -> None:
            scope.update({name: decided[name] for name in _DECIDED if name in decided})
            await self.app(scope, receive, send)

        self._guard.decides_again(scope.get("keybound"))
        came: _CameWith = scope[_CAME_WITH]
        asked = {**scope, "headers": came.headers, "query_string": came.query}
        await APIKeyMiddleware(serve, self._guard)(asked, receive, send)


def _facts(scope: Scope) -> tuple[Any, ...]:
    """Return what the decision on a connection depends on, but for its credential."""
    return tuple(map(scope.get, ("type", "method", "path", "root_path", "client")))
