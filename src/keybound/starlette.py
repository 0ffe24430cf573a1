"""Starlette: ``Middleware(APIKeyMiddleware, guard=guard)``.

``request.user`` is the identity, ``request.auth`` its scopes: Starlette's own
``requires("scope")`` works on both. ``request.scope["keybound"]`` is the identity, or ``None``.
In an endpoint, ``require(request, "scope", model="invoice")`` asks for more.
"""

from __future__ import annotations

from keybound.core.errors import MissingExtraError, RefusedError

try:
    from starlette.exceptions import HTTPException, WebSocketException
    from starlette.responses import Response
except ModuleNotFoundError as error:
    raise MissingExtraError.of(error, extra="starlette") from None

from typing import TYPE_CHECKING

from keybound.asgi import APIKeyMiddleware
from keybound.context import GUARD
from keybound.core.demands import Demand
from keybound.core.facts import WEBSOCKET
from keybound.handshakes import HANDSHAKE, POLICY_VIOLATION, send_refusal

if TYPE_CHECKING:
    from collections.abc import Iterable

    from starlette.requests import HTTPConnection
    from starlette.types import Receive, Scope, Send

    from keybound.core.decision import Denied
    from keybound.core.facts import Access
    from keybound.core.identity import Identity
    from keybound.core.refusals import RefusalResponse

__all__ = ["APIKeyMiddleware", "current_key", "require"]


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


def require(
    connection: HTTPConnection,
    scopes: str | Iterable[str] = (),
    *,
    model: str | None = None,
    access: Access | None = None,
    tenant: str | None = None,
) -> Identity:
    """Return who is calling, if that key may do this as well; otherwise the request is refused.

    ``model``, ``access`` and ``tenant`` are as in ``Route``, with the parameters of the path as
    fields. It only narrows: what the middleware refused never comes here. Raises an
    ``HTTPException`` that answers as every refusal does, for a WebSocket that is open a
    ``WebSocketException`` that closes it, and ``InputError``.
    """
    demand = Demand.read(scopes, model=model, access=access, tenant=tenant)
    return checked(demand, connection)


def checked(demand: Demand, connection: HTTPConnection, *, said: Access | None = None) -> Identity:
    """Return who is calling; raises a ``RefusedError`` for a demand that is not met."""
    scope = connection.scope
    fields = {name: str(value) for name, value in connection.path_params.items()}
    method: str = scope.get("method", WEBSOCKET)
    try:
        return demand.check(current_key(connection), method=method, fields=fields, said=said)
    except RefusedError as error:
        refusal = scope[GUARD].refuse(error.denied)
        if HANDSHAKE in scope and scope[HANDSHAKE].accepted:
            raise WebSocketRefusedError(error.denied) from None
        raise HTTPRefusedError(error.denied, refusal) from None


class HTTPRefusedError(RefusedError, HTTPException):
    """A demand that the identity of a request does not meet, and the whole answer to it."""

    def __init__(self, denied: Denied, refusal: RefusalResponse) -> None:
        """Hold status, headers and body as Starlette sends them of its own accord.

        Without the length: a handler of the site's may put them around another body.
        """
        fields = {name: value for name, value in refusal.fields.items() if name != "content-length"}
        # Not by RefusedError.__init__: it goes on to that of HTTPException, with a text alone.
        HTTPException.__init__(self, refusal.status, refusal.body.decode(), fields)
        self.denied = denied
        self.refusal = refusal


class WebSocketRefusedError(RefusedError, WebSocketException):
    """The same once a WebSocket is open: it is closed."""

    def __init__(self, denied: Denied) -> None:
        """Hold the close code."""
        WebSocketException.__init__(self, POLICY_VIOLATION)
        self.denied = denied


class RefusedResponse(Response):
    """The answer to a denied request, and to a WebSocket that was not accepted yet."""

    def __init__(self, refusal: RefusalResponse) -> None:
        """Take what every shell sends alike."""
        super().__init__(status_code=refusal.status)
        self._refusal = refusal

    async def __call__(self, scope: Scope, _receive: Receive, send: Send) -> None:
        """Send it."""
        await send_refusal(scope, send, self._refusal)
