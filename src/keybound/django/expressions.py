"""Regular expressions of a URLconf that answer other paths than those that they show.

Django searches for an expression, from anywhere: only one that begins with ``^`` begins where the
path does, and only a view whose expression ends in ``$`` has to match all of it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.urls import URLResolver
from django.urls.resolvers import LocalePrefixPattern, RegexPattern, RoutePattern

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True, slots=True)
class Loose:
    """An expression as it is written, for whole URLconfs as well as for views.

    ``start``: what the paths that it shows begin with, as far as that can be told, if it answers
    paths that begin otherwise, too; else ``None``, and it answers longer ones.
    """

    written: str
    start: str | None


def loose_expressions(resolver: URLResolver, prefix: str = "/") -> Iterator[Loose]:
    """Yield every such expression beneath a resolver, whose own paths begin with ``prefix``."""
    for each in resolver.url_patterns:
        pattern, beneath = each.pattern, isinstance(each, URLResolver)
        if isinstance(pattern, RegexPattern):
            yield from _loose(pattern.regex, prefix, view=not beneath)
        if isinstance(each, URLResolver):
            yield from loose_expressions(each, prefix + _start(pattern))


def _loose(expression: re.Pattern[str], prefix: str, *, view: bool) -> Iterator[Loose]:
    written = expression.pattern
    whole = view and written.endswith("$")  # Django asks no less of the whole path then
    forks = _forks(written)
    begins = whole or written == "" or (_BEGINS.match(written) and not forks)
    if not begins or expression.flags & re.IGNORECASE:
        for way in written.split("|") if forks else [written]:
            yield Loose(written, prefix + _literal(way))
    elif view and not whole and not written.endswith(r"\Z"):
        yield Loose(written, None)


def _literal(written: str) -> str:
    """Return what every path that an expression shows begins with."""
    found = _LITERAL.match(written)
    return "" if found is None else found[1].replace("\\", "")


_BEGINS = re.compile(r"\^|\\A")
_LITERAL = re.compile(r"(?:\(\?[a-zA-Z]+\))?(?:\^|\\A)?((?:[\w/-]|\\[./-])*)", re.ASCII)
_NO_STRUCTURE = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]", re.DOTALL)
_GROUP = re.compile(r"\([^()]*\)")


def _forks(written: str) -> bool:
    """Return whether an expression has alternatives that are not in a group."""
    rest = _NO_STRUCTURE.sub("", written)
    while (shorter := _GROUP.sub("", rest)) != rest:
        rest = shorter
    return "|" in rest


def _start(pattern: object) -> str:
    """Return what the paths of an included URLconf begin with, as far as that can be told."""
    if isinstance(pattern, LocalePrefixPattern):
        return ""
    if isinstance(pattern, RegexPattern):
        return _literal(pattern.regex.pattern)
    written: object = getattr(pattern, "_route", "") if isinstance(pattern, RoutePattern) else ""
    return written.partition("<")[0] if isinstance(written, str) else ""
