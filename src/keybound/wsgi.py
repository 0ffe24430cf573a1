"""The WSGI middleware: facts in, decision, refusal or identity out.

Requests are decided before the application sees them. WSGI (PEP 3333) has no start and no stop:
the store is opened by the first request, and a process that is forked before that shares nothing.
"""

from __future__ import annotations

import logging
import sys
from functools import cache
from http import HTTPStatus
from types import GeneratorType
from typing import TYPE_CHECKING, Any, ClassVar, cast

from keybound.buffering import buffer_input, is_worth_reading, with_models
from keybound.context import CURRENT, GUARD, NO_KEY, required, reset_current, set_current
from keybound.core.decision import Allowed, Denied
from keybound.core.demands import Demand
from keybound.core.errors import RefusedError
from keybound.core.facts import WEBSOCKET
from keybound.core.inquiry import NeedBody
from keybound.core.reading import Reading
from keybound.core.reasons import Reason
from keybound.forged import HARMLESS, drop_forged, is_odd
from keybound.guard import Guard
from keybound.heads import EnvironHead, target_of
from keybound.hiding import hide_in_environ, start_deprecating
from keybound.installing import refuse_twice, tell_inner_cors, usable_guard
from keybound.judge import UNSETTLED, Unguarded, denial

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable

    from keybound.context import Unknown
    from keybound.core.facts import Access
    from keybound.core.identity import Identity
    from keybound.core.reading import Reader
    from keybound.core.refusals import RefusalResponse
    from keybound.engine import Engine
    from keybound.judge import Outcome

    Environ = dict[str, Any]
    StartResponse = Callable[..., Any]
    Body = Iterable[bytes]
    WSGIApp = Callable[[Environ, StartResponse], Body]

__all__ = ["APIKeyMiddleware", "require"]

ALLOWED = "keybound.allowed"
"""Where the environment holds a decision that was remembered: one object for requests alike."""

READING = "keybound.reading"
"""Where it holds what was read of the request, before the key was hidden from the application."""

_FOLDING = ("granian", "wsgiserver")
"""Servers that take underscores in names of headers for hyphens."""

logger = logging.getLogger("keybound")

_PHRASES = {status.value: f"{status.value} {status.phrase}" for status in HTTPStatus}


class APIKeyMiddleware:
    """Lets requests through to ``app`` that ``guard`` allows.

    The identity is in ``environ["keybound"]``, and in ``keybound.current_key()`` while the
    application runs, a generator to its end. Whatever stood there before is gone. Where no key was
    needed it is ``None``. Safe for threads, greenlets and forks.
    """

    leaves: ClassVar[Unknown | None] = None
    """What ``current_key`` may be left at, where the framework itself tells it of the identity."""

    def __init__(self, app: WSGIApp, guard: Guard | None = None) -> None:
        """Wrap ``app``; without a guard, one is made from the environment and ``keybound.toml``.

        Raises ``SettingsError`` when ``app`` is guarded already.
        """
        refuse_twice(app, APIKeyMiddleware)
        self.app = app
        guard = usable_guard(Guard, guard)
        self.guard = guard.of(self) if guard.application is None else guard
        self._prepared: Engine | None = None

    def __call__(  # noqa: C901, PLR0912, PLR0915 - one function, since calls are what a request costs
        self, environ: Environ, start_response: StartResponse
    ) -> Body:
        """Serve one request."""
        method, path, peer = facts_of(environ)
        value: str | None = environ.get("HTTP_AUTHORIZATION")
        guard, app, remembered, odd = self.guard, self.app, True, False
        told = head = reading = None
        try:
            if guard.engine is not self._prepared:
                self.prepare(guard.engine)
            odd = not HARMLESS.issuperset(environ) and is_odd(environ)
            if odd or guard.reads_all or is_unplain(environ):
                reading = self.read(environ, method, path)
                peer, raw, told, head = reading
            else:
                raw = None if value is None else value.encode("latin-1")
            decide = guard.decide  # no method: to call it as one would cost a second look for it
            outcome = decide(method, path, peer, raw, told, head)
            if outcome.__class__ is not Allowed and outcome.__class__ in UNSETTLED:
                remembered = False
                reading = reading or Reading(peer, raw, None, None)
                value = raw = None  # as below: this may take its time, and be interrupted
                outcome, reading = self._settle(environ, outcome, method, path, reading)
        except UnicodeEncodeError:  # no server may make such a value out of bytes
            outcome = Denied(Reason.MALFORMED_CREDENTIALS)
        except Exception as error:  # noqa: BLE001 - whatever fails, the answer is a denial
            outcome = guard.engine.refuser.failed(error)
        if reading is not None:
            start_response = self._hide(environ, start_response, allowed=type(outcome) is Allowed)
        if type(outcome) is Allowed:
            identity = outcome.identity
            remembered = remembered and outcome.begins < outcome.ends
        elif outcome is Unguarded.UNGUARDED:
            identity, remembered = None, False
        else:
            return self.refuse(denial(outcome), environ, start_response)
        value = raw = None  # whoever reports an error shows what the frames of a traceback hold
        if odd:
            drop_forged(environ)
        environ["keybound"] = identity
        environ[GUARD] = guard
        environ[READING] = reading
        environ[ALLOWED] = outcome if remembered else None
        token = None
        if CURRENT.get() is not self.leaves:
            token = set_current(NO_KEY if identity is None else identity)
        try:
            body = app(environ, start_response)
        except RefusedError as error:  # a view asked for more, before it answered anything
            return self.refuse(error.denied, environ, start_response)
        finally:
            if token is not None:
                reset_current(token)
        if body.__class__ is GeneratorType:  # nothing of it has run yet
            return self._generated(cast("Generator[bytes]", body), environ, start_response)
        return body

    def read(self, environ: Environ, method: str, path: str) -> Reading:
        """Return what there is to a request."""
        return read_environ(self.guard.reader, environ, method, path)

    def _settle(
        self, environ: Environ, outcome: Outcome, method: str, path: str, reading: Reading
    ) -> tuple[Outcome, Reading]:
        """Do what takes more than memory: ask the store or an authenticator, read the body."""
        guard = self.guard
        settled: Outcome = guard.authorize(method, path, *reading, outcome=outcome)
        if not isinstance(settled, NeedBody):
            return settled, reading
        head, body_max, body = EnvironHead(environ, method, path), guard.settings.body_max, None
        if is_worth_reading(head, body_max):
            body = buffer_input(environ, body_max)
        told = with_models(reading.told, settled.fields, head, body)
        reading = reading.telling(told)
        return guard.authorize(method, path, *reading), reading

    def _hide(
        self, environ: Environ, start_response: StartResponse, *, allowed: bool
    ) -> StartResponse:
        """Take the key out of what the application sees, where it is not to see it."""
        reader, query = self.guard.reader, environ.get("QUERY_STRING")
        hidden = reader.hidden(EnvironHead(environ, "", ""), allowed=allowed)
        hide_in_environ(environ, reader.places, hidden)
        deprecated = environ.get("QUERY_STRING") != query
        return start_deprecating(start_response) if deprecated else start_response

    def prepare(self, engine: Engine) -> None:
        """Do what comes before the first request under an engine; what it raises is a 503."""
        self._prepared = engine
        if not engine.settings.exempt_preflight:
            tell_inner_cors(self.app)

    def answer(self, denied: Denied) -> RefusalResponse:
        """Return what a denied request is answered with."""
        return self.guard.refuse(denied)

    def refuse(self, denied: Denied, environ: Environ, start_response: StartResponse) -> Body:
        """Answer a request that nobody answered yet; raises again if somebody did (PEP 3333)."""
        answer = self.answer(denied)
        raised = sys.exc_info()
        try:
            # A site may render a refusal with a status of its own.
            line = _PHRASES.get(answer.status, f"{answer.status} Refused")
            start_response(line, [*answer.headers], *((raised,) if raised[0] else ()))
        finally:
            del raised  # it holds this very frame
        return [] if environ.get("REQUEST_METHOD") == "HEAD" else [answer.body]

    def _generated(
        self, body: Generator[bytes], environ: Environ, start_response: StartResponse
    ) -> Generator[bytes]:
        """Run an application that is a generator with its identity in place, as it goes on."""
        identity: Identity | None = environ["keybound"]
        try:
            while True:
                token = set_current(identity or NO_KEY)
                try:
                    chunk = next(body)
                except StopIteration:
                    return
                except RefusedError as error:
                    yield from self.refuse(error.denied, environ, start_response)
                    return
                finally:
                    reset_current(token)
                yield chunk
        finally:
            body.close()


