"""What every shell does when it is installed: a guard of the right kind, once, around the whole."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeVar, cast

from keybound.core.declared import DeclaredRoute
from keybound.core.errors import SettingsError
from keybound.core.forwarded import rewritten
from keybound.guard import AsyncGuard, BaseGuard, Guard

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from keybound.core.head import Head
    from keybound.core.table import RouteTable

logger = logging.getLogger("keybound")

G = TypeVar("G", bound=BaseGuard)

_INSIDE = ("app", "wsgi_app", "application")
"""Attributes under which middleware and frameworks keep the application that they wrap."""

_NESTED_MAX = 100
"""Applications within applications that are searched for what cannot work."""


def usable_guard(kind: type[G], guard: object) -> G:
    """Return the guard, or one made from the environment and ``keybound.toml`` where none is given.

    Raises ``SettingsError`` for a guard of the other kind, and for what is wrong with the settings.
    """
    if guard is None:
        return kind.from_settings()
    if not isinstance(guard, kind):
        other = ".to_async()" if kind is AsyncGuard else ".to_sync()"
        found = type(guard).__name__
        raise SettingsError("guard", f"is {found}", fix=f"give {_a(kind.__name__)}, or {other}")
    if kind is Guard:
        guard.engine.authenticators.refuse_awaited()
    return guard


def refuse_twice(app: object, middleware: type) -> None:
    """Raise ``SettingsError`` for a guarded application: a second guard would audit all twice."""
    if any(issubclass(kind, middleware) for kind in _kinds(app)):
        raise SettingsError("middleware", "is installed twice", fix="remove one of the two")


def refuse_root_path(app: object) -> None:
    """Raise for an application that cuts its paths after the decision: the router sees others."""
    for inner in nested(app):
        root: object = getattr(inner, "root_path", None)
        if isinstance(root, str) and root:
            raise SettingsError(
                "middleware",
                f"is outside an application with root_path {root!r}",
                fix="use init_app(app, guard), or the server's --root-path",
            )


def nested(app: object) -> Iterator[object]:
    """Yield an application, and what it wraps."""
    inner: object = app
    for _ in range(_NESTED_MAX):
        if inner is None:
            return
        yield inner
        inner = next((found for name in _INSIDE if (found := getattr(inner, name, None))), None)


def _kinds(app: object) -> Iterator[type]:
    """Yield the classes of what an application wraps, built already or as Starlette keeps them."""
    for inner in nested(app):
        yield type(inner)
        later = [getattr(each, "cls", None) for each in getattr(inner, "user_middleware", ())]
        yield from (kind for kind in later if isinstance(kind, type))


def tell_inner_cors(app: object) -> None:
    """Warn of CORS middleware inside of ours: browsers ask first without a key, and are refused."""
    for name in [kind.__name__ for kind in _kinds(app)]:
        if "cors" in name.lower():
            logger.warning(
                "%s is inside of keybound, so that preflights and refusals get no CORS headers: "
                "put it outside, or set exempt_preflight",
                name,
            )


def tell_rewritten(client: Sequence[object] | None, head: Head) -> bool:
    """Warn of a server that reads headers of proxies by itself; return whether this one has."""
    told = rewritten(client, head.lines("x-forwarded-for"))
    if told:
        logger.warning(
            "the server has put an address of X-Forwarded-For in the place of its peer: let it "
            "not (uvicorn --no-proxy-headers), so that trusted_proxies alone decides"
        )
    return told


def refuse_open(table: RouteTable, routes: Iterable[DeclaredRoute]) -> None:
    """Raise ``SettingsError`` for an application that has routes, of which none can need a key."""
    every = list(routes)
    if every and not any(table.may_guard(_widened(route)) for route in every):
        raise SettingsError(
            "protect",
            f"{', '.join(table.protect)} guards no route of the application",
            fix="protect=['/*'] guards all",
        )


def refuse_open_app(table: RouteTable, app: object) -> None:
    """Raise the same for an application around a router like Starlette's.

    In doubt there is nothing to say: an application may have routes that cannot be read.
    """
    found: Iterator[object] = (getattr(inner, "routes", None) for inner in nested(app))
    every = next((cast("Sequence[object]", each) for each in found if _listed(each)), ())
    patterns = [getattr(each, "path_regex", None) for each in every]
    shown = any(getattr(each, "include_in_schema", True) for each in every)  # not documents alone
    if shown and all(isinstance(pattern, re.Pattern) for pattern in patterns):
        refuse_open(table, map(_read, every))


def _listed(found: object) -> bool:
    return isinstance(found, Sequence)


def _read(route: object) -> DeclaredRoute:
    path: str = getattr(route, "path_format", "/*")
    methods: Iterable[str] | None = getattr(route, "methods", None)
    return DeclaredRoute(path, cast("re.Pattern[str]", getattr(route, "path_regex", None)), methods)


def _widened(route: DeclaredRoute) -> DeclaredRoute:
    """Return a route whose path shows, as patterns do, where it may span several segments."""
    path, pattern = route.path, route.pattern().pattern
    for name in route.regex.groupindex:
        # What Starlette has for text and numbers; another convertor may match anything.
        if f"(?P<{name}>[^/]+)" not in pattern and f"(?P<{name}>[0-9" not in pattern:
            path = path.replace(f"{{{name}}}", f"{{{name}:path}}")
    return DeclaredRoute(path, route.regex, route.methods, auth=route.auth)


def _a(name: str) -> str:
    return f"an {name}" if name[0] in "AEIOU" else f"a {name}"
