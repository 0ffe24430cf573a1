"""Starlette: ``Middleware(APIKeyMiddleware, guard=guard)``.

``request.user`` is the identity, ``request.auth`` its scopes: Starlette's own
``requires("scope")`` works on both. ``request.scope["keybound"]`` is the identity, or ``None``.
"""

from __future__ import annotations

from keybound.core.errors import MissingExtraError

try:
    from starlette.requests import HTTPConnection
except ModuleNotFoundError:
    raise MissingExtraError("starlette", extra="starlette") from None

from typing import TYPE_CHECKING

from keybound.asgi import APIKeyMiddleware

if TYPE_CHECKING:
    from keybound.core.identity import Identity

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
