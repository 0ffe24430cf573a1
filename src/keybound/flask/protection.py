"""What guards one application: the middleware around it, and a second look inside.

Requests are decided before Flask sees them, on method and path. Inside, the view that Flask really
chose says what it asks for; that can only narrow what was decided.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, cast

from flask import Flask, current_app, g, request
from flask.wrappers import Response
from msgspec import structs

from keybound.context import GUARD, NOTHING
from keybound.core.decision import Allowed, Denied
from keybound.core.demands import Demand, strictest_access
from keybound.core.errors import RefusedError
from keybound.core.reading import Reading
from keybound.core.reasons import Reason
from keybound.core.told import PREFLIGHT
from keybound.flask.declarations import Declarations
from keybound.flask.refusals import HTTPRefusedError, renderer_of
from keybound.flask.settled import Settled
from keybound.heads import EnvironHead
from keybound.wsgi import ALLOWED, READING, APIKeyMiddleware, facts_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from weakref import WeakSet

    from flask.typing import ResponseReturnValue
    from flask.wrappers import Request
    from werkzeug.routing import Rule

    from keybound.core.identity import Identity
    from keybound.core.refusals import RefusalResponse
    from keybound.engine import Engine
    from keybound.flask.refusals import Renderer
    from keybound.guard import Guard
    from keybound.wsgi import Body, Environ, StartResponse, WSGIApp

logger = logging.getLogger("keybound")

EXTENSION = "keybound"
"""Under this name an application has its protection among its ``extensions``."""

_MET = "keybound.met"
"""Where the environment holds who looked at a request last, and the demands that it met then.

An application that another one calls finds the same environment.
"""

_CAME_AS = "keybound.came_as"
"""Where the environment holds what was decided on, if something may have changed it since."""

_REQUEST: Any = request
_VARIABLES: Any = g


class Again(APIKeyMiddleware):
    """Decides on a request as it is now, and says so by what it raises."""

    def read(self, environ: Environ, method: str, path: str) -> Reading:
        """Return what was read first, of who the client is now: the key may be hidden by then."""
        known: Reading | None = environ[READING]
        if known is not None:
            client = self.guard.reader.client.of(EnvironHead(environ, method, path))
            return structs.replace(known, peer=client)
        return super().read(environ, method, path).rewritten()

    def refuse(
        self,
        denied: Denied,
        environ: Environ,  # noqa: ARG002 - what is raised is answered elsewhere
        start_response: StartResponse,  # noqa: ARG002 - the same
    ) -> Body:
        """Raise ``RefusedError``."""
        raise RefusedError(denied)


class Protection(APIKeyMiddleware):
    """The middleware of one application, and what its views ask."""

    leaves = NOTHING  # ``keybound.flask`` looks into Flask's own context

    def __init__(
        self,
        app: Flask,
        guard: Guard,
        *,
        renderer: Callable[[], Renderer | None],
        marked: WeakSet[Any],
    ) -> None:
        """Stand around ``app``, and before everything that it calls before its views."""
        inner = app.wsgi_app
        # What stands between us and Flask may change what was decided on.
        self._alone = getattr(inner, "__func__", None) is Flask.wsgi_app
        self.given = guard
        guard = guard.of(app)
        super().__init__(inner if self._alone else _recording(inner), guard)
        self._flask = app
        self._renderer = renderer
        self._declarations = Declarations(app, guard, marked)
        self._again = Again(_nothing, guard)
        self._settled = Settled()
        app.wsgi_app = self  # type: ignore[method-assign]
        app.preprocess_request = self._admitting(app.preprocess_request)  # type: ignore[method-assign]
        app.register_error_handler(HTTPRefusedError, _answered)
        app.handle_exception = _refusing(app)  # type: ignore[method-assign]

    def prepare(self, engine: Engine) -> None:
        """Read the rules, and raise ``SettingsError`` where nothing at all is guarded.

        Every request is a 503 then, from the first to the one that finds a rule that is guarded;
        the log says so once.
        """
        self._declarations.check(engine)
        super().prepare(engine)

    def _admitting(
        self, preprocess: Callable[..., ResponseReturnValue | None]
    ) -> Callable[..., ResponseReturnValue | None]:
        """Return what Flask calls first inside of a request: it looks at the view that was chosen.

        It puts the identity into ``flask.g.api_key``, and answers a request that may not go on. A
        ``before_request`` would come too late: URL value preprocessors of the site run before.
        """
        app = self._flask
        current = _REQUEST._get_current_object  # noqa: SLF001 - Werkzeug documents it
        variables = _VARIABLES._get_current_object  # noqa: SLF001 - the same
        settled_for = self._settled.view
        alone = self._alone
        plain = getattr(preprocess, "__func__", None) is Flask.preprocess_request

        def admit(*context: object) -> ResponseReturnValue | None:  # later versions hand it on
            asked: Request = current()
            allowed = asked.environ.get(ALLOWED)
            known = alone and allowed is not None and settled_for(allowed) is asked.url_rule
            refused = None if known else self._admit(asked)
            if refused is not None:
                return refused
            variables().api_key = asked.environ["keybound"]
            if plain and not app.before_request_funcs and not app.url_value_preprocessors:
                return None  # which Flask would find out for every blueprint
            return preprocess(*context)

        return admit

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

    def check_view(self, demand: Demand) -> None:
        """Raise ``HTTPRefusedError`` unless a demand is met, which may be known by now."""
        environ = _request().environ
        looked, met = environ.get(_MET, (None, ()))
        if looked is not self:
            met = self._settled.demands(environ.get(ALLOWED))
        if demand not in met:
            self.check(demand)

    def response(self, denied: Denied) -> Response:
        """Return the answer to a denied request, in the site's rendering if it has one."""
        answer = self.answer(denied)
        return Response(answer.body, answer.status, list(answer.headers))

    def answer(self, denied: Denied) -> RefusalResponse:
        """Return the same for whoever speaks WSGI."""
        render = self._renderer()
        renderer = None if render is None else renderer_of(self._flask, render)
        return self.guard.refuse(denied, renderer)

    def _admit(self, asked: Request) -> Response | None:
        """Return the refusal of a request that may not go on, having looked at everything."""
        try:
            self._look(asked)
        except HTTPRefusedError as error:
            return cast("Response", error.response)
        except Exception as error:  # noqa: BLE001 - whatever fails, the answer is a denial
            return self.response(self.guard.engine.refuser.failed(error))
        return None

    def _look(self, asked: Request) -> None:
        environ = asked.environ
        identity = self._identity(asked)
        if not self._alone and environ[_CAME_AS] != facts_of(environ):
            identity = self._decide_again(environ, identity)
        rule = asked.url_rule
        # No view: Flask answers with 404, 405, a redirect, or what it allows.
        if rule is None or (identity is None and _is_preflight_for_flask(asked, rule)):
            return
        demands, news = self._declarations.demands(rule)
        declared = demands.declared(asked.method)
        guard = self.guard
        method, path, peer = facts_of(environ)
        match = guard.table.match(method, path)
        decided = None if match is None else match.view
        allowed: Allowed | None = environ[ALLOWED]
        reading: Reading | None = environ[READING]
        if reading is None:
            raw = environ.get("HTTP_AUTHORIZATION", "").encode("latin-1")
            reading = Reading(peer, raw, None, None)
        again = None
        if allowed is not None:
            guard.decides_again(identity)
            again = guard.decide(method, path, *reading)
        # The table decided on another view or on none, or when there were other rules.
        elsewhere = (
            news
            or match is None
            or match.route is None
            or (decided is not None and decided is not declared.route)
            or (allowed is not None and not isinstance(again, Allowed))
        )
        demand = declared.whole if elsewhere else declared.demand
        asks = demand.auth != "exempt" or demand.access == "write"
        if asks or (elsewhere and identity is not None):
            fields = demands.fields(asked.view_args)
            self._met(demand, identity, asked, fields=fields, said=demand.access, strict=elsewhere)
        environ[_MET] = self, declared.demands
        if allowed is not None and again is allowed and not elsewhere:
            self._settled.add(allowed, rule, declared.demands)

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

    def _decide_again(self, environ: Environ, identity: Identity | None) -> Identity | None:
        """Decide as well on what a middleware between us and Flask made of a request."""
        self.guard.decides_again(identity)
        try:
            self._again(environ, _nothing)
            again: Identity | None = environ["keybound"]
            if identity is not None and again is None:
                # Nobody is asked for here: they are held to what was asked for where they came.
                path: str = environ[_CAME_AS][1]
                came: Environ = {**environ, "PATH_INFO": path.encode().decode("latin-1")}
                self._again(came, _nothing)
                held: Identity | None = came["keybound"]
                environ["keybound"] = again = held or identity
        except RefusedError as error:
            raise HTTPRefusedError(error.denied, self.response(error.denied)) from None
        return again

    def _met(
        self,
        demand: Demand,
        identity: Identity | None,
        asked: Request,
        **how: Any,  # noqa: ANN401 - as Demand.check takes it
    ) -> Identity:
        try:
            return demand.check(identity, method=asked.environ.get("REQUEST_METHOD") or "", **how)
        except RefusedError as error:
            raise HTTPRefusedError(error.denied, self.response(error.denied)) from None


