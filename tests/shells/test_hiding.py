"""What applications see of a credential: of one in a query never anything, of others if asked."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

import pytest

from keybound import Limits, Route
from keybound.hiding import DEPRECATION
from tests.shells.test_forms import carried, merged, revealed

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.shells.sites import Site

FORMS = ["bearer", "header(X-API-Key)", "query(api_key)", "cookie(session)"]
ROUTES = [Route("/open", auth="exempt"), Route("/maybe", auth="optional")]


def starlette(request: Any) -> dict[str, Any]:
    """Return what an application of Starlette sees."""
    return {
        "url": str(request.url),
        "query": dict(request.query_params),
        "headers": {name.lower() for name in request.headers},
        "cookies": dict(request.cookies),
        "scope": repr(request.scope),
    }


def werkzeug(request: Any) -> dict[str, Any]:
    """Return what one of Flask sees, or any that uses Werkzeug."""
    return {
        "url": request.url,
        "query": request.args.to_dict(),
        "headers": {name.lower() for name in request.headers.keys()},  # noqa: SIM118 - no mapping
        "cookies": dict(request.cookies),
        "full path": request.full_path,
        "scope": repr({name: request.environ[name] for name in targets(request.environ)}),
    }


def django(request: Any) -> dict[str, Any]:
    """Return what a view of Django sees."""
    scope = getattr(request, "scope", {"headers": (), "query_string": b""})
    return {
        "url": request.build_absolute_uri(),
        "query": request.GET.dict(),
        "headers": {name.lower() for name in request.headers},
        "cookies": dict(request.COOKIES),
        "full path": request.get_full_path(),
        "scope": repr({name: request.META[name] for name in targets(request.META)})
        + repr(scope["headers"])
        + repr(scope["query_string"]),
    }


def site_headers(site: Site) -> list[tuple[bytes, bytes]]:
    """Return the headers of the last request, an ``Authorization`` that says nothing before all.

    Under Django there is one in any case, since its caches tell requests apart by it.
    """
    del site.served[:-1]
    return [(b"authorization", b""), *site.headers]


def targets(environ: Any) -> list[str]:
    """Return where an environment may have what the client asked for."""
    return [
        name
        for name in environ
        if name.startswith("HTTP_") or name.endswith(("_URI", "QUERY_STRING"))
    ]


def looking(make: Callable[..., Site], **settings: Any) -> Site:
    """Return a site whose application looks at everything."""
    site = make(**{"credentials": FORMS, "routes": ROUTES} | settings)
    site.look(starlette=starlette, werkzeug=werkzeug, django=django)
    return site


@pytest.mark.parametrize("path", ["/own", "/maybe", "/open"])
def test_key_in_a_query_is_gone_before_the_application_sees_it(
    make_in_memory: Callable[..., Site], path: str
):
    """Everything else of the query is as it was, byte for byte, and the answer says: do not."""
    site = looking(make_in_memory)
    key = revealed(site)
    query = b"a=%C3%A9+b&&%61=;x&api_key=" + key + b"&z=1%2F2&empty"
    answer = site.request(
        path=path, query_string=query, raw_path=path.encode(), headers=((b"host", b"testserver"),)
    )
    assert answer.status == 200
    assert answer.all("deprecation") == [DEPRECATION[1]]
    seen = site.looked
    assert key.decode() not in repr(site.served).replace("Host", "")
    assert "api_key" not in seen["query"]
    kept = "a=%C3%A9+b&&%61=;x&z=1%2F2&empty"
    raw = site.served[0].get("query_string", site.served[0].get("QUERY_STRING"))
    assert (raw.decode() if isinstance(raw, bytes) else raw) == kept
    assert seen["url"].endswith(f"{path}?{kept}") or site.application.framework == "werkzeug"
    if "full path" in seen:
        assert key.decode() not in seen["full path"]
    for name in ("RAW_URI", "REQUEST_URI"):
        if name in site.served[0]:
            assert site.served[0][name] == f"{path}?{kept}"


def test_target_that_a_server_hands_on_has_no_key_either(make_asgi_in_memory: Callable[..., Site]):
    """Some put the query into the raw path, too."""
    site = looking(make_asgi_in_memory)
    key = revealed(site)
    query = b"a=1&api_key=" + key
    assert site.request(query_string=query, raw_path=b"/own?" + query).status == 200
    assert site.served[0]["raw_path"] == b"/own?a=1"
    assert key.decode() not in repr(site.served)


def test_handshake_with_a_key_in_its_query_says_that_it_is_deprecated(
    make_asgi_in_memory: Callable[..., Site],
):
    """Where it is accepted, in the message that says so; the key is gone, too."""
    site = looking(make_asgi_in_memory)
    key = revealed(site)
    answer = site.request("WEBSOCKET", **carried("query", key))
    assert answer.status == 101
    assert (b"deprecation", DEPRECATION[1].encode()) in answer.messages[0]["headers"]
    assert key.decode() not in repr(site.served)


def test_query_that_holds_nothing_else_is_empty(make_in_memory: Callable[..., Site]):
    """Nothing shows that there was a key."""
    site = looking(make_in_memory)
    assert site.request(**carried("query", revealed(site))).status == 200
    assert site.looked["query"] == {}
    assert site.served[0].get("query_string") in {b"", None}
    assert site.served[0].get("QUERY_STRING") in {"", None}


def test_encoded_name_of_the_parameter_is_the_same_name(make_in_memory: Callable[..., Site]):
    """It is read as such, and taken out as such."""
    site = looking(make_in_memory)
    key = revealed(site)
    answer = site.request(query_string=b"api%5Fkey=" + key + b"&a=1")
    assert (answer.status, site.looked["query"]) == (200, {"a": "1"})


def test_refused_key_in_a_query_is_told_that_it_is_deprecated(
    make_in_memory: Callable[..., Site], caplog: pytest.LogCaptureFixture
):
    """Dead, unknown, limited or twice: no log and no answer holds it."""
    caplog.set_level(logging.DEBUG)
    site = looking(make_in_memory)
    limited = revealed(site, limits=Limits(methods="PUT"))
    issued = site.issue()
    site.guard.revoke(issued.id)
    dead = issued.secret.reveal().encode()
    for query, status in (
        (b"api_key=" + limited, 403),
        (b"api_key=" + dead, 401),
        (b"api_key=" + dead + b"&api_key=" + dead, 400),
        (b"api_key=nonsense", 401),
    ):
        answer = site.request(query_string=query, raw_path=b"/own")
        assert answer.status == status
        assert answer.all("deprecation") == [DEPRECATION[1]]
        for key in (limited, dead):
            assert key.decode() not in repr(answer)
    assert site.served == []
    for key in (limited, dead):
        assert key.decode() not in caplog.text


def test_answer_to_a_key_elsewhere_says_nothing_of_queries(make_in_memory: Callable[..., Site]):
    """Only what is deprecated is."""
    site = looking(make_in_memory)
    key = revealed(site)
    for form in ("bearer", "header", "cookie"):
        assert site.request(**carried(form, key)).all("deprecation") == []
    assert site.request().all("deprecation") == []


@pytest.mark.parametrize("form", ["bearer", "header", "cookie"])
@pytest.mark.parametrize("hidden", [True, False])
def test_application_sees_its_clients_key_unless_it_is_hidden(
    make_in_memory: Callable[..., Site], *, form: str, hidden: bool
):
    """With the rest of the headers and cookies as they were."""
    site = looking(make_in_memory, hide_credentials=hidden)
    key = revealed(site)
    sent = carried(form, key)
    sent["headers"] += ((b"x-other", b"kept"),)
    for _ in range(2):
        assert site.request(**sent).status == 200
        seen = site.looked
        assert (key.decode() in repr(seen)) is not hidden
        assert "x-other" in seen["headers"]
        assert seen["cookies"].get("theme") == ("dark" if form == "cookie" else None)
        assert ("session" in seen["cookies"]) is (form == "cookie" and not hidden)
        assert (b"Bearer " in dict(site_headers(site))[b"authorization"]) is (
            form == "bearer" and not hidden
        )
        assert ("x-api-key" in seen["headers"]) is (form == "header" and not hidden)


def test_cookie_header_of_nothing_but_the_key_is_gone(make_in_memory: Callable[..., Site]):
    """An empty one would say that something was there."""
    site = looking(make_in_memory, hide_credentials=True)
    key = revealed(site)
    assert site.request(headers=((b"cookie", b"session=" + key),)).status == 200
    assert "cookie" not in site.looked["headers"]


@pytest.mark.parametrize("path", ["/open", "/maybe"])
def test_credential_that_is_the_sites_own_is_not_hidden(
    make_in_memory: Callable[..., Site], path: str
):
    """Where no key of ours counted, the application's own authentication has to see its own."""
    site = looking(make_in_memory, hide_credentials=True)
    own = b"Basic dTpw"
    headers = ((b"authorization", own), (b"cookie", b"sid=1"))
    assert site.request(path=path, headers=headers).status == 200
    assert {"authorization", "cookie"} <= site.looked["headers"]
    assert (b"authorization", own) in site.headers
    assert site.looked["cookies"] == {"sid": "1"}


