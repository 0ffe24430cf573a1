"""What a path operation asks of a key, as FastAPI writes it: dependencies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, TypeAlias

from fastapi.params import Depends
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection

from keybound.core.decision import Denied
from keybound.core.facts import Access
from keybound.core.identity import Identity
from keybound.core.reasons import Reason
from keybound.core.refusals import REFUSALS
from keybound.core.patterns import fill
from keybound.core.routes import Auth, Route
from keybound.starlette import current_key

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from fastapi.dependencies.models import Dependant


class RefusedError(HTTPException):
    """A demand that the identity of a request does not meet."""

    def __init__(self, denied: Denied) -> None:
        """Have the right status, so that it holds where nobody renders the refusal."""
        refusal = REFUSALS[denied.reason]
        super().__init__(refusal.status, refusal.title)
        self.denied = denied


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """What one dependency asks for: it is found among those of a route, and it checks itself.

    ``check`` is for routes that the guard's table missed; it looks at the identity alone.
    """

    scopes: tuple[str, ...] = ()
    model: str | None = None
    access: Access | None = None
    tenant: str | None = None
    auth: Auth = "required"

    async def check(self, connection: HTTPConnection) -> Identity:
        """Return who is calling; raises ``RefusedError`` for a demand that is not met."""
        identity = current_key(connection)
        if identity is None:
            raise RefusedError(Denied(Reason.MISSING_CREDENTIALS))
        reason = self._unmet(identity, connection.path_params)
        if reason is not None:
            scopes = self.scopes if reason is Reason.INSUFFICIENT_SCOPE else ()
            raise RefusedError(Denied(reason, key=identity.key_id, scopes=scopes))
        return identity

    async def look(self, connection: HTTPConnection) -> Identity | None:
        """Return who is calling, or ``None`` where no key was needed and none was sent."""
        return current_key(connection)

    def _unmet(self, identity: Identity, fields: Mapping[str, object]) -> Reason | None:
        if not all(identity.has_scope(name) for name in self.scopes):
            return Reason.INSUFFICIENT_SCOPE
        if self.access == "write" and identity.read_only:
            return Reason.METHOD_NOT_ALLOWED
        if self.model is None:
            return None
        try:
            model = fill(self.model, {name: str(value) for name, value in fields.items()})
        except KeyError:
            return Reason.MODEL_UNRESOLVED
        permitted = identity.permits(model=model or "", access=self.access or "read")
        return None if permitted else Reason.MODEL_NOT_ALLOWED


def requires(
    *scopes: str,
    model: str | None = None,
    access: Access | None = None,
    tenant: str | None = None,
) -> Depends:
    """Ask for a key, with these scopes, for what a request is about; the rest is as in ``Route``.

    For ``dependencies=[...]`` of a path operation, a router or an application, and for the type
    of a parameter, which is then the identity. Raises ``InputError``.
    """
    demand = Demand(scopes=scopes, model=model, access=access, tenant=tenant)
    Route("/{any:path}", methods="GET", access=access, scopes=scopes)
    return Depends(demand.check)


CurrentKey: TypeAlias = Annotated[Identity, requires()]
"""The identity behind a request; a route with this parameter requires a key."""

OptionalKey: TypeAlias = Annotated[Identity | None, Depends(Demand(auth="optional").look)]
"""The identity, or ``None``: on a path that is not protected, a key is read but not required."""


def demands_of(dependant: Dependant) -> Iterator[Demand]:
    """Yield the demands of a route, of its routers and of its application, outermost first."""
    owner = getattr(dependant.call, "__self__", None)
    if isinstance(owner, Demand):
        yield owner
    for inner in dependant.dependencies:
        yield from demands_of(inner)
