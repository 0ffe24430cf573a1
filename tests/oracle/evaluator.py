"""The one decision once more: slow, plain, and written from the design instead of the code.

Everything is a dictionary, a list or text. Nothing here is shared with keybound, so that a mistake
would have to be made twice to stay unseen. What a world and a request look like is said in
``tests/oracle/worlds.py``.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import TYPE_CHECKING, Any
from zlib import crc32

if TYPE_CHECKING:
    from collections.abc import Callable

    Step = Callable[[Any, "Facts", "Settings"], str | None]

World = dict[str, Any]
Request = dict[str, Any]
Node = dict[str, Any]
Facts = dict[str, Any]
Settings = dict[str, Any]
Outcome = tuple[str, str | None, str | None]
"""``allowed``, ``denied`` or ``open``; why; and the node that refused."""

SAFE = ("GET", "HEAD", "OPTIONS")
DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
CHAIN_MAX = 32
CREDENTIAL_MAX = 512
PATH_MAX = 8_192
SEGMENTS_MAX = 32
UNREADABLE = "?"
"""What stands in a world for a stored limit that cannot be read."""


class Refused(Exception):  # noqa: N818 - it is an outcome, no error
    """The request is denied, for a reason, perhaps by a node."""

    def __init__(self, reason: str, node: str | None = None) -> None:
        """Say why."""
        super().__init__(reason)
        self.reason = reason
        self.node = node


def judge(world: World, request: Request, now: float) -> Outcome:
    """Return what becomes of a request at ``now``, in POSIX seconds."""
    try:
        return _judge(world, request, now)
    except Refused as refused:
        return "denied", refused.reason, refused.node


def _judge(world: World, request: Request, now: float) -> Outcome:
    said = route_facts(world, request["method"], request["path"])
    if said["auth"] == "exempt":
        return "open", None, None
    try:
        text = read_credential(world["settings"], request["authorization"])
    except Refused as refused:
        if said["auth"] == "optional" and refused.reason.startswith(("missing", "malformed")):
            return "open", None, None
        raise
    key = find_key(world, text)
    chain = walk_up(world, key)
    for node in chain:
        check_alive(node, now)
    tenant = key["tenant"] if said["tenant"] == "~" else said["tenant"]
    facts = {**said, **request, "tenant": tenant}
    for dimension, step in STEPS:
        for node in chain:
            check_limit(world, node, facts, dimension, step)
    return "allowed", None, None


def find_key(world: World, text: str) -> Node:
    """Return the key with this secret."""
    if world.get("down"):
        raise Refused("store_unavailable")
    for node in world["nodes"].values():
        if node.get("secret") == text:
            found: Node = node
            return found
    raise Refused("unknown_key")


def check_limit(world: World, node: Node, facts: Facts, dimension: str, step: Step) -> None:
    """Refuse for a node that does not permit the request in one dimension."""
    for layer in effective_layers(world, node):
        if dimension in layer:
            value = layer[dimension]
            readable = value != UNREADABLE
            reason = step(value, facts, world["settings"]) if readable else "limit_invalid"
            if reason is not None:
                raise Refused(reason, node["id"])


# ------------------------------------------------------------------------------- the credential


def read_credential(settings: Settings, value: str | None) -> str:
    """Return the key in the value of ``Authorization``."""
    if value is None:
        raise Refused("missing_credentials")
    if len(value) > CREDENTIAL_MAX:
        raise Refused("malformed_credentials")
    value = value.strip(" \t")
    if any(not (" " <= char <= "~" or char == "\t") for char in value):
        raise Refused("malformed_credentials")
    found = read_forms(settings, value)
    if found is None:
        parts = [part.strip(" \t") for part in value.split(",")]
        if len(parts) > 1 and any(read_forms(settings, part) for part in parts):
            raise Refused("duplicate_credentials")
        raise Refused("malformed_credentials")
    if not looks_like_a_key(found):
        raise Refused("malformed_credentials")
    return found


def read_forms(settings: Settings, value: str) -> str | None:
    """Return what the first form that fits finds."""
    for form in settings["credentials"]:
        found = FORMS[form](value)
        if found is not None and is_token(found):
            return found
    return None


def bearer(value: str) -> str | None:
    """``Bearer K``: the scheme in any case, then at least one blank."""
    scheme, blank, rest = value.partition(" ")
    return rest.lstrip(" ") if blank and scheme.lower() == "bearer" else None


def rest_api_key(value: str) -> str | None:
    """``rest_api_key=K``, split at the first ``=``."""
    name, equals, rest = value.partition("=")
    if not equals or name.rstrip(" \t").lower() != "rest_api_key":
        return None
    return rest.lstrip(" \t")


FORMS = {"bearer": bearer, "rest_api_key": rest_api_key}


def is_token(text: str) -> bool:
    """Say whether text is one word of the characters that a credential has."""
    body = text.rstrip("=")
    return body != "" and all(char.isalnum() or char in "._~+/-" for char in body)


def looks_like_a_key(text: str) -> bool:
    """Say whether text is ``kb_live_``, 32 digits of base 62, and the checksum of all that."""
    start, check = text[:-6], text[-6:]
    body = start.removeprefix("kb_live_")
    if body == start or len(body) != 32 or not set(body + check) <= set(DIGITS):
        return False
    number, digits = crc32(start.encode()), ""
    for _ in range(6):
        digits += DIGITS[number % 62]
        number //= 62
    return digits == check


# --------------------------------------------------------------------------------------- routes


def route_facts(world: World, method: str, path: str) -> Facts:
    """Return what the routes say of a request."""
    check_path(path)
    routes, tenancy = world["routes"], is_tenancy(world)
    # Some routers take methods in any case: what is demanded holds in any, favours hold in one.
    asked = method if method.upper() == "WEBSOCKET" else method.upper()
    favoured = asked == method
    access = "read" if method in SAFE else "write"
    for route in routes:
        fields = match(route["path"], path)
        if fields is None or not answers(route, asked):
            continue
        model = fill(route.get("model") or ("{model}" if "model" in fields else None), fields)
        tenant = fill(route.get("tenant") or ("{tenant}" if "tenant" in fields else None), fields)
        return {
            "auth": route.get("auth", "required") if favoured else "required",
            "access": route.get("access", access) if favoured else access,
            "model": model,
            "tenant": tenant or (None if tenancy else "~"),
            "scopes": route.get("scopes", []),
        }
    said: Facts = {
        "auth": "required" if is_protected(world, path) else "exempt",
        "access": access,
        "model": None,
        "tenant": None if tenancy else "~",
        "scopes": [],
    }
    # Some routers take a path with a slash more or less alike: demands hold for both.
    beside = path[:-1] if path.endswith("/") else path + "/"
    for route in routes:
        if match(route["path"], beside) is not None and answers(route, asked):
            if route.get("auth", "required") == "required":
                said["auth"] = "required"
                said["scopes"] = route.get("scopes", [])
                if route.get("access") == "write":
                    said["access"] = "write"
            break
    return said


def check_path(path: str) -> None:
    """Refuse what routers read in more than one way."""
    segments = path.split("/")
    strange = any(char < " " or char in "\x7f\\" for char in path)
    dots = any(segment in {".", ".."} for segment in segments)
    if not path.startswith("/") or "//" in path or strange or dots or len(path) > PATH_MAX:
        raise Refused("invalid_path")


def is_tenancy(world: World) -> bool:
    """Say whether requests are about tenants: some route that may need a key says so."""
    return any(
        (route.get("tenant") or "{tenant}" in route["path"] or "{tenant:path}" in route["path"])
        and route.get("auth", "required") != "exempt"
        for route in world["routes"]
    )


def is_protected(world: World, path: str) -> bool:
    """Say whether a path is guarded: ``/v1/*`` is ``/v1`` and all beneath, ``/v1`` is ``/v1/``."""
    for pattern in world["settings"]["protect"]:
        if pattern.endswith("/*"):
            if path == pattern[:-2] or path.startswith(pattern[:-1]):
                return True
        elif path.rstrip("/") == pattern.rstrip("/"):
            return True
    return False


def answers(route: dict[str, Any], method: str) -> bool:
    """Say whether a route is about a method: GET is HEAD too, and a WebSocket must be named."""
    methods = route.get("methods")
    if methods is None:
        return method != "WEBSOCKET" or route.get("auth", "required") == "required"
    return method in methods or (method == "HEAD" and "GET" in methods)


def match(pattern: str, path: str) -> dict[str, str] | None:
    """Return the fields of a path, if it is exactly of this pattern."""
    return match_segments(pattern.split("/")[1:], path.split("/")[1:])


def match_segments(pattern: list[str], path: list[str]) -> dict[str, str] | None:
    """Match one segment after the other; what spans segments is tried at every length."""
    if not pattern or not path:
        return {} if pattern == path else None
    first, rest = pattern[0], pattern[1:]
    if first == "*":
        return {}
    if first.endswith(":path}"):
        for size in range(len(path), 0, -1):
            found = match_segments(rest, path[size:])
            if found is not None:
                return {first[1:-6]: "/".join(path[:size]), **found}
        return None
    found = match_segments(rest, path[1:])
    if found is not None and first.startswith("{"):
        return {first[1:-1]: path[0], **found} if path[0] else None
    return found if first == path[0] else None


def fill(template: str | None, fields: dict[str, str]) -> str | None:
    """Return a template with its fields filled in."""
    if template is None:
        return None
    filled, *parts = template.split("{")
    for part in parts:
        name, _, text = part.partition("}")
        filled += fields[name] + text
    return filled


# -------------------------------------------------------------------------------------- the chain


def walk_up(world: World, key: Node) -> list[Node]:
    """Return the key and every node above it, nearest first."""
    chain, waiting = [key], [*above(key)]
    while waiting:
        name = waiting.pop(0)
        if name == key["id"]:
            raise Refused("record_corrupt")
        if any(node["id"] == name for node in chain):
            continue
        if len(chain) == CHAIN_MAX:
            raise Refused("record_corrupt")
        gone = {"id": name, "kind": "gone", "revoked": True}
        node = world["nodes"].get(name, gone)
        chain.append(node)
        waiting += above(node)
    return chain


def above(node: Node) -> list[str]:
    """Return the parent, then the groups."""
    parent = node.get("parent")
    return ([parent] if parent else []) + list(node.get("groups", []))


def check_alive(node: Node, now: float) -> None:
    """Refuse for a node that is over, suspended, or whose time it is not."""
    if node.get("revoked"):
        raise Refused("revoked", node["id"])
    if node.get("disabled"):
        raise Refused("disabled", node["id"])
    for layer in node.get("limits", []):
        if now < layer.get("not_before", now):
            raise Refused("not_yet_valid", node["id"])
        if "expires_at" in layer and now >= layer["expires_at"]:
            raise Refused("expired", node["id"])


def effective_layers(world: World, node: Node) -> list[dict[str, Any]]:
    """Return a node's limits, with what absence means for a key: no scope, and its home tenant."""
    layers: list[dict[str, Any]] = list(node.get("limits", []))
    if node["kind"] == "key":
        if not any("scopes" in layer for layer in layers):
            layers.append({"scopes": []})
        if not any("tenants" in layer for layer in layers):
            if node["tenant"] is not None:
                layers.append({"tenants": [node["tenant"]]})
            elif is_tenancy(world):
                layers.append({"tenants": []})
    return layers


# ------------------------------------------------------------------------------------- the limits


def tenants(patterns: list[str], facts: Facts, _settings: Settings) -> str | None:
    """A pattern covers the tenant that it names and all beneath it."""
    if not facts["tenant"]:
        return "tenant_unresolved"
    segments = facts["tenant"].split("/")
    unnameable = {"", ".", "..", "~"} & set(segments) or len(segments) > SEGMENTS_MAX
    for pattern in patterns:
        wanted = pattern.split("/")
        start = segments[: len(wanted)]
        deep_enough = len(start) == len(wanted) and not unnameable
        if deep_enough and all(
            want in {"*", have} for want, have in zip(wanted, start, strict=True)
        ):
            return None
    return "tenant_mismatch"


def networks(listed: list[str], facts: Facts, _settings: Settings) -> str | None:
    """The address lies in what is listed, and not in what is excluded."""
    if "*" in listed and not any(text.startswith("!") for text in listed):
        return None
    address = address_of(facts["peer"])
    if address is None:
        return "network_unknown"
    inside = any(text == "*" or lies_in(address, text) for text in listed if text[0] != "!")
    outside = any(lies_in(address, text[1:]) for text in listed if text[0] == "!")
    return None if inside and not outside else "network_not_allowed"


def address_of(text: str | None) -> IPv4Address | IPv6Address | None:
    """Return an address; a mapped one is the IPv4 address that it stands for."""
    try:
        address = ip_address(text or "")
    except ValueError:
        return None
    if isinstance(address, IPv4Address):
        return address
    return None if address.scope_id is not None else address.ipv4_mapped or address


def lies_in(address: IPv4Address | IPv6Address, network: str) -> bool:
    """Say whether an address lies in a network; each family has its own."""
    alone = address_of(network)
    return address == alone if alone is not None else address in ip_network(network)


def methods(names: list[str], facts: Facts, _settings: Settings) -> str | None:
    """The method is one of these, to the letter."""
    return None if "*" in names or facts["method"] in names else "method_not_allowed"


def read_only(value: bool, facts: Facts, _settings: Settings) -> str | None:  # noqa: FBT001 - a step
    """The request only reads."""
    return "method_not_allowed" if value and facts["access"] != "read" else None


def scopes(granted: list[str], facts: Facts, settings: Settings) -> str | None:
    """Every scope that the route asks for is granted, by name or by what means all of them."""
    if settings["wildcard_scopes"] and "*" in granted:
        return None
    return None if set(facts["scopes"]) <= set(granted) else "insufficient_scope"


def models(granted: dict[str, str], facts: Facts, _settings: Settings) -> str | None:
    """The model may be read, or written; ``*`` is every other one."""
    if granted == {"*": "write"}:
        return None
    if not facts["model"]:
        return "model_unresolved"
    access = granted.get(facts["model"], granted.get("*"))
    return None if access in {"write", facts["access"]} else "model_not_allowed"


def below(start: str, facts: Facts, _settings: Settings) -> str | None:
    """The site's own dimension: paths with this start."""
    return None if facts["path"].startswith(start) else "limit_invalid"


def nobodys(_value: Any, _facts: Facts, _settings: Settings) -> str:
    """Refuse: nobody knows this dimension."""
    return "limit_invalid"


STEPS: list[tuple[str, Step]] = [
    ("lifetime", nobodys),  # one that can be read is part of the state
    ("tenants", tenants),
    ("networks", networks),
    ("methods", methods),
    ("read_only", read_only),
    ("scopes", scopes),
    ("models", models),
    ("below", below),
    ("nonsense", nobodys),
]
"""What a request must pass once every node is alive, in this order, each over the whole chain."""
