"""Requests of keys that may do less than they try, and of no key where one is optional."""

from __future__ import annotations

from tests.wire.cases import GOOD, HOST, NONE, OVER_WSGI, Case, Differs, Expected, starting

CAPITALS = Differs("a method is written in capitals", frozenset({"hypercorn"}))

READER = b"Authorization: Bearer {reader}"

METHODS = [
    *starting(
        "served",
        READER,
        b"GET /own HTTP/1.1",
        b"HEAD /own HTTP/1.1",
        b"OPTIONS /own HTTP/1.1",
        b"POST /search HTTP/1.1",
        what="only reads",
    ),
    *starting(
        "served",
        READER,
        b"get /own HTTP/1.1",
        b"post /search HTTP/1.1",
        what="only reads",
        differs=CAPITALS,
    ),
    *starting(
        "refused",
        READER,
        b"POST /own HTTP/1.1",
        b"PUT /search HTTP/1.1",
        b"DELETE /search HTTP/1.1",
        b"DeLeTe /own HTTP/1.1",
        b"delete /search HTTP/1.1",
        b"PATCH /own HTTP/1.1",
        b"WEBSOCKET /own HTTP/1.1",
        b"WEBSOCKET /feed HTTP/1.1",
        b"websocket /feed HTTP/1.1",
        b"CONNECT /own HTTP/1.1",
        b"TRACE /own HTTP/1.1",
        b"PRI /own HTTP/1.1",
        b"PRI * HTTP/2.0",
        b"PROPFIND /own HTTP/1.1",
        b"QUERY /own HTTP/1.1",
        b"GETX /own HTTP/1.1",
        b"GE /own HTTP/1.1",
        b"G\xcbT /own HTTP/1.1",
        b"GET\x00 /own HTTP/1.1",
        b"GET, /own HTTP/1.1",
        b"!#$%&'*+-.^_`|~ /own HTTP/1.1",
        b"A" * 300 + b" /own HTTP/1.1",
        what="only reads",
    ),
    *(
        Case(
            f"only reads: {method.decode()} taken for GET by {line.decode()}",
            method + b" " + target + b" HTTP/1.1",
            (HOST, line, READER, b"Content-Length: 0"),
            "refused",
        )
        for method in (b"POST", b"DELETE")
        for target, line in (
            (b"/own", b"X-HTTP-Method-Override: GET"),
            (b"/own", b"X-HTTP-Method: GET"),
            (b"/own", b"X-Method-Override: GET"),
            (b"/own?_method=GET", b"X: y"),
        )
    ),
]

INVOICES = b"Authorization: Bearer {invoices}"
ELSEWHERE = b"Authorization: Bearer {elsewhere}"

LIMITS = [
    *starting(
        "served",
        INVOICES,
        b"/m/invoice",
        b"/m/%69nvoice",
        b"/m/invoice?model=order",
        what="invoices",
    ),
    *starting(
        "refused",
        INVOICES,
        b"/m/order",
        b"POST /m/invoice HTTP/1.1",
        b"/m/order?model=invoice",
        b"/m/invoice/../order",
        b"/m/invoice%2f..%2forder",
        b"/m/invoice%2forder",
        b"/m/Invoice",
        b"/m/invoice;x",
        b"/m/invoice%00",
        b"/m//invoice",
        b"/m/*",
        b"/m/order#/m/invoice",
        b"/own",
        b"http://localhost/m/order",
        what="invoices",
    ),
    *(
        Case(
            f"elsewhere: {line.decode()}", b"GET /own HTTP/1.1", (HOST, line, ELSEWHERE), "refused"
        )
        for line in (
            NONE,
            b"X-Forwarded-For: 10.0.0.1",
            b"X-Forwarded-For: 10.0.0.1, 127.0.0.1",
            b"X-Real-IP: 10.0.0.1",
            b"Forwarded: for=10.0.0.1",
            b"Client-IP: 10.0.0.1",
            b"True-Client-IP: 10.0.0.1",
            b"CF-Connecting-IP: 10.0.0.1",
            b"REMOTE_ADDR: 10.0.0.1",
            b"Remote-Addr: 10.0.0.1",
        )
    ),
    Case(
        "here",
        b"GET /own HTTP/1.1",
        (HOST, b"X-Forwarded-For: 10.0.0.1", b"Authorization: Bearer {here}"),
        "served",
    ),
]

JOINED = Differs("two lines are one, which is then a foreign one", OVER_WSGI)


def optional(expected: Expected, name: str, *lines: bytes, differs: Differs | None = None) -> Case:
    """Return a request for what may be had with a key and without."""
    start = b"GET /optional HTTP/1.1"
    return Case(f"optional: {name}", start, (HOST, *lines), expected, differs)


FOREIGN = b"Authorization: Basic dTpw"
DEAD = b"Authorization: Bearer {dead}"

OPTIONAL = [
    optional("open", "no key", NONE),
    optional("open", "a foreign credential", FOREIGN),
    optional("open", "two foreign ones", FOREIGN, FOREIGN, differs=JOINED),
    optional("refused", "a revoked key", DEAD),
    optional("refused", "foreign, then a revoked key", FOREIGN, DEAD),
    optional("refused", "a revoked key, then foreign", DEAD, FOREIGN),
    optional("refused", "a revoked key, then 0xFF", DEAD, b"Authorization: \xff"),
    optional("refused", "a revoked key, then empty", DEAD, b"Authorization:"),
    optional("refused", "empty, then a revoked key", b"Authorization:", DEAD),
    optional("refused", "two keys", GOOD, b"Authorization: Bearer {other}"),
    optional("refused", "a key of elsewhere", ELSEWHERE),
    optional("served", "a key", b"Authorization: Bearer {reader}"),
]
