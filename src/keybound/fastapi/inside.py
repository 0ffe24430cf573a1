"""A second look, for applications whose own middleware stands between keybound and their router.

It may change what was decided on: a method that a header overrides, a path, the client's address.
Then both are decided, what came and what became of it; that can only narrow.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from starlette.middleware.exceptions import ExceptionMiddleware

from keybound.asgi import APIKeyMiddleware

if TYPE_CHECKING:
    from fastapi import FastAPI

    from keybound.asgi import ASGIApp, Receive, Scope, Send
    from keybound.guard import AsyncGuard

_CAME_AS = "keybound.came_as"
"""Where the scope holds what was decided on."""


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


class _Again:
    """Decides on requests that are not what they came as."""

    def __init__(self, app: ASGIApp, guard: AsyncGuard) -> None:
        """Stand around the router."""
        self.app = app
        self._decided = APIKeyMiddleware(app, guard)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        same = scope["type"] == "lifespan" or scope.get(_CAME_AS) == _facts(scope)
        await (self.app if same else self._decided)(scope, receive, send)


def _facts(scope: Scope) -> tuple[Any, ...]:
    """Return what the decision on a connection depends on, but for its credential."""
    return tuple(map(scope.get, ("type", "method", "path", "root_path", "client")))
