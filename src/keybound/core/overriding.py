"""Methods that a request asks to be taken for, which something behind us may heed.

No standard has them; middleware of several frameworks does. A request must be permitted as what it
is and as each of these, so that none of them ever widens what a key may do.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

if TYPE_CHECKING:
    from keybound.core.head import Head

HEADERS = ("x-http-method", "x-http-method-override", "x-method-override")
_FIELD = b"_method"
_METHOD = re.compile(rb"[A-Z-]{1,16}")
_UNKNOWN = "?"
_ASKED_MAX = 4
_FIELDS_MAX = 1_000
_NAME_MAX = 1_000


def methods_asked(head: Head) -> tuple[str, ...]:
    """Return the methods, in capitals and in order; what is none of those known is ``?``."""
    lines = [line for name in HEADERS for line in head.folded(name)]
    asks = may_ask(head.query)
    if not (lines or asks):
        return ()
    # What is left of more than these has a comma, and so is no method.
    values = [value for line in lines for value in line.split(b",", _ASKED_MAX)]
    if asks:
        values += _fields(head.query)
    named = {_method(value) for value in values if value.strip(b" \t")} - {head.method}
    return tuple(sorted(named)) if len(named) <= _ASKED_MAX else (_UNKNOWN,)


def may_ask(query: bytes) -> bool:
    """Return whether a query may have the field, by a look that costs next to nothing."""
    return b"%" in query or _FIELD in query.lower()


def _fields(query: bytes) -> list[bytes]:
    """Return its values, read as leniently as anybody reads them; of many or long fields, none."""
    if _FIELD not in unquote_to_bytes(query).lower():
        return []
    if query.count(b"&") + query.count(b";") > _FIELDS_MAX:
        return [_UNKNOWN.encode()]
    pairs = [part.partition(b"=") for part in re.split(b"[&;]", query)]
    if any(len(name) > _NAME_MAX for name, _, _ in pairs):  # nobody asks so
        return [_UNKNOWN.encode()]
    return [_decoded(value) for name, _, value in pairs if _decoded(name) == _FIELD]


def _decoded(text: bytes) -> bytes:
    return unquote_to_bytes(text.replace(b"+", b" ")).strip().lower()


def _method(value: bytes) -> str:
    method = value.strip().upper()
    return method.decode("ascii") if _METHOD.fullmatch(method) else _UNKNOWN
