"""What a path operation asks of a key, as FastAPI writes it: dependencies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, TypeAlias

from fastapi.params import Depends
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection

from keybound.core.decision import Denied
from keybound.core.facts import OWN_TENANT, WEBSOCKET, Access, default_access
from keybound.core.identity import Identity
from keybound.core.patterns import fill
from keybound.core.reasons import Reason
from keybound.core.refusals import REFUSALS
from keybound.core.routes import Auth, Route
from keybound.starlette import current_key

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

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

    ``check`` is for routes that the guard's table does not have: one that is chosen by its host,
    for instance, or was added a moment ago.
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
        reason = self._unmet(identity, connection)
        if reason is not None:
            scopes = self.scopes if reason is Reason.INSUFFICIENT_SCOPE else ()
            raise RefusedError(Denied(reason, key=identity.key_id, scopes=scopes))
        return identity

    async def look(self, connection: HTTPConnection) -> Identity | None:
        """Return who is calling, or ``None`` where no key was needed and none was sent."""
        return current_key(connection)

    def _unmet(self, identity: Identity, connection: HTTPConnection) -> Reason | None:
        about = self._unmet_tenant(identity, connection)
        if about is not None:
            return about
        if identity.read_only and _said_access(connection) == "write":
            return Reason.METHOD_NOT_ALLOWED
        if not all(identity.has_scope(name) for name in self.scopes):
            return Reason.INSUFFICIENT_SCOPE
        return self._unmet_model(identity, connection)

    def _unmet_tenant(self, identity: Identity, connection: HTTPConnection) -> Reason | None:
        if self.tenant is None:
            return None
        own = self.tenant == OWN_TENANT
        tenant = identity.tenant if own else _filled(self.tenant, connection)
        if not tenant or identity.request_tenant is None:
            return Reason.TENANT_UNRESOLVED
        return None if tenant == identity.request_tenant else Reason.TENANT_MISMATCH

    def _unmet_model(self, identity: Identity, connection: HTTPConnection) -> Reason | None:
        if self.model is None:
            return None
        model = _filled(self.model, connection)
        if not model:
            return Reason.MODEL_UNRESOLVED
        method: str = connection.scope.get("method", WEBSOCKET)
        access = _said_access(connection) or default_access(method)
        permitted = identity.permits(model=model, access=access)
        return None if permitted else Reason.MODEL_NOT_ALLOWED


def requires(
    *scopes: str,
    model: str | None = None,
    access: Access | None = None,
    tenant: str | None = None,
) -> Depends:
    """Ask for a key, with these scopes, for what a request is about; the rest is as in ``Route``.

    For ``dependencies=[...]`` of a path operation, a router or an application, and for the type
    of a parameter, which is then the identity. Raises ``InputError``; ``access="read"`` around a
    DELETE, PATCH or PUT keeps the application from starting.
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


def strictest_access(demands: Iterable[Demand]) -> Access | None:
    """Return what demands on one route say together of what it does, if any does."""
    named = {demand.access for demand in demands}
    return "write" if "write" in named else "read" if "read" in named else None


def _said_access(connection: HTTPConnection) -> Access | None:
    """Return what the demands of a request's route say together of what it does."""
    scope = connection.scope
    route = scope.get("route")
    # Later versions of FastAPI keep what is around an included route beside it.
    context = scope.get("fastapi", {}).get("effective_route_context")
    if getattr(context, "original_route", None) is route:
        route = context
    dependant = getattr(route, "dependant", None)
    return None if dependant is None else strictest_access(demands_of(dependant))


def _filled(template: str, connection: HTTPConnection) -> str | None:
    """Return a template with the parameters of the path; ``None`` when it lacks one."""
    fields = {name: str(value) for name, value in connection.path_params.items()}
    try:
        return fill(template, fields)
    except KeyError:
        return None
