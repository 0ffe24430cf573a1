"""The one decision once more: slow, plain, and written from the design instead of the code.

Everything is a dictionary, a list or text. Nothing here is shared with keybound, so that a mistake
would have to be made twice to stay unseen. What a world and a request look like is said in
``tests/oracle/worlds.py`` and ``tests/oracle/asking.py``.
"""

from __future__ import annotations

from typing import Any

from tests.oracle.credentials import credentials_in, read_credential
from tests.oracle.reading import (
    client_of,
    is_crooked,
    is_preflight,
    methods_of,
    models_in,
    tenant_said,
)
from tests.oracle.refused import Refused
from tests.oracle.routing import is_tenancy, route_facts
from tests.oracle.steps import SOFTENED, STEPS, UNREADABLE, Facts, Step

World = dict[str, Any]
Request = dict[str, Any]
Node = dict[str, Any]
Outcome = tuple[str, str | None, str | None]
"""``allowed``, ``denied`` or ``open``; why; and the node that refused."""

OPEN: Outcome = ("open", None, None)
MISSING = "missing_credentials"
CHAIN_MAX = 32


def judge(world: World, request: Request, now: float) -> Outcome:
    """Return what becomes of a request at ``now``, in POSIX seconds."""
    try:
        return _judge(world, request, now)
    except Refused as refused:
        return "denied", refused.reason, refused.node


def _judge(world: World, request: Request, now: float) -> Outcome:
    settings = world["settings"]
    try:
        asked = {name: route_facts(world, name, request["path"]) for name in methods_of(request)}
    except Refused:  # whoever sends nothing is told that first
        raise Refused("invalid_path" if credentials_in(settings, request) else MISSING) from None
    guards = {said["auth"] for said in asked.values()}
    if guards == {"exempt"}:
        return OPEN
    try:
        text, in_header = read_credential(settings, request)
    except Refused as refused:
        if refused.reason == MISSING and is_preflight(settings, request):
            return OPEN
        foreign = refused.reason.startswith(("missing", "malformed")) and not refused.meant
        if "required" not in guards and foreign:
            return OPEN
        raise
    key = find_key(world, text)
    chain = walk_up(world, key)
    for node in chain:
        check_alive(node, now)
    plain = {
        "path": request["path"],
        "client": client_of(settings, request),
        "in_header": in_header,
        "now": now,
        "wildcard_scopes": settings["wildcard_scopes"],
    }
    read = next((said["body"] for said in asked.values() if said["body"] is not None), None)
    for method, said in asked.items():
        tenant = tenant_of(world, request, said, key)
        for model in models_of(request, said, read):
            check(
                world, chain, {**plain, **said, "method": method, "tenant": tenant, "model": model}
            )
    return "allowed", None, None


def check(world: World, chain: list[Node], facts: Facts) -> None:
    """Refuse for the first step that a node of the chain does not permit."""
    for dimension, step in STEPS:
        for node in chain:
            check_limit(world, node, facts, dimension, step)


def find_key(world: World, text: str) -> Node:
    """Return the key with this secret."""
    if world["down"]:
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
            readable = layer[dimension] != UNREADABLE
            reason = step(layer[dimension], facts) if readable else "limit_invalid"
            reports = node.get("report_only") and reason in SOFTENED and dimension != "below"
            if reason is not None and not reports:
                raise Refused(reason, node["id"])


# ------------------------------------------------------------------------- what a request is about


def tenant_of(world: World, request: Request, said: Facts, key: Node) -> str | None:
    """Return the tenant: that of the path and the one said otherwise, if they do not differ."""
    if said["tenant_in_path"] and (is_crooked(request) or said["tenant"] is None):
        return None
    named = own(said["tenant"], key)
    if named is None and said["tenant"] is not None:
        return None  # their own tenant of who has none is unknown, whatever else says
    source = world["settings"]["tenant_from"]
    other = None if source is None else own(tenant_said(world["settings"], request), key)
    return named if other is None else other if named in {None, other} else None


def own(tenant: str | None, key: Node) -> str | None:
    """Return a tenant with the caller's own in place of ``~``, segment by segment."""
    if tenant is None or tenant == "~":
        return None if tenant is None else key["tenant"]
    home = (key["tenant"] or "").split("/")
    segments = tenant.split("/")
    for place, segment in enumerate(segments):
        if segment == "~":
            if place >= len(home) or not home[place]:
                return None
            segments[place] = home[place]
    return "/".join(segments)


def models_of(request: Request, said: Facts, read: str | None) -> list[str | None]:
    """Return every model that a request is about, ``None`` for one that cannot be told.

    A body is ``read`` once: what it is asked for besides, as another method would, is unknown.
    """
    hidden = is_crooked(request) and said["model_in_path"]
    named: list[str | None] = [None if hidden else model for model in said["models"]]
    if said["body"] is not None:
        found = models_in(said["body"], request) if said["body"] == read else None
        named += found or [None]
    return named or [None]


# -------------------------------------------------------------------------------------- the chain


def walk_up(world: World, key: Node) -> list[Node]:
    """Return the key and every node above it, nearest first."""
    check_line(world, key)
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


def check_line(world: World, key: Node) -> None:
    """Refuse where parents come back to one of them: such a line has no top."""
    line: list[str] = []
    node: Node | None = key
    while node is not None:
        if node["id"] in line:
            raise Refused("record_corrupt")
        line.append(node["id"])
        node = world["nodes"].get(node.get("parent"))


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
