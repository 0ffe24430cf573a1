"""Where a request may carry a credential, and the one value that stands there.

Values are raw, as they came. One that is not from ``Authorization`` begins with a tag that no
header can hold, so that what was said in one place is never taken for what was said in another.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias
from urllib.parse import unquote_to_bytes

from keybound.core.reasons import Reason

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from keybound.core.credentials import CredentialForm
    from keybound.core.head import Head

Kind: TypeAlias = Literal["authorization", "header", "query", "cookie"]

TAG = b"\0"
"""What a tag begins and ends with."""

BLANKS = b" \t"
"""What may stand around a value (RFC 9110 section 5.6.3)."""


@dataclass(frozen=True, slots=True)
class Place:
    """``Authorization``, another header, a parameter of the query, or a cookie.

    ``tag`` is what a raw value of this place begins with; there is none for ``Authorization``.
    """

    kind: Kind
    name: str
    tag: bytes

    @classmethod
    def of(cls, kind: Literal["header", "query", "cookie"], name: str) -> Place:
        """Return the place of that name; tags tell no case apart."""
        return cls(kind, name, TAG + f"{kind} {name}".lower().encode("ascii") + TAG)

    @property
    def header(self) -> str | None:
        """The header that an answer depends on because of it; the query has none."""
        return _HEADERS.get(self.kind, self.name)


_KEPT = re.compile(rb"[ \t]*(?:basic|digest|negotiate|ntlm)\b", re.IGNORECASE)
"""Schemes that browsers speak by themselves."""

_IN_HEADERS = frozenset({"authorization", "header"})

AUTHORIZATION = Place("authorization", "Authorization", b"")

_HEADERS: dict[Kind, str | None] = {"query": None, "cookie": "Cookie"}


class Places:
    """The places that the configured forms name; compiled once, and asked for each request.

    ``plain``: nothing but ``Authorization`` is looked at, which a shell reads faster by itself.
    ``varies`` are the headers that answers depend on, for ``Vary``; ``headers``, in lower case,
    those whose whole value is a credential. ``kept_by_browsers``: some form is one that browsers
    send of their own accord.
    """

    __slots__ = (
        *("_all", "_cookies", "_in_headers", "_queries"),
        *("headers", "kept_by_browsers", "plain", "varies"),
    )

    def __init__(self, forms: Iterable[CredentialForm]) -> None:
        """Collect the places of the forms, each once."""
        every = tuple(forms)
        self._all = tuple(dict.fromkeys(form.place for form in every))
        written = [form.write("") for form in every]
        self.kept_by_browsers = any(self.is_kept_by_browsers(value) for value in written)
        self._queries = self._names("query")
        self._cookies = self._names("cookie")
        self.plain = self._all == (AUTHORIZATION,)
        self._in_headers = all(place.kind in _IN_HEADERS for place in self._all)
        self.headers = frozenset(
            place.name.lower().encode("ascii") for place in self._all if place.kind in _IN_HEADERS
        )
        headers = (place.header for place in self._all)
        self.varies: tuple[str, ...] = tuple(dict.fromkeys(name for name in headers if name))

    def _names(self, kind: Kind) -> frozenset[bytes]:
        return frozenset(place.name.encode("ascii") for place in self._all if place.kind == kind)

    def find(self, head: Head) -> bytes | Reason | None:
        """Return the one raw value, why there is not one, or ``None`` when there is nothing.

        A place that is empty, or holds what is no credential of ours, has something all the same.
        """
        found: bytes | Reason | None = None
        for place in self._all:
            value = _FINDERS[place.kind](head, place)
            if value is not None:
                if found is not None:
                    return Reason.CONFLICTING_CREDENTIALS
                found = value
        return found

    def place_of(self, raw: bytes) -> Place:
        """Return where a value came from that ``find`` returned and a form accepted."""
        tagged = (place for place in self._all if place.tag and raw.startswith(place.tag))
        return next(tagged, AUTHORIZATION)

    def in_header(self, raw: bytes | Reason | None) -> bool:
        """Return whether a value came in a header that is no cookie, if there is one."""
        if self._in_headers or not isinstance(raw, bytes):
            return True
        return self.place_of(raw).kind in _IN_HEADERS

    def is_kept_by_browsers(self, raw: bytes | Reason | None) -> bool:
        """Return whether browsers send such a value of their own accord, for any site that asks.

        They do so with cookies, and with the passwords and tickets that they ask people for.
        """
        if not isinstance(raw, bytes):
            return False
        kind = self.place_of(raw).kind
        return kind == "cookie" or (kind == "authorization" and _KEPT.match(raw) is not None)

    def without_headers(self, headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        """Return headers, their names in lower case, without what carries keys."""
        kept: list[tuple[bytes, bytes]] = []
        for name, value in headers:
            if name == b"cookie" and self._cookies:
                kept += [(name, line) for line in self.without_cookie([value])]
            elif name.replace(b"_", b"-") not in self.headers:
                kept.append((name, value))
        return kept

    def without_query(self, query: bytes) -> bytes:
        """Return a query string without the parameters that carry keys; the rest as it was."""
        if not self._queries:
            return query
        parts = query.split(b"&")
        for name in self._queries:
            parts = [part for part in parts if not _is_parameter(part, name)]
        return b"&".join(parts)

    def without_cookie(self, lines: Iterable[bytes]) -> list[bytes]:
        """Return ``Cookie`` lines without the cookies that carry keys; the rest as it was."""
        kept = (self._without(line) for line in lines)
        return [line for line in kept if line is not None]

    def _without(self, line: bytes) -> bytes | None:
        parts = kept = line.split(b";")
        for name in self._cookies:
            size = len(name)
            kept = [
                self._alone(part) if len(part) > size else part
                for part in kept
                if len(part) <= size or cookie_name(part) != name
            ]
        if kept == parts:
            return line
        return b";".join(kept).lstrip(BLANKS) or None

    def _alone(self, part: bytes) -> bytes:
        """Return a part without what a server joined to it of another line."""
        first, *others = part.split(b",")
        kept = [piece for piece in others if cookie_name(piece) not in self._cookies]
        return b",".join((first, *kept))


def _in_authorization(head: Head, _: Place) -> bytes | Reason | None:
    found = _only(head.lines("authorization"))
    if isinstance(found, bytes) and found.startswith(TAG):
        return Reason.MALFORMED_CREDENTIALS
    return found


def _in_header(head: Head, place: Place) -> bytes | Reason | None:
    name = place.name.lower()
    found = _only(head.folded(name))
    if not isinstance(found, bytes):
        return found
    if not head.lines(name):  # with underscores it is no credential, but may be one behind us
        return Reason.MALFORMED_CREDENTIALS
    # A server may have joined two lines; no key has a comma.
    return Reason.DUPLICATE_CREDENTIALS if b"," in found else place.tag + found.strip(BLANKS)


def _in_query(head: Head, place: Place) -> bytes | Reason | None:
    name = place.name.encode("ascii")
    parts = head.query.split(b"&")
    found = _only([part.partition(b"=")[2] for part in parts if _is_parameter(part, name)])
    if not isinstance(found, bytes):
        return found
    return place.tag + unquote_to_bytes(found.replace(b"+", b" "))  # a plus is a blank to some


def _in_cookie(head: Head, place: Place) -> bytes | Reason | None:
    name = place.name.encode("ascii")
    values: list[bytes] = []
    for line in head.lines("cookie"):
        size = len(name)  # most parts cannot be it, by a look at their length
        for part in [part for part in line.split(b";") if len(part) > size]:
            if cookie_name(part) == name:
                values.append(part.partition(b"=")[2].strip(BLANKS))
            # Two lines that a server joined: it is there, and with its comma no key.
            pieces = part.split(b",")[1:]
            values += [b"," + piece for piece in pieces if cookie_name(piece) == name]
    found = _only(values)
    if not isinstance(found, bytes):
        return found
    quoted = len(found) > 1 and found[:1] == found[-1:] == b'"'
    return place.tag + (found[1:-1] if quoted else found)


def _only(values: Sequence[bytes]) -> bytes | Reason | None:
    """Return the one value, if it is one; even equal ones are several."""
    if len(values) > 1:
        return Reason.DUPLICATE_CREDENTIALS
    return values[0] if values else None


def _is_parameter(part: bytes, name: bytes) -> bool:
    """Return whether this is the name of a parameter, decoded once.

    Most cannot be, by a look at their length: clients may send very many. No name has a percent
    sign, so that each of those that are written stands for one byte.
    """
    if len(part) < len(name):
        return False
    written = part.partition(b"=")[0]
    if len(written) != len(name) + 2 * written.count(b"%"):
        return False
    return unquote_to_bytes(written) == name


def cookie_name(part: bytes) -> bytes | None:
    """Return the name of a cookie; what has no ``=`` has no name (RFC 6265 section 5.2)."""
    name, equals, _ = part.partition(b"=")
    return name.strip(BLANKS) if equals else None


_FINDERS: dict[Kind, Callable[[Head, Place], bytes | Reason | None]] = {
    "authorization": _in_authorization,
    "header": _in_header,
    "query": _in_query,
    "cookie": _in_cookie,
}
