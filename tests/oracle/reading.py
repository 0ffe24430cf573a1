"""What the settings of a world read of a request: its credential, client, tenant and models."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from binascii import Error
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any
from urllib.parse import unquote_to_bytes
from zlib import crc32

from tests.oracle.refused import Refused

Settings = dict[str, Any]
Request = dict[str, Any]
Address = IPv4Address | IPv6Address

DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
CREDENTIAL_MAX = 512
BLANKS = " \t"


def lines(request: Request, name: str) -> list[str]:
    """Return the values of a header."""
    return [value for each, value in request["headers"] if each == name]


# ------------------------------------------------------------------------------- the credential


def read_credential(settings: Settings, request: Request) -> tuple[str, bool]:
    """Return the one key of a request, and whether it came in a header."""
    forms: dict[str, list[str]] = {}
    for form in settings["credentials"]:
        forms.setdefault(PLACES.get(form.partition("(")[0], ""), []).append(form)
    there = {place: found for place in forms if (found := FINDERS[place](request))}
    if not there:
        raise Refused("missing_credentials")
    if len(there) > 1:
        raise Refused("conflicting_credentials")
    ((place, values),) = there.items()
    if len(values) > 1 or (place == "header" and "," in values[0]):
        raise Refused("duplicate_credentials")
    return read_value(forms[place], values[0]), place not in {"query", "cookie"}


def read_value(forms: list[str], value: str) -> str:
    """Return the key in a value that should be of one of these forms."""
    if len(value) > CREDENTIAL_MAX:
        raise Refused("malformed_credentials")
    value = value.strip(BLANKS)
    if any(not (" " <= char <= "~" or char == "\t") for char in value):
        raise Refused("malformed_credentials")
    found = read_forms(forms, value)
    if found is None:
        parts = [part.strip(BLANKS) for part in value.split(",")]
        joined = len(parts) > 1 and any(read_forms(forms, part) for part in parts)
        elsewhere = all(form.partition("(")[0] in PLACES for form in forms)
        raise Refused(
            "malformed_credentials" if elsewhere or not joined else "duplicate_credentials"
        )
    if not looks_like_a_key(found):
        raise Refused("malformed_credentials")
    return found


def read_forms(forms: list[str], value: str) -> str | None:
    """Return what the first form that fits finds."""
    for form in forms:
        kind, _, rest = form.partition("(")
        arguments = [part.strip() for part in rest.rstrip(")").split(",")]
        found: str | None = FORMS[kind](value, *arguments)
        if found is not None and is_token(found):
            return found
    return None


def scheme(value: str, name: str) -> str | None:
    """``Token K``: the scheme in any case, then at least one blank."""
    first, blank, rest = value.partition(" ")
    return rest.lstrip(" ") if blank and first.lower() == name.lower() else None


def param(value: str, name: str) -> str | None:
    """``name=K``, split at the first ``=``; blanks around it and quotes do not count."""
    first, equals, rest = value.partition("=")
    if not equals or first.rstrip(BLANKS).lower() != name.lower():
        return None
    rest = rest.lstrip(BLANKS)
    quoted = len(rest) > 1 and rest[0] == rest[-1] == '"'
    return rest[1:-1] if quoted else rest


def scheme_param(value: str, name: str, parameter: str) -> str | None:
    """``Token token="K"``."""
    rest = scheme(value, name)
    return None if rest is None else param(rest, parameter)


def basic(value: str, part: str) -> str | None:
    """``Basic`` and one part of the pair, encoded in the one way that there is."""
    rest = scheme(value, "Basic")
    try:
        pair = b64decode(rest or "", validate=True)
    except (Error, ValueError):
        return None
    if rest is None or b64encode(pair).decode() != rest or b":" not in pair:
        return None
    if any(not 0x20 <= byte <= 0x7E for byte in pair):
        return None
    username, _, password = pair.decode().partition(":")
    return username if part == "username" else password


FORMS: dict[str, Any] = {
    "bearer": lambda value, _: scheme(value, "Bearer"),
    "rest_api_key": lambda value, _: param(value, "rest_api_key"),
    "scheme": scheme,
    "scheme_param": scheme_param,
    "basic": basic,
    "bare": lambda value, _: value,
    "header": lambda value, _: value,
    "query": lambda value, _: value,
    "cookie": lambda value, _: value,
}
PLACES = {"header": "header", "query": "query", "cookie": "cookie"}
"""Forms that are not in ``Authorization``; each world has one name for each place."""

HEADER, QUERY, COOKIE = "x-key", "api_key", "kb"


def in_query(request: Request) -> list[str]:
    """Return the values of the parameter, decoded."""
    pairs = [part.partition("=") for part in request["query"].split("&")]
    return [
        unquote_to_bytes(value.replace("+", " ")).decode("latin-1")
        for name, _, value in pairs
        if unquote_to_bytes(name) == QUERY.encode()
    ]


def in_cookie(request: Request) -> list[str]:
    """Return the values of the cookie, without quotes."""
    pairs = [part.partition("=") for line in lines(request, "cookie") for part in line.split(";")]
    values = [value.strip(BLANKS) for name, _, value in pairs if name.strip(BLANKS) == COOKIE]
    quoted = [len(value) > 1 and value[0] == value[-1] == '"' for value in values]
    return [value[1:-1] if is_so else value for value, is_so in zip(values, quoted, strict=True)]


FINDERS: dict[str, Any] = {
    "": lambda request: lines(request, "authorization"),
    "header": lambda request: [value.strip(BLANKS) for value in lines(request, HEADER)],
    "query": in_query,
    "cookie": in_cookie,
}


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
    name = values[0].strip(BLANKS) if len(values) == 1 else ""
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
    exact = all(len(values) == 1 and values[0].strip(BLANKS) for values in headers)
    return bool(settings["exempt_preflight"]) and request["method"] == "OPTIONS" and exact


def models_in(fields: str, request: Request) -> list[str] | None:
    """Return the models that a body names in ``body(model)``, or in ``fallbacks[*]`` as well."""
    if lines(request, "content-type") != ["application/json"]:
        return None
    try:
        document = json.loads(request["body"], object_pairs_hook=without_doubles)
        names = [document["model"]]
        names += document.get("fallbacks", []) if "fallbacks" in fields else []
    except (ValueError, LookupError, TypeError, AttributeError):
        return None
    return names if all(isinstance(name, str) and name for name in names) else None


def without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object, none of whose names stands in it twice."""
    if len(dict(pairs)) != len(pairs):
        raise ValueError
    return dict(pairs)
