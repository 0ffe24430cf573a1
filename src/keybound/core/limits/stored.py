"""How limits are stored, and what a stored one becomes that cannot be read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NoReturn, cast

import msgspec

from keybound.core.errors import LimitError
from keybound.core.limits.clause import Clause
from keybound.core.limits.dimensions import BUILT_IN, DIMENSIONS, parse_clause
from keybound.core.limits.lifetime import Lifetime, narrowest
from keybound.core.reasons import Reason

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from keybound.core.facts import RequestFacts
    from keybound.core.limits.clause import Json

PARSE_ERRORS: Final = (
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    ArithmeticError,
    AssertionError,
    RuntimeError,
)
"""What reading foreign data with a foreign `parse` may raise; `LimitError` is a ValueError."""


@dataclass(frozen=True, slots=True)
class Unreadable(Clause):
    """A stored limit of an unknown dimension, or one that its dimension does not accept.

    ``text`` is the stored value as JSON. ``whole`` says that it is all that was stored for the
    dimension, because that was no list of clauses.
    """

    dimension: str
    text: str
    whole: bool = False

    @classmethod
    def parse(cls, _value: object, /) -> NoReturn:
        """Refuse: this is what loading makes, not something to write."""
        raise LimitError("limits", "cannot be written as unreadable", fix="write a readable limit")

    @classmethod
    def of(cls, dimension: str, value: object, *, whole: bool = False) -> Unreadable:
        """Return the clause that stands for a stored value."""
        return cls(dimension, canonical(value), whole)

    def permits(self, _facts: RequestFacts, _now: float, /) -> bool:
        """Return ``False``."""
        return False

    def covers(self, other: Clause, /) -> bool:
        """Say whether the other is the same stored value."""
        return self == other

    def reason(self, _facts: RequestFacts, _now: float, /) -> Reason:
        """Return the one reason there is."""
        return Reason.LIMIT_INVALID

    def describe(self) -> str:
        """Return it in words, without the stored value."""
        return "unreadable, so nothing is allowed"

    def dump(self) -> Json:
        """Return the stored value."""
        return cast("Json", json.loads(self.text))


def load_clauses(stored: object) -> Iterator[Clause]:
    """Read what is stored for each dimension; what cannot be read exactly is `Unreadable`.

    Raises `LimitError` if it is no mapping of names.
    """
    if not isinstance(stored, Mapping):
        raise LimitError("limits", "are not stored as a mapping", fix="restore the record")
    for dimension, content in cast("Mapping[object, object]", stored).items():
        if not isinstance(dimension, str):
            raise LimitError("limits", "have a name that is not text", fix="restore the record")
        yield from _load_dimension(dimension, content)


def _load_dimension(dimension: str, content: object) -> list[Clause]:
    clauses = [_load_clause(dimension, value) for value in _values(content)]
    # An empty list is not "no limit": that would be stored as nothing at all.
    return clauses or [Unreadable.of(dimension, content, whole=True)]


def _values(content: object) -> Sequence[object]:
    return cast("Sequence[object]", content) if isinstance(content, (list, tuple)) else ()


def _load_clause(dimension: str, value: object) -> Clause:
    kind = DIMENSIONS.get(dimension)
    if kind is None:
        return Unreadable.of(dimension, value)
    if kind is Lifetime:  # they are as many as keys
        return _parse_stored(kind, dimension, narrowest(value))
    if not _plain(value):
        return _parse_stored(kind, dimension, value)
    # Many keys have few policies, and each key is read again by every process.
    stored = kind, msgspec.json.encode(value)
    clause = _LOADED.get(stored)
    if clause is None:
        clause = _parse_stored(kind, dimension, value)
        if len(_LOADED) >= _LOADED_MAX:
            _LOADED.clear()
        _LOADED[stored] = clause
    return clause


_LOADED_MAX: Final = 4_096
_LOADED: Final[dict[tuple[type[Clause], bytes], Clause]] = {}


def _plain(value: object) -> bool:
    """Say whether a value is written as JSON in one way that no other value shares."""
    if type(value) is list:
        return all(type(each) is str for each in cast("list[object]", value))
    if type(value) is dict:
        members = cast("dict[object, object]", value)
        return all(type(each) is str for pair in members.items() for each in pair)
    return type(value) is bool


def _parse_stored(kind: type[Clause], dimension: str, value: object) -> Clause:
    if isinstance(value, str) and kind in BUILT_IN:  # people write lists as text, we never do
        return Unreadable.of(dimension, value)
    try:
        clause = parse_clause(kind, value)
    except PARSE_ERRORS:
        clause = None
    # What would be no clause is never stored: something else wrote it, so it permits nothing.
    return Unreadable.of(dimension, value) if clause is None else clause


def dump_clauses(clauses: Sequence[Clause]) -> Json:
    """Return what is stored for the clauses of one dimension."""
    for clause in clauses:
        # Nothing passes it, so the other clauses of the dimension may go; in a list it may parse.
        if isinstance(clause, Unreadable) and clause.whole:
            return clause.dump()
    return [clause.dump() for clause in clauses]


def canonical(value: object) -> str:
    """Return a value as JSON text, the same for equal values; what is no JSON is named by type."""
    try:
        return json.dumps(value, sort_keys=True)
    except (TypeError, ValueError, RecursionError):
        return json.dumps(f"<{type(value).__name__}>")
