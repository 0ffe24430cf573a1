"""What goes out: refusals, and answers that say to every cache that they depend on a key."""

from __future__ import annotations

from inspect import isawaitable
from typing import TYPE_CHECKING, Any, TypeVar, cast

from django.http import HttpResponse
from django.http.response import HttpResponseBase
from django.utils.cache import patch_vary_headers

from keybound.django.streams import with_identity
from keybound.hiding import DEPRECATION

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from django.http import HttpRequest

    from keybound.core.decision import Denied
    from keybound.django.facts import Asked, GuardedRequest
    from keybound.django.projects import Project

T = TypeVar("T")


def refusal(project: Project, request: HttpRequest, denied: Denied) -> HttpResponse:
    """Return what a denied request is answered with."""
    answer = project.guard.refuse(denied)
    body = b"" if request.method == "HEAD" else answer.body
    response = HttpResponse(body, status=answer.status, headers=answer.fields)
    return deprecated(request, response)


def deprecated(request: HttpRequest, response: T) -> T:
    """Return an answer that says so where a key came in the query."""
    if "keybound_deprecated" in vars(request):
        name, value = DEPRECATION
        cast("Any", response)[name] = value
    return response


def finished(
    project: Project, request: GuardedRequest, response: HttpResponseBase, asked: Asked
) -> HttpResponseBase:
    """Return an answer as it goes out, to a request that was let in as ``asked``.

    Where a key counts, or would have, it varies with the key; the request may have been decided
    again since, as something else.
    """
    deprecated(request, response)
    if request.api_key is not None:
        _mark(project, response)
        return with_identity(response, request.api_key) if response.streaming else response
    now = request.keybound_asked
    if _reads_key(project, now) or (asked is not now and _reads_key(project, asked)):
        _mark(project, response)
    return response


def marked(project: Project, response: T) -> T:
    """Return an answer, or what is awaited for one, that varies with the key of its request."""
    if isinstance(response, HttpResponseBase):
        _mark(project, response)
    elif isawaitable(response):
        return cast("T", _awaited(project, response))
    return response


def _mark(project: Project, response: HttpResponseBase) -> None:
    headers: Any = response.headers
    # To set a header costs as much as the decision, since both of its parts are encoded.
    stored: dict[str, tuple[str, str]] = headers._store  # noqa: SLF001
    if "vary" in stored:
        patch_vary_headers(response, project.varies)
    elif project.varies:
        stored["vary"] = "Vary", ", ".join(project.varies)


async def _awaited(project: Project, response: Awaitable[T]) -> T:
    return marked(project, await response)


def _reads_key(project: Project, asked: Asked) -> bool:
    match = project.match(asked)
    return match is None or match.auth != "exempt"
