"""Targets that read heads of requests: the input is a head as it is on the wire, or one value.

A head is ``METHOD target``, then lines ``name: value``; nothing of HTTP is checked, since servers
differ in what they let through.
"""

from __future__ import annotations

from functools import cache
from urllib.parse import unquote_to_bytes

from keybound import Guard
from keybound.core.bodies import BodyFields, head_allows
from keybound.core.clients import ClientAddress
from keybound.core.credentials import Credential, parse_forms, read_credential
from keybound.core.decision import Allowed
from keybound.core.facts import pack_address
from keybound.core.overriding import methods_asked
from keybound.core.places import Places
from keybound.core.tenants_of import TenantSource
from tests.core.heads import FakeHead

PEER = "10.0.0.1"
TRUSTED = ["10.0.0.0/8", "192.0.2.7"]


def head_of(data: bytes) -> FakeHead:
    """Return the head that an input is."""
    start, *rest = data.split(b"\n")
    method, _, target = start.partition(b" ")
    raw_path, _, query = target.partition(b"?")
    pairs = [line.partition(b":") for line in rest]
    return FakeHead(
        headers=tuple(
            (name.lower().decode("latin-1"), value.strip(b" \t")) for name, _, value in pairs
        ),
        query=query,
        peer=PEER,
        method=method.decode("latin-1"),
        path=unquote_to_bytes(raw_path).decode("utf-8", "surrogateescape"),
        raw_path=raw_path,
    )


_FORMS = parse_forms(
    [
        *("bearer", "rest_api_key", "scheme(Token)", "scheme_param(ApiKey, key)", "param(key)"),
        *("basic(password)", "bare", "header(X-Key)", "query(key)", "cookie(key)"),
    ]
)
_PLACES = Places(_FORMS)


def places(data: bytes) -> None:
    """Find a credential: it is read as one word, and nothing of it is handed on."""
    head = head_of(data)
    found = _PLACES.find(head)
    if isinstance(found, bytes):
        read = read_credential(found, _FORMS)
        if isinstance(read, Credential):
            assert read_credential(read.canonical, _FORMS) == read
            assert _PLACES.in_header(found) == (
                _PLACES.place_of(found).kind in {"authorization", "header"}
            )
    raw = [(name.encode("latin-1"), value) for name, value in head.headers]
    kept = _PLACES.without_headers(raw)
    rest = FakeHead(
        headers=tuple((name.decode("latin-1"), value) for name, value in kept),
        query=_PLACES.without_query(head.query),
    )
    assert _PLACES.find(rest) is None


_CLIENTS = [
    ("x-forwarded-for", ClientAddress.parse(None, TRUSTED)),
    ("x-forwarded-for", ClientAddress.parse("x-forwarded-for", 2)),
    ("forwarded", ClientAddress.parse("forwarded", TRUSTED)),
    ("forwarded", ClientAddress.parse("forwarded", 1)),
]


def forwarded(data: bytes) -> None:
    """Find the client in lines of either header: an address, also where a server joined them."""
    lines = data.split(b"\n")
    for name, clients in _CLIENTS:
        head = FakeHead(headers=tuple((name, line) for line in lines), peer=PEER)
        found = clients.of(head)
        assert found is None or pack_address(found) is not None
        assert clients.of(head.joined()) == found


_TENANTS = [
    TenantSource.parse("header(X-Tenant)"),
    TenantSource.parse(["host({tenant}.api.example)", "host(acme.example)=acme"]),
    TenantSource.parse("forwarded_host({tenant}.api.example)"),
]


def tenant_source(data: bytes) -> None:
    """Read the tenant in a header or the host: it has no segment that names nobody."""
    for name in ("x-tenant", "host", "x-forwarded-host"):
        head = FakeHead(headers=((name, data),), peer=PEER)
        for source in _TENANTS:
            found = source.of(head, lambda _peer: True)
            assert found is None or not {"", ".", "..", "*"} & set(found.split("/"))


_FIELDS = BodyFields.parse("body(model, fallbacks[*], messages[*].model)", field="model")


def body(data: bytes) -> None:
    """Find the models in a body: all of them are names."""
    found = _FIELDS.models(data, b"application/json", None)
    assert found is None or (found and all(isinstance(name, str) and name for name in found))


def media_type(data: bytes) -> None:
    """Tell whether a body is JSON by what is said of it."""
    cap = 1_024
    said = {
        head_allows(data, None, None, cap),
        head_allows(b"application/json", data, None, cap),
        head_allows(b"application/json", None, data, cap),
    }
    assert said <= {True, False}


def override(data: bytes) -> None:
    """Find methods to be taken for: few, known ones."""
    asked = methods_asked(head_of(data))
    assert len(asked) <= 4
    assert all(
        each == "?" or each.replace("-", "").isalpha() or each == "-" * len(each) for each in asked
    )


@cache
def _guard() -> Guard:
    """Return one guard for all requests, which no test of an application finds."""
    guard = Guard.from_settings(
        database="memory://",
        credentials=["bearer", "rest_api_key", "header(X-Key)", "query(key)", "cookie(key)"],
        routes=[
            {"path": "/open/*", "auth": "exempt"},
            {"path": "/{tenant}/{model}", "methods": "GET"},
        ],
        trusted_proxies=TRUSTED,
        tenant_from="header(X-Tenant)",
        model_from="body(model)",
        exempt_preflight=True,
    )
    del Guard.live[guard]
    return guard


def request(data: bytes) -> None:
    """Decide a request: nobody has a key, so nothing is allowed."""
    head = head_of(data)
    guard = _guard()
    outcome = guard.decide(head.method, head.path, *guard.reader.read(head))
    assert not isinstance(outcome, Allowed)
    repr(outcome)


HEAD_TARGETS = (places, forwarded, tenant_source, body, media_type, override, request)
