"""Middleware of the projects in these tests, by their paths."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.http import HttpResponse

from keybound import current_key
from keybound.django import require

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.http import HttpRequest


class _Either:
    """A middleware for both kinds of handlers; ``change`` may answer."""

    sync_capable = async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        """Go in front of ``get_response``."""
        self.get_response = get_response
        self.awaits = iscoroutinefunction(get_response)
        if self.awaits:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> Any:
        """Serve one request."""
        return self._serve(request) if self.awaits else self._now(request)

    def _now(self, request: HttpRequest) -> Any:
        return self.change(request) or self.get_response(request)

    async def _serve(self, request: HttpRequest) -> Any:
        return self.change(request) or await self.get_response(request)

    def change(self, request: HttpRequest) -> HttpResponse | None:
        """Change the request, or answer it."""
        raise NotImplementedError


class Answering(_Either):
    """Answers everything, as a cache does."""

    def change(self, request: HttpRequest) -> HttpResponse | None:
        """Answer."""
        return HttpResponse(f"cached for {request.api_key}")  # type: ignore[attr-defined]


class Rewriting(_Either):
    """Serves the path of a header, as applications behind odd proxies do."""

    def change(self, request: HttpRequest) -> HttpResponse | None:
        """Change the path."""
        request.path_info = request.headers["X-Path"]
        return None


class Telling(_Either):
    """Tells the path as it came, in a header, as servers do and Django's clients do not."""

    def change(self, request: HttpRequest) -> HttpResponse | None:
        """Put it where a server has it."""
        raw, scope = request.headers["X-Raw"], getattr(request, "scope", None)
        if scope is None:
            request.META["RAW_URI"] = raw
        else:
            scope["raw_path"] = raw.encode()
        return None


class Moving(_Either):
    """Serves the path of a header as if the request had come with it."""

    def change(self, request: HttpRequest) -> HttpResponse | None:
        """Change the path, wherever it stands."""
        request.path_info = request.META["PATH_INFO"] = request.headers["X-Path"]
        return None


class Exchanging(_Either):
    """Puts another credential in place of the one that came."""

    def change(self, request: HttpRequest) -> HttpResponse | None:
        """Change the header."""
        request.META["HTTP_AUTHORIZATION"] = request.headers["X-Authorization"]
        return None


class Overriding(_Either):
    """Takes the method from a header."""

    def change(self, request: HttpRequest) -> HttpResponse | None:
        """Change the method."""
        request.method = request.headers["X-Method"]
        return None


class Hosting(_Either):
    """Chooses the URLconf of the request by a header."""

    urlconf: Any = None

    def change(self, request: HttpRequest) -> HttpResponse | None:
        """Change the URLconf."""
        request.urlconf = self.urlconf if "X-Urlconf" in request.headers else None
        return None


class Resetting(_Either):
    """Takes the URLconf of the request back."""

    def change(self, request: HttpRequest) -> HttpResponse | None:
        """Change the URLconf."""
        request.urlconf = None
        return None


class Reading(_Either):
    """Looks at the headers before anybody else does."""

    def change(self, request: HttpRequest) -> HttpResponse | None:
        """Look."""
        assert "X-Keybound-Tenant" in request.headers
        return None


class Requiring(_Either):
    """Asks for more than the key may do, where no view is."""

    def change(self, request: HttpRequest) -> HttpResponse | None:
        """Ask."""
        require(request, "nobody")
        return None


class Current(_Either):
    """Tells who calls, as later middleware see it."""

    def change(self, request: HttpRequest) -> HttpResponse | None:
        """Note the name."""
        key = current_key()
        request.seen = None if key is None else key.name  # type: ignore[attr-defined]
        return None


class Blocking:
    """A middleware that knows no coroutines, so that what is in front of it runs in a thread."""

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        """Go in front of ``get_response``."""
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> Any:
        """Pass it on."""
        return self.get_response(request)
