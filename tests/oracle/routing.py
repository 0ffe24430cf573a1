"""What the routes of a world say of a method and a path."""

from __future__ import annotations

from typing import Any

from tests.oracle.reading import named
from tests.oracle.refused import Refused

World = dict[str, Any]
Said = dict[str, Any]

SAFE = ("GET", "HEAD", "OPTIONS")
PATH_MAX = 8_192


def route_facts(world: World, method: str, path: str) -> Said:
    """Return what the routes say: of a model and a tenant, whether they stand in the path."""
    check_path(path)
    # Some routers take methods in any case: what is demanded holds in any, favours hold in one.
    asked = method if method.upper() == "WEBSOCKET" else method.upper()
    favoured = asked == method
    # Some routers take a path with a slash more or less alike: demands hold for both.
    other = path[:-1] if path.endswith("/") else path + "/"
    demanding = None
    for route in world["routes"]:
        fields = match(route["path"], path)
        if fields is not None and answers(route, asked):
            said = said_by(world, route, fields, method=method, favoured=favoured)
            if demanding is not None and ("*" in route["path"] or "{" in route["path"]):
                demand(said, demanding, method=method, configured=True)
            return said
        if demanding is None and match(route["path"], other) is not None and answers(route, asked):
            demanding = route
    said = {
        "auth": "required" if is_protected(world, path) else "exempt",
        "access": access_of(method),
        "scopes": [],
        "tenant": None if is_tenancy(world) else "~",
        "tenant_in_path": False,
        "models": [],
        "model_in_path": False,
        "body": world["settings"]["model_from"],
    }
    if demanding is not None:
        demand(said, demanding, method=method, configured=False)
    return said


def said_by(
    world: World, route: dict[str, Any], fields: dict[str, str], *, method: str, favoured: bool
) -> Said:
    """Return what one route says; what it favours, only where the method is spelled exactly."""
    model, tenant = model_template(route), tenant_template(route)
    body = route.get("model") if is_body(route) else None
    silent = model is None and body is None
    return {
        "auth": route.get("auth", "required") if favoured else "required",
        "access": route.get("access", access_of(method)) if favoured else access_of(method),
        "scopes": route.get("scopes", []),
        "tenant": named(fill(tenant, fields)) if tenant else None if is_tenancy(world) else "~",
        "tenant_in_path": "{" in (tenant or ""),
        "models": [] if model is None else [fill(model, fields)],
        "model_in_path": "{" in (model or ""),
        "body": world["settings"]["model_from"] if silent else body,
    }


def demand(said: Said, route: dict[str, Any], *, method: str, configured: bool) -> None:
    """Let a route that is only almost meant demand what it demands, and settle nothing."""
    auth = route.get("auth", "required")
    if auth == "exempt":
        return
    if model_template(route) is not None or is_body(route):
        said["models"], said["body"] = [None], None
    tenant = tenant_template(route)
    unlike = configured and tenant != said["tenant"]
    if tenant is not None and (said["tenant"] is None or unlike):
        said["tenant"], said["tenant_in_path"] = None, True
    if auth == "required":
        said["auth"] = "required"
    said["scopes"] = [*said["scopes"], *route.get("scopes", [])]
    if route.get("access", access_of(method)) == "write":
        said["access"] = "write"


def access_of(method: str) -> str:
    """Return what a method does where no route says otherwise."""
    return "read" if method in SAFE else "write"


def is_body(route: dict[str, Any]) -> bool:
    """Say whether a route takes its models from the body."""
    return str(route.get("model", "")).startswith("body(")


def model_template(route: dict[str, Any]) -> str | None:
    """Return the model of a route, with fields in it: written out, or the field of that name."""
    written: str | None = None if is_body(route) else route.get("model")
    in_path = "{model}" in route["path"] or "{model:path}" in route["path"]
    return written or ("{model}" if in_path else None)


def tenant_template(route: dict[str, Any]) -> str | None:
    """Return the tenant of a route in the same way."""
    in_path = "{tenant}" in route["path"] or "{tenant:path}" in route["path"]
    written: str | None = route.get("tenant")
    return written or ("{tenant}" if in_path else None)


def check_path(path: str) -> None:
    """Refuse what routers read in more than one way."""
    segments = path.split("/")
    strange = any(char < " " or char in "\x7f\\" for char in path)
    dots = any(segment in {".", ".."} for segment in segments)
    if not path.startswith("/") or "//" in path or strange or dots or len(path) > PATH_MAX:
        raise Refused("invalid_path")


def is_tenancy(world: World) -> bool:
    """Say whether requests are about tenants: a setting or a route that may need a key says so."""
    return world["settings"]["tenant_from"] is not None or any(
        tenant_template(route) is not None and route.get("auth", "required") != "exempt"
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
    if pattern.startswith("*"):
        return {} if path.endswith(pattern[1:]) else None
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
