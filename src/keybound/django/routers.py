"""Django's URLconf as a router of the table: its own resolver is asked what a request reaches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.urls import Resolver404, URLResolver, get_resolver
from django.urls.resolvers import LocalePrefixPattern, RegexPattern
from django.utils.translation import get_language

from keybound.core.declared import Arguments, DeclaredRoute
from keybound.core.demands import Demand
from keybound.core.errors import InputError
from keybound.core.facts import MAY_READ
from keybound.core.patterns import fill, template_fields
from keybound.core.table import View
from keybound.django.expressions import loose_expressions, shown
from keybound.django.views import demand_of, falsely_read, fields_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

    from django.urls import ResolverMatch, URLPattern

    from keybound.core.table import RouteMatch
    from keybound.django.expressions import Loose

    Callback = Callable[..., Any]

_REMEMBERED_MAX = 4_096
_METHODS = ("GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE", "TRACE")


class URLRouter:
    """The views of a URLconf, as its resolver finds them.

    What depends on the language, and so on more than method and path, is found as ``UNTOLD``.
    """

    def __init__(self, urlconf: str) -> None:
        """Load nothing yet."""
        self._resolver = get_resolver(urlconf)
        self._found: dict[object, ViewRoute] = {}
        self._routes: tuple[ViewRoute, ...] | None = None

    @property
    def routes(self) -> Sequence[ViewRoute]:
        """Every view with its path, once for each kind of methods that it treats alike.

        Raises ``InputError`` for demands that contradict each other or name no argument.
        """
        if self._routes is None:
            self._routes = tuple(_routes(self._resolver, "/", frozenset()))
        return self._routes

    @property
    def loose(self) -> Sequence[Loose]:
        """Regular expressions that answer other paths than those that they show."""
        return [*loose_expressions(self._resolver)]

    def find(self, method: str, path: str) -> View | None:
        """Return what a request reaches: the route of its view, and the arguments as fields."""
        try:
            match = self._resolver.resolve(path)
        except Resolver404 as error:
            tried = error.args[0].get("tried", ()) if error.args else ()
            return UNTOLD if _by_language(tried, path) else None
        except Exception:  # noqa: BLE001 - a project's own converter raises it again for Django
            return UNTOLD
        if match.tried is None or _by_language(match.tried, path):
            return UNTOLD
        return View(self._route(match, method), _fields(match))

    def _route(self, match: ResolverMatch, method: str) -> ViewRoute:
        demand = demand_of(match.func, method)
        names = frozenset(match.kwargs)
        # Not every view has a hash; its number is its own for as long as the route holds it.
        key = id(match.func), match.route, match.view_name, names, demand
        route = self._found.get(key)
        if route is None:
            if len(self._found) >= _REMEMBERED_MAX:
                self._found.clear()
            route = ViewRoute(
                f"/{match.route}", names, demand, callback=match.func, view_name=match.view_name
            )
            self._found[key] = route
        return route


class ViewRoute(DeclaredRoute):
    """The route of one view; ``callback`` and ``view_name`` are those of Django's match."""

    __slots__ = ("callback", "view_name")

    callback: Callback | None
    view_name: str

    def __init__(
        self,
        path: str,
        names: Collection[str],
        demand: Demand | None,
        *,
        callback: Callback | None = None,
        view_name: str = "",
        methods: Iterable[str] | None = None,
        strict: bool = False,
        unresolved: Collection[str] = (),
    ) -> None:
        """Check the demand; raises ``InputError``, if ``strict`` for a field without argument."""
        asked = demand or Demand(auth="exempt")
        used = [] if strict else [*template_fields(asked.model), *template_fields(asked.tenant)]
        if asked.access == "read" and methods is None:
            methods = MAY_READ
        super().__init__(
            path,
            Arguments.named([*names, *used]),
            methods,
            model=asked.model,
            access=asked.access,
            scopes=asked.scopes,
            tenant=asked.tenant,
            auth=asked.auth,
            unresolved=unresolved,
        )
        object.__setattr__(self, "callback", callback)
        object.__setattr__(self, "view_name", view_name)


UNTOLD = View(ViewRoute("/*", (), Demand(auth="optional"), unresolved=("model", "tenant")), {})
"""A view that cannot be told in advance: a key is read, and nothing is known of the request."""


def reached(match: RouteMatch, view: Callback, resolved: ResolverMatch) -> bool:
    """Return whether a decision was about the very view that Django chose."""
    route = match.view
    if not isinstance(route, ViewRoute) or route.callback is not view:
        return False
    if route.view_name != resolved.view_name:
        return False
    if match.route is not route or not (
        template_fields(route.model) or template_fields(route.tenant)
    ):
        return True
    # A converter may answer something else by now: then the view is about something else.
    fields = _fields(resolved)
    tenant = fill(route.tenant, fields)
    return match.model == fill(route.model, fields) and (not route.tenant or match.tenant == tenant)


def untouched(match: RouteMatch) -> bool:
    """Return whether a decision took nothing from the URLconf."""
    return match.view is UNTOLD.route or (match.view is None and match.route is not None)


def _fields(match: ResolverMatch) -> dict[str, str | None]:
    shown = {"namespace": match.namespace or None, "view_name": match.view_name or None}
    return {**fields_of(match.kwargs), **shown}


def _by_language(tried: Iterable[Iterable[object]], path: str) -> bool:
    """Return whether the language decides which of these patterns match."""
    return any(_translated(getattr(each, "pattern", None), path) for way in tried for each in way)


def _translated(pattern: object, path: str) -> bool:
    if isinstance(pattern, LocalePrefixPattern):
        if not pattern.prefix_default_language:
            return True
        first = path.removeprefix("/").partition("/")[0]
        return first in {get_language(), settings.LANGUAGE_CODE, *dict(settings.LANGUAGES)}
    written: object = getattr(pattern, "_route", getattr(pattern, "_regex", ""))
    return not isinstance(written, str)


def _routes(resolver: URLResolver, prefix: str, names: frozenset[str]) -> Iterator[ViewRoute]:
    for each in resolver.url_patterns:
        pattern = each.pattern
        path = prefix + shown(pattern)
        inner = names | _names(pattern)
        if isinstance(each, URLResolver):
            yield from _routes(each, path, inner | each.default_kwargs.keys())
        else:
            yield from _kinds(each, path, inner | each.default_args.keys())


def _kinds(pattern: URLPattern, path: str, names: frozenset[str]) -> Iterator[ViewRoute]:
    """Yield the routes of one view: methods that it treats alike together.

    Raises ``InputError`` for demands that cannot hold.
    """
    changing = falsely_read(pattern.callback)
    if changing:
        raise InputError(
            "access",
            f"'read' for {' and '.join(changing)} of {path}",
            fix="say it of methods that read, or leave it out",
        )
    kinds: dict[Demand | None, list[str]] = {}
    for method in _METHODS:
        kinds.setdefault(demand_of(pattern.callback, method), []).append(method)
    for demand, methods in kinds.items():
        yield ViewRoute(
            path,
            names,
            demand,
            callback=pattern.callback,
            view_name=pattern.name or "",
            methods=methods if len(kinds) > 1 else None,
            strict=True,
        )


def _names(pattern: object) -> frozenset[str]:
    if isinstance(pattern, RegexPattern):
        return frozenset(pattern.regex.groupindex)
    return frozenset(getattr(pattern, "converters", {}))
