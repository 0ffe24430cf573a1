"""What is read of a request before it is decided, and when it has to be read at all."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest
from rich.pretty import pretty_repr

from keybound.core.clients import ClientAddress
from keybound.core.credentials import parse_forms
from keybound.core.errors import FactError
from keybound.core.places import Places
from keybound.core.reading import Reader, Reading
from keybound.core.reasons import Reason
from keybound.core.tenants_of import TenantSource
from keybound.core.told import PLAIN, UNSAID, Told
from tests.core.heads import FakeHead

PREFLIGHT = (("origin", b"https://shop.example"), ("access-control-request-method", b"PUT"))


def reader(*forms, client=None, tenant=None, preflight=False, needs_head=False):
    """Return what reads requests under these settings."""
    return Reader(
        Places(parse_forms(forms or ("bearer",))),
        ClientAddress.parse(client),
        None if tenant is None else TenantSource.parse(tenant),
        exempt_preflight=preflight,
        needs_head=needs_head,
    )


def told(head, **settings):
    """Return what a request tells."""
    return reader(**settings).read(head).told


def test_plain_request_tells_nothing_more():
    """So that it is known for the same whether or not it was read."""
    head = FakeHead((("authorization", b"Bearer abc"),), raw_path=b"/")
    reading = reader().read(head)
    assert reading == Reading("192.0.2.1", b"Bearer abc", None, head)
    assert "abc" not in repr(reading)
    assert Told(tenant=UNSAID) == PLAIN


def test_reading_of_a_path_that_the_site_has_made_is_not_crooked():
    """All else stays as it came."""
    head = FakeHead((("x-http-method-override", b"PUT"),), path="/b", raw_path=b"/a")
    reading = reader().read(head)
    assert reading.told == Told(taken_for=("PUT",), crooked=True)
    assert reading.rewritten().told == Told(taken_for=("PUT",))
    assert Reading(None, None, None, None).rewritten() == Reading(None, None, None, None)


def test_every_request_is_read_where_a_setting_needs_it():
    """And only there: most sites read a header and the peer."""
    assert not reader().always
    assert reader("header(X-API-Key)").always
    assert reader(client="nginx").always
    assert reader(tenant="header(X-Tenant, any)").always
    assert reader(preflight=True).always
    assert reader(needs_head=True).always


def test_answers_vary_with_what_is_read():
    """The places of credentials, then what the tenant is read from."""
    found = reader("bearer", "header(X-API-Key)", "query(k)", tenant="header(X-Tenant, any)")
    assert found.varies == ("Authorization", "X-API-Key", "X-Tenant")
    assert reader().varies == ("Authorization",)


def test_credential_is_read_from_its_place():
    """One, none, or why there is not one; what is in no header says so."""
    both = reader("bearer", "query(k)")
    assert both.read(FakeHead((), b"k=abc")).told == Told(in_header=False)
    assert both.read(FakeHead((("authorization", b"x"),))).told is None
    twice = both.read(FakeHead((("authorization", b"x"),), b"k=abc"))
    assert (twice.raw, twice.told) == (Reason.CONFLICTING_CREDENTIALS, None)
    assert both.read(FakeHead()).raw is None


def test_client_and_tenant_are_read():
    """As their settings say; the tenant also where it cannot be told."""
    found = reader(client="nginx", tenant="header(X-Tenant)")
    headers = (("x-forwarded-for", b"203.0.113.7"), ("x-tenant", b"acme"))
    near = found.read(FakeHead(headers, peer="127.0.0.1"))
    assert (near.peer, near.told) == ("203.0.113.7", Told(tenant="acme"))
    far = found.read(FakeHead(headers))
    assert (far.peer, far.told) == ("192.0.2.1", Told(tenant=None))


def test_function_that_fails_is_the_callers_affair():
    """Whoever reads has to deny then."""

    def failing(_head):
        raise LookupError

    with pytest.raises(FactError):
        told(FakeHead(), tenant=failing)


@pytest.mark.parametrize(
    ("changes", "is_one"),
    [
        ({}, True),
        ({"path": "*"}, False),
        ({"method": "GET"}, False),
        ({"method": "options"}, False),
        ({"headers": PREFLIGHT[:1]}, False),
        ({"headers": PREFLIGHT[1:]}, False),
        ({"headers": (*PREFLIGHT, PREFLIGHT[0])}, False),
        ({"headers": (*PREFLIGHT, PREFLIGHT[1])}, False),
        ({"headers": (("origin", b" "), PREFLIGHT[1])}, False),
        ({"headers": (*PREFLIGHT, ("authorization", b""))}, False),
        ({"headers": (*PREFLIGHT, ("x-http-method", b"PUT"))}, False),
        ({"query": b"_method=PUT"}, False),
    ],
    ids=str,
)
def test_preflight_is_one_in_its_exact_form(changes, is_one):
    """Without a credential, and asking for no other method."""
    head = FakeHead(**{"headers": PREFLIGHT, "method": "OPTIONS"} | changes)
    found = told(head, preflight=True)
    assert (found is not None and found.preflight) is is_one
    assert not (told(head) or PLAIN).preflight


@pytest.mark.parametrize(
    ("path", "raw", "crooked"),
    [
        ("/a/b", None, False),
        ("/a/b", b"/a/b", False),
        ("/a/b", b"/api/a/b", False),
        ("/a b/\u00e9", b"/a%20b/%C3%A9", False),
        ("/a/b", b"/a%2fb", True),
        ("/a/b", b"/a%2Fb", True),
        ("/a/b%2fc", b"/a/b%252fc", False),
        ("/a/b", b"/a/c", True),
        ("/a/b", b"/a/b/..", True),
        ("/a/b", b"", True),
        ("/a/\ud800", b"/a/x", True),
        ("/a%20b", b"/a%20b", True),  # as of a server that does not decode
        ("/100%", b"/100%", False),
    ],
    ids=ascii,
)
def test_raw_path_that_disagrees_is_crooked(path, raw, crooked):
    """A gateway may have cut its start; an encoded slash is read in more ways than one."""
    assert told(FakeHead(path=path, raw_path=raw)) == (Told(crooked=True) if crooked else None)


def test_other_methods_are_told():
    """In order."""
    head = FakeHead((("x-http-method", b"PUT"),), b"_method=DELETE")
    assert told(head) == Told(taken_for=("DELETE", "PUT"))


def test_reading_shows_nothing_of_the_credential():
    """Neither to ``repr`` nor to whoever looks into every sequence that a frame holds."""
    reading = Reading("10.0.0.1", b"Bearer hidden", None, None)
    assert not isinstance(reading, Sequence)
    for text in (repr(reading), pretty_repr(reading), json.dumps([reading], default=str)):
        assert "hidden" not in text


def test_reading_is_unpacked_in_its_order():
    """As a decision takes it."""
    reading = Reading("10.0.0.1", b"raw", None, None)
    assert [*reading] == ["10.0.0.1", b"raw", None, None]
    assert [*reading.telling(PLAIN)] == ["10.0.0.1", b"raw", PLAIN, None]
