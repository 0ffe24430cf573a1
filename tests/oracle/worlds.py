"""Random worlds and requests as plain dictionaries, from alphabets so small that they often meet.

A world has ``settings``, ``routes`` (members of ``Route``), and ``nodes`` by their ids. A node has
a ``kind``, a ``tenant``, ``limits`` (layers, all of which hold, each as people write them, moments
in POSIX seconds), and perhaps ``secret``, ``parent``, ``groups``, ``disabled``, ``revoked``. A
request has ``method``, ``path``, ``peer`` and the value of ``authorization``, if any.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st

from tests.oracle.evaluator import UNREADABLE

if TYPE_CHECKING:
    from hypothesis.strategies import DrawFn, SearchStrategy

START = 1_767_225_600
"""When the clock of every world starts: 2026-01-01, in UTC."""

KEYS = ("key_a", "key_b", "key_c")
GROUPS = ("group_a", "group_b")


def mostly(
    usual: SearchStrategy[Any], rare: SearchStrategy[Any], *, rarely: int
) -> SearchStrategy[Any]:
    """Return what is usual but once in so many times: else nothing would ever be allowed."""
    return once_in(rarely).flatmap(lambda now: rare if now else usual)


def once_in(times: int) -> SearchStrategy[bool]:
    """Return what is true once in so many times; integers would prefer their ends."""
    return st.sampled_from([False] * (times - 1) + [True])


def lists(*choices: str, most: int = 3) -> SearchStrategy[list[str]]:
    """Return short lists of different members."""
    return st.lists(st.sampled_from(choices), max_size=most, unique=True)


# ---------------------------------------------------------------------------------------- limits

VALUES: dict[str, tuple[SearchStrategy[Any], SearchStrategy[Any]]] = {
    "tenants": (
        st.sampled_from([["*"], ["t", "u"], ["t", "u/*"], ["*/v", "t"], ["*"]]),
        lists("t", "t/v", "u", "*/v", "x"),
    ),
    "networks": (
        st.sampled_from([["10.0.0.0/8", "::1"], ["*"], ["10.0.0.0/28"], ["*", "!10.0.0.9"]]),
        st.sampled_from(
            [[], ["10.0.0.9"], ["::/0"], ["10.0.0.0/8", "!10.0.0.0/30"], ["::ffff:10.0.0.9"]]
        ),
    ),
    "methods": (
        st.sampled_from([["GET", "POST"], ["GET", "HEAD", "POST", "DELETE"], ["*"]]),
        lists("GET", "POST", "HEAD", "WEBSOCKET"),
    ),
    "read_only": (st.just(value=False), st.just(value=True)),
    "scopes": (
        st.sampled_from([["a", "b"], ["a", "b", "c"], ["a", "*"]]),
        lists("a", "b", "*"),
    ),
    "models": (
        st.sampled_from([{"m": "write", "n": "read"}, {"*": "write"}, {"*": "read", "m": "write"}]),
        st.sampled_from([{"m": "read"}, {"n": "write"}, {"x": "write"}, {}, {"*": "read"}]),
    ),
    "below": (st.just("/"), st.sampled_from(["/t", "/none"])),
}
"""For each dimension, values that permit most requests, and others."""

UNREADABLE_ONES = ("lifetime", "tenants", "networks", "methods", "scopes", "models")

BEFORE = st.integers(START - 100, START)
AFTER = st.integers(START + 1, START + 100)


@st.composite
def layers(draw: DrawFn) -> dict[str, Any]:
    """Return one layer of limits, in few of the dimensions."""
    limits: dict[str, Any] = {}
    for name, (usual, rare) in VALUES.items():
        if draw(once_in(6)):
            limits[name] = draw(mostly(usual, rare, rarely=4))
    return limits


@st.composite
def limits_of_a_node(draw: DrawFn, *, key: bool) -> list[dict[str, Any]]:
    """Return the layers of a node; scopes are named, since without them a key has none."""
    layer = draw(layers())
    if key and not draw(once_in(6)):
        layer["scopes"] = ["a", "b", "c"]
    if draw(once_in(8)):
        layer |= draw(lifetimes())
    if draw(once_in(50)):
        layer["nonsense"] = 1
    if draw(once_in(40)):
        layer[draw(st.sampled_from(UNREADABLE_ONES))] = UNREADABLE
    elif draw(once_in(5)):
        return [layer, draw(layers())]
    return [layer]


def lifetimes() -> SearchStrategy[dict[str, Any]]:
    """Return a lifetime that is open on one side, or on none, and usually holds at the start."""
    usual = st.fixed_dictionaries({}, optional={"not_before": BEFORE, "expires_at": AFTER})
    rare = st.fixed_dictionaries({"not_before": AFTER}) | st.fixed_dictionaries(
        {"expires_at": BEFORE}
    )
    return mostly(usual, rare, rarely=3)


# ----------------------------------------------------------------------------------------- nodes


@st.composite
def nodes(draw: DrawFn) -> dict[str, dict[str, Any]]:
    """Return three keys and two groups, above one another in every way, also in circles."""
    found: dict[str, dict[str, Any]] = {}
    for name in (*KEYS, *GROUPS):
        node: dict[str, Any] = {"id": name, "kind": name.partition("_")[0], "tenant": None}
        node["limits"] = draw(limits_of_a_node(key=node["kind"] == "key"))
        if draw(once_in(30)):
            node[draw(st.sampled_from(["disabled", "revoked"]))] = True
        if node["kind"] == "key":
            node["tenant"] = draw(st.sampled_from([*"ttttttt", "u/v", None]))
            if draw(st.booleans()):  # beside its home, where most routes are not about it
                node["limits"][0].setdefault("tenants", ["*"])
            node["groups"] = draw(mostly(lists(*GROUPS, most=1), lists(*GROUPS), rarely=4))
            later = KEYS[KEYS.index(name) + 1 :]
            usual = st.none() | st.sampled_from(later) if later else st.none()
            rare = st.sampled_from([*KEYS, "key_gone"])
            node["parent"] = draw(mostly(usual, rare, rarely=30))
        found[name] = node
    return found


# ------------------------------------------------------------------------------ settings, routes

ROUTES: list[tuple[dict[str, Any], list[str]]] = [
    ({"path": "/plain"}, ["/plain", "/plain/"]),
    (
        {"path": "/search", "methods": ["POST"], "access": "read", "scopes": ["a"]},
        ["/search", "/search", "/search/"],
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
]
"""Routes that are about no tenant, each with paths that may be of it."""

TENANT_ROUTES: list[tuple[dict[str, Any], list[str]]] = [
    ({"path": "/{tenant}/m", "model": "m"}, [*["/t/m"] * 7, "/u/m", "/~/m", "/*/m"]),
    (
        {"path": "/d/{domain}/u/{user}", "tenant": "{domain}/{user}", "model": "m"},
        [*["/d/t/u/v"] * 4, "/d/u/u/v", "/d/{user}/u/v"],
    ),
    (
        {"path": "/own", "tenant": "~", "model": "m", "methods": ["GET", "POST", "WEBSOCKET"]},
        ["/own", "/own", "/own", "/own/"],
    ),
    ({"path": "/mine/*", "tenant": "~"}, ["/mine/a", "/mine/", "/mine"]),
    (
        {"path": "/below/{tenant:path}"},
        ["/below/t", "/below/t/v/w", "/below/t/m", "/below/t/v", "/below/"],
    ),
    ({"path": "/open/{tenant}", "auth": "exempt"}, ["/open/t"]),
]
"""Routes that are about tenants, so that every other path is about an unknown one."""

PATHS = {route[0]["path"]: route[1] for route in ROUTES + TENANT_ROUTES}

SETTINGS: SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {
        "wildcard_scopes": st.booleans(),
        "protect": mostly(
            st.just(["/*"]),
            st.sampled_from([["/m/*", "/plain"], ["/t/*", "/own", "/n"]]),
            rarely=6,
        ),
        "credentials": mostly(
            st.just(["bearer", "rest_api_key"]),
            st.sampled_from([["bearer"], ["rest_api_key"]]),
            rarely=10,
        ),
    }
)


@st.composite
def worlds(draw: DrawFn) -> dict[str, Any]:
    """Return a world in which no key has its secret yet: whoever builds it adds those."""
    both = ROUTES + TENANT_ROUTES
    choices = draw(st.sampled_from([*[ROUTES] * 5, *[TENANT_ROUTES] * 4, both]))
    chosen = draw(st.lists(st.sampled_from(choices), min_size=1, max_size=5))
    return {
        "settings": draw(SETTINGS),
        "routes": [route for route, _ in chosen],
        "nodes": draw(nodes()),
        "down": draw(once_in(30)),
    }


# -------------------------------------------------------------------------------------- requests

STRANGE_PATHS = (
    *("", "plain", "/m//m", "/m/../n", "/m/.", "/m\\m", "/m/\x00", "/m/\n", "/\x7f", "/..."),
    *("/" + "m" * 8_191, "/" + "m" * 8_192, "/plain/", "/elsewhere", "/", "/PLAIN", "/\u00fc"),
)
METHODS = ("GET", "GET", "GET", "POST", "HEAD", "DELETE", "WEBSOCKET")
STRANGE_METHODS = ("get", "Post", "websocket", "PURGE", "", "GET ", "OPTIONS", "delete", "*")
PEERS = ("10.0.0.1", "10.0.0.9", "::ffff:10.0.0.1", "::1")
STRANGE_PEERS = (
    *(None, "", "192.0.2.1", "2001:db8::1", "::1%eth0", "10.0.0.01", "10.0.0.1:80", "x" * 60),
)
FORMS = ("Bearer {}", "rest_api_key={}", "Bearer {}")
STRANGE_FORMS = (
    *("bearer  {}", "\tREST_API_KEY \t=\t{} ", "Bearer {},Bearer {}", "rest_api_key={}, x"),
    *("Token {}", "Bearer {}x", "Bearer", "rest_api_key", "Bearer {} {}", "{}", "Bearer\u00a0{}"),
    *("", "Bearer =", "x" * 600, "rest_api_key={}=", "rest_api_key==", "Bearer a.b-c_d~e+f/g=="),
    *("Basic eA==, Bearer {}", "Bearer {}\x00", "Bearer {}" + " " * 500, "Bearer\t{}"),
    *("BEARER {}", "rest_api_key={}", "Bearer {},", "Bearer kb_live_" + "0" * 38),
)


def secrets_of(world: dict[str, Any]) -> SearchStrategy[str]:
    """Return the secrets of the keys of a built world, and rarely one that nobody has."""
    known = [node["secret"] for node in world["nodes"].values() if "secret" in node]
    return mostly(st.sampled_from(known), st.just(world["unknown"]), rarely=20)


def paths_in(world: dict[str, Any]) -> SearchStrategy[str]:
    """Return paths that a route of a world may be about."""
    return st.sampled_from([path for route in world["routes"] for path in PATHS[route["path"]]])


def requests_to(world: dict[str, Any]) -> SearchStrategy[dict[str, Any]]:
    """Return requests to a world that was built."""
    values = st.builds(
        lambda form, secret: form.replace("{}", secret),
        mostly(st.sampled_from(FORMS), st.sampled_from(STRANGE_FORMS), rarely=10),
        secrets_of(world),
    )
    return st.fixed_dictionaries(
        {
            "method": mostly(st.sampled_from(METHODS), st.sampled_from(STRANGE_METHODS), rarely=12),
            "path": mostly(paths_in(world), st.sampled_from(STRANGE_PATHS), rarely=16),
            "peer": mostly(st.sampled_from(PEERS), st.sampled_from(STRANGE_PEERS), rarely=10),
            "authorization": mostly(values, st.none(), rarely=20),
        }
    )
