"""A guarded application in the shape of a framework, over any store."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Any

import pytest

from keybound import Guard, Settings
from keybound.core.effects import LoadByDigest
from keybound.core.errors import StoreUnavailableError
from keybound.core.limits import Limits
from keybound.engine import Engine
from keybound.testing import FakeClock
from keybound.testing.records import a_key, commit, new
from tests.shells.calls import PEER, Body, call, call_wsgi, environ_of, scope_of
from tests.shells.subjects import SUBJECTS

if TYPE_CHECKING:
    from collections.abc import Callable

    from keybound.core.effects import Effect
    from keybound.core.issuing import IssuedKey
    from keybound.core.reasons import Reason
    from keybound.stores import Store
    from tests.shells.calls import Answer

DENIAL_RESPONSE: dict[str, object] = {"websocket.http.response": {}}
"""What a server offers that can answer a WebSocket handshake with more than a status."""


class Watched:
    """A store that counts what it is asked, keys apart, and can be out of reach."""

    def __init__(self, store: Store) -> None:
        """Pass everything on to ``store``."""
        self.store = store
        self.location = store.location
        self.asked = 0
        self.loads = 0
        self.reachable = True

    def perform(self, effect: Effect[Any]) -> Any:
        """Answer one effect, or fail as a store does that is out of reach."""
        self.asked += 1
        self.loads += isinstance(effect, LoadByDigest)
        if not self.reachable:
            msg = "the store did not answer"
            raise StoreUnavailableError(msg)
        return self.store.perform(effect)

    def close(self) -> None:
        """Close it."""
        self.store.close()


class Site:
    """A guarded application, its guard, its store and its clock."""

    def __init__(self, shape: str, store: Store, **settings: Any) -> None:
        """Make one; nothing is opened."""
        self.clock = FakeClock()
        self.store = Watched(store)
        self.guard = Guard(Engine(Settings(**settings), self.store, self.clock, background=False))
        subject = SUBJECTS[shape]
        self.application: Any = subject.application()
        self.app = subject.guarded(self.application, self.guard)

    @property
    def served(self) -> list[dict[str, Any]]:
        """The scopes, or environments, of all requests that reached the application."""
        served: list[dict[str, Any]] = self.application.served
        return served

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        """The headers of the one request that reached the application, as that saw them."""
        (seen,) = self.served
        if self.application.kind == "asgi":
            return list(seen["headers"])
        return [
            (name[5:].lower().replace("_", "-").encode("latin-1"), value.encode("latin-1"))
            for name, value in seen.items()
            if name.startswith("HTTP_")
        ]

    def skip_handshake(self, method: str) -> None:
        """End a test of a WebSocket where there are none."""
        if method == "WEBSOCKET" and self.application.kind == "wsgi":
            pytest.skip("WSGI has no WebSockets")

    def issue(self, **options: Any) -> IssuedKey:
        """Issue a key of acme."""
        given: dict[str, Any] = {"name": "a key", "tenant": "acme"} | options
        return self.guard.issue(**given)

    def plant(self, *, node_id: str = "key_planted", **members: Any) -> bytes:
        """Store a record that no verb would write, and return the header value of its key."""
        self.guard.open()
        secret = self.guard.engine.format.generate(os.urandom(32))
        digest = self.guard.engine.peppers.digest(secret.reveal())
        commit(self.store, new(a_key(node_id, **{"tenant": "acme", **members}), digest))
        return b"Bearer " + secret.reveal().encode()

    def request(
        self,
        method: str = "GET",
        path: str = "/own",
        *,
        key: IssuedKey | bytes | None = None,
        headers: tuple[tuple[bytes, bytes], ...] = (),
        body: bytes | Body | None = None,
        **scope: Any,
    ) -> Answer:
        """Send a request, or with the method ``WEBSOCKET`` a handshake, and return the answer.

        A body that is bytes has a length in the head; any other comes in chunks.
        """
        sent = [*headers, *(authorization(key) if key is not None else ())]
        if isinstance(body, bytes):
            sent.append((b"content-length", b"%d" % len(body)))
            body = Body(body)
        if self.application.protocol == "wsgi":
            given: dict[str, Any] = {
                "client": scope.get("client", (PEER, 5000)),
                "query": scope.get("query_string", b""),
                "raw_path": scope.get("raw_path"),
                "body": body,
            }
            return call_wsgi(self.app, environ_of(path, method=method, headers=sent, **given))
        kind = "websocket" if method == "WEBSOCKET" else "http"
        return call(self.app, scope_of(kind, path, method=method, headers=sent, **scope), body)

    def look(self, **looks: Callable[[Any], Any]) -> None:
        """Let the application look at each request as its framework shows it.

        There is one function for ``starlette``, ``werkzeug`` and ``django``; what it returns, or
        what is awaited for that, is in ``looked``.
        """
        self.application.look = looks[self.application.framework]

    @property
    def looked(self) -> Any:
        """What was seen of the last request."""
        return self.served[-1]["looked"]

    def reason(self, answer: Answer) -> Reason:
        """Return why a request was refused."""
        return self.guard.explain_denial(answer.denial).reason

    def start(self) -> list[dict[str, Any]]:
        """Start and stop the application, and return what it said."""
        return asyncio.run(started(self.app))


def authorization(key: IssuedKey | bytes) -> tuple[tuple[bytes, bytes], ...]:
    """Return the headers that carry a key."""
    value = key if isinstance(key, bytes) else b"Bearer " + key.secret.reveal().encode()
    return ((b"authorization", value),)


def limits(value: object) -> Limits:
    """Return limits as a store may hold them, readable or not."""
    return Limits.load(value)


async def started(app: Any) -> list[dict[str, Any]]:
    """Start and stop an application, and return what it said; raises what it raised."""
    asked = [{"type": "lifespan.shutdown"}, {"type": "lifespan.startup"}]
    said: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return asked.pop()

    async def send(message: dict[str, Any]) -> None:
        said.append(message)

    try:
        await app({"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}, receive, send)
    except BaseException as error:
        error.said = said  # type: ignore[attr-defined]
        raise
    return said
