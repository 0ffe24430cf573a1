"""Handshakes and other protocols on the same port: a key opens what it opens, and no more."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.wire.http2 import ask_http2
from tests.wire.report import lines_of
from tests.wire.safety import check
from tests.wire.servers import KINDS

if TYPE_CHECKING:
    from tests.wire.connections import Answer
    from tests.wire.servers import Fleet

UPGRADE = (
    b"Host: localhost",
    b"Connection: Upgrade",
    b"Upgrade: websocket",
    b"Sec-WebSocket-Version: 13",
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
)
READER = b"Authorization: Bearer {reader}"
PLAIN = b"Authorization: Bearer {plain}"

HANDSHAKES: dict[str, tuple[bytes, tuple[bytes, ...], str, str]] = {
    "a key that may": (b"GET /feed", (READER,), "reader", "nobody"),
    "no key": (b"GET /feed", (), "nobody", "nobody"),
    "a revoked key": (b"GET /feed", (b"Authorization: Bearer {dead}",), "nobody", "nobody"),
    "two keys": (b"GET /feed", (READER, PLAIN), "nobody", "nobody"),
    "a key that only reads": (b"GET /own", (READER,), "nobody", "reader"),
    "a key that writes": (b"GET /own", (PLAIN,), "plain", "plain"),
    "a key of elsewhere": (
        b"GET /feed",
        (b"Authorization: Bearer {elsewhere}",),
        "nobody",
        "nobody",
    ),
    "where GET needs no key": (b"GET /open", (), "nobody", "anybody"),
    "where a key is optional": (b"GET /optional", (), "nobody", "anybody"),
    "beneath what needs no key": (b"GET /open/../feed", (), "nobody", "nobody"),
    "another tenant": (b"GET /d/evil/x", (PLAIN,), "nobody", "nobody"),
    # granian takes a handshake whatever the method: it is decided, and served, as a WebSocket
    "by POST": (b"POST /feed", (READER,), "reader", "nobody"),
    "by POST, and writes": (b"POST /own", (READER,), "nobody", "nobody"),
    "by POST where GET needs no key": (b"POST /open", (), "anybody", "anybody"),
    "by WEBSOCKET": (b"WEBSOCKET /feed", (READER,), "reader", "nobody"),
    "by get": (b"get /feed", (READER,), "reader", "nobody"),
    "over HTTP/1.0": (b"GET /feed", (), "nobody", "nobody"),
}
"""First line, further lines, and whom it lets in at most: over ASGI, and over WSGI, which knows no
WebSockets and has a plain request instead."""


def let_in(answer: Answer) -> str:
    """Return whom an answer let in."""
    if answer.told is None:
        return "nobody"
    return answer.told["key"] or "anybody"


@pytest.mark.parametrize("name", HANDSHAKES)
def test_handshake_is_a_request_of_its_own_kind(fleet: Fleet, name: str):
    """What a GET may do here does not open a WebSocket, and what a WebSocket may do no POST."""
    start, lines, *most = HANDSHAKES[name]
    version = b" HTTP/1.0" if name.endswith("1.0") else b" HTTP/1.1"
    answers = fleet.ask(b"\r\n".join((start + version, *UPGRADE, *lines, b"", b"")))
    try:
        for server, answer in answers.items():
            over_asgi = KINDS[server].interface == "asgi"
            check(answer, {"reader", "plain"})
            assert let_in(answer) in {most[not over_asgi], "nobody"}
            if answer.status == 101:
                assert over_asgi
                assert (answer.told or {})["method"] == "WEBSOCKET"
        accepted = {server for server, answer in answers.items() if let_in(answer) != "nobody"}
        for interface, whom in zip(("asgi", "wsgi"), most, strict=True):
            mine = {server for server in KINDS if KINDS[server].interface == interface}
            assert whom == "nobody" or mine & accepted
    except AssertionError as error:
        error.add_note(lines_of(answers))
        raise


def test_upgrade_to_http2_is_decided_as_the_request_that_asks_for_it(fleet: Fleet):
    """A server that changes the protocol answers the request itself over the new one."""
    lines = (
        b"Host: localhost",
        b"Connection: Upgrade, HTTP2-Settings",
        b"Upgrade: h2c",
        b"HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA",
    )
    for start, carried in ((b"GET /own", ()), (b"POST /own", (READER,)), (b"GET /open", ())):
        raw = fleet.with_keys(b"\r\n".join((start + b" HTTP/1.1", *lines, *carried, b"", b"")))

        def ask(server: str, raw: bytes = raw) -> Answer:
            with fleet.connect(server) as connection:
                connection.send(raw)
                answer = connection.read()
                return ask_http2(connection, upgraded=True) if answer.status == 101 else answer

        for answer in fleet.on_each(ask).values():
            check(answer, {"reader"})
            assert answer.outcome == ("served" if start == b"GET /open" else "refused")


SPEAK_HTTP2 = ("hypercorn", "granian, ASGI", "granian, WSGI")
KEY = (b"authorization", b"Bearer {plain}")
FRAMES: dict[str, tuple[dict[bytes, bytes], tuple[tuple[bytes, bytes], ...], str]] = {
    "a key": ({}, (KEY,), "plain"),
    "no key": ({}, (), "nobody"),
    "what needs no key": ({b":path": b"/open"}, (), "anybody"),
    "two keys": ({}, (KEY, (b"authorization", b"Bearer {other}")), "nobody"),
    "a key twice": ({}, (KEY, KEY), "nobody"),
    "good and empty": ({}, (KEY, (b"authorization", b"")), "nobody"),
    "name in capitals": ({}, ((b"Authorization", KEY[1]),), "nobody"),
    "underscore": ({}, ((b"author_ization", KEY[1]),), "nobody"),
    "line break in a value": ({}, ((b"x", b"y\r\nauthorization: Bearer {plain}"),), "nobody"),
    "line break in a path": (
        {b":path": b"/own HTTP/1.1\r\nAuthorization: Bearer {plain}\r\nX: y"},
        (),
        "nobody",
    ),
    "line break in a method": ({b":method": b"GET /open HTTP/1.1\r\nX: y\r\n\r\n"}, (), "nobody"),
    "dot segments": ({b":path": b"/open/../own"}, (), "nobody"),
    "encoded dot segments": ({b":path": b"/open/%2e%2e/own"}, (), "nobody"),
    "no slash": ({b":path": b"own"}, (KEY,), "nobody"),
    "two slashes": ({b":path": b"//own"}, (), "nobody"),
    "an empty path": ({b":path": b""}, (KEY,), "nobody"),
    "a host in the path": ({b":path": b"http://localhost/own"}, (), "nobody"),
    "a fragment": ({b":path": b"/own#/open"}, (), "nobody"),
    "an asterisk": ({b":method": b"OPTIONS", b":path": b"*"}, (KEY,), "nobody"),
    "another authority": ({b":authority": b"open"}, ((b"host", b"localhost"),), "nobody"),
    "a path in the authority": ({b":authority": b"localhost/open?"}, (), "nobody"),
    "a key that only reads": ({b":method": b"POST"}, ((KEY[0], b"Bearer {reader}"),), "nobody"),
    "small letters": ({b":method": b"post"}, ((KEY[0], b"Bearer {reader}"),), "nobody"),
    "a forged identity": ({}, (KEY, (b"x-keybound-tenant", b"evil")), "plain"),
    "CONNECT": ({b":method": b"CONNECT"}, (), "nobody"),
    "a WebSocket": (
        {b":method": b"CONNECT", b":protocol": b"websocket", b":path": b"/open"},
        (),
        "nobody",
    ),
}
"""Fields that differ from those of a plain request, further fields, and whom they let in."""


@pytest.mark.parametrize("name", FRAMES)
def test_request_over_http2_is_decided_alike(fleet: Fleet, name: str):
    """Where there are no lines to be read differently, there is still only one credential."""
    changed, further, whom = FRAMES[name]
    pseudo = {
        b":method": b"GET",
        b":scheme": b"http",
        b":authority": b"localhost",
        b":path": b"/own",
        **changed,
    }
    fields = [(key, fleet.with_keys(value)) for key, value in (*pseudo.items(), *further)]

    def ask(server: str) -> Answer:
        with fleet.connect(server) as connection:
            return ask_http2(connection, fields)

    answers = fleet.on_each(ask, SPEAK_HTTP2)
    try:
        for answer in answers.values():
            check(answer, {"plain"})
            assert let_in(answer) in {whom, "nobody"}
        assert whom in {let_in(answer) for answer in answers.values()}
    except AssertionError as error:
        error.add_note(lines_of(answers))
        raise
