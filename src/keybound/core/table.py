"""Routes compiled into the one table that says everything that depends on a request's path.

The first route that matches method and path wins: those that a site configured, then those that
its framework has, read in advance or asked for at the request. The same table answers whether a
path is guarded at all, and later which routes a key reaches.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple, Protocol

from keybound.core.declared import UnreadRoute
from keybound.core.facts import OWN_TENANT, WEBSOCKET, default_access
from keybound.core.patterns import compile_path, fill, fixed_start, may_meet, sample_path
from keybound.core.tenants_of import as_tenant

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from keybound.core.bodies import BodyFields
    from keybound.core.facts import Access
    from keybound.core.models_of import ModelSource, NamesModels
    from keybound.core.routes import Auth, Route

    Fields = Mapping[str, str | None]

PATH_REMEMBERED_MAX = 256
"""Characters of the longest path for which anything is remembered."""

METHOD_REMEMBERED_MAX = 16

PATH_MAX = 8_192
"""Characters of the longest path that is matched at all."""

_STRANGE = re.compile(r"[\x00-\x1f\x7f\\\ud800-\udfff\ufffd]|//|(?:^|/)\.\.?(?:/|\Z)")


class View(NamedTuple):
    """What a framework's router has for a request: its route, and the fields that it matched."""

    route: Route
    fields: Fields


class Router(Protocol):
    """A framework's router, asked for the paths that no configured route is about."""

    @property
    def routes(self) -> Sequence[Route]:
        """Every route that it may find."""
        ...

    def find(self, method: str, path: str) -> View | None:
        """Return what a request reaches, ``None`` where that is decided by more than these two.

        The same for the same arguments, for as long as the router is in the table.
        """
        ...


@dataclass(frozen=True, slots=True)
class RouteMatch:
    """What the table says of one method and path.

    ``route`` is what matched, if anything did. ``view`` is the router's route where it was asked,
    which is when the facts depend on it. ``names_model``: ``model`` is one that the request is
    about, unknown if it is ``None``. ``models_by`` and ``body`` name more, and each must be
    permitted. ``model_in_path`` and ``tenant_in_path``: these facts are fields of the path, and
    where they are unknown, nothing else may tell them.
    """

    auth: Auth
    model: str | None
    access: Access
    scopes: tuple[str, ...]
    tenant: str | None
    route: Route | None = None
    view: Route | None = None
    names_model: bool = False
    model_in_path: bool = False
    tenant_in_path: bool = False
    models_by: tuple[NamesModels, ...] = ()
    body: BodyFields | None = None


