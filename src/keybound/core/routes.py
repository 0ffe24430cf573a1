"""The one table that says everything that depends on a request's path.

An ordered list of routes; the first that matches method and path wins. The same table answers
whether a path is guarded at all, and later which routes a key reaches.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal, cast, get_args

from keybound.core.errors import InputError, nearest
from keybound.core.facts import OWN_TENANT, WEBSOCKET, Access, default_access
from keybound.core.limits import Scopes
from keybound.core.patterns import (
    compile_path,
    fill,
    fixed_start,
    path_fields,
    template_fields,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Auth = Literal["required", "optional", "exempt"]

PATH_REMEMBERED_MAX = 256
"""Characters of the longest path for which anything is remembered."""

METHOD_REMEMBERED_MAX = 16

PATH_MAX = 8_192
"""Characters of the longest path that is matched at all."""

_METHOD = re.compile(r"[!#$%&'*+.^_`|~0-9A-Z-]+", re.ASCII)
_STRANGE = re.compile(r"[\x00-\x1f\x7f\\]|//|(?:^|/)\.\.?(?:/|\Z)")


@dataclass(frozen=True, slots=True, init=False)
class Route:
    """What requests to a path are: their model, access, scopes and tenant, and how guarded.

    ``path`` is matched whole: ``{name}`` is one segment, ``{name:path}`` any number, a last
    segment ``*`` everything beneath; a path has one of these two at most. A field named ``tenant``
    or ``model`` gives that fact; both may also be written out, with fields in them:
    ``tenant="{domain}/{user}"``. ``tenant="~"`` is
    the caller's own. ``methods`` absent is all of them; ``GET`` includes ``HEAD``; the method of
    a WebSocket is ``WEBSOCKET``. ``access`` absent is decided by the method. ``auth="optional"``
    lets requests without a credential through, ``"exempt"`` all requests; neither opens a
    WebSocket unless ``methods`` names it.
    """

    configured: ClassVar[bool] = True
    """What it says of ``auth`` holds, whatever ``protect`` says."""

    path: str
    methods: frozenset[str] | None
    model: str | None
    access: Access | None
    scopes: tuple[str, ...]
    tenant: str | None
    auth: Auth

    def __init__(  # noqa: PLR0917 - a table of routes reads best without seven keywords a line
        self,
        path: str,
        methods: str | Iterable[str] | None = None,
        model: str | None = None,
        access: Access | None = None,
        scopes: str | Iterable[str] = (),
        tenant: str | None = None,
        auth: Auth = "required",
    ) -> None:
        """Check every part; raises ``InputError`` that names it."""
        self._set(path_fields(path), path, methods, model, access, scopes, tenant, auth)

    def _set(  # noqa: PLR0917 - what both kinds of routes are made of
        self,
        fields: Collection[str],
        path: str,
        methods: str | Iterable[str] | None,
        model: str | None,
        access: Access | None,
        scopes: str | Iterable[str],
        tenant: str | None,
        auth: Auth,
    ) -> None:
        _one_of("access", access, (None, *get_args(Access)))
        _one_of("auth", auth, get_args(Auth))
        chosen = None if methods is None else _methods(methods)
        if access == "read" and chosen is None:
            raise InputError(
                "access",
                f"'read' for every method of {path}, DELETE included",
                fix="say which methods only read: methods='POST'",
            )
        for name, template in (("model", model), ("tenant", tenant)):
            for used in template_fields(template):
                if used not in fields:
                    raise InputError(
                        name, f"{{{used}}} is not a field of {path}", fix=f"add it to {path}"
                    )
        put = object.__setattr__
        put(self, "path", path)
        put(self, "methods", chosen)
        put(self, "model", model or ("{model}" if "model" in fields else None))
        put(self, "access", access)
        put(self, "scopes", _scopes(scopes))
        put(self, "tenant", tenant or ("{tenant}" if "tenant" in fields else None))
        put(self, "auth", auth)

    def pattern(self) -> re.Pattern[str]:
        """Return what a whole path must match, with its fields as named groups."""
        return compile_path(self.path)

    def answers(self, method: str) -> bool:
        """Return whether requests with this method are meant."""
        if self.methods is None:
            return method != WEBSOCKET or self.auth == "required"
        return method in self.methods or (method == "HEAD" and "GET" in self.methods)


@dataclass(frozen=True, slots=True)
class RouteMatch:
    """What the table says of one method and path."""

    auth: Auth
    model: str | None
    access: Access
    scopes: tuple[str, ...]
    tenant: str | None


class RouteTable:
    """Routes compiled once; matches are remembered for short paths, up to ``memo_max`` of them."""

    def __init__(
        self,
        routes: Sequence[Route] = (),
        *,
        protect: Iterable[str] = ("/*",),
        memo_max: int = 4_096,
    ) -> None:
        """Compile ``routes`` and the patterns of ``protect``: what is guarded at all."""
        self.routes = tuple(routes)
        self._compiled = [(route, route.pattern()) for route in self.routes]
        patterns = tuple(protect)
        self._protect = [compile_path(pattern, whole_branch=True) for pattern in patterns]
        starts = [fixed_start(pattern) for pattern in patterns]
        self.tenancy = any(
            route.tenant is not None and _may_be_guarded(route, starts) for route in self.routes
        )
        self._memo: dict[tuple[str, str], RouteMatch | None] = {}
        self._memo_max = memo_max

    def match(self, method: str, path: str) -> RouteMatch | None:
        """Return what the table says, or ``None`` for a path that no router reads in one way only.

        Such paths do not start with a slash, have empty or dot segments, backslashes or control
        characters, or more than ``PATH_MAX`` characters.
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

    def _find(self, method: str, path: str) -> RouteMatch | None:
        if not path.startswith("/") or len(path) > PATH_MAX or _STRANGE.search(path):
            return None
        # Some applications take methods in any case, so demands hold in any, favours in one.
        asked = method.upper() if method.upper() != WEBSOCKET else method
        for route, pattern in self._compiled:
            if not route.answers(asked):
                continue
            found = pattern.fullmatch(path)
            if found is not None:
                spelled = asked == method
                guarded = not spelled or (not route.configured and self._protects(path))
                return RouteMatch(
                    auth="required" if guarded else route.auth,
                    model=fill(route.model, found),
                    access=(route.access if spelled else None) or default_access(method),
                    scopes=route.scopes,
                    tenant=fill(route.tenant, found) or (None if self.tenancy else OWN_TENANT),
                )
        return RouteMatch(
            auth="required" if self._protects(path) else "exempt",
            model=None,
            access=default_access(method),
            scopes=(),
            tenant=None if self.tenancy else OWN_TENANT,
        )

    def _protects(self, path: str) -> bool:
        return any(pattern.fullmatch(path) for pattern in self._protect)


