"""What a path operation asks of a key, as FastAPI writes it: dependencies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, TypeAlias

from fastapi.params import Depends
from starlette.requests import HTTPConnection

from keybound.core.demands import Demand, strictest_access
from keybound.core.facts import Access
from keybound.core.identity import Identity
from keybound.starlette import checked, current_key

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fastapi.dependencies.models import Dependant


@dataclass(frozen=True, slots=True)
class Dependency:
    """A demand as FastAPI finds it among the dependencies of a route, and calls it.

    ``check`` is for routes that the guard's table does not have: one that is chosen by its host,
    for instance, or was added a moment ago.
    """

    demand: Demand

    async def check(self, connection: HTTPConnection) -> Identity:
        """Return who is calling; raises ``RefusedError`` for a demand that is not met."""
        return checked(self.demand, connection, said=_said_access(connection))

    async def look(self, connection: HTTPConnection) -> Identity | None:
        """Return who is calling, or ``None`` where no key was needed and none was sent."""
        return current_key(connection)


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
    demand = Demand.read(scopes, model=model, access=access, tenant=tenant)
    return Depends(Dependency(demand).check)


CurrentKey: TypeAlias = Annotated[Identity, requires()]
"""The identity behind a request; a route with this parameter requires a key."""

_OPTIONAL = Dependency(Demand(auth="optional"))

OptionalKey: TypeAlias = Annotated[Identity | None, Depends(_OPTIONAL.look)]
"""The identity, or ``None``: on a path that is not protected, a key is read but not required."""


def demands_of(dependant: Dependant) -> Iterator[Demand]:
    """Yield the demands of a route, of its routers and of its application, outermost first."""
    owner = getattr(dependant.call, "__self__", None)
    if isinstance(owner, Dependency):
        yield owner.demand
    for inner in dependant.dependencies:
        yield from demands_of(inner)


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
