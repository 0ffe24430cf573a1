"""A real server in between: what it makes of requests does not open anything."""

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


def test_key_is_let_in(served: Served):
    """A key works over a real connection, and its limits hold."""
    key = served.issue(networks="127.0.0.1", read_only=True)
    assert served.send(key) == (200, b"served")
    assert served.send(key, start=b"POST /own HTTP/1.1")[0] == 403
    assert served.send(key, start=b"GET /d/evil/x HTTP/1.1")[0] == 403
    assert served.send(start=b"GET /open HTTP/1.1") == (200, b"served")


def test_nobody_is_let_in_without_a_key(served: Served):
    """No credential, two lines and a folded line get nowhere."""
    key = served.issue()
    before = len(served.application.served)
    assert served.send()[0] == 401
    assert served.send(key, key)[0] == 400
    assert served.send(key, b"authorization: Basic dTpw")[0] == 400
    assert served.send(b"Authorization: Bearer", b" " + key.rpartition(b" ")[2])[0] in {200, 400}
    assert served.send(key + b"\xe9")[0] == 401
    assert served.send(key + b"\x00")[0] == 400
    assert served.send(b"Authorization: Bearer " + b"a" * 8_192)[0] == 401
    assert len(served.application.served) - before <= 1  # the folded line, which is one value


def test_body_of_a_refusal_arrives_whole(served: Served):
    """The refusal over the wire is the problem document, and HEAD is answered without one."""
    status, body = served.send()
    assert (status, json.loads(body)["status"]) == (401, 401)
    assert served.send(start=b"HEAD /own HTTP/1.1") == (401, b"")


@pytest.mark.parametrize(
    ("target", "status"),
    [
        (b"//own", 400),
        (b"/d/acme/../evil/x", 400),
        (b"/d/acme/%2e%2e/evil/x", 400),
        (b"/d/acme%2f..%2fevil/x", 400),
        (b"/own%00", 400),
        (b"/own%0d%0aX:%20y", 400),
        (b"/open/..%2fown", 400),
        (b"/d/acme%2fx", 403),
    ],
)
def test_path_is_the_one_that_the_application_gets(served: Served, target: bytes, status: int):
    """However a path is encoded, it is decided on as it was decoded."""
    key = served.issue()
    assert served.send(key, start=b"GET " + target + b" HTTP/1.1")[0] == status


def test_absolute_target_opens_nothing(served: Served):
    """A target with scheme and host is the plain path, or no path at all."""
    evil = b"GET http://evil.example/d/evil/x HTTP/1.1"
    assert served.send(served.issue(), start=evil)[0] in {400, 403}
    assert served.send(start=b"GET http://evil.example/own HTTP/1.1")[0] in {400, 401}


def test_method_in_other_letters_opens_nothing(served: Served):
    """A method that is not exactly a reading one writes, if the server lets it through at all."""
    key = served.issue(read_only=True)
    for method in (b"get", b"PoSt", b"WEBSOCKET"):
        assert served.send(key, start=method + b" /feed HTTP/1.1")[0] in {400, 403}


def test_forged_address_opens_nothing(served: Served):
    """Nobody becomes another client by a header that nobody was told to trust."""
    key = served.issue(networks="10.0.0.1")
    for line in (b"X-Real-IP: 10.0.0.1", b"Forwarded: for=10.0.0.1", b"Client-IP: 10.0.0.1"):
        assert served.send(key, line)[0] == 403


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
