"""Random settings, routes, and requests to them.

A request has a ``method``, a ``path``, a ``raw_path``, a ``peer``, a ``query``, ``headers`` (pairs,
their names in lower case) and a ``body``; all is text, in which each character is a byte.
"""

from __future__ import annotations

from base64 import b64encode
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from hypothesis import strategies as st

from tests.oracle.worlds import mostly, nodes, once_in

if TYPE_CHECKING:
    from hypothesis.strategies import DrawFn, SearchStrategy

World = dict[str, Any]
Pair = tuple[str, str]

# ----------------------------------------------------------------------------------------- routes

ROUTES: list[tuple[dict[str, Any], list[str]]] = [
    ({"path": "/plain"}, ["/plain", "/plain/"]),
    (
        {"path": "/search", "methods": ["POST"], "access": "read", "scopes": ["a"]},
        ["/search", "/search", "/search/", "/search/"],
    ),
    ({"path": "/m/{model}"}, ["/m/m", "/m/n", "/m/x", "/m/m/"]),
    ({"path": "/m/{model}", "methods": ["GET"], "scopes": ["a", "b"]}, ["/m/m", "/m/x"]),
    ({"path": "/n", "model": "n", "access": "write"}, ["/n", "/n/"]),
    ({"path": "/files/*", "scopes": ["c"]}, ["/files/a", "/files/", "/files"]),
    ({"path": "/open/*", "auth": "exempt"}, ["/open/t"]),
    ({"path": "/maybe", "auth": "optional", "model": "m"}, ["/maybe", "/maybe/"]),
    (
        {"path": "/maybe/{model}", "auth": "optional", "methods": ["GET", "WEBSOCKET"]},
        ["/maybe/m", "/maybe/n", "/maybe/m/"],
    ),
    ({"path": "/*", "methods": ["DELETE"], "scopes": ["b"]}, ["/", "/m/m"]),
    ({"path": "/{kind}/{model:path}/end"}, ["/k/m/end", "/k/m/n/end", "/{model}/{kind}/end"]),
    ({"path": "*/end", "methods": ["POST"], "access": "read", "model": "m"}, ["/a/b/end", "/end"]),
    ({"path": "*.json", "scopes": ["a"]}, ["/a.json", "/a/b.json", "/a.json/"]),
    ({"path": "/chat", "model": "body(model)"}, ["/chat", "/chat", "/chat/"]),
    (
        {"path": "/chat/{kind}", "model": "body(model, fallbacks[*])", "methods": ["POST"]},
        ["/chat/k"],
    ),
]
"""Routes that are about no tenant, each with paths that may be of it."""

TENANT_ROUTES: list[tuple[dict[str, Any], list[str]]] = [
    (
        {"path": "/{tenant}/m", "model": "m"},
        [*["/t/m"] * 6, "/t/m/", "/u/m/", "/u/m", "/~/m", "/*/m"],
    ),
    (
        {"path": "/d/{domain}/u/{user}", "tenant": "{domain}/{user}", "model": "m"},
        [*["/d/t/u/v"] * 4, "/d/u/u/v", "/d/{user}/u/v", "/d/~/u/v", "/d/~/u/~"],
    ),
    (
        {"path": "/own", "tenant": "~", "model": "m", "methods": ["GET", "POST", "WEBSOCKET"]},
        [*["/own"] * 6, "/own/"],
    ),
    ({"path": "/mine/*", "tenant": "~"}, ["/mine/a", "/mine/b", "/mine/", "/mine"]),
    ({"path": "/below/{tenant:path}"}, ["/below/t", "/below/t/v/w", "/below/t/m", "/below/"]),
    ({"path": "/open/{tenant}", "auth": "exempt"}, ["/open/t"]),
]
"""Routes that are about tenants, so that every other path is about an unknown one."""

CATCHING: list[list[dict[str, Any]]] = [
    *[[]] * 8,
    [{"path": "/*"}],
    [{"path": "/*", "auth": "exempt"}],
    [{"path": "/*", "auth": "optional", "scopes": ["b"]}],
    [{"path": "/*", "model": "m", "methods": ["GET", "POST"], "access": "read"}],
    [{"path": "/*", "model": "body(model)"}],
    [{"path": "/plain/", "auth": "exempt"}, {"path": "/{kind}/", "model": "m"}],
]
TENANTS_CATCHING: list[list[dict[str, Any]]] = [
    *[[]] * 4,
    [{"path": "/*", "tenant": "~"}],
    [{"path": "/*", "tenant": "~", "model": "m"}],
    [{"path": "/{tenant}/*", "model": "m"}],
]
"""Routes that come last, for what those before are not about, which may be a slash away from it."""

