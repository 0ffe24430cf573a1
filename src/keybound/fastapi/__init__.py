"""FastAPI: ``init_app(app, guard)``, and what path operations ask of a key.

    init_app(app, guard)

    @app.post("/v1/search", dependencies=[requires("invoices", model="invoice", access="read")])
    async def search(key: CurrentKey): ...

Requests are decided before FastAPI sees them: what an operation requires is read from the router
when the application starts. The dependency checks it a second time, for routes that cannot be read
in advance.
"""

from __future__ import annotations

from keybound.core.errors import MissingExtraError

try:
    from fastapi import FastAPI
except ModuleNotFoundError as error:
    raise MissingExtraError.of(error, extra="fastapi") from None

from typing import TYPE_CHECKING

from starlette.middleware.exceptions import ExceptionMiddleware

from keybound.asgi import APIKeyMiddleware
from keybound.fastapi.declarations import Declarations
from keybound.fastapi.demands import CurrentKey, OptionalKey, requires
from keybound.fastapi.documents import Document
from keybound.fastapi.inside import keeping, look_again
from keybound.guard import AsyncGuard
from keybound.handshakes import send_refusal
from keybound.installing import refuse_twice, usable_guard
from keybound.starlette import require

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from typing import Any

    from keybound.asgi import ASGIApp, Receive, Scope, Send

__all__ = ["CurrentKey", "OptionalKey", "init_app", "require", "requires"]


def init_app(app: FastAPI, guard: AsyncGuard | None = None) -> None:
    """Guard ``app``, and say so in its OpenAPI document.

    Without a guard, one is made from the environment and ``keybound.toml``. Routes may be added
    before or after. Raises ``SettingsError``, also when ``app`` is guarded already.
    """
    refuse_twice(app, APIKeyMiddleware)
    declarations = Declarations(app, usable_guard(AsyncGuard, guard))
    app.add_middleware(DeclaredMiddleware, declarations=declarations)
    app.openapi = Document(app.openapi, declarations)  # type: ignore[method-assign]


class DeclaredMiddleware(APIKeyMiddleware):
    """The middleware of an application whose router says what it requires."""

    def __init__(self, app: ASGIApp, declarations: Declarations) -> None:
        """Wrap ``app``, which is what FastAPI made of the application."""
        super().__init__(app, declarations.guard)
        self._declarations = declarations
        self._seem_current = declarations.seem_current
        self._serve = keeping(super().__call__, self.guard)
        router = declarations.app.router
        # Starlette's own changes nothing.
        if not isinstance(app, ExceptionMiddleware) or router.middleware_stack != router.app:
            look_again(router, whole=True)

    def __call__(  # pyright: ignore[reportIncompatibleMethodOverride] - it is awaited all the same
        self, scope: Scope, receive: Receive, send: Send
    ) -> Coroutine[Any, Any, None]:
        """Serve one connection, under the routes that there are by now.

        Routes that cannot be read, or of which none is guarded, are an error at start; without a
        start, and later on, every request is a 503.
        """
        if not self._seem_current() and scope["type"] != "lifespan":
            try:
                self._declarations.refresh()
            except Exception as error:  # noqa: BLE001 - whatever fails, the answer is a denial
                denied = self.guard.engine.refuser.failed(error)
                return send_refusal(scope, send, self.guard.refuse(denied))
        return self._serve(scope, receive, send)

    def check(self) -> None:
        """Read the routes; raises ``InputError`` where they cannot be read, or none is guarded."""
        self._declarations.refresh()
        self._tell_of_cors()