def _may_be_guarded(route: Route, protected: Iterable[str]) -> bool:
    if route.auth != "exempt" or route.configured:
        return route.auth != "exempt"
    start = fixed_start(route.path)
    return any(start.startswith(each) or each.startswith(start) for each in protected)


def _methods(methods: str | Iterable[str]) -> frozenset[str]:
    names = _names("methods", methods)
    if not names:
        raise InputError("methods", "are none", fix="leave them out for all, or name some")
    for name in names:
        if not _METHOD.fullmatch(name):
            raise InputError("methods", f"{name!r} is no method", fix="write 'GET', in capitals")
    return frozenset(names)


def _names(field: str, names: str | Iterable[str]) -> tuple[str, ...]:
    listed: object = names.split() if isinstance(names, str) else names
    members = cast("Collection[object]", listed) if isinstance(listed, Collection) else None
    if members is None or not all(isinstance(name, str) for name in members):
        raise InputError(field, f"{names!r} are not names", fix="write text, or a list of texts")
    return tuple(dict.fromkeys(cast("Collection[str]", members)))


def _scopes(scopes: str | Iterable[str]) -> tuple[str, ...]:
    names = _names("scopes", scopes)
    Scopes.parse(list(names))
    return names


def _one_of(field: str, value: object, known: Sequence[object]) -> None:
    if value not in known:
        names = [str(name) for name in known if name is not None]
        raise InputError(field, f"{value!r} is unknown", fix=nearest(str(value), names))