PATHS = {route["path"]: paths for route, paths in ROUTES + TENANT_ROUTES}

# --------------------------------------------------------------------------------------- settings

FORMS = [
    *[["bearer", "rest_api_key"]] * 4,
    *(["bearer"], ["rest_api_key"], ["scheme(Token)", "bearer"], ["bare"]),
    *(["scheme_param(Token, token)"], ["basic(password)", "bearer"], ["header(X-Key)"]),
    *(["bearer", "query(api_key)"], ["header(X-Key)", "cookie(kb)"], ["basic(username)"]),
    ["bearer", "header(X-Key)", "query(api_key)", "cookie(kb)"],
]

SETTINGS: SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {
        "wildcard_scopes": st.booleans(),
        "protect": mostly([["/*"]], [["/m/*", "/plain"], ["/t/*", "/own", "/n"]], rarely=6),
        "credentials": st.sampled_from(FORMS),
        "trusted_proxies": st.sampled_from(
            [[], [], ["192.0.2.0/24"], ["192.0.2.0/24", "10.0.0.9"]]
        ),
        "model_from": mostly([None], ["body(model)"], rarely=5),
        "exempt_preflight": st.booleans(),
        "cache_compiled_max": st.sampled_from([1, 5_000]),  # decides nothing
    }
)
TENANT_SOURCES = st.sampled_from(
    ["header(X-Tenant)", "header(X-Tenant, any)", "host({tenant}.api.example)"]
)


@st.composite
def worlds(draw: DrawFn) -> World:
    """Return a world in which no key has its secret yet: whoever builds it adds those."""
    both = ROUTES + TENANT_ROUTES
    choices = draw(st.sampled_from([*[ROUTES] * 8, *[TENANT_ROUTES] * 4, both]))
    chosen = draw(st.lists(st.sampled_from(choices), min_size=1, max_size=5))
    last = draw(st.sampled_from(CATCHING if choices is ROUTES else TENANTS_CATCHING))
    settings = draw(SETTINGS)
    settings["tenant_from"] = draw(TENANT_SOURCES) if draw(once_in(10)) else None
    if settings["tenant_from"] == "header(X-Tenant)":  # nobody else could be believed
        settings["trusted_proxies"] = settings["trusted_proxies"] or ["192.0.2.0/24"]
    return {
        "settings": settings,
        "routes": [*(route for route, _ in chosen), *last],
        "nodes": draw(nodes()),
        "down": draw(once_in(30)),
    }


# --------------------------------------------------------------------------------------- requests

STRANGE_PATHS = (
    *("", "plain", "/m//m", "/m/../n", "/m/.", "/m\\m", "/m/\x00", "/m/\n", "/\x7f", "/..."),
    *("/" + "m" * 8_191, "/" + "m" * 8_192, "/plain/", "/elsewhere", "/", "/PLAIN", "/\u00fc"),
)
METHODS = ("GET", "GET", "GET", "POST", "HEAD", "DELETE", "WEBSOCKET")
STRANGE_METHODS = ("get", "Post", "websocket", "PURGE", "", "GET ", "OPTIONS", "delete", "*")
PEERS = ("10.0.0.1", "10.0.0.9", "::ffff:10.0.0.1", "::1", "192.0.2.1")
STRANGE_PEERS = (
    *(None, "", "192.0.2.1", "2001:db8::1", "::1%eth0", "10.0.0.01", "10.0.0.1:80", "x" * 60),
)
FORWARDED = (
    *("10.0.0.1", "10.0.0.1, 192.0.2.7", "10.0.0.1:80", "[::1]:443", "::1", "unknown, 10.0.0.1"),
    *("10.0.0.1, unknown", "", "10.0.0.1,", "192.0.2.8, 192.0.2.7", "8.8.8.8", "[10.0.0.1]x"),
)
STRANGE_VALUES = (
    *("bearer  {}", "\tREST_API_KEY \t=\t{} ", "Bearer {},Bearer {}", "rest_api_key={}, x"),
    *("Token {}", "Bearer {}x", "Bearer", "rest_api_key", "Bearer {} {}", "{}", "Bearer\u00a0{}"),
    *("", "Bearer =", "x" * 600, "rest_api_key={}=", "rest_api_key==", "Bearer a.b-c_d~e+f/g=="),
    *("Basic eA==, Bearer {}", "Bearer {}\x00", "Bearer {}" + " " * 500, "Bearer\t{}", '"{}"'),
    *("BEARER {}", 'rest_api_key="{}"', "Bearer {},", "Bearer kb_live_" + "0" * 38, "Token {}"),
    *('Token token="{}"', "Token token={}, x=y", "token TOKEN = {}", "Basic {}", 'Bearer "{}"'),
)
TENANTS = ("t", "t", "t", "u/v", "~", "~/v", "x", "t, u", "", "*", "t//v", "../t", " t ", "\xff")
HOSTS = ("t.api.example", "T.API.example:8000", "u.api.example", "api.example", "t.api.example.org")
BODIES = (
    *('{"model": "m"}', '{"model": "m", "fallbacks": ["n"]}', '{"model": "m", "fallbacks": []}'),
    *('{"model": "n", "fallbacks": ["m", "x"]}', '{"model": "m", "model": "n"}', '{"model": 1}'),
    *("", "{", "[]", '{"model": ""}', '{"models": "m"}', '{"model": "m", "fallbacks": "n"}'),
)
OVERRIDES = ("DELETE", "delete", "GET", "POST, DELETE", "", " ", "PURGE", "D\u00e9LETE")


