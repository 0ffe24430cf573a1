"""What guards one application: the middleware around it, and a second look inside.

Requests are decided before Flask sees them, on method and path. Inside, the view that Flask really
chose says what it asks for; that can only narrow what was decided.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, cast

import msgspec
from flask import g, request
from flask.wrappers import Response
from werkzeug.exceptions import HTTPException

from keybound import wsgi
from keybound.context import CURRENT
from keybound.core.decision import Allowed, Denied
from keybound.core.demands import Demand, strictest_access
from keybound.core.errors import RefusedError
from keybound.core.reasons import Reason
from keybound.core.refusals import RefusalResponse
from keybound.flask.declarations import Declarations
from keybound.wsgi import ASKED, GUARD, APIKeyMiddleware

if TYPE_CHECKING:
    from collections.abc import Callable
    from weakref import WeakSet

    from flask import Flask
    from flask.typing import ResponseReturnValue
    from flask.wrappers import Request

    from keybound.core.identity import Identity
    from keybound.guard import Guard
    from keybound.wsgi import Body, Environ, StartResponse

    Renderer = Callable[[RefusalResponse, dict[str, Any]], ResponseReturnValue]

logger = logging.getLogger("keybound")

EXTENSION = "keybound"
"""Under this name an application has its protection among its ``extensions``."""

_KEPT = frozenset({"cache-control", "keybound-denial", "retry-after", "vary", "www-authenticate"})
"""Headers of a refusal that hold however a site renders it."""


class HTTPRefusedError(RefusedError, HTTPException):
    """A demand that the identity of a request does not meet, and the whole answer to it.

    It has no ``code``: Flask then sends the answer as it is, past handlers of errors.
    """

    def __init__(self, denied: Denied, response: Response) -> None:
        """Hold what is sent."""
        RefusedError.__init__(self, denied)
        HTTPException.__init__(self, str(denied.reason), response)


class Protection(APIKeyMiddleware):
    """The middleware of one application, and what its views ask."""

    def __init__(
        self,
        app: Flask,
        guard: Guard,
        *,
        renderer: Callable[[], Renderer | None],
        marked: WeakSet[Any],
    ) -> None:
        """Stand around ``app``, and before everything that it calls before its views."""
        super().__init__(app.wsgi_app, guard)
        self._flask = app
        self._renderer = renderer
        self._declarations = Declarations(app, guard, marked)
        self._serve = super().__call__  # bound once, since calls are what a request costs
        app.wsgi_app = self  # type: ignore[method-assign]
        app.before_request_funcs.setdefault(None, []).insert(0, self.admit)
        app.register_error_handler(HTTPRefusedError, _answered)

    def __call__(self, environ: Environ, start_response: StartResponse) -> Body:
        """Serve one request, if anything is guarded at all."""
        if self.guard.engine is not self._declarations.checked:
            try:
                self._declarations.check()
            except Exception as error:  # noqa: BLE001 - whatever fails, the answer is a denial
                return self.refuse(self.guard.engine.failed(error), environ, start_response)
        return self._serve(environ, start_response)

    def admit(self) -> Response | None:
        """Look at the view that Flask chose, before anything of the application runs.

        Puts the identity into ``flask.g.api_key``; returns the refusal of a request that may not
        go on.
        """
        try:
            self._admit(_request())
        except HTTPRefusedError as error:
            return cast("Response", error.response)
        except Exception as error:  # noqa: BLE001 - whatever fails, the answer is a denial
            return self.response(self.guard.engine.failed(error))
        return None

    def check(self, demand: Demand) -> Identity:
        """Return who is calling; raises ``HTTPRefusedError`` for a demand that is not met."""
        asked = _request()
        identity = self._identity(asked)
        rule = asked.url_rule
        said = demand.access
        fields: dict[str, str | None] = {}
        if rule is not None:
            demands, _ = self._declarations.demands(rule)
            fields = demands.fields(asked.view_args)
            around = demands.declared(asked.method).demand.access
            said = strictest_access((demand, Demand(access=around)))
        return self._met(demand, identity, asked, fields=fields, said=said)

    def response(self, denied: Denied) -> Response:
        """Return the answer to a denied request, in the site's rendering if it has one."""
        answer = self.answer(denied)
        return Response(answer.body, answer.status, list(answer.headers))

    def answer(self, denied: Denied) -> RefusalResponse:
        """Return the same for whoever speaks WSGI."""
        answer = super().answer(denied)
        render = self._renderer()
        return answer if render is None else self._rendered(answer, render)

    def _admit(self, asked: Request) -> None:
        environ = asked.environ
        identity = self._identity(asked)
        if wsgi.asked(environ) != environ[ASKED]:
            identity = self._decide_again(asked, identity)
        g.api_key = identity
        rule = asked.url_rule
        if rule is None:  # no view: Flask answers 404, 405, or with a redirect
            return
        demands, news = self._declarations.demands(rule)
        declared = demands.declared(asked.method)
        method, path, _ = environ[ASKED]
        match = self.guard.engine.rules.table.match(method, path)
        decided = None if match is None else match.view
        # The table decided on another view, or when there was no such rule yet.
        elsewhere = news or (decided is not None and decided is not declared.route)
        demand = declared.whole if elsewhere else declared.demand
        if demand.auth == "exempt" and (
            identity is None or not (elsewhere or demand.access == "write")
        ):
            return
        fields = demands.fields(asked.view_args)
        self._met(demand, identity, asked, fields=fields, said=demand.access, strict=elsewhere)

    def _identity(self, asked: Request) -> Identity | None:
        """Return who is calling; raises ``HTTPRefusedError`` if no middleware of ours knows."""
        environ = asked.environ
        if environ.get(GUARD) is self.guard:
            return cast("Identity | None", environ["keybound"])
        logger.error(
            "a request to %s did not pass keybound, and is refused: something replaced "
            "app.wsgi_app; write app.wsgi_app = Middleware(app.wsgi_app) after init_app",
            self._flask.name,
        )
        denied = Denied(Reason.STORE_UNAVAILABLE)
        raise HTTPRefusedError(denied, self.response(denied))

    def _decide_again(self, asked: Request, identity: Identity | None) -> Identity | None:
        """Decide on what a middleware between us and Flask made of a request as well."""
        outcome = self.decide(asked.environ)
        if isinstance(outcome, Denied):
            raise HTTPRefusedError(outcome, self.response(outcome))
        if isinstance(outcome, Allowed):
            identity = asked.environ["keybound"] = outcome.identity
            CURRENT.set(identity)  # the middleware resets it
        return identity

    def _met(
        self,
        demand: Demand,
        identity: Identity | None,
        asked: Request,
        **how: Any,  # noqa: ANN401 - as Demand.check takes it
    ) -> Identity:
        try:
            return demand.check(identity, method=asked.environ["REQUEST_METHOD"], **how)
        except RefusedError as error:
            raise HTTPRefusedError(error.denied, self.response(error.denied)) from None

    def _rendered(self, answer: RefusalResponse, render: Renderer) -> RefusalResponse:
        """Return a refusal as a site shows it; whatever it does, it stays the same refusal."""
        try:
            with self._flask.app_context():
                shown = render(answer, msgspec.json.decode(answer.body))
                response = self._flask.make_response(shown)
                response.direct_passthrough = False
                body = response.get_data()
        except Exception as error:  # noqa: BLE001 - a rendering that fails is not needed
            # The text of a foreign error may hold anything; its type does not.
            logger.error("cannot render a refusal: %s", type(error).__qualname__)  # noqa: TRY400
            return answer
        left = {*_KEPT, "content-length", "connection", "transfer-encoding"}
        headers = [(name, value) for name, value in answer.headers if name in _KEPT]
        headers += [(name, value) for name, value in response.headers if name.lower() not in left]
        return RefusalResponse(answer.status, (("content-length", str(len(body))), *headers), body)


def protection_of(app: Flask) -> Protection:
    """Return what guards an application; raises ``RuntimeError`` if nothing does."""
    protection: object = app.extensions.get(EXTENSION)
    if not isinstance(protection, Protection):
        msg = f"{app.name} is not guarded: call init_app of keybound.flask.Keybound"
        raise RuntimeError(msg)  # noqa: TRY004 - what is missing is a call
    return protection


def _answered(error: HTTPRefusedError) -> Response:
    return cast("Response", error.response)


def _request() -> Request:
    """Return the request itself: asking the proxy every time costs more than the checks."""
    current: Any = request
    return cast("Request", current._get_current_object())  # noqa: SLF001 - Werkzeug documents it
