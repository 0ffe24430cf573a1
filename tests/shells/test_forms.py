"""Every configured form of a credential, through every shell: one key, in one place."""

from __future__ import annotations

from base64 import b64encode
from typing import TYPE_CHECKING, Any

import pytest

from keybound import Limits, Route

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.shells.sites import Site

FORMS = {
    "header": "header(X-API-Key)",
    "query": "query(api_key)",
    "cookie": "cookie(session)",
    "basic": "basic(username)",
    "scheme": "scheme(Token)",
    "scheme_param": "scheme_param(ApiKey, token)",
    "param": "param(token)",
    "bearer": "bearer",
}


def carried(form: str, key: bytes) -> dict[str, Any]:
    """Return what a client sends to carry a key in one of these forms."""
    basic = b"Basic " + b64encode(key + b":anything")
    every: dict[str, dict[str, Any]] = {
        "header": {"headers": ((b"x-api-key", key),)},
        "query": {"query_string": b"api_key=" + key},
        "cookie": {"headers": ((b"cookie", b"theme=dark; session=" + key),)},
        "basic": {"headers": ((b"authorization", basic),)},
        "scheme": {"headers": ((b"authorization", b"token " + key),)},
        "scheme_param": {"headers": ((b"authorization", b'ApiKey token="' + key + b'"'),)},
        "param": {"headers": ((b"authorization", b"token=" + key),)},
        "bearer": {"headers": ((b"authorization", b"Bearer " + key),)},
        "bare": {"headers": ((b"authorization", key),)},
    }
    return every[form]


def merged(*sent: dict[str, Any]) -> dict[str, Any]:
    """Return a request that carries all of it."""
    headers = tuple(line for each in sent for line in each.get("headers", ()))
    queries = [each["query_string"] for each in sent if "query_string" in each]
    return {"headers": headers, "query_string": b"&".join(queries)}


def revealed(site: Site, **options: Any) -> bytes:
    """Return a new key."""
    secret: str = site.issue(**options).secret.reveal()
    return secret.encode()


def test_key_is_read_in_each_form_that_is_configured(make_in_memory: Callable[..., Site]):
    """One and the same key in each, and again when its decision is remembered."""
    site = make_in_memory(credentials=list(FORMS.values()))
    key = revealed(site)
    for form in (*FORMS, *FORMS):
        assert site.request(**carried(form, key)).status == 200, form
    assert {seen["keybound"].name for seen in site.served} == {"a key"}
    assert site.reason(site.request(**carried("bare", key))) == "malformed_credentials"


def test_bare_key_is_read_where_it_is_configured(make_in_memory: Callable[..., Site]):
    """Alone: nothing else in ``Authorization`` can be told from it."""
    site = make_in_memory(credentials=["bare"])
    key = revealed(site)
    assert site.request(**carried("bare", key)).status == 200
    assert site.request(**carried("bearer", key)).status == 401


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("header", "query"),
        ("header", "cookie"),
        ("query", "cookie"),
        ("bearer", "header"),
        ("bearer", "query"),
        ("bearer", "cookie"),
    ],
)
def test_key_in_two_places_is_refused(make_in_memory: Callable[..., Site], one: str, other: str):
    """Even the same one: nobody says which place counts."""
    site = make_in_memory(credentials=list(FORMS.values()))
    key = revealed(site)
    answer = site.request(**merged(carried(one, key), carried(other, key)))
    assert (answer.status, answer.problem["reason"]) == (400, "conflicting_credentials")
    empty = merged(carried(one, key), carried(other, b""))
    assert site.request(**empty).problem["reason"] == "conflicting_credentials"
    assert site.served == []


@pytest.mark.parametrize("form", ["header", "query", "cookie", "bearer"])
def test_key_twice_in_one_place_is_refused(make_in_memory: Callable[..., Site], form: str):
    """In two lines, parameters or cookies, equal or not, in one line or in two."""
    site = make_in_memory(credentials=list(FORMS.values()))
    key = revealed(site)
    for second in (key, b"other"):
        answer = site.request(**merged(carried(form, key), carried(form, second)))
        assert (answer.status, answer.problem["reason"]) == (400, "duplicate_credentials")
    assert site.served == []


def test_missing_credential_is_asked_for_in_all_forms(make_in_memory: Callable[..., Site]):
    """One challenge for each form, and caches are told of every header that can carry one."""
    site = make_in_memory(credentials=list(FORMS.values()))
    answer = site.request()
    assert answer.status == 401
    assert answer.challenges == [
        'ApiKey realm="api", header="X-API-Key"',
        'ApiKey realm="api", query="api_key"',
        'ApiKey realm="api", cookie="session"',
        'Basic realm="api", charset="UTF-8"',
        'Token realm="api"',
        'ApiKey realm="api"',
        'ApiKey realm="api", param="token"',
        'Bearer realm="api"',
    ]
    assert ", ".join(answer.all("vary")) == "X-API-Key, Cookie, Authorization"


@pytest.mark.parametrize("form", ["header", "query", "cookie", "basic"])
def test_limits_hold_in_each_form(make_in_memory: Callable[..., Site], form: str):
    """A form is a way to say who calls, and nothing more."""
    site = make_in_memory(credentials=list(FORMS.values()), routes=[Route("/{tenant}")])
    key = revealed(site, limits=Limits(methods="GET"))
    assert site.request(path="/acme", **carried(form, key)).status == 200
    assert site.request(path="/evil", **carried(form, key)).status == 403
    assert site.request("POST", path="/acme", **carried(form, key)).status == 403


@pytest.mark.parametrize("form", ["query", "cookie"])
def test_key_that_is_for_headers_alone_is_refused_elsewhere(
    make_in_memory: Callable[..., Site], form: str
):
    """It is known, and says so; in a header it works, before and after."""
    site = make_in_memory(credentials=list(FORMS.values()))
    key = revealed(site, limits=Limits(header_only=True))
    for each in ("header", "bearer", "basic", form, "header", form):
        answer = site.request(**carried(each, key))
        if each == form:
            assert (answer.status, answer.problem["reason"]) == (403, "credential_not_allowed")
        else:
            assert answer.status == 200
    assert len(site.served) == 4
