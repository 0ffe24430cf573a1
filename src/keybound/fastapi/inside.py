"""A second look, for middleware that stands between keybound and a router of the application.

It may change what was decided on: a method that a header overrides, a path, the client's address.
Then both are decided, what came and what became of it; that can only narrow. It is the same around
the router of the application itself and around those of applications that are mounted in it.
"""

from __future__ import annotations

from copy import copy
from typing import TYPE_CHECKING, Any, NamedTuple

from keybound.asgi import APIKeyMiddleware, below
from keybound.context import GUARD, NO_KEY, reset_current, set_current
from keybound.fastapi.nesting import reached, replaced
from keybound.handshakes import HANDSHAKE

if TYPE_CHECKING:
    import re
    from collections.abc import Callable, Coroutine

    from starlette.routing import Router

    from keybound.asgi import ASGIApp, Receive, Scope, Send
    from keybound.core.identity import Identity
    from keybound.guard import AsyncGuard

    Serve = Callable[[Scope, Receive, Send], Coroutine[Any, Any, None]]

_CAME = "keybound.came"
"""Where the scope holds what was decided on, and by whom: of several guards, innermost first."""

_AT = "keybound.at"
"""Where it holds what the router around this one saw, for each of them."""

_DECIDED = ("keybound", "user", "auth", GUARD, HANDSHAKE)
"""What the scope has of a decision."""


def look_again(router: Router, *, under: re.Pattern[str] | None = None, whole: bool) -> None:
    """Let a router be reached only by what was decided on.

    ``under`` is what a mount matches that it is in. ``whole``: it is that of a guarded application,
    which nothing reaches in another way.
    """
    again = next((each for each in reached(router.middleware_stack) if type(each) is _Again), None)
    if again is None:
        again = _Again(router.app)
        if not replaced(router.middleware_stack, router.app, again):  # the innermost: no middleware
            again.app = router.middleware_stack
            router.middleware_stack = again
    again.whole = again.whole or whole
    if under is not None and under not in again.mounts:
        again.mounts = (*again.mounts, under)


def keeping(serve: Serve, guard: AsyncGuard) -> Serve:
    """Return what serves a connection, of which a second look finds what ``guard`` decided on."""

    def keep(scope: Scope, receive: Receive, send: Send) -> Coroutine[Any, Any, None]:
        if scope["type"] != "lifespan":
            # Those of guards around this one stay: what is changed between them is theirs.
            scope[_CAME] = (_Came(scope, guard), *scope.get(_CAME, ()))
            scope[_AT] = (None, *scope.get(_AT, ()))
        return serve(scope, receive, send)

    return keep


class _Facts(NamedTuple):
    """What the decision on a connection depends on, but for its credential.

    The path is the one that routers see, with those of the mounts that they are in before it.
    """

    kind: str
    method: str | None
    client: object
    path: str

    @classmethod
    def of(cls, scope: Scope, prefix: str, path: str) -> _Facts:
        return cls(scope["type"], scope.get("method"), scope.get("client"), prefix + path)


class _At(NamedTuple):
    """What a router saw."""

    root: str
    prefix: str
    path: str


class _Came:
    """A connection as it came; nothing of it is shown."""

    __slots__ = ("facts", "guard", "headers", "path", "query", "raw_path", "root")

    def __init__(self, scope: Scope, guard: AsyncGuard) -> None:
        """Hold what is decided on, and what the key is in: it may be hidden by then."""
        self.guard = guard
        self.root: str = scope.get("root_path", "")
        self.path: str = scope["path"]
        self.facts = _Facts.of(scope, "", below(self.root, self.path))
        self.raw_path: bytes | None = scope.get("raw_path")
        self.headers = scope["headers"]
        self.query: bytes | None = scope.get("query_string")

    def became(self, facts: _Facts) -> _Came:
        """Return it after a decision on these."""
        other = copy(self)
        other.facts = facts
        return other

    def asked(self, scope: Scope, path: str | None) -> Scope:
        """Return a connection as it is by now: where it came, or on a path that nobody sent."""
        came = {"root_path": self.root, "path": self.path, "raw_path": self.raw_path}
        where = came if path is None else {"root_path": "", "path": path, "raw_path": None}
        return {**scope, **where, "headers": self.headers, "query_string": self.query}


class _Again:
    """Decides on requests that are not what they came as."""

    def __init__(self, app: ASGIApp) -> None:
        """Stand around what a router does."""
        self.app = app
        self.whole = False
        self.mounts: tuple[re.Pattern[str], ...] = ()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        cames: tuple[_Came, ...] = scope.get(_CAME, ())
        if not cames and self.whole and scope["type"] != "lifespan":
            msg = "this request did not pass keybound, or a middleware dropped what it says"
            raise RuntimeError(msg)
        # What is mounted may be served elsewhere, unguarded.
        root: str = scope.get("root_path", "")
        path = below(root, scope["path"]) if cames else ""
        ats = [_At(root, self._prefix(outer, root), path) for outer in scope.get(_AT, ())]
        facts = [_Facts.of(scope, at.prefix, path) for at in ats]
        for number, came in enumerate(cames):
            if came.facts != facts[number]:
                await self._decide(number, facts[number], scope, receive, send)
                return
        if cames:
            scope[_AT] = tuple(ats)
        await self.app(scope, receive, send)

    async def _decide(
        self, number: int, facts: _Facts, scope: Scope, receive: Receive, send: Send
    ) -> None:
        """Decide again by one of the guards, the innermost of which says who is calling."""
        cames: tuple[_Came, ...] = scope[_CAME]
        came = cames[number]
        before: Identity | None = scope.get("keybound") if number == 0 else None

        async def serve(decided: Scope, receive: Receive, send: Send) -> None:
            # Where nobody is asked for, whoever came is held to what was asked for where they came.
            if before is not None and decided["keybound"] is None and decided["path"] != came.path:
                await second(came.asked(scope, None), receive, send)
                return
            scope[_CAME] = (*cames[:number], came.became(facts), *cames[number + 1 :])
            if number == 0:
                scope.update({name: decided[name] for name in _DECIDED if name in decided})
                await self(scope, receive, send)
                return
            token = set_current(scope["keybound"] or NO_KEY)  # not whom the outer guard let in
            try:
                await self(scope, receive, send)
            finally:
                reset_current(token)

        came.guard.decides_again(before)
        second = _Second(serve, came.guard)
        path = facts.path if facts.path != came.facts.path else None
        await second(came.asked(scope, path), receive, send)

    def _prefix(self, outer: _At | None, root: str) -> str:
        """Return the paths of the mounts that lead here, as the router around this one saw it."""
        if outer is None:
            return ""
        matched = [found for each in self.mounts if (found := each.match(outer.path)) is not None]
        ends = [outer.path[: len(outer.path) - len(found["path"]) - 1] for found in matched]
        meant = [end for end in ends if outer.root + end == root] or ends or [""]
        return outer.prefix + meant[0]


class _Second(APIKeyMiddleware):
    """Decides, and says nothing at start."""

    def __init__(self, app: Serve, guard: AsyncGuard) -> None:
        """Take what the first one has looked at already."""
        super().__init__(app, guard)
        self._looks = False
        self._told_of_cors = True
