"""A real server in between that hands over all there is, and can send whole refusals."""

from __future__ import annotations

import importlib.util
import json
import socket
import threading
from contextlib import contextmanager
from http.client import HTTPResponse
from typing import TYPE_CHECKING, Any

import pytest
import uvicorn

from keybound import Guard, Limits, Route
from keybound.asgi import APIKeyMiddleware
from tests.shells.subjects import ASGIApplication

if TYPE_CHECKING:
    from collections.abc import Iterator

ROUTES = (
    Route("/open", auth="exempt"),
    Route("/d/{tenant}/x"),
    Route("/feed", methods="WEBSOCKET", access="read", tenant="~"),
    Route("/own", tenant="~"),
)
UPGRADE = (
    b"Connection: Upgrade",
    b"Upgrade: websocket",
    b"Sec-WebSocket-Version: 13",
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
)


class Served:
    """An application behind a server, and its guard."""

    def __init__(
        self, guard: Guard, application: ASGIApplication, address: tuple[str, int]
    ) -> None:
        """Know all three."""
        self.guard = guard
        self.application = application
        self.address = address

    def issue(self, **limits: Any) -> bytes:
        """Issue a key of acme and return the line that carries it."""
        issued = self.guard.issue(name="a key", tenant="acme", limits=Limits(**limits))
        return b"Authorization: Bearer " + issued.secret.reveal().encode()

    def send(self, *lines: bytes, start: bytes = b"GET /own HTTP/1.1") -> tuple[int, bytes]:
        """Send these very bytes; return status and body of the answer."""
        with socket.create_connection(self.address, timeout=10) as connection:
            head = (start, b"Host: localhost", *lines)
            connection.sendall(b"\r\n".join(head) + b"\r\n\r\n")
            response = HTTPResponse(connection, method=start.split()[0].decode())
            response.begin()
            if response.status == 101:
                return 101, b""
            return response.status, response.read()


@pytest.fixture(params=["h11", "httptools"], scope="module")
def served(request: pytest.FixtureRequest) -> Iterator[Served]:
    """Serve a guarded application with one of uvicorn's two readers of HTTP."""
    assert importlib.util.find_spec(request.param), f"{request.param} is in the group `test`"
    guard = Guard.from_settings(database="memory://", routes=ROUTES)
    application = ASGIApplication()
    app = APIKeyMiddleware(application, guard.to_async())
    with running(app, http=request.param) as address:
        yield Served(guard, application, address)


@contextmanager
def running(app: Any, **options: Any) -> Iterator[tuple[str, int]]:
    """Run a server in a thread, and yield where it listens."""
    listening = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(app, log_config=None, ws="websockets-sansio", **options)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        yield listening.getsockname()
    finally:
        server.should_exit = True
        thread.join(timeout=10)
        listening.close()


def test_encoded_slash_is_seen_in_the_raw_path(served: Served):
    """What a path names is unknown where somebody behind may read other segments."""
    key = served.issue()
    assert served.send(key, start=b"GET /d/acme/x HTTP/1.1") == (200, b"served")
    status, body = served.send(key, start=b"GET /d/acme%2fx HTTP/1.1")
    assert (status, json.loads(body)["reason"]) == (403, "tenant_unresolved")


def test_websocket_is_refused_and_accepted(served: Served):
    """A handshake is answered with 101, or with the whole refusal."""
    reader = served.issue(read_only=True)
    feed, other = b"GET /feed HTTP/1.1", b"GET /own HTTP/1.1"
    assert served.send(*UPGRADE, reader, start=feed)[0] == 101
    for lines, start, status in (
        ((), feed, 401),
        ((reader, reader), feed, 400),
        ((reader,), other, 403),
    ):
        answered, body = served.send(*UPGRADE, *lines, start=start)
        assert answered == status
        assert json.loads(body)["status"] == status
    assert served.send(*UPGRADE, start=b"GET /open HTTP/1.1")[0] == 401
