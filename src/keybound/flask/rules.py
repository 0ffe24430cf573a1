"""The rules of an application, as the guard's table asks for them.

They are copied into a map of their own, which Werkzeug matches as it does the application's. The
copy is asked before there is a request, and remembers nothing of the application: converters that
a site wrote, which may look anything up, are not run. What they match is not known.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Final

from werkzeug.exceptions import HTTPException
from werkzeug.routing import BaseConverter, Map, RequestRedirect, Rule

from keybound.core.declared import Arguments, DeclaredRoute, argument_text
from keybound.core.demands import Demand, joined
from keybound.core.facts import WEBSOCKET
from keybound.core.table import View
from keybound.flask.demands import demands_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from flask import Flask

_ARGUMENT = re.compile(r"<(?:([a-zA-Z_]\w*)(?:\(.*?\))?:)?([a-zA-Z_]\w*)>", re.ASCII)

_UNKNOWN: Final = object()
"""What a converter that nobody may run makes of a part of a path."""


@dataclass(frozen=True, slots=True, eq=False)
class Declared:
    """What a view declares for some methods.

    ``demand`` is what its ``demands`` are together; ``whole`` has what its arguments say besides,
    for requests that the table did not decide under this very route.
    """

    route: DeclaredRoute
    demands: tuple[Demand, ...]
    demand: Demand

    @property
    def whole(self) -> Demand:
        """The demand with a model and a tenant that arguments of these names give."""
        return replace(self.demand, model=self.route.model, tenant=self.route.tenant)


@dataclass(frozen=True, slots=True, eq=False)
class RuleDemands:
    """What one rule declares for each of its methods, and for any other."""

    endpoint: str
    by_method: Mapping[str, Declared]
    other: Declared

    @property
    def static(self) -> bool:
        """Return whether it serves the static files of an application or a blueprint."""
        return self.endpoint.rpartition(".")[2] == "static"

    @property
    def routes(self) -> tuple[DeclaredRoute, ...]:
        """Every route of it, once."""
        every = (each.route for each in (*self.by_method.values(), self.other))
        return tuple({id(route): route for route in every}.values())

    def declared(self, method: str) -> Declared:
        """Return what holds for a method, in capitals."""
        return self.by_method.get(method, self.other)

    def fields(self, arguments: Mapping[str, Any] | None) -> dict[str, str | None]:
        """Return what fills templates: arguments as the view gets them, if that is a name.

        ``007`` that arrives as the number 7 is ``7``; anything but text, whole numbers and UUIDs is
        not known.
        """
        known = {name: argument_text(value) for name, value in (arguments or {}).items()}
        blueprint = self.endpoint.rpartition(".")[0] or None
        return {"blueprint": blueprint, "endpoint": self.endpoint, **known}


def read_rule(app: Flask, rule: Rule) -> RuleDemands:
    """Return what a rule of an application declares.

    Raises ``InputError`` for demands that contradict each other, and for fields that it lacks.
    """
    endpoint = str(rule.endpoint)
    groups: dict[tuple[Demand, ...], list[str]] = {}
    for method in sorted(rule.methods or ()):
        groups.setdefault(demands_of(app, endpoint, method), []).append(method)
    by_method = {
        method: declared
        for demands, methods in groups.items()
        for declared in (_declared(rule, demands, methods),)
        for method in methods
    }
    other = next(iter(by_method.values()), None)
    if other is None:
        other = _declared(rule, demands_of(app, endpoint, None), None)
    return RuleDemands(endpoint, by_method, other)


def _declared(rule: Rule, demands: tuple[Demand, ...], methods: Iterable[str] | None) -> Declared:
    demand = joined(demands, path=f"{rule.rule} ({rule.endpoint})") or Demand(auth="exempt")
    if rule.websocket:  # what keeps a connection open does more than its GET says
        demand = replace(demand, access=demand.access or "write")
    path = _ARGUMENT.sub(lambda found: _field(rule.map, *found.groups()), rule.rule)
    arguments: set[str] = rule.arguments  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType] - nobody typed it whole
    names = Arguments.named(sorted(arguments))
    members = {each.name: getattr(demand, each.name) for each in fields(demand)}
    return Declared(DeclaredRoute(path, names, methods, **members), demands, demand)


class RuleRouter:
    """Tells the table what Flask will choose, for the rules that there were when it was made."""

    def __init__(
        self, url_map: Map, rules: Sequence[tuple[Rule, RuleDemands]], *, asked: bool
    ) -> None:
        """Copy the rules; without ``asked``, more than method and path decide, so find nothing."""
        self.demands = tuple(demands for _, demands in rules)
        self.routes: tuple[DeclaredRoute, ...] = tuple(
            route for demands in self.demands for route in demands.routes
        )
        copied = Map(
            default_subdomain=url_map.default_subdomain,
            strict_slashes=url_map.strict_slashes,
            merge_slashes=url_map.merge_slashes,
            redirect_defaults=False,
            converters={name: _pure(kind) for name, kind in url_map.converters.items()},
        )
        for copy in _copies(rules):
            copied.add(copy)
        self._adapter = copied.bind("", subdomain=url_map.default_subdomain) if asked else None

    def find(self, method: str, path: str) -> View | None:
        """Return what a request reaches, ``None`` where no view is or where nobody can tell.

        A path that Flask redirects to the one with a slash at its end is treated as that.
        """
        if self._adapter is None or method == WEBSOCKET:
            return None
        try:
            try:
                rule, arguments = self._adapter.match(path, method, return_rule=True)
            except RequestRedirect:
                rule, arguments = self._adapter.match(f"{path}/", method, return_rule=True)
        except (HTTPException, ValueError):  # no such page; or a number that nobody can read
            return None
        demands: RuleDemands = rule.endpoint
        return View(demands.declared(method).route, demands.fields(arguments))


def _copies(rules: Iterable[tuple[Rule, RuleDemands]]) -> Iterator[Rule]:
    """Yield copies of what requests may reach; a rule for WebSockets is chosen by a header."""
    for rule, demands in rules:
        if not (rule.build_only or rule.websocket):
            yield Rule(
                rule.rule,
                defaults=rule.defaults,
                subdomain=rule.subdomain,
                methods=rule.methods,
                endpoint=demands,
                strict_slashes=rule.strict_slashes,
                merge_slashes=rule.merge_slashes,
            )


def _pure(kind: type[BaseConverter]) -> type[BaseConverter]:
    """Return a converter of Werkzeug's, or one that matches alike and makes nothing of it."""
    if kind.to_python.__module__ == BaseConverter.__module__:
        return kind

    def to_python(_self: BaseConverter, _value: str) -> object:
        return _UNKNOWN

    return type(kind.__name__, (kind,), {"to_python": to_python})


def _field(url_map: Map, converter: str | None, name: str) -> str:
    """Return an argument of a rule as our patterns write it."""
    kind = url_map.converters.get(converter or "default", BaseConverter)
    return f"{{{name}}}" if kind.part_isolating else f"{{{name}:path}}"
