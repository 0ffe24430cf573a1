"""What somebody tries who wants more than a key gives, in front of every framework."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from keybound import Limits, Route
from keybound.core.principals import Principal
from tests.shells.calls import call_wsgi, environ_of
from tests.shells.sites import authorization

if TYPE_CHECKING:
    from collections.abc import Callable

    from keybound.core.head import Head
    from tests.shells.sites import Site

ASKING = ((b"origin", b"https://shop.example"), (b"access-control-request-method", b"DELETE"))


@pytest.mark.parametrize("name", [b"origin", b"access-control-request-method"])
@pytest.mark.parametrize("value", [b"", b" ", b"a,b", b"a b"])
def test_preflight_is_one_in_its_exact_form_alone(
    make_plain: Callable[..., Site], name: bytes, value: bytes
):
    """No browser sends such a value; a server that joins two lines makes one of them."""
    site = make_plain(exempt_preflight=True)
    headers = tuple((each, value if each == name else kept) for each, kept in ASKING)
    assert site.request("OPTIONS", headers=headers).status == 401


def test_preflight_to_an_exempt_route_that_asks_for_more(make: Callable[..., Site]):
    """A method that it is to be taken for counts as if it had come as that."""
    routes = [Route("/own", "OPTIONS", auth="exempt")]
    site = make(routes=routes)
    assert site.request("OPTIONS").status == 200
    override: Any = ((b"x-http-method-override", b"DELETE"),)
    assert site.request("OPTIONS", headers=override).status == 401


def test_key_in_a_query_is_in_no_part_of_what_the_application_sees(
    make_plain: Callable[..., Site],
):
    """Some servers have the query in the raw path as well."""
    site = make_plain(credentials=["bearer", "query(api_key)"])
    key = site.issue().secret.reveal().encode()
    query = b"a=1&api%5fkey=" + key + b"&b=%20"
    answer = site.request(query_string=query, raw_path=b"/own?" + query)
    assert answer.status == 200
    (scope,) = site.served
    assert scope["query_string"] == b"a=1&b=%20"
    assert key.decode() not in repr(scope)


def by_function(_head: object) -> str:
    """Return a model."""
    return "invoice"


@pytest.mark.parametrize(
    ("path", "route"),
    [
        ("/own", Route("/own", "POST", model=by_function, access="read")),
        ("/own/" + "x" * 300, Route("/own/*", "POST", model="invoice", access="read")),
    ],
)
def test_what_is_decided_anew_every_time_is_not_refused_within(
    make: Callable[..., Site], path: str, route: Route
):
    """Whoever looks a second time does not take it for what nobody decided."""
    site = make(routes=[route])
    key = site.issue(limits=Limits(models="invoice:read", read_only=True))
    for _ in range(3):
        assert site.request("POST", path, key=key).status == 200


def test_what_is_only_reported_is_not_refused_within(make: Callable[..., Site]):
    """Nor is it reported twice."""
    site = make(routes=[Route("/own", "POST", model="invoice", access="read")])
    key = site.plant(
        rights=("report_only",),
        limits=Limits(models="invoice:read", read_only=True, methods=["GET"]),
    )
    for _ in range(3):
        assert site.request("POST", key=key).status == 200
    assert sum(site.guard.engine.refuser.totals("would_refuse").values()) == 3


@pytest.mark.parametrize(
    ("raw_path", "status"),
    [
        (b"/d/acme/x", 200),
        (b"/d/%61cme/x", 200),
        (b"/d/acme%2Fx", 403),
        (b"/d%2facme/x", 403),
    ],
)
def test_path_that_came_as_another_names_no_tenant(
    make: Callable[..., Site], raw_path: bytes, status: int
):
    """In front of Django, too, which does not look at it: somebody behind may."""
    site = make(routes=[Route("/d/{tenant}/x")])
    key = site.issue()
    if site.application.protocol == "asgi":
        assert site.request(path="/d/acme/x", raw_path=raw_path, key=key).status == status
        return
    for name in ("RAW_URI", "REQUEST_URI"):
        told: Any = {name: raw_path.decode() + "?a=%2F"}
        environ = environ_of("/d/acme/x", headers=[*authorization(key)], **told)
        assert call_wsgi(site.app, environ).status == status


def by_token(head: Head) -> Principal | None:
    """Return whom a token of the site's own is of."""
    known = [*head.lines("authorization")] == [b"Bearer of.another.kind"]
    return Principal(id="u_1", tenant="acme") if known else None


@pytest.mark.parametrize("path", ["/own", "/open", "/exempt"])
def test_what_is_hidden_is_a_key_of_ours_and_nothing_else(make: Callable[..., Site], path: str):
    """Wherever it is sent to; what the site's own authentication goes by stays."""
    routes = [
        Route("/own", tenant="~"),
        Route("/open", tenant="~", auth="optional"),
        Route("/exempt", auth="exempt"),
    ]
    forms = ["bearer", "header(X-API-Key)"]
    site = make(routes=routes, hide_credentials=True, authenticators=[by_token], credentials=forms)
    ours = site.issue().secret.reveal().encode()
    theirs = b"Bearer of.another.kind"
    for name, value, stays in (
        (b"authorization", b"Bearer " + ours, False),
        (b"x-api-key", ours, False),
        (b"authorization", theirs, True),
    ):
        assert site.request(path=path, headers=((name, value),)).status == 200
        assert ((name, value) in site.headers) is stays
        assert (value.decode() in repr(site.served)) is stays
        site.served.clear()
