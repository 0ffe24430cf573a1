"""Answers that depend on a key say so, for every cache between a view and its client."""

from __future__ import annotations

from inspect import isawaitable
from typing import TYPE_CHECKING, TypeVar, cast

from django.http.response import HttpResponseBase
from django.utils.cache import patch_vary_headers

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from keybound.django.facts import Asked, GuardedRequest
    from keybound.django.sites import Site

T = TypeVar("T")

_KEY = "Authorization"


def marked(response: T) -> T:
    """Return an answer, or what is awaited for one, that varies with the key of its request."""
    if isinstance(response, HttpResponseBase):
        if response.has_header("Vary"):
            patch_vary_headers(response, (_KEY,))
        else:
            response.headers["Vary"] = _KEY
    elif isawaitable(response):
        return cast("T", _awaited(response))
    return response


async def _awaited(response: Awaitable[T]) -> T:
    return marked(await response)


def varies(site: Site, request: GuardedRequest, asked: Asked) -> bool:
    """Return whether a key counts, or would have, for a request that was let in as ``asked``.

    It may have been decided again since, as something else.
    """
    if request.api_key is not None:
        return True
    now = request.keybound_asked
    return _reads(site, now) or (asked is not now and _reads(site, asked))


def _reads(site: Site, asked: Asked) -> bool:
    match = site.match(asked)
    return match is None or match.auth != "exempt"
