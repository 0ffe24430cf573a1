"""Several requests on one connection: each is decided by itself, whatever came before it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.wire.safety import check
from tests.wire.servers import KINDS

if TYPE_CHECKING:
    from tests.wire.connections import Answer
    from tests.wire.servers import Fleet

KEYS = ("plain", None, "other", "dead", "plain", "elsewhere", None, "other")
"""Whose key the requests of one connection carry."""

INSIDE = b"GET /own HTTP/1.1\r\nHost: localhost\r\n\r\n"
"""What is hidden in a body: a request for what is guarded, without a key."""


def request(key: str | None, start: str = "GET /own", *lines: str, body: str = "") -> bytes:
    """Return a request with the key of that name."""
    carried = () if key is None else (f"Authorization: Bearer {{{key}}}",)
    return "\r\n".join((f"{start} HTTP/1.1", "Host: localhost", *carried, *lines, "", body)).encode(
        "latin-1"
    )


def who(answer: Answer) -> str | None:
    """Return whom an answer is for, ``None`` for one that let nobody in."""
    return None if answer.told is None else answer.told["key"]


def expected(key: str | None) -> str | None:
    """Return whom the answer to a request with this key is for."""
    return key if key in {"plain", "other"} else None


@pytest.mark.parametrize("name", KINDS)
def test_each_request_of_a_connection_is_decided_by_its_own_key(fleet: Fleet, name: str):
    """A connection is nobody's, and goes on after a refusal unless the server ends it."""
    connection = fleet.connect(name)
    for number, key in enumerate(KEYS):
        connection.send(fleet.with_keys(request(key)))
        answer = connection.read()
        check(answer, {key})
        assert (number, who(answer)) == (number, expected(key))
        if ends(answer):
            connection.close()
            connection = fleet.connect(name)
    connection.close()


def ends(answer: Answer) -> bool:
    """Return whether a server says that it ends the connection; wsgiref speaks HTTP/1.0."""
    return answer.version < (1, 1) or "close" in answer.all("connection")


@pytest.mark.parametrize("name", KINDS)
def test_requests_sent_at_once_are_decided_one_by_one(fleet: Fleet, name: str):
    """Answers come in order, each for its own request; a server may leave the rest unanswered."""
    sent = b"".join(request(key) for key in KEYS[:-1]) + request(
        KEYS[-1], "GET /own", "Connection: close"
    )
    with fleet.connect(name) as connection:
        connection.send(fleet.with_keys(sent))
        answers = connection.read_all(within=2.0)[:-1]
    assert answers
    assert [who(each) for each in answers] == [expected(key) for key in KEYS[: len(answers)]]
    assert len(answers) == len(KEYS) or any(ends(each) for each in answers)


@pytest.mark.parametrize("name", KINDS)
def test_refusal_leaves_the_connection_in_order(fleet: Fleet, name: str):
    """What a refused request had as a body is no request, and HEAD is refused without a body."""
    refused = [
        ("HEAD", request(None, "HEAD /own")),
        ("POST", request(None, "POST /own", f"Content-Length: {len(INSIDE)}") + INSIDE),
        ("PUT", request("reader", "PUT /own", "Transfer-Encoding: chunked") + chunked(INSIDE)),
        ("GET", request("plain", "GET /d/evil/x")),
        ("GET", request("plain", "GET /own/../own")),
    ]
    for method, raw in refused:
        with fleet.connect(name) as connection:
            connection.send(fleet.with_keys(raw))
            answer = connection.read(head=method == "HEAD")
            check(answer, {"plain", "reader"})
            assert (method, answer.outcome) == (method, "refused")
            if not ends(answer):
                connection.send(fleet.with_keys(request("other", "GET /own", "Connection: close")))
                later = connection.read_all(within=2.0)
                assert [who(each) for each in later if each.status > 0] == ["other"]


def chunked(data: bytes, end: bytes = b"0\r\n\r\n") -> bytes:
    """Return a body of one chunk."""
    return b"%x\r\n%s\r\n%s" % (len(data), data, end)


@pytest.mark.parametrize("size", [80, 300])
def test_body_that_was_looked_into_reaches_the_application_whole(fleet: Fleet, size: int):
    """To its end or to a cap, with a length or in chunks, and whatever it names."""
    body = b'{"text": "%s"}' % (b"x" * size)
    json = "Content-Type: application/json"
    sent = {
        "a length": request("moody", "POST /chat", json, f"Content-Length: {len(body)}") + body,
        "one chunk": request("moody", "POST /chat", json, "Transfer-Encoding: chunked")
        + chunked(body),
        "two chunks": request("moody", "POST /chat", json, "Transfer-Encoding: chunked")
        + chunked(body[:50], b"")
        + chunked(body[50:]),
    }
    for shape, raw in sent.items():
        for name, answer in fleet.ask(raw).items():
            if shape != "a length" and name in UNCHUNKED:
                continue
            check(answer, {"moody"})
            assert answer.told is not None, (name, shape, answer)
            assert (name, shape, answer.told["body"]) == (name, shape, body.decode())


UNCHUNKED = {"wsgiref"}
"""Servers that hand no body in chunks to the application."""


