"""The decision on a request of Django, and what is left of it once the view is known."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from keybound.core.decision import Allowed, Denied
from keybound.core.reasons import Reason
from keybound.django.facts import credential_of, read_facts
from keybound.django.routers import reached, untouched
from keybound.django.views import demand_of
from keybound.forged import HARMLESS, drop_forged
from keybound.judge import UNTOLD, Miss, Unguarded

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from keybound.django.facts import Asked, GuardedRequest
    from keybound.django.sites import Site
    from keybound.judge import Outcome


def enter(site: Site, request: GuardedRequest) -> Denied | Miss | None:
    """Decide a request from memory: let it in, or return a denial, or a ``Miss`` for what asks."""
    asked = method, path, peer, routed = read_facts(request)
    guard = site.guard
    try:
        if guard.engine is not site.engine:
            site.attend()
        outcome = guard.decide(method, path, peer, credential_of(request)) if routed else UNTOLD
    except Exception as error:  # noqa: BLE001 - whatever fails, the answer is a denial
        outcome = guard.engine.failed(error)
    return outcome if isinstance(outcome, Miss) else admit(request, asked, outcome)


def decide(site: Site, request: GuardedRequest, asked: Asked) -> Outcome:
    """Return the decision, asking the store where it must."""
    method, path, peer, routed = asked
    try:
        site.attend()
        raw = credential_of(request)
        return site.guard.authorize(method, path, peer, raw, routed=routed)
    except Exception as error:  # noqa: BLE001 - whatever fails, the answer is a denial
        return site.guard.engine.failed(error)


async def decide_async(site: Site, request: GuardedRequest, asked: Asked) -> Outcome:
    """Return the decision, asking the store where it must."""
    method, path, peer, routed = asked
    try:
        site.attend()
        raw = credential_of(request)
        return await site.async_guard.authorize(method, path, peer, raw, routed=routed)
    except Exception as error:  # noqa: BLE001 - whatever fails, the answer is a denial
        return site.guard.engine.failed(error)


def admit(request: GuardedRequest, asked: Asked, outcome: Outcome) -> Denied | None:
    """Put what was decided into the request; return why it must go no further, if it must not."""
    if type(outcome) is Allowed:
        request.api_key = outcome.identity
        # What Django has for one request; documented only for its test client.
        request._dont_enforce_csrf_checks = True  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
    elif outcome is Unguarded.UNGUARDED:
        request.api_key = None
    else:
        request.api_key = None
        return outcome if isinstance(outcome, Denied) else Denied(Reason.STORE_UNAVAILABLE)
    request.keybound_asked = asked
    meta = request.META
    if not HARMLESS.issuperset(meta) and drop_forged(meta):
        vars(request).pop("headers", None)  # whoever read them before us read those too
    return None


def recall(
    site: Site, request: GuardedRequest, view: Callable[..., Any], kwargs: Mapping[str, object]
) -> bool:
    """Return whether all this was decided already, as it was for an earlier request alike."""
    method, path, _, routed = request.keybound_asked
    known = site.views.get((method, path))
    if (
        known is None
        or known[0] is not view
        or known[1] != kwargs
        or not routed
        or request.path_info != path
        or request.method != method
        or hasattr(request, "urlconf")
    ):
        return False
    request.keybound_view = view if known[2] else None
    return True


def pending(
    site: Site, request: GuardedRequest, view: Callable[..., Any], kwargs: Mapping[str, object]
) -> Asked | None:
    """Return what is to be decided now that Django chose ``view``: nothing, if that was done.

    A later middleware may have changed the method, the path or the URLconf; the language decides
    what a path means; a converter may answer something else every time.
    """
    asked = request.keybound_asked
    method, path, _, routed = read_facts(request)
    resolved = request.resolver_match
    match = site.match((method, path, None, True)) if routed and resolved is not None else None
    if match is not None and resolved is not None:
        fits = reached(match, view, resolved)
        demanded = fits and match.route is match.view
        if not (fits or untouched(match)):
            routed = False
        elif demanded or demand_of(view, method.upper()) is None:
            site.remember(method, path, (view, kwargs, demanded))
    now = method, path, asked[2], routed
    return None if now == asked else now
