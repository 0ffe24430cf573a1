"""The credential of a request, in every form that a world may have."""

from __future__ import annotations

from base64 import b64decode, b64encode
from binascii import Error
from typing import Any
from urllib.parse import unquote_to_bytes
from zlib import crc32

from tests.oracle.refused import Refused

Settings = dict[str, Any]
Request = dict[str, Any]

DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
CREDENTIAL_MAX = 512
BLANKS = " \t"


def lines(request: Request, name: str) -> list[str]:
    """Return the values of a header."""
    return [value for each, value in request["headers"] if each == name]


def read_credential(settings: Settings, request: Request) -> tuple[str, bool]:
    """Return the one key of a request, and whether it came in a header."""
    there = credentials_in(settings, request)
    if not there:
        raise Refused("missing_credentials")
    if len(there) > 1:
        raise Refused("conflicting_credentials")
    ((place, values),) = there.items()
    if len(values) > 1 or (place == "header" and "," in values[0]):
        raise Refused("duplicate_credentials")
    forms = [form for form in settings["credentials"] if place_of(form) == place]
    return read_value(forms, values[0]), place not in {"query", "cookie"}


def credentials_in(settings: Settings, request: Request) -> dict[str, list[str]]:
    """Return what stands in each place that a form names, where something does."""
    places = {place_of(form) for form in settings["credentials"]}
    return {place: found for place in places if (found := FINDERS[place](request))}


def place_of(form: str) -> str:
    """Return the place of a form; ``Authorization`` has no name."""
    return PLACES.get(form.partition("(")[0], "")


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
        raise Refused("malformed_credentials", meant=found.startswith("kb_"))
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