def require(
    environ: Environ,
    scopes: str | Iterable[str] = (),
    *,
    model: str | None = None,
    access: Access | None = None,
    tenant: str | None = None,
) -> Identity:
    """Return who is calling, if that key may do this as well; otherwise the request is refused.

    For an application without a framework, before it answers anything. ``access`` is the method's
    unless said, and a tenant is that of the request: ``~`` is the caller's own. Raises
    ``RefusedError``, which the middleware answers, ``InputError``, and ``RuntimeError`` where no
    middleware of ours saw the request.
    """
    demand = Demand.read(scopes, model=model, access=access, tenant=tenant)
    return required(environ, demand, method=environ.get("REQUEST_METHOD") or "")


def read_environ(reader: Reader, environ: Environ, method: str, path: str) -> Reading:
    """Return what there is to the request of an environment."""
    if reader.believes_headers:
        tell_folded(environ.get("SERVER_SOFTWARE", ""))
    return reader.read(EnvironHead(environ, method, path))


@cache
def tell_folded(software: str) -> None:
    """Warn, once, of a server under which a client can write the headers of our proxies."""
    if software.lower().startswith(_FOLDING):
        logger.warning(
            "%s takes X_Forwarded_For of a client for X-Forwarded-For of a proxy: let the proxy "
            "drop names with underscores, or use another server or interface",
            software,
        )


def is_unplain(environ: Environ) -> bool:
    """Return whether a query may ask for another method, or the raw path may be another one."""
    query: str | None = environ.get("QUERY_STRING")
    if query and ("%" in query or "_method" in query.lower()):
        return True
    target = target_of(environ)
    if target is None:
        return False
    path: str = environ.get("PATH_INFO") or ""
    return "%" in target or not target.partition("?")[0].endswith(path)


def facts_of(environ: Environ) -> tuple[str, str, str | None]:
    """Return what a request is decided on: method, path and peer."""
    method: str = environ.get("REQUEST_METHOD") or ""  # a gateway that says none has no safe one
    if method == WEBSOCKET:  # a client may spell it, but gets nothing by it
        method = "websocket"
    path: str = environ.get("PATH_INFO") or "/"
    return method, path if path.isascii() else decoded(path), environ.get("REMOTE_ADDR")


def decoded(path: str) -> str:
    """Return a path as routers read it; bytes that are not UTF-8 are read in more ways than one."""
    try:
        return path.encode("latin-1").decode()
    except UnicodeError:
        return ""  # which no table matches
