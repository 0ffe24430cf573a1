"""A URLconf of one view for every path, which remembers what it was called with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.http import HttpResponse
from django.urls import re_path

from keybound import current_key

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.http import HttpRequest

APPLICATION = "tests.application"
"""Where a request holds what remembers it: in the environment, or the scope."""


async def answer(request: HttpRequest) -> HttpResponse:
    """Answer everything."""
    seen: Any = getattr(request, "environ", None) or getattr(request, "scope", {})
    app = seen[APPLICATION]
    app.served.append(
        {**request.META, "keybound": getattr(request, "api_key", 0), "current": current_key()}
    )
    look: Callable[[HttpRequest], object] | None = getattr(app, "look", None)
    if look is not None:
        app.served[-1]["looked"] = look(request)
    view: Callable[[HttpRequest], HttpResponse] | None = getattr(app, "view", None)
    if view is not None:
        return view(request)
    return HttpResponse("served", content_type="text/plain")


urlpatterns = [re_path("", answer)]