def carried(form: str, secret: str) -> tuple[str, str]:
    """Return where a form has a key, and what stands there."""
    kind = form.partition("(")[0]
    pair = f":{secret}" if form == "basic(password)" else f"{secret}:"
    return {
        "bearer": ("authorization", f"Bearer {secret}"),
        "rest_api_key": ("authorization", f"rest_api_key={secret}"),
        "scheme": ("authorization", f"Token {secret}"),
        "scheme_param": ("authorization", f'Token token="{secret}"'),
        "bare": ("authorization", secret),
        "basic": ("authorization", f"Basic {b64encode(pair.encode()).decode()}"),
        "header": ("x-key", secret),
        "cookie": ("cookie", f"a=b; kb={secret}; c=d"),
        "query": ("query", f"a=b&api_key={secret}"),
    }[kind]


@st.composite
def credentials(draw: DrawFn, world: World) -> list[Pair]:
    """Return where keys stand in a request, usually one and as the settings say."""
    known = [node["secret"] for node in world["nodes"].values() if "secret" in node]
    secret = draw(mostly(known, [world["unknown"]], rarely=24))
    forms = st.sampled_from(world["settings"]["credentials"])
    odd = draw(mostly([0], [1, 1, 1, 2, 3], rarely=8))
    if odd == 0:
        return [carried(draw(forms), secret)]
    if odd == 1:
        name = draw(st.sampled_from(["authorization", "authorization", "x-key", "cookie", "query"]))
        return [(name, draw(st.sampled_from(STRANGE_VALUES)).replace("{}", secret))]
    return [carried(draw(forms), secret), carried(draw(forms), secret)] if odd == 2 else []


HEADERS: list[Pair] = [
    *(("x-forwarded-for", value) for value in FORWARDED for _ in range(2)),
    *(("x-tenant", value) for value in TENANTS),
    *(("host", value) for value in HOSTS),
    *(
        (name, value)
        for name in ("x-http-method-override", "x-method-override")
        for value in OVERRIDES
    ),
    *[("access-control-request-method", "GET")] * 2,
]
OTHERS = st.lists(st.sampled_from(HEADERS), max_size=3)
ALWAYS: list[list[Pair]] = [
    *[[("content-type", "application/json"), ("x-tenant", "t"), ("host", "t.api.example")]] * 4,
    [("content-type", "application/json"), ("origin", "https://a.example")],
    [("content-type", "text/plain"), ("origin", "https://a.example")],
    [],
]
"""Headers of which a request has some, and those of which it has all."""


@st.composite
def requests_to(draw: DrawFn, world: World) -> dict[str, Any]:
    """Return a request to a world that was built."""
    of_routes = [path for route in world["routes"] for path in PATHS.get(route["path"], ["/t/"])]
    path = draw(mostly(of_routes, STRANGE_PATHS, rarely=16))
    placed = draw(credentials(world))
    queries = [value for name, value in placed if name == "query"]
    pairs = [(name, value) for name, value in placed if name != "query"]
    crooked = [quote(path, safe=""), quote(path) + "%2F", "/else", quote("/root" + path)]
    return {
        "method": draw(mostly(METHODS, STRANGE_METHODS, rarely=12)),
        "path": path,
        "raw_path": draw(mostly([None, quote(path)], crooked, rarely=12)),
        "peer": draw(mostly(PEERS, STRANGE_PEERS, rarely=10)),
        "query": "&".join([*queries, *draw(mostly([[]], [["_method=delete"]], rarely=40))]),
        "headers": [*pairs, *draw(st.sampled_from(ALWAYS)), *draw(OTHERS)],
        "body": draw(st.sampled_from(BODIES)),
    }
