"""A second look, for middleware that stands between keybound and a router of the application.

It may change what was decided on: a method that a header overrides, a path, the client's address.
Then both are decided, what came and what became of it; that can only narrow. It is the same around
the router of the application itself and around those of applications that are mounted in it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from keybound.asgi import APIKeyMiddleware, below
from keybound.context import GUARD
from keybound.handshakes import HANDSHAKE

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from starlette.routing import Router

    from keybound.asgi import ASGIApp, Receive, Scope, Send
    from keybound.core.identity import Identity
    from keybound.guard import AsyncGuard

    Serve = Callable[[Scope, Receive, Send], Coroutine[Any, Any, None]]

_CAME = "keybound.came"
"""Where the scope holds what was decided on, and by whom."""

_PATH = 2
"""Which of the facts is the path."""

_DECIDED = ("keybound", "user", "auth", GUARD, HANDSHAKE)
"""What the scope has of a decision."""


def look_again(router: Router) -> None:
    """Let a router be reached only by what was decided on; around it nobody can hide."""
    if not isinstance(router.middleware_stack, _Again):
        router.middleware_stack = _Again(router.middleware_stack)


def keeping(serve: Serve, guard: AsyncGuard) -> Serve:
    """Return what serves a connection, of which a second look finds what ``guard`` decided on."""

    def keep(scope: Scope, receive: Receive, send: Send) -> Coroutine[Any, Any, None]:
        if scope["type"] != "lifespan":
            scope[_CAME] = _Came(scope, guard)
        return serve(scope, receive, send)

    return keep


class _Came:
    """A connection as it came; nothing of it is shown."""

    __slots__ = ("facts", "guard", "headers", "path", "query", "raw_path", "root")

    def __init__(self, scope: Scope, guard: AsyncGuard) -> None:
        """Hold what is decided on, and what the key is in: it may be hidden by then."""
        self.guard = guard
        self.root: str = scope.get("root_path", "")
        self.facts = _facts(scope, self.root)
        self.path: str = scope["path"]
        self.raw_path: bytes | None = scope.get("raw_path")
        self.headers = scope["headers"]
        self.query: bytes | None = scope.get("query_string")

    def changed(self, scope: Scope, facts: tuple[Any, ...]) -> Scope:
        """Return it with what became of it; a path that is another was not sent by anybody."""
        path = self.root + facts[_PATH]
        return {
            **scope,
            "headers": self.headers,
            "query_string": self.query,
            "root_path": self.root,
            "path": path,
            "raw_path": self.raw_path if path == self.path else None,
        }


class _Again:
    """Decides on requests that are not what they came as."""

    def __init__(self, app: ASGIApp) -> None:
        """Stand around what a router does."""
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        came: _Came | None = scope.get(_CAME)  # an application may be served elsewhere, unguarded
        if came is None or came.facts == (facts := _facts(scope, came.root)):
            await self.app(scope, receive, send)
            return
        before: Identity | None = scope.get("keybound")

        async def serve(decided: Scope, receive: Receive, send: Send) -> None:
            # Where nobody is asked for, whoever came is held to what was asked for where they came.
            forgotten = before is not None and decided["keybound"] is None
            if forgotten and decided["path"] != came.path:
                where = {"path": came.path, "raw_path": came.raw_path}
                await middleware({**asked, **where}, receive, send)
                return
            scope.update({name: decided[name] for name in _DECIDED if name in decided})
            await self.app(scope, receive, send)

        came.guard.decides_again(before)
        middleware, asked = APIKeyMiddleware(serve, came.guard), came.changed(scope, facts)
        await middleware(asked, receive, send)


def _facts(scope: Scope, outer: str) -> tuple[Any, ...]:
    """Return what the decision on a connection depends on, but for its credential.

    The path is that which routers see, mounts included, in an application at ``outer``.
    """
    root: str = scope.get("root_path", "")
    path = root.removeprefix(outer) + below(root, scope["path"])
    return scope["type"], scope.get("method"), path, scope.get("client")
