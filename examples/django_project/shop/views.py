"""The views: what they ask of a key stands in front of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.http import HttpResponse, JsonResponse
from django.utils.decorators import method_decorator
from django.views import View

from keybound.django import require, requires

if TYPE_CHECKING:
    from django.http import HttpRequest


@method_decorator(requires(model="order"), name="dispatch")
class Orders(View):
    """The orders of the tenant in the path."""

    def get(self, request: HttpRequest, tenant: str) -> JsonResponse:
        """List them."""
        return JsonResponse({"orders of": tenant, "to": request.user.get_username()})

    @method_decorator(requires("shop"))
    def post(self, _request: HttpRequest, tenant: str) -> JsonResponse:
        """Create one: a write, for keys with the scope alone."""
        return JsonResponse({"order for": tenant})


@requires(model="order", access="read")
async def search(request: HttpRequest, tenant: str) -> JsonResponse:
    """Search with a POST that only reads, so that keys that only read may do it."""
    user = await request.auser()
    return JsonResponse({"found for": tenant, "to": user.get_username()})


def report(request: HttpRequest, tenant: str) -> JsonResponse:
    """Ask for more within the view."""
    key = require(request, "shop")
    return JsonResponse({"report of": tenant, "by": key.name})


def welcome(_request: HttpRequest) -> HttpResponse:
    """Greet anybody: it is not under /api."""
    return HttpResponse("Hello!")
