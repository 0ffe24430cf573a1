"""What schemes, parameters, headers and cookies may be called that carry a key."""

from __future__ import annotations

import re
from typing import Literal, TypeAlias

from keybound.core.errors import SettingsError

Named: TypeAlias = Literal["token", "header", "query", "cookie"]

_UNRESERVED = re.compile(r"[A-Za-z0-9._~-]{1,64}", re.ASCII)  # RFC 3986 section 2.3

_NAMES: dict[Named, tuple[str, re.Pattern[str], str]] = {
    "token": (
        "a scheme or parameter",
        re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}", re.ASCII),  # RFC 9110 section 5.6.2
        "letters, digits and - . _",
    ),
    "header": (
        "a header",
        re.compile(r"[A-Za-z0-9!#$%&'*+.^`|~-]{1,64}", re.ASCII),
        "letters, digits and hyphens: some servers take _ and - for the same",
    ),
    "query": ("a parameter", _UNRESERVED, "letters, digits and - . _ ~"),
    "cookie": ("a cookie", _UNRESERVED, "letters, digits and - . _ ~"),
}
"""What may be named, how, and what to write."""

_OTHERWISE = {
    "authorization": "that header is read by bearer, scheme(Token), param(name), bare, basic(...)",
    "cookie": "write cookie(name)",
}
"""Headers that are no form by themselves, and what to write."""


OF_TRANSPORT = frozenset(
    {"connection", "content-length", "content-type", "expect", "host", "keep-alive"}
    | {"proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"}
    | {"cf-connecting-ip", "forwarded", "true-client-ip", "via", "x-forwarded-for"}
    | {"x-forwarded-host", "x-forwarded-port", "x-forwarded-prefix", "x-forwarded-proto"}
    | {"x-real-ip"}
)
"""Headers that are about the message, its host and its way here: servers and proxies set them."""


def checked_name(kind: Named, name: str) -> str:
    """Return a name that needs neither quotes nor escapes; raises ``SettingsError``."""
    what, pattern, fix = _NAMES[kind]
    if not pattern.fullmatch(name):
        raise SettingsError("credentials", f"{name!r} cannot be the name of {what}", fix=fix)
    if kind == "header" and name.lower() in _OTHERWISE:
        raise SettingsError(
            "credentials", f"header({name}) is no form", fix=_OTHERWISE[name.lower()]
        )
    if kind == "header" and name.lower() in OF_TRANSPORT:
        raise SettingsError(
            "credentials",
            f"header({name}) is no place for a key: servers and proxies set that header",
            fix="name one of your own, such as header(X-API-Key)",
        )
    return name
