"""The middleware of a project: ``"keybound.django.middleware.APIKeyMiddleware"``.

Requests are decided before every later middleware, and again when Django has chosen their view,
where that is not the one that was decided on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from asgiref.sync import markcoroutinefunction
from django.http import HttpResponse

from keybound.context import CURRENT, NO_KEY
from keybound.core.errors import RefusedError
from keybound.django.caching import marked, varies
from keybound.django.checks import refuse_unprotecting
from keybound.django.deciding import admit, decide, decide_async, enter, pending, recall
from keybound.django.demands import unmet
from keybound.django.facts import read_facts
from keybound.django.owners import find_owner, find_owner_async, show_owner
from keybound.django.sites import current
from keybound.django.streams import with_identity
from keybound.django.views import is_async
from keybound.judge import Miss

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from django.http import HttpRequest
    from django.http.response import HttpResponseBase

    from keybound.core.decision import Denied
    from keybound.django.facts import Asked, GuardedRequest
    from keybound.django.sites import Site

    View = Callable[..., Any]
    Kwargs = Mapping[str, object]
    Answer = HttpResponseBase | Awaitable[HttpResponseBase]


class APIKeyMiddleware:
    """Lets requests through that the guard of the project allows; the others it answers.

    The identity is in ``request.api_key``, and in ``keybound.current_key()`` while later
    middleware and the view run, and while the pieces of a streaming answer are made. It is ``None``
    where no key was needed. A request with a key is exempt from Django's CSRF check, since no
    browser sends a key of its own accord. Answers for which a key counts, or would have, have
    ``Vary: Authorization``.
    """

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        """Go in front of ``get_response``; nothing is opened before the first request.

        Raises ``MisconfiguredError``, an ``ImproperlyConfigured``, for a project that is set up in
        a way that does not protect: every error that ``manage.py check`` shows.
        """
        self.get_response = get_response
        self._awaits = is_async(get_response)
        self.process_view: Callable[..., Any] = (
            self._process_view_async if self._awaits else self._process_view
        )
        if self._awaits:
            markcoroutinefunction(self)
        refuse_unprotecting(current())

    def __call__(self, request: GuardedRequest) -> Answer:
        """Serve one request."""
        if self._awaits:
            return self._serve(request)
        site = current()
        denied = enter(site, request)
        if denied is not None or site.owned:
            denied = _complete(site, request, denied)
            if denied is not None:
                return _refusal(site, denied)
        asked = request.keybound_asked
        token = CURRENT.set(request.api_key or NO_KEY)
        try:
            response: HttpResponseBase = self.get_response(request)
        finally:
            CURRENT.reset(token)
        return _finished(site, request, response, asked)

    async def _serve(self, request: GuardedRequest) -> HttpResponseBase:
        site = current()
        denied = enter(site, request)
        if denied is not None or site.owned:
            denied = await _complete_async(site, request, denied)
            if denied is not None:
                return _refusal(site, denied)
        asked = request.keybound_asked
        token = CURRENT.set(request.api_key or NO_KEY)
        try:
            response: HttpResponseBase = await self.get_response(request)
        finally:
            CURRENT.reset(token)
        return _finished(site, request, response, asked)

    def _process_view(
        self, request: GuardedRequest, view: View, _args: object, kwargs: Kwargs
    ) -> HttpResponse | None:
        """Decide again where Django chose another view than was decided on; show the owner."""
        site = current()
        denied = None
        if not recall(site, request, view, kwargs):
            asked = pending(site, request, view, kwargs)
            if asked is not None:
                denied = admit(request, asked, decide(site, request, asked))
                denied = denied or find_owner(site, request)
                CURRENT.set(request.api_key or NO_KEY)  # ``__call__`` puts back what was before
            denied = denied or unmet(request, view)
        if denied is not None:
            return _refusal(site, denied)
        if site.owned:
            show_owner(request)
        return None

    async def _process_view_async(
        self, request: GuardedRequest, view: View, _args: object, kwargs: Kwargs
    ) -> HttpResponse | None:
        site = current()
        denied = None
        if not recall(site, request, view, kwargs):
            asked = pending(site, request, view, kwargs)
            if asked is not None:
                denied = admit(request, asked, await decide_async(site, request, asked))
                denied = denied or await find_owner_async(site, request)
                CURRENT.set(request.api_key or NO_KEY)
            denied = denied or unmet(request, view)
        if denied is not None:
            return _refusal(site, denied)
        if site.owned:
            show_owner(request)
        return None

    def process_exception(self, _request: HttpRequest, error: Exception) -> HttpResponse | None:
        """Answer a view that asked for more than the key may do."""
        return _refusal(current(), error.denied) if isinstance(error, RefusedError) else None


def _complete(site: Site, request: GuardedRequest, entered: Denied | Miss | None) -> Denied | None:
    """Do what takes more than memory: ask the store, and find the owner."""
    if isinstance(entered, Miss):
        asked = read_facts(request)
        entered = admit(request, asked, decide(site, request, asked))
    return entered or find_owner(site, request)


async def _complete_async(
    site: Site, request: GuardedRequest, entered: Denied | Miss | None
) -> Denied | None:
    if isinstance(entered, Miss):
        asked = read_facts(request)
        entered = admit(request, asked, await decide_async(site, request, asked))
    return entered or await find_owner_async(site, request)


def _finished(
    site: Site, request: GuardedRequest, response: HttpResponseBase, asked: Asked
) -> HttpResponseBase:
    """Return an answer as it goes to whoever called: caches are among them."""
    if varies(site, request, asked):
        marked(response)
    return with_identity(response, request.api_key) if response.streaming else response


def _refusal(site: Site, denied: Denied) -> HttpResponse:
    answer = site.guard.refuse(denied)
    return HttpResponse(answer.body, status=answer.status, headers=answer.fields)
