"""Requests of ``RequestFactory`` in the tests of a project: decided without a client."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from django.http import HttpRequest
from django.urls import Resolver404, resolve

from keybound.django.deciding import decide
from keybound.django.demands import unmet
from keybound.django.facts import read_facts
from keybound.django.owners import show_owner
from keybound.django.projects import current
from keybound.drivers import run

if TYPE_CHECKING:
    from collections.abc import Mapping, MutableMapping

    from keybound.core.reasons import Reason
    from keybound.django.facts import GuardedRequest


def attach(given: object, headers: Mapping[str, str], query: str = "") -> Reason | None:
    """Decide a request with a key as the middleware does, and for the view of its path.

    The key is in these headers, or in the query.

    It then has ``api_key``, and ``user`` where the project maps owners. Returns why it is refused,
    ``None`` if it is not. Raises ``TypeError`` for what is no request of Django.
    """
    if not isinstance(given, HttpRequest):
        msg = f"{type(given).__qualname__} is no request of Django: attach() is for RequestFactory"
        raise TypeError(msg)
    request = cast("GuardedRequest", given)
    for name, value in headers.items():
        _add(request.META, f"HTTP_{name.upper().replace('-', '_')}", value)
    if query:
        _add(request.META, "QUERY_STRING", query)
    project = current()
    denied = run(decide(project, request, read_facts(request)), project.perform)
    if denied is None:
        try:
            request.resolver_match = resolve(request.path_info, getattr(request, "urlconf", None))
        except Resolver404:
            pass
        else:
            denied = unmet(request, request.resolver_match.func)
    if denied is not None:
        return denied.reason
    show_owner(request)
    return None


_JOINED_BY = {"HTTP_COOKIE": "; ", "QUERY_STRING": "&"}
"""What may have something besides the key, and what stands between the two."""


def _add(meta: MutableMapping[str, str], name: str, value: str) -> None:
    between, before = _JOINED_BY.get(name), meta.get(name)
    meta[name] = f"{before}{between}{value}" if between and before else value
