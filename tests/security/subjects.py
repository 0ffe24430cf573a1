"""Who replays a request: the decision without a shell, and one application of each framework."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from keybound.buffering import is_worth_reading, with_models
from keybound.core.decision import Allowed, Denied
from keybound.core.errors import InputError, SettingsError
from keybound.core.inquiry import NeedBody
from keybound.core.reasons import Reason
from keybound.core.refusals import REFUSALS
from keybound.heads import EnvironHead, ScopeHead
from keybound.judge import Unguarded
from keybound.wsgi import facts_of
from tests.django.project import forget_guard
from tests.security.applications import (
    ASGIRecorder,
    AsyncDjangoRecorder,
    DjangoRecorder,
    WSGIRecorder,
    sse,
)
from tests.security.outcomes import Outcome
from tests.security.sending import Connection, Sent, asgi_scope, wsgi_environ
from tests.shells.calls import Answer, call_wsgi
from tests.shells.subjects import SUBJECTS as SHELLS

if TYPE_CHECKING:
    from keybound.core.effects import Steps
    from keybound.core.head import Head
    from tests.security.worlds import Place

OPEN = 101
"""What an accepted WebSocket is."""

REFUSED_FROM = 400
FAILED_FROM = 500

WEBSOCKETS = frozenset({"asgi", "starlette", "fastapi"})
"""The shells behind which there are WebSockets: Django's handler has none."""

_CLOSE = "websocket.close"


@dataclass(slots=True)
class Served:
    """A guarded application in the shape of one framework."""

    name: str
    place: Place
    app: Any
    recorder: Any

    @property
    def protocol(self) -> str:
        """``asgi`` or ``wsgi``."""
        return str(self.recorder.protocol)

    def send(self, each: Sent) -> Outcome:
        """Send a request, and return what became of it."""
        if self.protocol == "wsgi":
            return self._measured(lambda: self._wsgi(each))
        return self._measured(lambda: asyncio.run(self.sent(each)))

    async def sent(self, each: Sent) -> Outcome:
        """Send a request over ASGI."""
        scope = asgi_scope(each)
        self.recorder.noted["scope"] = dict(scope)
        self.recorder.outer = self.app
        connection = Connection(each, leaves_after=2 if sse(each) else None)
        try:
            await self.app(scope, connection.receive, connection.send)
        except Exception as error:  # noqa: BLE001 - what it is, is the outcome
            return self._of(connection.answer, error, asked=connection.asked, scope=scope)
        return self._of(connection.answer, None, asked=connection.asked, scope=scope)

    def _wsgi(self, each: Sent) -> Outcome:
        environ = wsgi_environ(each)
        body = environ["wsgi.input"]
        try:
            answer = call_wsgi(self.app, environ)
        except Exception as error:  # noqa: BLE001 - what it is, is the outcome
            return self._of(None, error, asked=body.asked, scope={})
        return self._of(answer, None, asked=body.asked, scope={})

    def _measured(self, request: Any) -> Outcome:
        loads, started = self.place.store.loads, time.perf_counter()
        self.recorder.served.clear()
        with self.place.in_zone():
            outcome: Outcome = request()
        outcome.seconds = time.perf_counter() - started
        outcome.loads = self.place.store.loads - loads
        return outcome

    def _of(
        self, answer: Answer | None, error: Exception | None, *, asked: int, scope: dict[str, Any]
    ) -> Outcome:
        served = list(self.recorder.served)
        identity = served[-1].get("keybound") if served else None
        outcome = Outcome(
            decision="error", status=None, reason=None, answer=answer, served=served,
            identity=identity, error=error,
        )  # fmt: skip
        outcome.facts = {
            "asked": asked,
            "scope": scope,
            "body": self.recorder.body,
            "noted": self.recorder.noted,
            "handshake": self.name in WEBSOCKETS,
        }
        if error is not None or answer is None:
            return outcome
        outcome.status = answer.status
        # What servers make of it is a 403 that says nothing.
        outcome.closed = bool(answer.messages) and answer.messages[0]["type"] == _CLOSE
        denial = answer.all("keybound-denial")
        if denial:
            outcome.decision = "deny"
            outcome.reason = self.place.engine.refuser.unseal(denial[0]).reason.value
        elif served:
            outcome.decision = "error" if answer.status >= FAILED_FROM else "allow"
            outcome.reason = "ok" if identity is not None else "exempt"
        else:
            outcome.decision = "deny"
        return outcome


_RECORDERS: dict[str, Any] = {
    "django": DjangoRecorder,
    "django-async": AsyncDjangoRecorder,
    "wsgi": WSGIRecorder,
    "flask": WSGIRecorder,
}


def serve(name: str, place: Place, behaviour: str | None = None, *, body: bool = False) -> Served:
    """Return a guarded application in the shape of a framework."""
    recorder = _RECORDERS.get(name, ASGIRecorder)(behaviour, body=body)
    return Served(name, place, SHELLS[name].guarded(recorder, place.guard), recorder)


def pure(place: Place, each: Sent) -> Outcome:
    """Decide a request without any shell."""
    loads, started = place.store.loads, time.perf_counter()
    with place.in_zone():
        decided = decide(place, each)
    taken = time.perf_counter() - started
    status = OPEN if each.kind == "websocket" else 200
    if isinstance(decided, Allowed):
        outcome = Outcome(decision="allow", status=status, reason="ok", identity=decided.identity)
    elif decided is Unguarded.UNGUARDED:
        outcome = Outcome(decision="allow", status=status, reason="exempt")
    else:
        reason = decided.reason if isinstance(decided, Denied) else Reason.STORE_UNAVAILABLE
        outcome = Outcome(decision="deny", status=REFUSALS[reason].status, reason=reason.value)
    if each.kind == "websocket" and outcome.decision == "deny":
        outcome.closed = "websocket.http.response" not in (each.scope.get("extensions") or {})
    outcome.seconds, outcome.loads = taken, place.store.loads - loads
    return outcome


def decide(place: Place, each: Sent) -> Any:
    """Ask the guard, as a shell does, and read the body if it asks for that."""
    guard, read = place.guard, facts(place, each)
    decided = guard.authorize(*read)
    if not isinstance(decided, NeedBody):
        return decided
    method, path, _, _, told, head = read
    assert head is not None
    body = each.body if is_worth_reading(head, guard.settings.body_max) else None
    if body is not None and len(body) > guard.settings.body_max:
        body = None
    told = with_models(told, decided.fields, head, body)
    return guard.authorize(method, path, *read[2:4], told, head)


def steps(place: Place, each: Sent) -> Steps[Any]:
    """Return the decision as the steps that it takes."""
    return place.engine.authorized(*facts(place, each))


def facts(place: Place, each: Sent) -> tuple[str, str, str | None, Any, Any, Head | None]:
    """Return what a request is decided on, as a server of either protocol hands it on."""
    if each.environ:
        environ = wsgi_environ(each)
        method, path, _ = facts_of(environ)
        head: Any = EnvironHead(environ, method, path)
    else:
        method = "WEBSOCKET" if each.kind == "websocket" else each.method
        root = each.scope.get("root_path", "")
        path = each.path[len(root) :] if root and each.path.startswith(root + "/") else each.path
        head = ScopeHead(asgi_scope(each), method, path)
    reading = place.engine.reader.read(head)
    return method, path, *reading


STARTUP_ERRORS = (SettingsError, InputError)
"""What keybound raises for settings that cannot be meant."""


def forget() -> None:
    """Let the next project of Django make another guard."""
    forget_guard()
