"""What the settings of a world read of a request besides its credential."""

from __future__ import annotations

import json
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any
from urllib.parse import unquote_to_bytes

from tests.oracle.credentials import BLANKS, Request, Settings, lines

Address = IPv4Address | IPv6Address

# ------------------------------------------------------------------------------------ the client


def client_of(settings: Settings, request: Request) -> Address | None:
    """Return the peer, or whom trusted proxies name in ``X-Forwarded-For``."""
    peer = address_of(request["peer"])
    if not is_trusted(settings, peer):
        return peer
    values = lines(request, "x-forwarded-for")
    client: Address | None = peer
    for entry in reversed([each.strip(BLANKS) for value in values for each in value.split(",")]):
        client = address_of(without_port(entry))
        if client is None or not is_trusted(settings, client):
            break
    return client


def is_trusted(settings: Settings, address: Address | None) -> bool:
    """Say whether an address is that of a proxy of the site."""
    return address is not None and any(lies_in(address, n) for n in settings["trusted_proxies"])


def without_port(entry: str) -> str:
    """Return the address of an entry: IPv6 in brackets may have a port, and IPv4."""
    host, colon, port = entry.rpartition(":")
    if colon and port.isdigit() and (host.endswith("]") or ":" not in host):
        entry = host
    return entry[1:-1] if entry.startswith("[") and entry.endswith("]") else entry


def address_of(text: str | None) -> Address | None:
    """Return an address; a mapped one is the IPv4 address that it stands for."""
    try:
        address = ip_address(text or "")
    except ValueError:
        return None
    if isinstance(address, IPv4Address):
        return address
    return None if address.scope_id is not None else address.ipv4_mapped or address


def lies_in(address: Address, network: str) -> bool:
    """Say whether an address lies in a network; each family has its own."""
    alone = address_of(network)
    return address == alone if alone is not None else address in ip_network(network)


# ------------------------------------------------------------------------- tenants, models, methods


def tenant_said(settings: Settings, request: Request) -> str | None:
    """Return the tenant that a header names, or the host."""
    source = settings["tenant_from"]
    if source == "host({tenant}.api.example)":
        hosts = lines(request, "host")
        name = hosts[0].lower().removesuffix(":8000") if len(hosts) == 1 else ""
        label = name.removesuffix(".api.example")
        return label if label != name and label.isalnum() else None
    if source == "header(X-Tenant)" and not is_trusted(settings, address_of(request["peer"])):
        return None
    values = lines(request, "x-tenant")
    return named(values[0].strip(BLANKS) if len(values) == 1 else "")


def named(name: str | None) -> str | None:
    """Return a tenant, unless none can be called that."""
    if name is None:
        return None
    strange = {"", ".", ".."} & set(name.split("/")) or set(name) & set("*, \x00\xff")
    return None if strange else name


def is_crooked(request: Request) -> bool:
    """Say whether the raw path is another one than that which is routed by."""
    raw = request["raw_path"]
    if raw is None:
        return False
    return "%2f" in raw.lower() or not unquote_to_bytes(raw).endswith(request["path"].encode())


def methods_of(request: Request) -> list[str]:
    """Return the method, then those that the request asks to be taken for."""
    names = ("x-http-method", "x-http-method-override", "x-method-override")
    asked = [each for name in names for value in lines(request, name) for each in value.split(",")]
    pairs = [part.partition("=") for part in request["query"].split("&")]
    asked += [value for name, _, value in pairs if name == "_method"]
    spelled = {each.strip().upper() for each in asked if each.strip(BLANKS)}
    known = {each if each.replace("-", "").isalpha() else "?" for each in spelled}
    return [request["method"], *sorted(known - {request["method"]})]


def is_preflight(settings: Settings, request: Request) -> bool:
    """Say whether a request is exactly what browsers ask before another one, and may pass."""
    headers = [lines(request, name) for name in ("origin", "access-control-request-method")]
    values = [value.strip(BLANKS) for found in headers for value in found]
    exact = all(len(found) == 1 for found in headers) and all(values)
    words = not set("".join(values)) & set(" ,")
    alone = methods_of(request) == ["OPTIONS"]
    return bool(settings["exempt_preflight"]) and alone and exact and words


def models_in(fields: str, request: Request) -> list[str] | None:
    """Return the models that a body names in ``body(model)``, or in ``fallbacks[*]`` as well."""
    if lines(request, "content-type") != ["application/json"]:
        return None
    try:
        document = json.loads(request["body"], object_pairs_hook=without_doubles)
        names = [document["model"]]
        others = document.get("fallbacks", []) if "fallbacks" in fields else []
        if not isinstance(others, list):
            return None
        names += others
    except (ValueError, LookupError, TypeError, AttributeError):
        return None
    return names if all(isinstance(name, str) and name for name in names) else None


def without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object, none of whose names stands in it twice."""
    if len(dict(pairs)) != len(pairs):
        raise ValueError
    return dict(pairs)