LENGTHS = {
    "length, then chunks": (f"Content-Length: {len(chunked(b''))}", "Transfer-Encoding: chunked"),
    "chunks, then length": ("Transfer-Encoding: chunked", "Content-Length: 4"),
    "no length in chunks": ("Transfer-Encoding: chunked", "Content-Length: 0"),
    "two lengths": ("Content-Length: 0", f"Content-Length: {len(INSIDE)}"),
    "two lengths, other order": (f"Content-Length: {len(INSIDE)}", "Content-Length: 0"),
    "two lengths in one line": (f"Content-Length: 0, {len(INSIDE)}",),
    "the same length twice": ("Content-Length: 5, 5",),
    "a signed length": ("Content-Length: +0",),
    "a negative length": ("Content-Length: -1",),
    "a length in hexadecimal": ("Content-Length: 0x0",),
    "a length with an underscore": ("Content-Length: 1_0",),
    "a length in other digits": ("Content-Length: \u00b2",),
    "an empty length": ("Content-Length:",),
    "a length with a blank": ("Content-Length: 0 0",),
    "a long length": ("Content-Length: " + "9" * 400,),
    "a length by another name": ("Content_Length: 0",),
    "chunks in capitals": ("Transfer-Encoding: CHUNKED",),
    "chunks that are none": ("Transfer-Encoding: xchunked",),
    "chunks and identity": ("Transfer-Encoding: chunked, identity",),
    "identity and chunks": ("Transfer-Encoding: identity, chunked",),
    "chunks twice": ("Transfer-Encoding: chunked", "Transfer-Encoding: chunked"),
    "chunks, then others": ("Transfer-Encoding: chunked", "Transfer-Encoding: x"),
    "chunks in quotes": ('Transfer-Encoding: "chunked"',),
    "chunks behind a tab": ("Transfer-Encoding:\tchunked",),
    "chunks behind a vertical tab": ("Transfer-Encoding: \x0bchunked",),
    "chunks before a blank and a colon": ("Transfer-Encoding : chunked",),
    "chunks folded": ("Transfer-Encoding:", " chunked"),
    "chunks by another name": ("Transfer_Encoding: chunked",),
    "nothing": (),
}
BODIES = {
    "bare": INSIDE,
    "in a chunk": chunked(INSIDE),
    "behind the last chunk": b"0\r\n\r\n" + INSIDE,
}
CHUNKS = {
    "size with a sign": b"+0\r\n\r\n" + INSIDE,
    "size with a prefix": b"0x0\r\n\r\n" + INSIDE,
    "size with blanks": b"0 \r\n\r\n" + INSIDE,
    "negative size": b"-1\r\n\r\n" + INSIDE,
    "empty size": b"\r\n\r\n" + INSIDE,
    "size too large": b"f" * 40 + b"\r\n" + INSIDE,
    "size that turns over": b"10000000000000000\r\n" + INSIDE,
    "size with an underscore": b"1_0\r\n" + INSIDE,
    "extension": b"0;a=b\r\n\r\n" + INSIDE,
    "extension with LF": b"0;a\nb\r\n\r\n" + INSIDE,
    "extension with CR": b"0;a\rb\r\n\r\n" + INSIDE,
    "lines that end in LF": b"0\n\n" + INSIDE,
    "data longer than said": b"1\r\nabc\r\n0\r\n\r\n" + INSIDE,
    "a key in a trailer": b"0\r\nAuthorization: Bearer {plain}\r\n\r\n" + INSIDE,
    "a head in trailers": b"0\r\n" + INSIDE,
}


HIDDEN = {
    **{
        f"{lines}, {body}": b"\r\n".join(
            (*(line.encode("latin-1") for line in LENGTHS[lines]), b"", raw)
        )
        for lines in LENGTHS
        for body, raw in BODIES.items()
    },
    **{name: b"Transfer-Encoding: chunked\r\n\r\n" + raw for name, raw in CHUNKS.items()},
}
"""Ends of requests that may end where servers and proxies disagree, with one hidden inside."""


TOO_LARGE = {"size too large", "size that turns over"}
"""Sizes at which Werkzeug's server ends, with some Pythons, when an application reads the body."""


@pytest.mark.parametrize("shape", HIDDEN)
def test_nothing_guarded_is_reached_from_within_a_body(fleet: Fleet, shape: str):
    """Wherever a server thinks that a body ends, what is hidden in it has no key and gets none."""
    servers = [name for name in KINDS if name != "werkzeug" or shape not in TOO_LARGE]
    for path, key in (("/open", None), ("/search", "plain")):
        sent = request(key, f"POST {path}").removesuffix(b"\r\n") + HIDDEN[shape]
        raw = fleet.with_keys(sent)

        def ask(name: str, raw: bytes = raw) -> list[Answer]:
            with fleet.connect(name) as connection:
                connection.send(raw)
                return connection.read_all(within=0.1)

        for name, answers in fleet.on_each(ask, servers).items():
            for answer in answers:
                check(answer, {key})
                assert answer.told is None or (name, answer.told["path"]) == (name, path)


def test_refusal_does_not_wait_for_the_body(fleet: Fleet):
    """Who waits for a ``100 Continue`` is refused instead; waitress alone wants the body first."""

    def ask(name: str) -> bool:
        with fleet.connect(name) as connection:
            connection.send(request(None, "POST /own", "Content-Length: 5", "Expect: 100-continue"))
            answer = connection.read(within=2.0)
            waited = answer.status < 0
            if waited:
                connection.send(b"hello")
                answer = connection.read()
            check(answer, ())
            assert (answer.outcome, answer.status) == ("refused", 401)
            return waited

    assert {name for name, waited in fleet.on_each(ask).items() if waited} == {"waitress"}


@pytest.mark.parametrize("name", KINDS)
def test_client_that_leaves_changes_nothing(fleet: Fleet, name: str):
    """After connections that ended in the middle of a request, the next is decided as ever."""
    whole = fleet.with_keys(request("plain", "POST /own", "Content-Length: 9", body="half"))
    for length in (0, 5, 30, 60, len(whole) - 6, len(whole)):
        with fleet.connect(name) as connection:
            connection.send(whole[:length])
    for key in (None, "plain"):
        with fleet.connect(name) as connection:
            connection.send(fleet.with_keys(request(key)))
            assert who(connection.read()) == expected(key)