class RouteTable:
    """Routes compiled once; matches are remembered for short paths, up to ``memo_max`` of them."""

    def __init__(
        self,
        routes: Sequence[Route] = (),
        *,
        protect: Iterable[str] = ("/*",),
        routers: Sequence[Router] = (),
        tenancy: bool = False,
        model_from: ModelSource | None = None,
        memo_max: int = 4_096,
    ) -> None:
        """Compile ``routes`` and the patterns of ``protect``: what is guarded at all.

        ``tenancy``: requests name tenants, whether or not a route does. ``model_from`` names the
        models of requests whose route says nothing of a model.
        """
        self.routes = tuple(routes)
        self._routers = tuple(routers)
        self._compiled = [(route, route.pattern()) for route in self.routes]
        self.protect = tuple(protect)
        self._protect = [compile_path(pattern, whole_branch=True) for pattern in self.protect]
        starts = [fixed_start(pattern) for pattern in self.protect]
        every = [*self.routes, *(route for router in routers for route in router.routes)]
        self.tenancy = tenancy or any(
            route.tenant is not None and _may_be_guarded(route, starts) for route in every
        )
        declared = [route for route in every if not route.configured]
        self._tenants_declared = any(route.tenant is not None for route in declared)
        self._models_declared = any(route.names_models for route in declared)
        unread = [each for each in declared if isinstance(each, UnreadRoute) and each.anywhere]
        self._unread_models = any(route.names_models for route in unread)
        self._unread_tenants = any(route.tenant is not None for route in unread)
        self._body = None if model_from is None else model_from.body
        self._models_by = () if model_from is None else model_from.calls
        self._memo: dict[tuple[str, str], RouteMatch | None] = {}
        self._memo_max = memo_max

    def match(self, method: str, path: str) -> RouteMatch | None:
        """Return what the table says, or ``None`` for a path that no router reads in one way only.

        Such paths do not start with a slash, have empty or dot segments, backslashes, control
        characters, what servers put for bytes that are not UTF-8, or more than ``PATH_MAX``
        characters. What a site demands of a path holds with a slash more or less at its end, since
        some routers take both alike, unless a route for that very path says something else; what it
        grants does not.
        """
        try:
            return self._memo[method, path]
        except KeyError:
            found = self._find(method, path)
        if len(path) <= PATH_REMEMBERED_MAX and len(method) <= METHOD_REMEMBERED_MAX:
            if len(self._memo) >= self._memo_max:
                self._memo.clear()
            self._memo[method, path] = found
        return found

    def match_unrouted(self, method: str, path: str) -> RouteMatch | None:
        """Return what the table says of a request whose view depends on more than these two.

        No router is asked. A key is read, though not required, where nothing is said of the path:
        the view itself may ask for one. Nothing is remembered.
        """
        return self._find(method, path, routed=False)

    def may_guard(self, route: Route) -> bool:
        """Return whether some request that a framework's route answers may need a key."""
        if route.auth != "exempt":
            return True
        sample = sample_path(route.path)
        methods = route.methods or ("GET",)
        matches = [self.match(method, sample) for method in methods]
        if any(match is None or match.auth != "exempt" for match in matches):
            return True
        partly = any(may_meet(pattern, route.path) for pattern in self.protect)
        return partly and not self._protects(sample)

    def _find(self, method: str, path: str, *, routed: bool = True) -> RouteMatch | None:
        if not path.startswith("/") or len(path) > PATH_MAX or _STRANGE.search(path):
            return None
        # Some applications take methods in any case, so demands hold in any, favours in one.
        asked = method.upper() if method.upper() != WEBSOCKET else method
        found = self._first(asked, method, path, routed=routed)
        if found.route is not None and found.route.is_one_path:
            return found
        beside = self._beside(asked, path, found.route)
        return found if beside is None else _with_demands(found, beside, method)

    def _beside(self, method: str, path: str, route: Route | None) -> Route | None:
        """Return the configured route before this one, for the path with a slash more or less."""
        other = path[:-1] if path.endswith("/") else f"{path}/"
        for each, pattern in self._compiled:
            if each is route:
                return None
            if each.configured and each.answers(method) and pattern.fullmatch(other):
                return each
        return None

    def _first(self, asked: str, method: str, path: str, *, routed: bool) -> RouteMatch:
        for route, pattern in self._compiled:
            if not route.answers(asked):
                continue
            found = pattern.fullmatch(path)
            if found is not None:
                fields: Fields = found.groupdict()
                view = self._view(asked, path) if routed and route.asks_view else None
                if view is not None:
                    fields = {**view.fields, **fields}
                return self._matched(
                    route, fields, method, path, spelled=asked == method, view=view
                )
        view = self._view(asked, path) if routed else None
        if view is not None:
            return self._matched(
                view.route, view.fields, method, path, spelled=asked == method, view=view
            )
        return RouteMatch(
            auth="required" if self._protects(path) else "exempt" if routed else "optional",
            model=None,
            access=default_access(method),
            scopes=(),
            tenant=None if self.tenancy else OWN_TENANT,
            names_model=self._models_declared if not routed else self._unread_models,
            tenant_in_path=self._tenants_declared if not routed else self._unread_tenants,
            models_by=self._models_by,
            body=self._body,
        )

    def _view(self, method: str, path: str) -> View | None:
        found = (router.find(method, path) for router in self._routers)
        return next((view for view in found if view is not None), None)

    def _matched(
        self,
        route: Route,
        fields: Fields,
        method: str,
        path: str,
        *,
        spelled: bool,
        view: View | None = None,
    ) -> RouteMatch:
        names_model = route.model is not None or self._hides(route, "model")
        tenant = None if self.tenancy else OWN_TENANT
        if route.tenant is not None:
            tenant = as_tenant(fill(route.tenant, fields))
        silent = not (names_model or route.names_models)
        guarded = not spelled or (not route.configured and self._protects(path))
        return RouteMatch(
            auth="required" if guarded else route.auth,
            model=fill(route.model, fields),
            access=(route.access if spelled else None) or default_access(method),
            scopes=route.scopes,
            tenant=tenant,
            route=route,
            view=None if view is None else view.route,
            names_model=names_model,
            model_in_path="{" in (route.model or ""),
            tenant_in_path="{" in (route.tenant or "") or self._hides(route, "tenant"),
            models_by=self._models_by if silent else route.models_by,
            body=self._body if silent else route.body,
        )

    def _hides(self, route: Route, fact: str) -> bool:
        """Return whether a route may be about a fact that it does not tell, as some route does."""
        told = self._models_declared if fact == "model" else self._tenants_declared
        return told and fact in route.unresolved

    def _protects(self, path: str) -> bool:
        return any(pattern.fullmatch(path) for pattern in self._protect)


def _with_demands(found: RouteMatch, beside: Route, method: str) -> RouteMatch:
    """Return a match with what is demanded by a route that is only almost meant.

    What that says of model and tenant it says of another path: here they are unknown, unless the
    framework's own router told them, or it is the same.
    """
    if beside.auth == "exempt":
        return found
    chosen = found.route is not None and found.route.configured
    told = found.names_model or (found.route is not None and found.route.names_models)
    if beside.names_models and (chosen or not told):
        found = replace(found, names_model=True, model=None, models_by=(), body=None)
    if beside.tenant not in {None, found.tenant} and (chosen or found.tenant is None):
        found = replace(found, tenant_in_path=True, tenant=None)
    writes = "write" in {found.access, beside.access or default_access(method)}
    return replace(
        found,
        auth="required" if beside.auth == "required" else found.auth,
        scopes=tuple(dict.fromkeys((*found.scopes, *beside.scopes))),
        access="write" if writes else "read",
    )


def _may_be_guarded(route: Route, protected: Iterable[str]) -> bool:
    if route.auth != "exempt" or route.configured:
        return route.auth != "exempt"
    start = fixed_start(route.path)
    return any(start.startswith(each) or each.startswith(start) for each in protected)