def check_view(demand: Demand) -> None:
    """Raise ``HTTPRefusedError`` for a view whose demand is not met, which may be known by now."""
    protection_of(current_app).check_view(demand)


def protection_of(app: Flask) -> Protection:
    """Return what guards an application; raises ``RuntimeError`` if nothing does."""
    protection: object = app.extensions.get(EXTENSION)
    if not isinstance(protection, Protection):
        msg = f"{app.name} is not guarded: call init_app of keybound.flask.Keybound"
        raise RuntimeError(msg)  # noqa: TRY004 - what is missing is a call
    return protection


def _is_preflight_for_flask(asked: Request, rule: Rule) -> bool:
    """Return whether a request is a preflight that Flask answers by itself."""
    reading: Reading | None = asked.environ[READING]
    told = None if reading is None else reading.told
    by_flask = asked.method == PREFLIGHT and getattr(rule, "provide_automatic_options", False)
    return bool(by_flask and told is not None and told.preflight)


def _recording(inner: WSGIApp) -> WSGIApp:
    """Return an application that notes what a request came as, before somebody changes it."""

    def record(environ: Environ, start_response: StartResponse) -> Body:
        environ[_CAME_AS] = facts_of(environ)
        return inner(environ, start_response)

    return record


def _refusing(app: Flask) -> Callable[..., Response]:
    """Return what Flask calls for what no handler handled: a handler may ask for more, too."""
    handle = app.handle_exception
    finalize: Callable[..., Response] = app.finalize_request

    def answer(*given: Any) -> Response:  # noqa: ANN401 - later versions hand on a context
        *context, error = given
        if not isinstance(error, HTTPRefusedError):
            return handle(*given)
        return finalize(*context, _answered(error), from_error_handler=True)

    return answer


def _answered(error: HTTPRefusedError) -> Response:
    return cast("Response", error.response)


def _request() -> Request:
    """Return the request itself: asking the proxy every time costs more than the checks."""
    return cast("Request", _REQUEST._get_current_object())  # noqa: SLF001 - Werkzeug documents it


def _nothing(_environ: object, _start_response: object = None, _error: object = None) -> Body:
    return ()
