"""What a path operation asks of a key, as FastAPI writes it: dependencies."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, TypeAlias

from fastapi.params import Depends
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection

from keybound.core.decision import Denied
from keybound.core.facts import WEBSOCKET, Access
from keybound.core.identity import Identity
from keybound.core.reasons import Reason
from keybound.core.refusals import REFUSALS
from keybound.core.routes import Auth, Route
from keybound.starlette import current_key


class RefusedError(HTTPException):
    """A demand that the identity of the request does not meet."""

    def __init__(self, denied: Denied) -> None:
        """Have the right status, even where an application replaced its handlers of errors."""
        refusal = REFUSALS[denied.reason]
        super().__init__(refusal.status, refusal.title)
        self.denied = denied


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """What one ``requires`` asks for; the router's reader finds it in a route's dependencies."""

    scopes: tuple[str, ...] = ()
    model: str | None = None
    access: Access | None = None
    tenant: str | None = None
    auth: Auth = "required"

    async def check(self, connection: HTTPConnection) -> Identity:
        """Return who is calling; raises ``RefusedError`` for a demand that is not met.

        The middleware decided already, of all facts: this is for a route that it did not know.
        """
        identity = current_key(connection)
        if identity is None:
            raise RefusedError(Denied(Reason.MISSING_CREDENTIALS))
        if not all(identity.has_scope(name) for name in self.scopes):
            raise RefusedError(
                Denied(Reason.INSUFFICIENT_SCOPE, key=identity.key_id, scopes=self.scopes)
            )
        if self.access == "write" and identity.read_only:
            raise RefusedError(Denied(Reason.METHOD_NOT_ALLOWED, key=identity.key_id))
        if self.model is not None and not self._permits_model(identity, connection):
            raise RefusedError(Denied(Reason.MODEL_NOT_ALLOWED, key=identity.key_id))
        return identity

    async def look(self, connection: HTTPConnection) -> Identity | None:
        """Return who is calling, ``None`` where that needs no key."""
        return current_key(connection)

    def _permits_model(self, identity: Identity, connection: HTTPConnection) -> bool:
        model = (self.model or "").format_map(connection.path_params)
        return identity.permits(model=model, access=self.access or "read")
