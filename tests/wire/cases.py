"""Requests that can be read in more ways than one: who is let in, whatever a server makes of them.

``{name}`` in a line is the key of that name. A case says what the middleware makes of it where the
server hands it on; a server that refuses it first is always right.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tests.wire.connections import ANSWERS_WITHIN
from tests.wire.servers import KINDS

Expected = Literal["served", "open", "refused"]
"""With the identity of the key, without any, or not at all."""

HOST = b"Host: localhost"
GOOD = b"Authorization: Bearer {plain}"
NONE = b"X: y"


@dataclass(frozen=True, slots=True)
class Differs:
    """Why some servers hand on another request than the rest; behind the rest it is refused."""

    why: str
    servers: frozenset[str]


@dataclass(frozen=True, slots=True)
class Case:
    """One request and who is let in by it."""

    name: str
    start: bytes
    lines: tuple[bytes, ...]
    expected: Expected
    differs: Differs | None = None
    end: bytes = b"\r\n"

    @property
    def within(self) -> float:
        """Seconds to wait: some servers wait for the rest of what they take for a beginning."""
        return 1.0 if self.end != b"\r\n" or self.start.startswith(b"PRI *") else ANSWERS_WITHIN

    @property
    def raw(self) -> bytes:
        """What is sent, with the names of keys in the places of keys."""
        return self.end.join((self.start, *self.lines)) + 2 * self.end


def of(expected: Expected, *cases: tuple[str, bytes], differs: Differs | None = None) -> list[Case]:
    """Return requests for ``/own`` that differ in their lines; a host is added."""
    return [
        Case(name, b"GET /own HTTP/1.1", (HOST, lines), expected, differs) for name, lines in cases
    ]


def starting(
    expected: Expected,
    line: bytes,
    *starts: bytes,
    what: str,
    differs: Differs | None = None,
) -> list[Case]:
    """Return requests that differ in their first line, which names them."""
    made = []
    for start in starts:
        first = start
        if b" HTTP/" not in first:
            first = b"GET " + first + b" HTTP/1.1"
        shown = first.decode("latin-1").encode("unicode_escape").decode()[:60]
        shown = shown.removeprefix("GET ").removesuffix(" HTTP/1.1")
        made.append(Case(f"{what}: {shown}", first, (HOST, line), expected, differs))
    return made


DEVELOPMENT = frozenset({"werkzeug", "wsgiref"})
OVER_WSGI = frozenset(name for name, kind in KINDS.items() if kind.interface == "wsgi")

UNFOLDED = Differs(
    "a folded line is put together, refused, or kept with its line break",
    DEVELOPMENT | {"uvicorn, h11", "hypercorn", "waitress"},
)
RETURN = Differs("a bare CR ends a line", DEVELOPMENT)
STRIPPED = Differs("white space is taken away that is none in HTTP", frozenset({"wsgiref"}))
FORWARDED = Differs(
    "SCRIPT_NAME is taken from proxies that are trusted: those of this machine",
    frozenset({"gunicorn, sync", "gunicorn, threads"}),
)

CREDENTIALS = [
    *of(
        "served",
        ("one key", GOOD),
        ("the other form", b"Authorization: rest_api_key={plain}"),
        ("name in other letters", b"aUTHORIZATION: Bearer {plain}"),
        ("no blank after the colon", b"Authorization:Bearer {plain}"),
        ("blanks around", b"Authorization: \t Bearer {plain} \t "),
        ("a hundred other lines", b"\r\n".join([*(b"A%d: b" % n for n in range(60)), GOOD])),
        ("100 KB beside", b"X: " + b"a" * 100_000 + b"\r\n" + GOOD),
        ("a forged identity beside", b"X-Keybound-Tenant: evil\r\nX_Keybound_Key: evil\r\n" + GOOD),
    ),
    *of(
        "served",
        ("folded before the key", b"Authorization: Bearer\r\n {plain}"),
        ("folded with tabs", b"Authorization:\r\n\tBearer {plain}"),
        ("folded after the key", GOOD + b"\r\n "),
        differs=UNFOLDED,
    ),
    *of(
        "served",
        ("behind a bare CR", b"X: y\r" + GOOD),
        ("a bare CR behind", GOOD + b"\rX: y"),
        differs=RETURN,
    ),
    *of(
        "served",
        ("NBSP before", b"Authorization: \xa0Bearer {plain}"),
        ("NBSP behind", GOOD + b"\xa0"),
        ("0x85 behind", GOOD + b"\x85"),
        ("unit separator behind", GOOD + b"\x1f"),
        ("form feed before", b"Authorization: \x0cBearer {plain}"),
        ("vertical tab behind", GOOD + b"\x0b"),
        differs=STRIPPED,
    ),
    *of(
        "refused",
        ("no key", NONE),
        ("a revoked key", b"Authorization: Bearer {dead}"),
        ("two equal lines", GOOD + b"\r\n" + GOOD),
        ("two keys", GOOD + b"\r\nAuthorization: Bearer {other}"),
        ("two forms", GOOD + b"\r\nAuthorization: rest_api_key={plain}"),
        ("good then bad", GOOD + b"\r\nAuthorization: Basic dTpw"),
        ("bad then good", b"Authorization: Basic dTpw\r\n" + GOOD),
        ("good then empty", GOOD + b"\r\nAuthorization:"),
        ("empty then good", b"Authorization:\r\n" + GOOD),
        ("good then 0xFF", GOOD + b"\r\nAuthorization: \xff"),
        ("0xFF then good", b"Authorization: \xff\r\n" + GOOD),
        ("good then NBSP", GOOD + b"\r\nAuthorization: \xa0"),
        ("good then comma", GOOD + b"\r\nAuthorization: ,"),
        ("good, dead", GOOD + b"\r\nAuthorization: Bearer {dead}"),
        ("three lines apart", GOOD + b"\r\nX: y\r\n" + GOOD + b"\r\nY: z\r\n" + GOOD),
        ("other letters twice", GOOD + b"\r\nauthorization: Bearer {plain}"),
        ("comma in one line", GOOD + b", Bearer {other}"),
        ("comma at the end", GOOD + b","),
        ("a parameter behind", GOOD + b";q=1"),
        ("in quotes", b'Authorization: Bearer "{plain}"'),
        ("two folded keys", GOOD + b"\r\n Bearer {other}"),
        ("folded into another line", b"X: y\r\n " + GOOD),
        ("key folded in the middle", b"Authorization: Bearer kb_live_\r\n {plain}"),
        ("bare CR and a second key", GOOD + b"\rAuthorization: Bearer {other}"),
        ("NUL behind", GOOD + b"\x00"),
        ("NUL and more behind", GOOD + b"\x00, Bearer {other}"),
        ("NUL before", b"Authorization: \x00Bearer {plain}"),
        ("DEL behind", GOOD + b"\x7f"),
        ("0x80 behind", GOOD + b"\x80"),
        ("NBSP between", b"Authorization: Bearer\xa0{plain}"),
        ("0xFF behind", GOOD + b"\xff"),
        ("UTF-8 behind", GOOD + b"\xc3\xa9"),
        ("blank before the colon", b"Authorization : Bearer {plain}"),
        ("tab before the colon", b"Authorization\t: Bearer {plain}"),
        ("no colon", b"Authorization Bearer {plain}"),
        ("an equals sign for a colon", b"Authorization= Bearer {plain}"),
        ("0xA0 in the name", b"Authorization\xa0: Bearer {plain}"),
        ("NUL in the name", b"Authorization\x00: Bearer {plain}"),
        ("underscore in the name", b"Author_ization: Bearer {plain}"),
        ("underscore behind the name", b"Authorization_: Bearer {plain}"),
        ("the name in WSGI", b"HTTP_AUTHORIZATION: Bearer {plain}"),
        ("the other name in WSGI", b"HTTP-Authorization: Bearer {plain}"),
        ("for the proxy", b"Proxy-Authorization: Bearer {plain}"),
        ("in a cookie", b"Cookie: Authorization=Bearer {plain}; rest_api_key={plain}"),
        ("a long value", b"Authorization: Bearer " + b"a" * 8_000),
        ("100 KB of blanks", b"Authorization: Bearer" + b" " * 100_000 + b"{plain}"),
        ("in the body", b"Content-Length: 46\r\n\r\n" + GOOD),
    ),
]


def hosts(expected: Expected, line: bytes, what: str, **cases: tuple[bytes, ...]) -> list[Case]:
    """Return requests for ``/own`` that differ in their hosts, and in what else may name one."""
    return [
        Case(f"{what}: {name}", b"GET /own HTTP/1.1", (*lines, line), expected)
        for name, lines in cases.items()
    ]


HOSTS = [
    Case("host: none, HTTP/1.0", b"GET /own HTTP/1.0", (GOOD,), "served"),
    *hosts(
        "served",
        GOOD,
        "host",
        none=(),
        twice=(HOST, HOST),
        two=(HOST, b"Host: evil"),
        path=(b"Host: localhost/open",),
        query=(b"Host: localhost?/open",),
        fragment=(b"Host: localhost#/open",),
        user=(b"Host: open@localhost",),
        comma=(b"Host: localhost, evil",),
        blank=(b"Host: local host",),
        port=(b"Host: localhost:99999",),
        empty=(b"Host:",),
        path_alone=(b"Host: /open",),
        forwarded=(HOST, b"X-Forwarded-Host: evil"),
        another_path=(HOST, b"X-Original-URL: /open", b"X-Rewrite-URL: /open"),
        mounted=(HOST, b"Script-Name: /own"),
    ),
    *hosts(
        "refused",
        NONE,
        "host, no key",
        two=(HOST, b"Host: open"),
        path=(b"Host: localhost/open?",),
        another_path=(HOST, b"X-Original-URL: /open", b"X-Rewrite-URL: /open"),
        mounted=(HOST, b"Script-Name: /own", b"X-Forwarded-Prefix: /open"),
    ),
    Case(
        "host: mounted by its proxy",
        b"GET /x/own HTTP/1.1",
        (HOST, b"SCRIPT_NAME: /x", GOOD),
        "served",
        FORWARDED,
    ),
    Case(
        "host, no key: mounted by its proxy",
        b"GET /own/open HTTP/1.1",
        (HOST, b"SCRIPT_NAME: /own"),
        "open",
        FORWARDED,
    ),
]
