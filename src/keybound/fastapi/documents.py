"""The OpenAPI document of a guarded application: which operations need a key, and in which form."""

from __future__ import annotations

import re
from copy import deepcopy
from typing import TYPE_CHECKING, Any
from uuid import UUID

from keybound.core.credentials import Bearer, parse_forms
from keybound.fastapi.routers import contexts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from starlette.convertors import Convertor
    from starlette.routing import BaseRoute

    from keybound.core.credentials import CredentialForm
    from keybound.core.routes import RouteTable
    from keybound.fastapi.declarations import Declarations

    Json = dict[str, Any]

_METHODS = frozenset({"get", "put", "post", "delete", "options", "head", "patch", "trace"})
_SAMPLES = ("x", "1", str(UUID(int=0)))
"""Values of path parameters, one for each kind of convertor."""


class Document:
    """Stands for ``app.openapi``; made anew when the routes or the guard's table changed."""

    def __init__(self, bare: Callable[[], Json], declarations: Declarations) -> None:
        """Take what was ``app.openapi`` before."""
        self._bare = bare
        self._declarations = declarations
        self._made_of: tuple[Json, RouteTable] | None = None
        self._made: Json = {}

    def __call__(self) -> Json:
        """Return the document."""
        declarations = self._declarations
        declarations.refresh()
        engine = declarations.guard.engine
        bare, table = self._bare(), engine.table
        if self._made_of is None or self._made_of[0] is not bare or self._made_of[1] is not table:
            forms = parse_forms(engine.settings.credentials)
            self._made = secured(bare, forms, table, declarations.app.routes)
            self._made_of = bare, table
        return self._made


def secured(
    bare: Json, forms: Sequence[CredentialForm], table: RouteTable, routes: Sequence[BaseRoute]
) -> Json:
    """Return a copy with the security schemes, and the requirement of every guarded operation.

    An operation that is exempt, and what an application requires besides, stays as it is.
    """
    document = deepcopy(bare)
    schemes = document.setdefault("components", {}).setdefault("securitySchemes", {})
    schemes.update({form.name: _scheme(form) for form in forms})
    ours: list[Json] = [{form.name: []} for form in forms]
    samples = dict(_samples(routes))
    paths: dict[str, Json] = document.get("paths", {})
    for path, item in paths.items():
        for method in _METHODS.intersection(item):
            match = table.match(method.upper(), samples.get(path, path))
            theirs: list[Json] = item[method].get("security") or document.get("security") or [{}]
            if match is None or match.auth == "required":
                item[method]["security"] = [each | our for each in theirs for our in ours]
            elif match.auth == "optional":
                item[method]["security"] = [*theirs, *ours]
    return document


def _scheme(form: CredentialForm) -> Json:
    if isinstance(form, Bearer):
        return {"type": "http", "scheme": "bearer", "description": "An API key."}
    written = form.write("YOUR-KEY").decode()
    description = f"An API key, written as `{written}`."
    return {"type": "apiKey", "in": "header", "name": "Authorization", "description": description}


def _samples(routes: Sequence[BaseRoute]) -> Iterator[tuple[str, str]]:
    """Yield each path of the document with one that the router takes for it."""
    for each in contexts(routes):
        shown: str | None = getattr(each, "path_format", None)
        if shown is not None:
            path: str = shown
            for name, convertor in each.param_convertors.items():
                path = path.replace(f"{{{name}}}", _sample(convertor))
            yield shown, path


def _sample(convertor: Convertor[Any]) -> str:
    return next((text for text in _SAMPLES if re.fullmatch(convertor.regex, text)), "x")
