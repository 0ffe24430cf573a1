"""The ASGI middleware: facts in, decision, refusal or identity out.

HTTP requests and WebSocket handshakes are decided before the application sees them; lifespan
passes; any other kind of connection is refused.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from keybound.context import CURRENT
from keybound.core.decision import Allowed, Denied
from keybound.core.errors import SettingsError, StoreUnavailableError
from keybound.core.facts import WEBSOCKET
from keybound.core.reasons import Reason
from keybound.guard import AsyncGuard
from keybound.judge import Miss

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping

    from keybound.core.refusals import RefusalResponse

    Scope = MutableMapping[str, Any]
    Message = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[Message]]
    Send = Callable[[Message], Awaitable[None]]
    ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]

POLICY_VIOLATION = 1008
"""Close code of a refused WebSocket (RFC 6455 section 7.4.1)."""

logger = logging.getLogger("keybound")

_FORGERIES = frozenset(
    f"x-keybound-{name}".encode()
    for name in ("key-id", "key", "name", "tenant", "owner", "role", "scopes", "user", "identity")
)
"""Headers that look like an identity of ours: no such header exists, so none is passed on."""

_WATCHED = _FORGERIES | {b"authorization"}


class APIKeyMiddleware:
    """Lets requests through to ``app`` that ``guard`` allows.

    The identity is in ``scope["keybound"]``, ``scope["user"]`` and ``scope["auth"]``, and in
    ``keybound.current_key()`` while the application runs. Whatever stood there before is gone.
    """

    def __init__(self, app: ASGIApp, guard: AsyncGuard | None = None) -> None:
        """Wrap ``app``; without a guard, one is made from the environment and ``keybound.toml``.

        Raises ``SettingsError`` when ``app`` is guarded already.
        """
        if guard is not None and not isinstance(guard, AsyncGuard):
            raise SettingsError(
                "guard", f"is {type(guard).__name__}", fix="give an AsyncGuard, or .to_async()"
            )
        _refuse_twice(app)
        self.app = app
        self.guard = AsyncGuard.from_settings() if guard is None else guard

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        kind = scope["type"]
        if kind == "http":
            method = scope["method"]
        elif kind == "websocket":
            method = WEBSOCKET
        elif kind == "lifespan":
            await self._lifespan(scope, receive, send)
            return
        else:
            msg = f"keybound does not know connections of type {kind!r}, so it refuses them"
            raise RuntimeError(msg)
        raw: bytes | Reason | None = None
        forged = False
        for name, value in scope["headers"]:
            if name in _WATCHED:
                if name == b"authorization":
                    raw = value if raw is None else Reason.DUPLICATE_CREDENTIALS
                else:
                    forged = True
        path = scope["path"]
        root = scope.get("root_path")
        if root:
            path = _below(root, path)
        client = scope.get("client")
        peer = client[0] if client else None
        outcome = self.guard.decide(method, path, peer, raw)
        if outcome.__class__ is Miss:
            outcome = await self.guard.authorize(method, path, peer, raw)
        if outcome.__class__ is Allowed:
            identity = outcome.identity
            scope["keybound"] = scope["user"] = identity
            scope["auth"] = identity.auth
            token = CURRENT.set(identity)
        elif outcome.__class__ is Denied:
            await self._refuse(scope, send, self.guard.refuse(outcome))
            return
        else:
            scope["keybound"] = None
            token = CURRENT.set(None)
        if forged:
            scope["headers"] = [pair for pair in scope["headers"] if pair[0] not in _FORGERIES]
        try:
            await self.app(scope, receive, send)
        finally:
            CURRENT.reset(token)

    async def _refuse(self, scope: Scope, send: Send, answer: RefusalResponse) -> None:
        prefix = ""
        if scope["type"] == "websocket":
            if "websocket.http.response" not in (scope.get("extensions") or {}):
                await send({"type": "websocket.close", "code": POLICY_VIOLATION})
                return
            prefix = "websocket."
        headers = [
            (name.encode("latin-1"), value.encode("latin-1")) for name, value in answer.headers
        ]
        await send(
            {"type": prefix + "http.response.start", "status": answer.status, "headers": headers}
        )
        await send({"type": prefix + "http.response.body", "body": answer.body})

    async def _lifespan(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Open the store before the application starts, and let it go after it stopped."""

        async def receive_opened() -> Message:
            message = await receive()
            if message["type"] == "lifespan.startup":
                await self.prepare()
            return message

        async def send_closing(message: Message) -> None:
            if message["type"] in {"lifespan.shutdown.complete", "lifespan.shutdown.failed"}:
                await self.guard.close()
            await send(message)

        await self.app(scope, receive_opened, send_closing)

    async def prepare(self) -> None:
        """Do what can fail at start; raises ``SettingsError`` and ``StoreError``.

        A store that does not answer yet is no reason not to start: requests get a 503 until then.
        """
        try:
            await self.guard.open()
        except StoreUnavailableError as error:
            logger.warning("starting without the store: %s", error)


def _refuse_twice(app: object) -> None:
    """Raise for a second middleware, which would decide and log everything again."""
    inner = app
    while inner is not None:
        if isinstance(inner, APIKeyMiddleware):
            raise SettingsError("middleware", "is installed twice", fix="remove one of the two")
        inner = getattr(inner, "app", None)


def _below(root: str, path: str) -> str:
    """Return the path that the router under a mount point sees; never another segment's tail."""
    if path == root:
        return "/"
    return path[len(root) :] if path.startswith(root + "/") else path
