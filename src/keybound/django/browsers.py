"""What browsers send of their own accord, so that a page of another site can make them send it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from keybound.django.facts import credential_of

if TYPE_CHECKING:
    from keybound.core.reading import Reading
    from keybound.django.facts import GuardedRequest
    from keybound.guard import BaseGuard


def is_deliberate(guard: BaseGuard, request: GuardedRequest) -> bool:
    """Return whether an allowed request has a credential that no browser sends by itself.

    Those that it sends are cookies, and passwords that it keeps. An authenticator may go by the
    cookie of a session, whatever stands in the query: nobody knows, unless there is a header that
    only a script can have written.
    """
    places, strangers = guard.reader.places, guard.settings.authenticators
    if not (places.kept_by_browsers or strangers):
        return True
    known: Reading | None = getattr(request, "keybound_reading", None)
    raw = credential_of(request) if known is None else known.raw
    in_header = isinstance(raw, bytes) and places.in_header(raw)
    return not places.is_kept_by_browsers(raw) and (not strangers or in_header)
