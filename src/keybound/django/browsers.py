"""What browsers send of their own accord, so that a page of another site can make them send it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from keybound.core.reading import Reading
    from keybound.django.facts import GuardedRequest
    from keybound.guard import BaseGuard

_BASIC = "basic"


def is_deliberate(guard: BaseGuard, request: GuardedRequest) -> bool:
    """Return whether an allowed request has a credential that no browser sends by itself.

    Those that it sends are cookies, and what ``Basic`` asked for. An authenticator may go by the
    cookie of a session whatever stands in the query; a header is nothing that others can add.
    """
    reading: Reading | None = getattr(request, "keybound_reading", None)
    if reading is None:  # it has nothing but the one header
        value: str = request.META.get("HTTP_AUTHORIZATION", _BASIC)
        return value[: len(_BASIC)].lower() != _BASIC
    raw = reading.raw
    if not isinstance(raw, bytes) or raw[: len(_BASIC)].lower() == _BASIC.encode():
        return False
    kind = guard.reader.places.place_of(raw).kind
    return kind != "cookie" and (kind != "query" or not guard.settings.authenticators)
