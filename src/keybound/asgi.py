"""The ASGI middleware: facts in, decision, refusal or identity out.

HTTP requests and WebSocket handshakes are decided before the application sees them; lifespan
passes; any other kind of connection is refused.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from keybound.buffering import buffered, is_worth_reading, with_models
from keybound.context import GUARD, NO_KEY, required, reset_current, set_current
from keybound.core.decision import Allowed, Denied
from keybound.core.demands import Demand
from keybound.core.errors import RefusedError, StoreUnavailableError
from keybound.core.facts import WEBSOCKET
from keybound.core.identity import NO_GRANTS, NOBODY, Identity
from keybound.core.inquiry import NeedBody
from keybound.core.overriding import HEADERS, may_ask
from keybound.core.reasons import Reason
from keybound.guard import AsyncGuard
from keybound.handshakes import HANDSHAKE, POLICY_VIOLATION, Handshake, send_refusal
from keybound.heads import UNDERSCORE, ScopeHead
from keybound.hiding import deprecating, hide_in_scope
from keybound.installing import (
    refuse_open_app,
    refuse_root_path,
    refuse_twice,
    tell_inner_cors,
    tell_rewritten,
    usable_guard,
)
from keybound.judge import UNSETTLED, Unguarded, denial
from keybound.watching import watch

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, MutableMapping

    from keybound.core.facts import Access
    from keybound.core.head import Head
    from keybound.judge import Outcome

    Scope = MutableMapping[str, Any]
    Message = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[Message]]
    Send = Callable[[Message], Awaitable[None]]
    ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]

__all__ = ["APIKeyMiddleware", "require"]

HEAD = "keybound.head"
"""Where it holds what was read of a request, before the key was hidden from the application."""

logger = logging.getLogger("keybound")

_FORGED = b"x-keybound-"
"""How names begin that look like an identity of ours: no such header exists, so none goes on."""

_OVERRIDES = frozenset(name.encode() for name in HEADERS)
_USUAL = frozenset(
    b"""
    accept accept-encoding accept-language baggage cache-control connection content-length
    content-type cookie host if-modified-since if-none-match origin pragma priority range referer
    sec-ch-ua sec-ch-ua-mobile sec-ch-ua-platform sec-fetch-dest sec-fetch-mode sec-fetch-site
    sec-fetch-user te traceparent tracestate transfer-encoding upgrade-insecure-requests user-agent
    via x-forwarded-for x-forwarded-host x-forwarded-port x-forwarded-proto x-real-ip x-request-id
    """.split()
)
"""Names that need no closer look: to ask this set is the cheapest way to pass over most of them."""

_OPTIONAL = ("client", "raw_path", "root_path", "query_string")
"""What a server may leave out of a scope."""

_ENDS = frozenset(
    {"lifespan.startup.failed", "lifespan.shutdown.complete", "lifespan.shutdown.failed"}
)


class APIKeyMiddleware:
    """Lets requests through to ``app`` that ``guard`` allows.

    The identity is in ``scope["keybound"]``, ``scope["user"]`` and ``scope["auth"]``, and in
    ``keybound.current_key()`` while the application runs. Whatever stood there before is gone.
    Where no key was needed it is ``None``, and ``user`` and ``auth`` are the site's own, if any.
    """

    def __init__(self, app: ASGIApp, guard: AsyncGuard | None = None) -> None:
        """Wrap ``app``; without a guard, one is made from the environment and ``keybound.toml``.

        Raises ``SettingsError`` when ``app`` is guarded already, or has a ``root_path`` of its own.
        """
        refuse_twice(app, APIKeyMiddleware)
        refuse_root_path(app)
        self.app = app
        guard = usable_guard(AsyncGuard, guard)
        self.guard = guard.of(self) if guard.application is None else guard
        self._looks = True
        self._told_of_cors = False

    async def __call__(  # noqa: C901, PLR0912, PLR0915 - one function, since calls are what a request costs
        self, scope: Scope, receive: Receive, send: Send
    ) -> None:
        """Serve one connection."""
        kind = scope["type"]
        guard, app = self.guard, self.app
        decide = guard.decide  # no method: to call it as one would cost a second look for it
        if kind == "http":
            method = scope["method"]
            if method == WEBSOCKET:  # a client may spell it, but gets nothing by it
                method = "websocket"
        elif kind == "websocket":
            method = WEBSOCKET
            outer = scope.get(HANDSHAKE)
            send = scope[HANDSHAKE] = Handshake(send, accepted=outer is not None and outer.accepted)
            if guard.settings.close_on_revoke:
                app = self._watched
        else:
            await self._serve_other(scope, receive, send)
            return
        # Not for long: whoever reports an error shows what the frames of a traceback hold.
        raw: bytes | Reason | None = None
        odd, usual = False, _USUAL
        for name, value in scope["headers"]:
            if name in usual:
                continue
            if name == b"authorization":
                raw = value if raw is None else Reason.DUPLICATE_CREDENTIALS
            elif UNDERSCORE in name or name in _OVERRIDES or name.startswith(_FORGED):
                odd = True  # what has an underscore may be any other name to who is behind us
        path = scope["path"]
        try:
            client, raw_path = scope["client"], scope["raw_path"]
            root, query = scope["root_path"], scope["query_string"]
        except KeyError:  # to ask whether each is there would cost every request more than this
            client, raw_path, root, query = map(scope.get, _OPTIONAL)
        peer = client[0] if client else None
        told = head = None
        try:
            crooked = raw_path is not None and raw_path != path.encode()
            if root:
                path = below(root, path)
            if odd or crooked or guard.reads_all or (query and may_ask(query)):
                head = scope[HEAD] = ScopeHead(scope, method, path)
                peer, raw, told, _ = guard.reader.read(head)
                if self._looks:
                    self._looks = not tell_rewritten(scope.get("client"), head)
                outcome = decide(method, path, peer, raw, told, head)
            else:
                outcome = decide(method, path, peer, raw)
            if outcome.__class__ is not Allowed and outcome.__class__ in UNSETTLED:
                settling = self._settle(
                    scope, receive, outcome, (method, path, peer, raw, told, head)
                )
                raw = value = None
                outcome, receive = await settling
        except UnicodeEncodeError:  # no server may make such a path out of bytes
            outcome = Denied(Reason.INVALID_PATH)
        except Exception as error:  # noqa: BLE001 - whatever fails, the answer is a denial
            outcome = guard.engine.refuser.failed(error)
        raw = value = None
        if head is not None:
            send = self._hide(scope, send, head, allowed=isinstance(outcome, Allowed))
            if odd:
                scope["headers"] = [pair for pair in scope["headers"] if not _is_forged(pair[0])]
        if type(outcome) is Allowed:
            identity = outcome.identity
            scope["keybound"] = scope["user"] = identity
            scope["auth"] = identity.auth
            token = set_current(identity)
        elif outcome is Unguarded.UNGUARDED:
            scope["keybound"] = None
            if isinstance(scope.get("user"), Identity):  # of a guard around this one
                del scope["user"], scope["auth"]
            scope.setdefault("user", NOBODY)
            scope.setdefault("auth", NO_GRANTS)
            token = set_current(NO_KEY)
        else:
            await send_refusal(scope, send, guard.refuse(denial(outcome)))
            return
        scope[GUARD] = guard
        try:
            await app(scope, receive, send)
        except RefusedError as error:  # a view asked for more, before it answered anything
            await send_refusal(scope, send, guard.refuse(error.denied))
        finally:
            reset_current(token)

    async def _settle(
        self, scope: Scope, receive: Receive, outcome: Outcome, asked: tuple[Any, ...]
    ) -> tuple[Outcome, Receive]:
        """Do what takes more than memory: ask the store or an authenticator, read the body."""
        method, path = asked[:2]
        self._tell_of_cors()  # not every server has a lifespan
        if self._looks:
            head = asked[-1] or ScopeHead(scope, method, path)
            self._looks = not tell_rewritten(scope.get("client"), head)
        asking = self.guard.authorize(*asked, outcome=outcome)
        del asked  # it has the credential, and this may take its time
        settled: Outcome = await asking
        if not isinstance(settled, NeedBody):
            return settled, receive
        fields, head, body = settled.fields, ScopeHead(scope, method, path), None
        body_max = self.guard.settings.body_max
        if scope["type"] == "http" and is_worth_reading(head, body_max):
            body, receive = await buffered(receive, body_max)
        peer, raw, told, _ = self.guard.reader.read(head)
        told = with_models(told, fields, head, body)
        asking = self.guard.authorize(method, path, peer, raw, told, head)
        del raw  # as above
        return await asking, receive

    def _hide(self, scope: Scope, send: Send, head: Head, *, allowed: bool) -> Send:
        """Take the key out of what the application sees, where it is not to see it."""
        reader, query = self.guard.reader, scope.get("query_string")
        hide_in_scope(scope, reader.places, reader.hidden(head, allowed=allowed))
        return send if scope.get("query_string") == query else deprecating(send)

    async def _watched(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the application with a look, every now and then, at the key of its socket."""
        guard, path = self.guard, below(scope.get("root_path", ""), scope["path"])
        head: ScopeHead = scope.get(HEAD) or ScopeHead(scope, WEBSOCKET, path)
        identity: Identity | None = scope["keybound"]
        if identity is None:  # there is no key that could end
            await self.app(scope, receive, send)
            return
        settings = guard.settings
        every = settings.sync_every / 2
        within = max(settings.sync_every, settings.revoke_within / 6)

        async def still_allowed() -> bool:
            # Until the next look has ended, or a socket would outlive what is known of its key.
            await guard.keep_up(every + within)
            outcome = await guard.authorize(WEBSOCKET, path, *guard.reader.read(head))
            if isinstance(outcome, Allowed):  # a socket that ends was one use as well
                guard.decides_again(outcome.identity)
            return isinstance(outcome, Allowed)  # though its route may let in who is nobody

        watched = watch(
            receive,
            send,
            still_allowed=still_allowed,
            every=every,
            within=within,
            code=POLICY_VIOLATION,
        )
        await watched.run(lambda receive, send: self.app(scope, receive, send))

    async def _serve_other(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Open the store before the application starts, and let it go after it stopped."""
        if scope["type"] != "lifespan":
            msg = f"keybound does not know connections of type {scope['type']!r}: it refuses them"
            raise RuntimeError(msg)
        received = [await receive()]
        try:
            await self.prepare()
        except Exception as error:
            # Said by us, because an application without a lifespan would not, and be started.
            await send({"type": "lifespan.startup.failed", "message": str(error)})
            raise

        async def receive_again() -> Message:
            return received.pop() if received else await receive()

        async def send_closing(message: Message) -> None:
            if message["type"] in _ENDS:
                await self.guard.close()
            await send(message)

        await self.app(scope, receive_again, send_closing)

    async def prepare(self) -> None:
        """Do what can fail at start; raises ``SettingsError`` and ``StoreError``.

        A store that does not answer yet is no reason not to start: requests get a 503 until then.
        """
        self.check()
        try:
            await self.guard.open()
        except StoreUnavailableError as error:
            logger.warning("starting without the store: %s", error)

    def check(self) -> None:
        """Raise ``SettingsError`` for an application whose routes are seen, and all open."""
        refuse_open_app(self.guard.table, self.app)
        self._tell_of_cors()

    def _tell_of_cors(self) -> None:
        if not self._told_of_cors and not self.guard.settings.exempt_preflight:
            tell_inner_cors(self.app)
        self._told_of_cors = True


def require(
    scope: Scope,
    scopes: str | Iterable[str] = (),
    *,
    model: str | None = None,
    access: Access | None = None,
    tenant: str | None = None,
) -> Identity:
    """Return who is calling, if that key may do this as well; otherwise the request is refused.

    For an application without a framework, before it answers anything; a WebSocket that is open is
    closed. ``access`` is the method's unless said, and a tenant is that of the request: ``~`` is
    the caller's own. Raises ``RefusedError``, which the middleware answers, ``InputError``, and
    ``RuntimeError`` where no middleware of ours saw the request.
    """
    demand = Demand.read(scopes, model=model, access=access, tenant=tenant)
    return required(scope, demand, method=scope.get("method", WEBSOCKET))


def _is_forged(name: bytes) -> bool:
    return name.replace(b"_", b"-").startswith(_FORGED)


def below(root: str, path: str) -> str:
    """Return the path that the router under a mount point sees; never another segment's tail."""
    if path == root:
        return "/"
    return path[len(root) :] if path.startswith(root + "/") else path
