"""Starlette: ``Middleware(APIKeyMiddleware, guard=guard)``.

``request.user`` is the identity, ``request.auth`` its scopes: Starlette's own
``requires("scope")`` works on both. ``request.scope["keybound"]`` is the identity, or ``None``.
"""

from __future__ import annotations

from keybound.core.errors import MissingExtraError

try:
    from starlette.responses import Response
except ModuleNotFoundError as error:
    package = (error.name or "starlette").partition(".")[0]
    raise MissingExtraError(package, extra="starlette") from None

from typing import TYPE_CHECKING

from keybound.asgi import APIKeyMiddleware, send_refusal

if TYPE_CHECKING:
    from starlette.requests import HTTPConnection
    from starlette.types import Receive, Scope, Send

    from keybound.core.identity import Identity
    from keybound.core.refusals import RefusalResponse

__all__ = ["APIKeyMiddleware", "current_key"]


def current_key(connection: HTTPConnection) -> Identity | None:
    """Return who is calling, ``None`` on paths that need no key.

    Raises ``RuntimeError`` when no middleware of ours saw the request: it is not guarded.
    """
    try:
        identity: Identity | None = connection.scope["keybound"]
    except KeyError:
        msg = "this request did not pass APIKeyMiddleware: add it to the application's middleware"
        raise RuntimeError(msg) from None
    return identity


class RefusedResponse(Response):
    """The answer to a denied request, and to a WebSocket that was not accepted yet."""

    def __init__(self, refusal: RefusalResponse) -> None:
        """Take what every shell sends alike."""
        super().__init__(status_code=refusal.status)
        self._refusal = refusal

    async def __call__(self, scope: Scope, _receive: Receive, send: Send) -> None:
        """Send it."""
        await send_refusal(scope, send, self._refusal)
