"""Where a request holds keys, which may be several where none is needed: that refuses nobody."""

from __future__ import annotations

from typing import TYPE_CHECKING

from keybound.core.places import BLANKS, Places, cookie_name

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from keybound.core.credentials import CredentialForm
    from keybound.core.head import Head
    from keybound.core.places import Place


PIECES_MAX = 64
"""Values of one place that are looked at: nobody needs so many, and each of them takes time."""


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

        One that holds more values than are looked at is taken for one. ``is_key`` is given raw
        values, tagged as ``Places.find`` returns them.
        """
        return tuple(alone for place, alone in self._each if _holds(head, place, is_key))


def _holds(head: Head, place: Place, is_key: Callable[[bytes], bool]) -> bool:
    """Look at what a server may have joined piece by piece: no key has a comma."""
    pieces = _cookies(head, place) if place.kind == "cookie" else _header(head, place)
    return len(pieces) > PIECES_MAX or any(is_key(place.tag + piece) for piece in pieces)


def _header(head: Head, place: Place) -> list[bytes]:
    lines = head.folded(place.name.lower())
    return [value.strip(BLANKS) for line in lines for value in line.split(b",", PIECES_MAX)]


def _cookies(head: Head, place: Place) -> list[bytes]:
    name = place.name.encode("ascii")
    size = len(name)  # most parts cannot be it, by a look at their length
    parts = b";".join(head.lines("cookie")).replace(b",", b";").split(b";")
    named = [part for part in parts if len(part) > size and cookie_name(part) == name]
    return [part.partition(b"=")[2].strip(BLANKS + b'"') for part in named]
