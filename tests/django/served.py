"""The project of ``tests.django.settings``: its views, and what servers are told to run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.core.asgi import get_asgi_application
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse, StreamingHttpResponse
from django.urls import path

from keybound import current_key
from keybound.django import requires

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from django.http import HttpRequest


def name() -> bytes:
    """Return who calls."""
    key = current_key()
    return key.name.encode() if key else b"nobody"


@requires(model="invoice")
def invoices(_request: HttpRequest, tenant: str) -> HttpResponse:
    """Answer who calls for whom."""
    return HttpResponse(name() + b" for " + tenant.encode())


@requires(access="read")
async def search(_request: HttpRequest, tenant: str) -> HttpResponse:
    """Answer the same."""
    return invoices(_request, tenant)


@requires(tenant="~")
async def stream(request: HttpRequest) -> StreamingHttpResponse:
    """Answer who calls, in pieces."""

    async def awaited() -> AsyncIterator[bytes]:
        for _ in range(3):
            yield name()

    def made() -> Iterator[bytes]:
        for _ in range(3):
            yield name()

    return StreamingHttpResponse(awaited() if hasattr(request, "scope") else made())


def welcome(_request: HttpRequest) -> HttpResponse:
    """Answer anybody."""
    return HttpResponse(name())


urlpatterns = [
    path("", welcome),
    path("api/<tenant>/invoices", invoices),
    path("api/<tenant>/search", search),
    path("api/stream", stream),
]

wsgi, asgi = get_wsgi_application, get_asgi_application
