"""What a site says of one path: the model, access, scopes and tenant of requests, and how guarded.

``keybound.core.table`` compiles an ordered list of them.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal, cast, get_args

from keybound.core.errors import InputError, nearest
from keybound.core.facts import WEBSOCKET, Access
from keybound.core.limits import Scopes
from keybound.core.models_of import ModelSource
from keybound.core.patterns import compile_path, path_fields, template_fields
from keybound.core.tenants_of import as_tenant

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from keybound.core.bodies import BodyFields
    from keybound.core.models_of import NamesModels

Auth = Literal["required", "optional", "exempt"]

VIEW_FIELDS = frozenset({"blueprint", "endpoint", "namespace", "view_name"})
"""Fields of a model that a framework's router fills: Flask's first two, Django's last two."""

_METHOD = re.compile(r"[!#$%&'*+.^_`|~0-9A-Z-]+", re.ASCII)


@dataclass(frozen=True, slots=True, init=False)
class Route:
    """What requests to a path are: their model, access, scopes and tenant, and how guarded.

    ``path`` is matched whole: ``{name}`` is one segment, ``{name:path}`` any number, a last
    segment ``*`` everything beneath, a ``*`` at the start whatever comes before: ``*/search``,
    ``*:search``, ``*.json``; a path has one of these three at most. A field named ``tenant`` or
    ``model`` gives that fact; both may also be written out, with fields in them:
    ``tenant="{domain}/{user}"``. ``tenant="~"`` is the caller's own. A model may also be what the
    framework's router has there: ``{blueprint}`` or ``{endpoint}`` of Flask, ``{namespace}`` or
    ``{view_name}`` of Django; what fields of a JSON body say, ``body(model, fallbacks[*])``; or
    what a function of the request's head returns. A list of these is all of them, and each model
    that they name must be permitted; so must the field ``model``. ``methods`` absent
    is all of them; ``GET`` includes ``HEAD``; the method of a WebSocket is ``WEBSOCKET``.
    ``access`` absent is decided by the method.
    ``auth="optional"`` lets requests without a credential through, ``"exempt"`` all requests;
    neither opens a WebSocket unless ``methods`` names it.
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
    body: BodyFields | None
    models_by: tuple[NamesModels, ...]
    unresolved: frozenset[str]
    """The facts, ``model`` or ``tenant``, that it is about, but that nobody can tell in advance."""

    def __init__(  # noqa: PLR0917 - a table of routes reads best without seven keywords a line
        self,
        path: str,
        methods: str | Iterable[str] | None = None,
        model: str | NamesModels | Sequence[str | NamesModels] | None = None,
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
        model: str | NamesModels | Sequence[str | NamesModels] | None,
        access: Access | None,
        scopes: str | Iterable[str],
        tenant: str | None,
        auth: Auth,
    ) -> None:
        _one_of("access", access, (None, *get_args(Access)))
        _one_of("auth", auth, get_args(Auth))
        _check_tenant(tenant)
        chosen = None if methods is None else _methods(methods)
        if access == "read" and chosen is None:
            raise InputError(
                "access",
                f"'read' for every method of {path}, DELETE included",
                fix="say which methods only read: methods='POST'",
            )
        source = ModelSource()
        if model is not None:
            source = ModelSource.parse(model, field="model", templates=True)
        for name, template in (("model", source.template), ("tenant", tenant)):
            for used in template_fields(template):
                if used not in fields and (name != "model" or used not in VIEW_FIELDS):
                    raise InputError(
                        name, f"{{{used}}} is not a field of {path}", fix=f"add it to {path}"
                    )
        put = object.__setattr__
        put(self, "path", path)
        put(self, "methods", chosen)
        put(self, "model", source.template or ("{model}" if "model" in fields else None))
        put(self, "body", source.body)
        put(self, "models_by", source.calls)
        put(self, "unresolved", frozenset())
        put(self, "access", access)
        put(self, "scopes", _scopes(scopes))
        put(self, "tenant", tenant or ("{tenant}" if "tenant" in fields else None))
        put(self, "auth", auth)

    @property
    def names_models(self) -> bool:
        """Return whether it says anything of a model."""
        return self.model is not None or self.body is not None or bool(self.models_by)

    @property
    def is_one_path(self) -> bool:
        """Return whether a site wrote it for one path, and not for all of a pattern."""
        return self.configured and not {"{", "*"} & set(self.path)

    @property
    def asks_view(self) -> bool:
        """Return whether the model is known only when the framework's router was asked."""
        return self.model is not None and not VIEW_FIELDS.isdisjoint(template_fields(self.model))

    def pattern(self) -> re.Pattern[str]:
        """Return what a whole path must match, with its fields as named groups."""
        return compile_path(self.path)

    def answers(self, method: str) -> bool:
        """Return whether requests with this method are meant."""
        if self.methods is None:
            return method != WEBSOCKET or self.auth == "required"
        return method in self.methods or (method == "HEAD" and "GET" in self.methods)


def _check_tenant(tenant: object) -> None:
    known = tenant is None or as_tenant(tenant) is not None
    if not known and not (isinstance(tenant, str) and template_fields(tenant)):
        raise InputError(
            "tenant",
            f"{tenant!r} is the name of none",
            fix="write it as keys have it, or with fields of the path: '{domain}/{user}'",
        )


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
