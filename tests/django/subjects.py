"""Django as a shell among the others: its own handlers, around one view that answers everything."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.wsgi import WSGIHandler

from keybound.django import projects
from tests.django.catch_all import APPLICATION
from tests.django.project import forget_guard  # first: it sets Django up

if TYPE_CHECKING:
    from collections.abc import Callable

    from keybound import Guard


class DjangoApplication:
    """What the view remembers of requests, as WSGI shows them."""

    kind = "wsgi"
    protocol = "wsgi"
    framework = "django"

    def __init__(self) -> None:
        """Remember nothing yet."""
        self.served: list[dict[str, Any]] = []
        self.look: Callable[[Any], Any] | None = None


class AsyncDjangoApplication(DjangoApplication):
    """The same under ASGI."""

    protocol = "asgi"


class _Project:
    def __init__(self, app: DjangoApplication, guard: Guard, handler: type) -> None:
        forget_guard()
        self._app = app
        self._site = projects.current()
        self._site.guard.bind(guard.engine)
        self._site.async_guard.bind(guard.engine)
        self._handler = handler()

    def __call__(self, request: Any, *more: Any) -> Any:
        """Serve one request of this project: there is one in a process otherwise."""
        projects._current = self._site  # noqa: SLF001 - two projects in one process are for tests
        return self._handler({**request, APPLICATION: self._app}, *more)


def django(app: Any, guard: Guard) -> Any:
    """Return a project under WSGI."""
    return _Project(app, guard, WSGIHandler)


def async_django(app: Any, guard: Guard) -> Any:
    """Return a project under ASGI."""
    return _Project(app, guard, ASGIHandler)