def test_key_is_hidden_on_optional_routes_too(make_in_memory: Callable[..., Site]):
    """Where it counted."""
    site = looking(make_in_memory, hide_credentials=True)
    key = revealed(site)
    assert site.request(path="/maybe", **carried("bearer", key)).status == 200
    assert key.decode() not in repr(site.looked)
    assert site.served[0]["keybound"].name == "a key"


def test_key_is_hidden_where_none_is_needed(make_in_memory: Callable[..., Site]):
    """A client that sends its key everywhere tells it to no exempt route."""
    site = looking(make_in_memory, hide_credentials=True)
    key = revealed(site)
    assert site.request(path="/open", **carried("bearer", key)).status == 200
    assert key.decode() not in repr(site.looked)
    assert site.served[0]["keybound"] is None


@pytest.mark.parametrize(
    "forms",
    [
        ("bearer", "header"),
        ("bearer", "cookie"),
        ("header", "cookie"),
        ("bearer", "header", "cookie", "query"),
        ("bearer", "bearer"),
        ("header", "header"),
        ("cookie", "cookie"),
    ],
    ids="+".join,
)
def test_every_key_is_hidden_where_none_is_needed(
    make_in_memory: Callable[..., Site], forms: tuple[str, ...]
):
    """Two of them, of which nobody says which one counts, are not for an exempt route either."""
    site = looking(make_in_memory, hide_credentials=True)
    keys = [revealed(site) for _ in forms]
    sent = merged(*map(carried, forms, keys))
    assert site.request(path="/open", **sent).status == 200
    for key in keys:
        assert key.decode() not in repr(site.looked)
        assert key.decode() not in repr(site.headers)


@pytest.mark.parametrize("form", ["header", "cookie"])
def test_own_credential_beside_a_key_is_not_hidden(make_in_memory: Callable[..., Site], form: str):
    """The place that holds the key is, and no other."""
    site = looking(make_in_memory, hide_credentials=True)
    key, own = revealed(site), {"headers": ((b"authorization", b"Basic dTpw"),)}
    assert site.request(path="/open", **merged(own, carried(form, key))).status == 200
    assert key.decode() not in repr(site.looked)
    assert (b"authorization", b"Basic dTpw") in site.headers


def test_body_of_a_refusal_holds_no_key(make_in_memory: Callable[..., Site]):
    """Wherever it stood."""
    site = looking(make_in_memory)
    key = revealed(site, limits=Limits(methods="PUT"))
    for form in ("bearer", "header", "query", "cookie"):
        answer = site.request(**carried(form, key))
        assert answer.status == 403
        assert key.decode() not in json.dumps([answer.headers, answer.body.decode()])
