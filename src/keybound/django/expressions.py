"""Regular expressions of a URLconf that answer other paths than those that they show.

Django searches for an expression, from anywhere: only one that begins with ``^`` begins where the
path does, and only a view whose expression ends in ``$`` has to match all of it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.urls import URLResolver
from django.urls.converters import IntConverter, SlugConverter, StringConverter, UUIDConverter
from django.urls.resolvers import LocalePrefixPattern, RegexPattern, RoutePattern

from keybound.core.patterns import may_meet

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from django.urls import URLPattern


@dataclass(frozen=True, slots=True, kw_only=True)
class Loose:
    """An expression as it is written, of a view or of an included URLconf.

    ``prefix``: what paths begin with that come here at all. ``shown``: patterns of the paths that
    it shows. It answers paths that begin otherwise, or, if it is ``longer``, that go on otherwise.
    """

    written: str
    prefix: str
    shown: Sequence[str]
    longer: bool = False

    def opens(self, protect: Sequence[str]) -> bool:
        """Return whether what it shows is guarded, and what it answers besides is not."""
        if any(_covers(pattern, self.prefix) for pattern in protect):
            return False
        if self.longer:  # ``/v1x`` is not under ``/v1``
            starts = {path.partition("{")[0] for path in self.shown}
            return any(pattern.removesuffix("/*") in starts for pattern in protect)
        return any(may_meet(pattern, path) for pattern in protect for path in self.shown)


def loose_expressions(resolver: URLResolver, prefix: str = "/") -> Iterator[Loose]:
    """Yield every such expression beneath a resolver, whose own paths begin with ``prefix``."""
    for each in resolver.url_patterns:
        if isinstance(each.pattern, RegexPattern):
            yield from _loose(each, each.pattern.regex, prefix)
        if isinstance(each, URLResolver):
            yield from loose_expressions(each, prefix + _start(each.pattern).partition("{")[0])


def _loose(
    each: URLPattern | URLResolver, expression: re.Pattern[str], prefix: str
) -> Iterator[Loose]:
    written, view = expression.pattern, not isinstance(each, URLResolver)
    whole = view and written.endswith("$")  # Django asks no less of the whole path then
    any_case = expression.flags & re.IGNORECASE or _ANY_CASE.search(written)
    for way in _alternatives(written):
        paths = [prefix + path for path in _paths(each, way)]
        if any_case or not (whole or way == "" or _BEGINS.match(way)):
            yield Loose(written=written, prefix=prefix, shown=paths)
        elif view and not whole and not way.endswith(r"\Z"):
            yield Loose(written=written, prefix=prefix, shown=paths, longer=True)


def _paths(each: URLPattern | URLResolver, written: str) -> list[str]:
    """Return patterns of the paths that an expression shows, each with what is beneath it."""
    start = _of_expression(written)
    if not isinstance(each, URLResolver):
        return [] if start == _SPAN else [start]  # a view for any path shows none
    return _with_beneath(start, each)


def _with_beneath(start: str, each: URLPattern | URLResolver) -> list[str]:
    """Return what a pattern shows together with what is beneath it; nobody tells where it ends."""
    if start.endswith(_SPAN) or not isinstance(each, URLResolver):
        return [start]
    return [
        start + path
        for child in each.url_patterns
        for path in _with_beneath(_start(child.pattern), child)
    ]


def _start(pattern: object) -> str:
    """Return what a pattern shows, an expression as well."""
    if isinstance(pattern, RegexPattern):
        return _of_expression(pattern.regex.pattern)
    return shown(pattern)


def _of_expression(written: str) -> str:
    """Return what every path that an expression shows begins with, and whether it goes on."""
    found = _LITERAL.match(written)
    literal = "" if found is None else found[1].replace("\\", "")
    rest = written if found is None else written[found.end() :]
    return literal if rest in {"", "$", r"\Z"} and literal else literal + _SPAN


_BEGINS = re.compile(r"\^|\\A")
_ANY_CASE = re.compile(r"\(\?[a-zA-Z]*i[a-zA-Z-]*[:)]")
_LITERAL = re.compile(r"(?:\^|\\A|\(\?[a-zA-Z-]+[:)])*((?:[\w/-]|\\[./-])*)(?![*?{])", re.ASCII)


def _alternatives(written: str) -> list[str]:
    """Return the alternatives of an expression that are not in a group: mostly there is one."""
    ways, depth = [""], 0
    for token in _TOKEN.findall(written):
        depth += (token == "(") - (token == ")")  # noqa: S105 - of an expression
        if token == "|" and not depth:  # noqa: S105 - the same
            ways.append("")
        else:
            ways[-1] += token
    return ways


_TOKEN = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|.", re.DOTALL)
"""An escaped character, a class of characters, or a character."""


def _covers(pattern: str, prefix: str) -> bool:
    """Return whether a pattern of ``PROTECT`` guards every path that begins like this."""
    branch = pattern.removesuffix("/*")
    return branch != pattern and prefix.startswith(f"{branch}/")


_SPAN = "{_:path}"
"""In patterns for people and for comparing: any number of segments."""

_ONE_SEGMENT = (IntConverter, SlugConverter, StringConverter, UUIDConverter)


def shown(pattern: object) -> str:
    """Return a pattern as a route writes it, wider where it cannot be told."""
    if isinstance(pattern, LocalePrefixPattern):
        return "{_}/" if pattern.prefix_default_language else _SPAN
    written: object = getattr(pattern, "_route", None)
    if not isinstance(pattern, RoutePattern) or not isinstance(written, str):
        return _SPAN
    shown, rest = "", written
    for name, converter in pattern.converters.items():
        before, _, behind = rest.partition("<")
        parameter, _, rest = behind.partition(">")
        one = type(converter) in _ONE_SEGMENT and parameter.endswith(name)
        shown += before + (f"{{{name}}}" if one else f"{{{name}:path}}")
    shown += rest
    return shown if "*" not in shown else _SPAN
