"""What an application's router says of its paths, read into the guard's table."""

from __future__ import annotations

import re
from itertools import chain, combinations
from typing import TYPE_CHECKING, Any

from starlette.convertors import PathConvertor, StringConvertor
from starlette.routing import Host, Mount, WebSocketRoute

from keybound.core.declared import DeclaredRoute, UnreadRoute
from keybound.core.demands import Demand, joined
from keybound.core.facts import WEBSOCKET
from keybound.core.patterns import template_fields
from keybound.fastapi.demands import demands_of
from keybound.fastapi.nesting import among, applications, contexts
from keybound.installing import nested

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from starlette.applications import Starlette
    from starlette.convertors import Convertor
    from starlette.routing import BaseRoute, Router

    from keybound.core.facts import Access

    Convertors = Mapping[str, Convertor[Any]]

_WITH_SLASHES = ("/", "a/", "/a", "a/a", "0/0", "a0/a0", "//")

_REST_NAME = "path"
_REST = f"/(?P<{_REST_NAME}>.*)"
"""What Starlette appends to the path of a mount, for what is left to the mounted."""


def declared(
    routes: Sequence[BaseRoute],
    *,
    outer: str = "",
    shown: str = "",
    around: Convertors | None = None,
    certain: bool = True,
    within: tuple[object, ...] = (),
) -> Iterator[DeclaredRoute]:
    """Yield every route, also those that demand nothing, since the first that matches is meant.

    ``outer`` is the expression, ``shown`` the path, and ``around`` the convertors, under which the
    routes are mounted. What is chosen by more than path and method, a host for instance, is left
    to the dependencies, and told of by an ``UnreadRoute``; so is what is mounted where it may see
    other paths. Behind such a route nothing is ``certain``: demands hold, but no route gives its
    access or facts to a request that may reach the other one. ``within`` are the applications that
    the routes are mounted in: what leads back to one of them is not followed.
    """
    for each, by_path in _in_order(routes):
        certain = certain and by_path
        original = getattr(each, "original_route", each)
        regex = getattr(each, "path_regex", None)
        if regex is None:
            if isinstance(original, Host):
                fields = {*(around or ()), *original.param_convertors}
                facts = _left(applications(original), fields, within)
                if facts:
                    yield UnreadRoute(facts, anywhere=True)
            continue
        inner = regex.pattern.removeprefix("^").removesuffix("$")
        path, whole = shown + each.path_format, re.compile(_joined(outer, inner))
        convertors = {**(around or {}), **each.param_convertors}
        if isinstance(original, Mount):
            prefix = shown + each.path
            found = [app for app in applications(each) if not among(app, within)]
            if len(found) == 1 and all(_sees_whole_path(app, prefix) for app in nested(each.app)):
                own = [each for name, each in each.param_convertors.items() if name != _REST_NAME]
                yield from declared(
                    found[0].routes,
                    outer=_joined(outer, inner.removesuffix(_REST)),
                    shown=prefix,
                    around=convertors,
                    certain=certain and not any(map(_spans, own)),
                    within=(*within, found[0]),
                )
                found = []
            yield from _unread_under(path, whole, _left(found, convertors, within))
        elif isinstance(original, WebSocketRoute):
            yield from _readings(path, whole, [WEBSOCKET], each, convertors, certain=certain)
        else:
            yield from _readings(path, whole, each.methods, each, convertors, certain=certain)


def _in_order(routes: Sequence[BaseRoute]) -> Iterator[tuple[Any, bool]]:
    """Yield routes like `contexts`, and whether path and method alone decide if each is meant."""
    for route in routes:
        routers = _routers(route)
        for each in contexts([route]):
            original = getattr(each, "original_route", each)
            by_path = not isinstance(original, Host) and all(map(_by_path, [original, *routers]))
            yield each, by_path


def _routers(route: object) -> list[object]:
    """Return the routers that are included by one, and by those."""
    router = getattr(route, "original_router", None)
    if router is None:
        return []
    return [router, *chain.from_iterable(map(_routers, router.routes))]


def _by_path(route: object) -> bool:
    matches: object = getattr(type(route), "matches", None)  # routers have none at FastAPI 0.115
    written_by = getattr(matches, "__module__", "").partition(".")[0]
    return matches is None or written_by in {"fastapi", "starlette"}


def _unread_under(
    path: str, regex: re.Pattern[str], facts: Collection[str]
) -> Iterator[DeclaredRoute]:
    """Yield what is known of requests to a mount that no route in it is for."""
    if facts:
        yield UnreadRoute(facts, anywhere=False)
    for methods in (None, [WEBSOCKET]):
        yield DeclaredRoute(path, regex, methods, unresolved=facts)


def _left(
    apps: Iterable[Starlette | Router], around: Iterable[str], within: tuple[object, ...]
) -> set[str]:
    """Return the facts that applications leave to the table, in mounts with these fields."""
    facts = set[str]()
    for app in apps:
        if among(app, within):
            continue
        for each in contexts(app.routes):
            original = getattr(each, "original_route", each)
            fields = {*around, *getattr(each, "param_convertors", ())}
            if isinstance(original, Mount | Host):
                facts |= _left(applications(original), fields, (*within, app))
            else:
                facts |= _left_to_the_table(_demand(each, getattr(each, "path", "")), fields)
    return facts


def _demand(route: object, path: str) -> Demand:
    dependant = getattr(route, "dependant", None)
    demands = () if dependant is None else demands_of(dependant)
    return joined(demands, path=path) or Demand(auth="exempt")


def _left_to_the_table(demand: Demand, fields: Iterable[str]) -> set[str]:
    """Return the facts that fields give by name alone, so that no dependency looks at them."""
    said = {"model": demand.model, "tenant": demand.tenant}
    return {name for name in fields if name in said and said[name] is None}


def _sees_whole_path(app: object, prefix: str) -> bool:
    return getattr(app, "root_path", "") in {"", prefix}


def _spans(convertor: Convertor[Any]) -> bool:
    """Return whether a field of a mount may hold a slash: then the router alone knows its end."""
    return any(re.fullmatch(convertor.regex, text) for text in _WITH_SLASHES)


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
    demand = _demand(route, path)
    facts = {"model": demand.model, "tenant": demand.tenant}
    if not certain:
        left = _left_to_the_table(demand, regex.groupindex)
        if left:
            yield UnreadRoute(left, anywhere=False)
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
