"""Where a request holds keys, which may be several where none is needed: that refuses nobody."""

from __future__ import annotations

from typing import TYPE_CHECKING

from keybound.core.places import BLANKS, Places, cookie_name

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from keybound.core.credentials import CredentialForm
    from keybound.core.head import Head
    from keybound.core.places import Place


class Carriers:
    """The places in headers that the configured forms name, each by itself."""

    def __init__(self, forms: Sequence[CredentialForm]) -> None:
        """Collect them; of the query, keys are taken out in any case."""
        places = dict.fromkeys(form.place for form in forms if form.place.header is not None)
        self._each = [
            (place, Places(form for form in forms if form.place == place)) for place in places
        ]

    def holding(self, head: Head, is_key: Callable[[bytes], bool]) -> tuple[Places, ...]:
        """Return each place that holds a key, whatever else stands there and elsewhere.

        ``is_key`` is given raw values, tagged as ``Places.find`` returns them.
        """
        return tuple(alone for place, alone in self._each if any(map(is_key, _values(head, place))))


def _values(head: Head, place: Place) -> set[bytes]:
    """Return all that stands there, what a server may have joined by itself: no key has a comma."""
    pieces = _cookies(head, place) if place.kind == "cookie" else _header(head, place)
    return {place.tag + piece for piece in pieces}


def _header(head: Head, place: Place) -> list[bytes]:
    lines = head.folded(place.name.lower())
    return [value.strip(BLANKS) for line in lines for value in line.split(b",")]


def _cookies(head: Head, place: Place) -> list[bytes]:
    name = place.name.encode("ascii")
    size = len(name)  # most parts cannot be it, by a look at their length
    parts = b";".join(head.lines("cookie")).replace(b",", b";").split(b";")
    named = [part for part in parts if len(part) > size and cookie_name(part) == name]
    return [part.partition(b"=")[2].strip(BLANKS + b'"') for part in named]
