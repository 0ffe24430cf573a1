"""The middleware of a project: ``"keybound.django.middleware.APIKeyMiddleware"``.

Requests are decided before every later middleware, and again when Django has chosen their view,
where that is not the one that was decided on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from asgiref.sync import markcoroutinefunction

from keybound.context import NO_KEY, reset_current, set_current
from keybound.core.errors import RefusedError
from keybound.django.answers import finished, refusal
from keybound.django.checks import refuse_unprotecting
from keybound.django.deciding import decide_on_view, enter, recall, settle
from keybound.django.owners import show_owner
from keybound.django.projects import current
from keybound.django.views import is_async
from keybound.drivers import arun, run

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from django.http import HttpRequest, HttpResponse
    from django.http.response import HttpResponseBase

    from keybound.django.facts import GuardedRequest

    View = Callable[..., Any]
    Kwargs = Mapping[str, object]
    Answer = HttpResponseBase | Awaitable[HttpResponseBase]


class APIKeyMiddleware:
    """Lets requests through that the guard of the project allows; the others it answers.

    The identity is in ``request.api_key``, and in ``keybound.current_key()`` while later
    middleware and the view run, and while the pieces of a streaming answer are made. It is ``None``
    where no key was needed. A request with a key is exempt from Django's CSRF check, unless it is
    one that browsers send of their own accord: in a cookie, or as ``Basic``. Answers for which a
    key counts, or would have, have ``Vary: Authorization``.
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
        project = current()
        entered = enter(project, request)
        if entered is not None or project.owned:
            denied = run(settle(project, request, entered), project.perform)
            if denied is not None:
                return refusal(project, request, denied)
        asked = request.keybound_asked
        token = set_current(request.api_key or NO_KEY)
        try:
            response: HttpResponseBase = self.get_response(request)
        finally:
            reset_current(token)
        return finished(project, request, response, asked)

    async def _serve(self, request: GuardedRequest) -> HttpResponseBase:
        project = current()
        entered = enter(project, request)
        if entered is not None or project.owned:
            denied = await arun(settle(project, request, entered), project.aperform)
            if denied is not None:
                return refusal(project, request, denied)
        asked = request.keybound_asked
        token = set_current(request.api_key or NO_KEY)
        try:
            response: HttpResponseBase = await self.get_response(request)
        finally:
            reset_current(token)
        return finished(project, request, response, asked)

    def _process_view(
        self, request: GuardedRequest, view: View, _args: object, kwargs: Kwargs
    ) -> HttpResponse | None:
        project = current()
        if not recall(project, request, view, kwargs):
            denied = run(decide_on_view(project, request, view, kwargs), project.perform)
            if denied is not None:
                return refusal(project, request, denied)
        if project.owned:
            show_owner(request)
        return None

    async def _process_view_async(
        self, request: GuardedRequest, view: View, _args: object, kwargs: Kwargs
    ) -> HttpResponse | None:
        project = current()
        if not recall(project, request, view, kwargs):
            denied = await arun(decide_on_view(project, request, view, kwargs), project.aperform)
            if denied is not None:
                return refusal(project, request, denied)
        if project.owned:
            show_owner(request)
        return None

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        """Answer a view that asked for more than the key may do."""
        if not isinstance(error, RefusedError):
            return None
        return refusal(current(), request, error.denied)
