"""What an application's router says of its paths, read into the guard's table.

FastAPI 0.115 keeps the routes of included routers flat; later ones nest them, and tell with
``iter_route_contexts`` which path and which dependencies a route has where it is included.
"""

from __future__ import annotations

import re
from itertools import chain, combinations
from typing import TYPE_CHECKING, Any

from fastapi import routing
from starlette.convertors import PathConvertor, StringConvertor
from starlette.routing import Host, Mount, WebSocketRoute

from keybound.core.declared import DeclaredRoute
from keybound.core.demands import Demand, joined
from keybound.core.facts import WEBSOCKET
from keybound.core.patterns import template_fields
from keybound.fastapi.demands import demands_of
from keybound.installing import nested

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from starlette.convertors import Convertor
    from starlette.routing import BaseRoute

    from keybound.core.facts import Access

    Convertors = Mapping[str, Convertor[Any]]

_REST = "/(?P<path>.*)"
"""What Starlette appends to the path of a mount, for what is left to the mounted."""


def contexts(routes: Sequence[BaseRoute]) -> Iterator[Any]:
    """Yield routes as they are where they are included, in the order in which they are tried."""
    flatten: Callable[[Sequence[BaseRoute]], Iterator[Any]]
    flatten = getattr(routing, "iter_route_contexts", iter)
    return flatten(routes)


def declared(
    routes: Sequence[BaseRoute],
    *,
    outer: str = "",
    shown: str = "",
    around: Convertors | None = None,
    certain: bool = True,
) -> Iterator[DeclaredRoute]:
    """Yield every route, also those that demand nothing, since the first that matches is meant.

    ``outer`` is the expression, ``shown`` the path, and ``around`` the convertors, under which the
    routes are mounted. What is chosen by more than path and method, a host for instance, is left
    to the dependencies; so is a mounted application that sets a root path, and so sees other paths.
    Behind such a route nothing is ``certain``: demands hold, but no route gives its access or facts
    to a request that may reach the other one.
    """
    for each in contexts(routes):
        certain = certain and _by_path(getattr(each, "original_route", each))
        regex = getattr(each, "path_regex", None)
        if regex is None:
            continue
        original = getattr(each, "original_route", each)
        inner = regex.pattern.removeprefix("^").removesuffix("$")
        path, whole = shown + each.path_format, re.compile(_joined(outer, inner))
        convertors = {**(around or {}), **each.param_convertors}
        if isinstance(original, Mount):
            below, prefix = _joined(outer, inner.removesuffix(_REST)), shown + each.path
            if all(getattr(app, "root_path", "") in {"", prefix} for app in nested(each.app)):
                yield from declared(
                    each.routes, outer=below, shown=prefix, around=convertors, certain=certain
                )
            yield DeclaredRoute(path, whole, None)
            yield DeclaredRoute(path, whole, [WEBSOCKET])
        elif isinstance(original, WebSocketRoute):
            yield from _readings(path, whole, [WEBSOCKET], each, convertors, certain=certain)
        else:
            yield from _readings(path, whole, each.methods, each, convertors, certain=certain)


def _by_path(route: object) -> bool:
    """Return whether path and method alone decide if a route is meant."""
    matches: object = getattr(type(route), "matches", None)
    written_by = getattr(matches, "__module__", "").partition(".")[0]
    return written_by in {"fastapi", "starlette"} and not isinstance(route, Host)


def _readings(
    path: str,
    regex: re.Pattern[str],
    methods: Iterable[str] | None,
    route: object,
    convertors: Convertors,
    *,
    certain: bool,
) -> Iterator[DeclaredRoute]:
    """Yield a route as it is, and then without what a convertor turns into something else.

    Unless ``certain``, only what it demands.
    """
    dependant = getattr(route, "dependant", None)
    demands = () if dependant is None else demands_of(dependant)
    demand = joined(demands, path=path) or Demand(auth="exempt")
    facts = {"model": demand.model, "tenant": demand.tenant}
    if not certain:
        access: Access | None = "write" if demand.access == "write" else None
        yield DeclaredRoute(
            path,
            regex,
            methods,
            **facts,
            access=access,
            scopes=demand.scopes,
            auth=demand.auth,
            unresolved=facts,
        )
        return
    converted = {
        name: fields
        for name, template in facts.items()
        if (fields := _converted(template or f"{{{name}}}", convertors))
    }
    dropping = (combinations(converted, number) for number in range(len(converted) + 1))
    for dropped in chain.from_iterable(dropping):
        kept = [fields for name, fields in converted.items() if name not in dropped]
        yield DeclaredRoute(
            path,
            Canonical(regex, {k: v for fields in kept for k, v in fields.items()})
            if kept
            else regex,
            methods,
            **facts,
            access=demand.access,
            scopes=demand.scopes,
            auth=demand.auth,
            unresolved=dropped,
        )


class Canonical:
    """Matches paths whose fields reach the application as they are written.

    The others, ``007`` for 7, would be limited by one name and used by another.
    """

    def __init__(self, regex: re.Pattern[str], convertors: Convertors) -> None:
        """Match with ``regex``, and then look at the fields that have a convertor."""
        self._regex = regex
        self._convertors = convertors
        self.groupindex: Mapping[str, int] = regex.groupindex
        self.pattern = regex.pattern

    def fullmatch(self, string: str, /) -> re.Match[str] | None:
        """Return what a whole path matched."""
        found = self._regex.fullmatch(string)
        if found is None:
            return None
        same = (_same(convertor, found[name]) for name, convertor in self._convertors.items())
        return found if all(same) else None


def _same(convertor: Convertor[Any], text: str) -> bool:
    try:
        return bool(convertor.to_string(convertor.convert(text)) == text)
    except Exception:  # noqa: BLE001 - a site's own convertor may raise anything
        return False


def _converted(template: str, convertors: Convertors) -> Convertors:
    """Return the fields of a template that do not reach the application as mere text."""
    plain = (StringConvertor, PathConvertor)
    return {
        name: convertors[name]
        for name in template_fields(template)
        if name in convertors and type(convertors[name]) not in plain
    }


def _joined(outer: str, inner: str) -> str:
    """Put one expression behind another; of a name that both have, the router takes the inner."""
    for name in re.compile(inner).groupindex:
        outer = outer.replace(f"(?P<{name}>", "(?:")
    return outer + inner
