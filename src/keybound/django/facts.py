"""What is decided about a request of Django: what its router will use, and nothing parsed."""

from __future__ import annotations

from dataclasses import dataclass, field
from os import SEEK_END
from typing import IO, TYPE_CHECKING, Any, TypeAlias, cast

from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from django.core.handlers.wsgi import WSGIRequest
from django.http.request import RawPostDataException

from keybound.core.effects import Effect
from keybound.core.facts import WEBSOCKET
from keybound.core.reading import Reading
from keybound.core.reasons import Reason
from keybound.django.paths import is_repaired
from keybound.forged import HARMLESS, is_odd
from keybound.heads import RAW_PATH
from keybound.wsgi import is_unplain, read_environ

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from django.http import HttpRequest

    from keybound.core.identity import Identity
    from keybound.guard import BaseGuard


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
        keybound_deprecated: bool
        keybound_reading: Reading
        keybound_user: object
        keybound_view: Callable[..., Any] | None
        scope: dict[str, Any]
        urlconf: str | None
        _dont_enforce_csrf_checks: bool


@dataclass(frozen=True, slots=True)
class Decide(Effect[Any]):
    """The decision on method, path, peer and credential, from the store if need be."""

    facts: tuple[Any, ...] = field(repr=False)
    routed: bool


def read_facts(request: HttpRequest) -> Asked:
    """Return what is decided about a request, as things are now."""
    meta = request.META
    method: str = meta.get("REQUEST_METHOD", "")
    if request.__class__ is not WSGIRequest or method != request.method or method == WEBSOCKET:
        method = _spelled(request)
        _keep_raw_path(request)
    urlconf: object = getattr(request, "urlconf", None)
    routed = urlconf is None or urlconf == settings.ROOT_URLCONF
    path = request.path_info or "/"
    if "%" in path and is_repaired(meta):
        path = ""  # which no table matches
    return method, path, meta.get("REMOTE_ADDR"), routed


def credential_of(request: HttpRequest) -> bytes | Reason | None:
    """Return the raw value of the ``Authorization`` header, or why there is not one."""
    value: str | None = request.META.get("HTTP_AUTHORIZATION")
    if value is None:
        return None
    try:
        return value.encode("latin-1")
    except UnicodeEncodeError:  # no server may make such a value out of bytes
        return Reason.MALFORMED_CREDENTIALS


def is_plain(guard: BaseGuard, meta: dict[str, Any]) -> bool:
    """Return whether the ``Authorization`` header and the peer are all there is to a request."""
    odd = not HARMLESS.issuperset(meta) and is_odd(meta)
    return not (odd or guard.reads_all or is_unplain(meta))


def reading_of(
    guard: BaseGuard, request: HttpRequest, asked: Asked, *, again: bool = False
) -> Reading:
    """Return what there is to a request: what was read of it first, if anything was odd of it.

    ``again``: it was let in already, as something that its raw path fitted if nothing was odd.
    """
    known: Reading | None = getattr(request, "keybound_reading", None)
    if known is not None:
        return known
    method, path, peer, _ = asked
    meta = request.META
    if is_plain(guard, meta):
        return Reading(peer, credential_of(request), None, None)
    reading = read_environ(guard.reader, meta, method, path)
    if again:
        reading = reading.rewritten()
    cast("GuardedRequest", request).keybound_reading = reading
    return reading


def body_of(request: HttpRequest, body_max: int) -> bytes | None:
    """Return the body, which Django keeps for whoever asks again.

    ``None`` if it cannot be had, is cut short, or is longer than ``body_max``.
    """
    length: str = request.META.get("CONTENT_LENGTH") or ""
    try:
        if _spooled(request) > body_max:
            return None
        body = request.body
    except (OSError, RawPostDataException, RequestDataTooBig):
        return None
    whole = not length or int(length) == len(body)
    return body if whole and len(body) <= body_max else None


def _spooled(request: HttpRequest) -> int:
    """Return the length of a body that Django has in a file, as it has under ASGI.

    It may have come without a length: then Django would read all of it into memory.
    """
    members = vars(request)
    if "scope" not in members or "_body" in members:
        return 0
    file: IO[bytes] = members["_stream"]
    at = file.tell()
    length = file.seek(0, SEEK_END)
    file.seek(at)
    return length


def _spelled(request: HttpRequest) -> str:
    """Return the method as the client wrote it, where Django takes any spelling."""
    method = request.method or ""
    spelled: str = request.META.get("REQUEST_METHOD", method)
    if spelled == method:
        scope: Mapping[str, Any] = getattr(request, "scope", {})
        spelled = scope.get("method", method)
    if spelled.upper() == method:  # decisions are stricter with odd ones
        method = spelled
    # A client may spell that one, but gets nothing by it.
    return "websocket" if method == WEBSOCKET else method


def _keep_raw_path(request: HttpRequest) -> None:
    """Put the path as it came beside what Django read of the scope, where it leaves it."""
    scope: Mapping[str, Any] = getattr(request, "scope", {})
    raw_path: bytes | None = scope.get("raw_path")
    if raw_path is not None:
        request.META[RAW_PATH] = raw_path.partition(b"?")[0].decode("latin-1")


def guarded(request: HttpRequest) -> GuardedRequest:
    """Return a request that passed the middleware; raises ``RuntimeError`` for any other."""
    if not hasattr(request, "keybound_asked"):
        msg = "this request did not pass APIKeyMiddleware: add it to the setting MIDDLEWARE"
        raise RuntimeError(msg)
    return cast("GuardedRequest", request)
