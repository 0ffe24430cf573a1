"""The decision on a request of Django, and what is left of it once the view is known."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any

from keybound.buffering import is_worth_reading, with_models
from keybound.context import NO_KEY, set_current
from keybound.core.decision import Allowed, Denied
from keybound.core.effects import ask
from keybound.core.inquiry import NeedBody
from keybound.core.reasons import Reason
from keybound.django.browsers import is_deliberate
from keybound.django.demands import unmet
from keybound.django.facts import (
    Decide,
    body_of,
    credential_of,
    is_plain,
    read_facts,
    reading_of,
)
from keybound.django.hiding import hide
from keybound.django.owners import find_owner
from keybound.django.routers import reached, untouched
from keybound.django.views import demand_of
from keybound.heads import EnvironHead
from keybound.installing import tell_rewritten
from keybound.judge import UNSETTLED, Unguarded, denial

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from keybound.core.effects import Steps
    from keybound.django.facts import Asked, GuardedRequest
    from keybound.django.projects import Project
    from keybound.judge import Outcome

    View = Callable[..., Any]
    Kwargs = Mapping[str, object]


class Undecided(Enum):
    """Memory alone cannot tell: the store must be asked, or the view be known."""

    UNDECIDED = "undecided"


def enter(project: Project, request: GuardedRequest) -> Denied | Undecided | None:
    """Decide a request from memory: let it in, or return why not, or that it is to be asked."""
    asked = method, path, peer, routed = read_facts(request)
    guard, outcome = project.guard, None
    try:
        if guard.engine is not project.engine:
            project.attend()
        if routed:
            if is_plain(guard, request.META):
                outcome = guard.decide(method, path, peer, credential_of(request))
            else:
                outcome = guard.decide(method, path, *reading_of(guard, request, asked))
    except Exception as error:  # noqa: BLE001 - whatever fails, the answer is a denial
        outcome = guard.engine.refuser.failed(error)
    if outcome is None or outcome.__class__ in UNSETTLED:
        return Undecided.UNDECIDED
    return admit(project, request, asked, outcome)


def settle(
    project: Project, request: GuardedRequest, entered: Denied | Undecided | None
) -> Steps[Denied | None]:
    """Do what takes more than memory: ask the store, and find the owner."""
    if isinstance(entered, Undecided):
        return (yield from decide(project, request, read_facts(request)))
    return entered or (yield from find_owner(project, request))


def decide(project: Project, request: GuardedRequest, asked: Asked) -> Steps[Denied | None]:
    """Decide a request, asking the store where it must; let it in, or return a denial."""
    outcome = yield from _settled(project, request, asked)
    return admit(project, request, asked, outcome) or (yield from find_owner(project, request))


def _decide_again(project: Project, request: GuardedRequest, asked: Asked) -> Steps[Denied | None]:
    """Decide as well on what became of a request that was let in, which can only narrow.

    Whoever was let in by a key stays who that is. Where none is needed by now, the key must permit
    what the method is by now where it was needed.
    """
    known, came = request.api_key, request.keybound_asked
    outcome = yield from _settled(project, request, asked, again=True)
    if known is not None:
        if outcome is Unguarded.UNGUARDED and asked[0] != came[0]:
            moved = asked[0], *came[1:]
            outcome = yield from _settled(project, request, moved, again=True)
        if outcome is Unguarded.UNGUARDED:
            request.keybound_asked = asked
            return None
        project.guard.decides_again(known)
        if isinstance(outcome, Allowed) and outcome.identity.key_id != known.key_id:
            outcome = Denied(Reason.CONFLICTING_CREDENTIALS, key=known.key_id)
    return admit(project, request, asked, outcome) or (yield from find_owner(project, request))


def _settled(
    project: Project, request: GuardedRequest, asked: Asked, *, again: bool = False
) -> Steps[Outcome]:
    try:
        project.attend()
        return (yield from _authorize(project, request, asked, again=again))
    except Exception as error:  # noqa: BLE001 - whatever fails, the answer is a denial
        return project.guard.engine.refuser.failed(error)


def _authorize(
    project: Project, request: GuardedRequest, asked: Asked, *, again: bool
) -> Steps[Outcome]:
    """Decide a request; read its body where that has the model."""
    method, path, _, routed = asked
    guard, head = project.guard, EnvironHead(request.META, method, path)
    if project.looks:
        client = head.peer, request.META.get("REMOTE_PORT")
        project.looks = not tell_rewritten(client, head)
    reading = reading_of(guard, request, asked, again=again)
    outcome: Outcome = yield from ask(Decide((method, path, *reading), routed))
    if not isinstance(outcome, NeedBody):
        return outcome
    body_max = guard.settings.body_max
    body = body_of(request, body_max) if is_worth_reading(head, body_max) else None
    told = with_models(reading.told, outcome.fields, head, body)
    outcome = yield from ask(Decide((method, path, *reading.telling(told)), routed))
    return outcome


def decide_on_view(
    project: Project, request: GuardedRequest, view: View, kwargs: Kwargs
) -> Steps[Denied | None]:
    """Decide again where Django chose another view than was decided on."""
    try:
        asked = _pending(project, request, view, kwargs)
        denied = None
        if asked is not None:
            denied = yield from _decide_again(project, request, asked)
            set_current(request.api_key or NO_KEY)  # the middleware puts back what was before
        return denied or unmet(request, view)
    except Exception as error:  # noqa: BLE001 - whatever fails, the answer is a denial
        return project.guard.engine.refuser.failed(error)


def admit(
    project: Project, request: GuardedRequest, asked: Asked, outcome: Outcome
) -> Denied | None:
    """Put what was decided into the request; return why it must go no further, if it must not."""
    members = vars(request)
    if "keybound_reading" in members:
        hide(project, request, outcome.identity if isinstance(outcome, Allowed) else None)
    if type(outcome) is Allowed:
        request.api_key = outcome.identity
        # What Django has for one request; documented only for its test client.
        request._dont_enforce_csrf_checks = is_deliberate(project.guard, request)  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
    elif outcome is Unguarded.UNGUARDED:
        request.api_key = None
    else:
        request.api_key = None
        return denial(outcome)
    request.keybound_asked = asked
    return None


def recall(project: Project, request: GuardedRequest, view: View, kwargs: Kwargs) -> bool:
    """Return whether all this was decided already, as it was for an earlier request alike."""
    asked = request.keybound_asked
    known = project.views.get(asked[:2])
    if (
        known is None
        or (known[2] and request.api_key is None)  # a preflight: no view has answered a key
        or not asked[3]
        or known[0] is not view
        or known[1] != kwargs
        or request.path_info != asked[1]
        or request.method != asked[0]
        or hasattr(request, "urlconf")
    ):
        return False
    request.keybound_view = view if known[2] else None
    return True


def _pending(project: Project, request: GuardedRequest, view: View, kwargs: Kwargs) -> Asked | None:
    """Return what is to be decided now that Django chose ``view``: nothing, if that was done.

    A later middleware may have changed the method, the path or the URLconf; the language decides
    what a path means; a converter may answer something else every time.
    """
    asked = request.keybound_asked
    method, path, _, routed = read_facts(request)
    now = method, path, asked[2], routed
    resolved = request.resolver_match
    match = project.match(now) if routed and resolved is not None else None
    if match is not None and resolved is not None:
        fits = reached(match, view, resolved)
        demanded = fits and match.route is match.view
        if not (fits or untouched(match)):
            now = method, path, asked[2], False
        elif demanded or demand_of(view, method.upper()) is None:
            project.remember(now, view, kwargs, demanded=demanded)
    return None if now == asked else now
