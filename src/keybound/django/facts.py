"""What is decided about a request of Django: what its router will use, and nothing parsed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias, cast

from django.conf import settings

from keybound.core.facts import WEBSOCKET
from keybound.core.reasons import Reason

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from django.http import HttpRequest

    from keybound.core.identity import Identity


Asked: TypeAlias = tuple[str, str, str | None, bool]
"""Method, path and peer; true unless the view depends on more than these. No credential: whoever
reports an error shows what a request holds."""

if TYPE_CHECKING:

    class GuardedRequest(HttpRequest):
        """A request that the middleware let through."""

        api_key: Identity | None
        auser: Callable[..., Any]
        headers: Any
        keybound_asked: Asked
        keybound_user: object
        keybound_view: Callable[..., Any] | None
        scope: dict[str, Any]
        urlconf: str | None
        _dont_enforce_csrf_checks: bool


def read_facts(request: HttpRequest) -> Asked:
    """Return what is decided about a request, as things are now."""
    method, meta = request.method or "", request.META
    spelled: str = meta.get("REQUEST_METHOD", method)
    if spelled == method and hasattr(request, "scope"):
        spelled = _spelled(request)
    if spelled != method and spelled.upper() == method:
        method = spelled  # Django takes any spelling, and decisions are stricter with odd ones
    if method == WEBSOCKET:  # a client may spell it, but gets nothing by it
        method = "websocket"
    urlconf: object = getattr(request, "urlconf", None)
    routed = urlconf is None or urlconf == settings.ROOT_URLCONF
    return method, request.path_info or "/", meta.get("REMOTE_ADDR"), routed


def credential_of(request: HttpRequest) -> bytes | Reason | None:
    """Return the raw value of the ``Authorization`` header, or why there is not one."""
    value: str | None = request.META.get("HTTP_AUTHORIZATION")
    if value is None:
        return None
    try:
        return value.encode("latin-1")
    except UnicodeEncodeError:  # no server may make such a value out of bytes
        return Reason.MALFORMED_CREDENTIALS


def _spelled(request: HttpRequest) -> str:
    scope: Mapping[str, Any] = getattr(request, "scope", {})
    spelled: str = scope.get("method", request.method or "")
    return spelled


def guarded(request: HttpRequest) -> GuardedRequest:
    """Return a request that passed the middleware; raises ``RuntimeError`` for any other."""
    if not hasattr(request, "keybound_asked"):
        msg = "this request did not pass APIKeyMiddleware: add it to the setting MIDDLEWARE"
        raise RuntimeError(msg)
    return cast("GuardedRequest", request)
