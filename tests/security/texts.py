"""What a case writes in short: placeholders, repetitions, and texts that JSON cannot hold."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import msgspec

from tests.security.outcomes import NotReplayableError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.security.keyring import Secrets

_PLACEHOLDER = re.compile(r"\{\{([A-Z][A-Za-z0-9_]*(?::[A-Za-z0-9_]+)?)\}\}")

LISTS = frozenset({"ips", "ips_deny", "models", "models_deny", "scopes", "methods", "groups"})
"""Members of a key in which a repetition is one of members, not of characters."""


def text(value: object, secrets: Secrets) -> str:
    """Return a text with everything in it written out."""
    if isinstance(value, str):
        return _PLACEHOLDER.sub(lambda found: _filled(found[1], secrets), value)
    if isinstance(value, dict) and value.keys() == {"repeat", "times"}:
        return text(value["repeat"], secrets) * int(value["times"])
    if isinstance(value, dict) and value.keys() == {"concat"}:
        return "".join(text(each, secrets) for each in value["concat"])
    msg = f"no text can be made of {value!r}"
    raise NotReplayableError(msg)


def is_text(value: object) -> bool:
    """Return whether a value is a text, or one written in short."""
    return isinstance(value, str) or (
        isinstance(value, dict) and value.keys() in ({"repeat", "times"}, {"concat"})
    )


def written(value: Any, secrets: Secrets) -> Any:
    """Return a value with every text in it written out; what is no text stays as it is."""
    if is_text(value):
        return text(value, secrets)
    if isinstance(value, dict):
        return {name: written(each, secrets) for name, each in value.items()}
    if isinstance(value, list):
        return [written(each, secrets) for each in value]
    return value


def _filled(placeholder: str, secrets: Secrets) -> str:
    try:
        return secrets.fill(placeholder)
    except KeyError:
        msg = f"nothing is known of the placeholder {placeholder}"
        raise NotReplayableError(msg) from None


def headers(listed: object, secrets: Secrets) -> list[tuple[bytes, bytes]]:
    """Return headers as a server hands them on: each character of a text is one byte."""
    found: list[tuple[bytes, bytes]] = []
    for each in listed or ():  # type: ignore[attr-defined]
        pair, times = each, 1
        if isinstance(each, dict):
            pair, times = each["repeat_header"], int(each["times"])
        name, value = (text(part, secrets).encode("latin-1") for part in pair)
        found += [(name, value)] * times
    return found


def member(name: str, value: Any, secrets: Secrets) -> Any:
    """Return a member of a record as it is to be stored."""
    if isinstance(value, dict) and value.keys() == {"json_literal"}:
        return msgspec.Raw(str(value["json_literal"]).encode())
    if isinstance(value, dict) and value.keys() == {"repeat", "times"} and name in LISTS:
        return [member("", value["repeat"], secrets)] * int(value["times"])
    if isinstance(value, dict) and value.keys() in ({"repeat", "times"}, {"concat"}):
        return text(value, secrets)
    if isinstance(value, str):
        return text(value, secrets)
    if isinstance(value, list):
        return [member("", each, secrets) for each in value]
    return value


def members(record: Mapping[str, Any], secrets: Secrets) -> dict[str, Any]:
    """Return the members of a record as they are to be stored."""
    return {name: member(name, value, secrets) for name, value in record.items()}
