"""The OpenAPI document of a guarded application: which operations need a key, and in which form."""

from __future__ import annotations

import re
from copy import deepcopy
from typing import TYPE_CHECKING, Any
from uuid import UUID

from keybound.core.credentials import parse_forms
from keybound.core.forms import Basic
from keybound.fastapi.nesting import contexts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from starlette.convertors import Convertor
    from starlette.routing import BaseRoute

    from keybound.core.credentials import CredentialForm
    from keybound.core.table import RouteTable
    from keybound.fastapi.declarations import Declarations

    Json = dict[str, Any]

_METHODS = frozenset({"get", "put", "post", "delete", "options", "head", "patch", "trace"})
_SAMPLES = ("x", "1", str(UUID(int=0)))
"""Values of path parameters, one for each kind of convertor."""

_PROBLEM = "KeyboundProblem"
_PROBLEM_SCHEMA: Json = {
    "title": "Refusal",
    "description": "Why an API key did not do, as problem details (RFC 9457).",
    "type": "object",
    "required": ["type", "title", "status", "detail", "id"],
    "properties": {
        "type": {"type": "string", "format": "uri"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "reason": {"type": "string", "description": "Which limit, where it may be told."},
        "scopes": {"type": "array", "items": {"type": "string"}},
        "id": {"type": "string", "description": "What the operator can explain."},
    },
}


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
        bare, table = self._bare(), declarations.guard.table
        if self._made_of is None or self._made_of[0] is not bare or self._made_of[1] is not table:
            forms = parse_forms(engine.settings.credentials)
            self._made = secured(bare, forms, table, declarations.app.routes)
            self._made_of = bare, table
        return self._made


def secured(
    bare: Json, forms: Sequence[CredentialForm], table: RouteTable, routes: Sequence[BaseRoute]
) -> Json:
    """Return a copy that says how keys are sent, and of every guarded operation what it answers.

    An operation that is exempt stays as it is, and so does what an application says itself.
    """
    document = deepcopy(bare)
    components: Json = document.setdefault("components", {})
    schemes: Json = components.setdefault("securitySchemes", {})
    schemes.update({_component(form): _scheme(form) for form in forms})
    components.setdefault("schemas", {})[_PROBLEM] = _PROBLEM_SCHEMA
    ours: list[Json] = [{_component(form): []} for form in forms]
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
            else:
                continue
            answers: Json = item[method].setdefault("responses", {})
            for status, answer in _refusals(match.scopes if match else ()).items():
                answers.setdefault(status, answer)
    return document


def _refusals(scopes: Sequence[str]) -> Json:
    """Return what an operation answers when it refuses; scopes have no other place before 3.1."""
    needed = f" It needs the scopes {', '.join(scopes)}." if scopes else ""
    content = {"application/problem+json": {"schema": {"$ref": f"#/components/schemas/{_PROBLEM}"}}}
    return {
        "401": {"description": "No valid API key was sent.", "content": content},
        "403": {"description": f"The API key may not do this.{needed}", "content": content},
    }


def _component(form: CredentialForm) -> str:
    """Return the form's name in the letters that names of components have."""
    return re.sub(r"[^A-Za-z0-9._-]+", "_", form.name).strip("_")


def _scheme(form: CredentialForm) -> Json:
    if form.name == "bearer":
        return {"type": "http", "scheme": "bearer", "description": "An API key."}
    if isinstance(form, Basic):
        description = f"An API key, written as the {form.part}."
        return {"type": "http", "scheme": "basic", "description": description}
    place = form.place
    written = form.write("YOUR-KEY").removeprefix(place.tag).decode()
    return {
        "type": "apiKey",
        "in": "header" if place.kind == "authorization" else place.kind,
        "name": place.name,
        "description": f"An API key, written as `{written}`.",
    }


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
