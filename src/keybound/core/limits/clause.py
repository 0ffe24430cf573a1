"""What every dimension shares: the abstract clause, and the reading of the values people write."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar, Final, TypeAlias, cast

from keybound.core.errors import LimitError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from typing import Self

    from keybound.core.facts import RequestFacts
    from keybound.core.reasons import Reason

Json: TypeAlias = "bool | int | float | str | Sequence[Json] | Mapping[str, Json] | None"
"""What a clause is stored as."""

EVERY: Final = "*"
"""All: as a member of a list it is the only other spelling of leaving a limit out."""

BLANKS: Final = " \t"
"""What is stripped around members; ``str.strip()`` alone would eat NBSP and the separators."""

MEMBERS_MAX: Final = 1_000
"""Members of one clause."""

MEMBER_LENGTH_MAX: Final = 256
"""Characters of one member."""

ALL_OR_NONE: Final = "write '*' for all, [] for none"
"""The fix for a value that may have meant either."""

_NONE: Final = "[]"
_SHOWN_MAX: Final = 60


class Clause(ABC):
    """One limit of one dimension: a frozen, hashable value that can only narrow.

    A subclass is a frozen dataclass that sets ``dimension`` to the keyword it is written with, and
    may set ``choices``: what to write where null was written, as an error says it.
    """

    __slots__ = ()

    dimension: str
    choices: ClassVar[str] = ""

    @classmethod
    @abstractmethod
    def parse(cls, value: object, /) -> Self | None:
        """Read what a person or the store wrote; ``None`` means all, so that no clause is needed.

        Raises `LimitError` naming the problem and the fix; it never guesses.
        """

    @abstractmethod
    def permits(self, facts: RequestFacts, now: float, /) -> bool:
        """Say whether a request passes at ``now`` (POSIX seconds); all but ``True`` denies."""

    @abstractmethod
    def covers(self, other: Clause, /) -> bool:
        """Say whether every request that ``other`` permits passes here too; unsure is ``False``.

        What is not of this very class is never covered.
        """

    @abstractmethod
    def reason(self, facts: RequestFacts, now: float, /) -> Reason:
        """Return why a request was denied; asked only after `permits` did not answer ``True``."""

    def holds(self, now: float, /) -> tuple[float, float]:
        """Return from when until when an equal request gets the answer that it got at ``now``.

        Where the two are equal, as they are unless a dimension says more, it is asked every time.
        """
        return now, now

    @abstractmethod
    def describe(self) -> str:
        """Return the limit for people: one line, never a secret."""

    @abstractmethod
    def dump(self) -> Json:
        """Return what `parse` reads back as an equal clause."""


def members(field: str, value: object) -> list[str]:
    """Return the members of a list that is written as text with commas or as a list.

    Blanks around members do not count; nothing is coerced to text. Raises `LimitError`.
    """
    return [_without_comma(field, text) for text in entries(field, value)]


def member(field: str, item: object) -> str:
    """Return one member as text without blanks around it."""
    return _without_comma(field, _entry(field, item))


def entries(
    field: str, value: object, *, split: Callable[[str], list[str]] = lambda text: text.split(",")
) -> list[str]:
    """Return what `members` does, where ``split`` knows which commas are within a member."""
    items: Collection[object]
    if isinstance(value, str):
        items = () if value.strip(BLANKS) == _NONE else split(value)
    elif isinstance(value, (list, tuple, set, frozenset)):
        items = cast("Collection[object]", value)
    else:
        raise unusable(field, value, fix="write a list, or text with commas")
    check_count(field, items)
    return [_entry(field, item) for item in items]


def _without_comma(field: str, text: str) -> str:
    if "," in text:
        raise LimitError(field, f"{shown(text)} has a comma", fix="write it as separate members")
    return text


def _entry(field: str, item: object) -> str:
    if not isinstance(item, str):
        raise LimitError(field, f"has a member that is {_kind(item)}", fix="write it as text")
    text = item.strip(BLANKS)
    if not text:
        raise LimitError(field, "has an empty member", fix=f"remove it, or {ALL_OR_NONE}")
    if len(text) > MEMBER_LENGTH_MAX:
        raise LimitError(
            field,
            f"{shown(text)} has {len(text)} characters",
            fix=f"use at most {MEMBER_LENGTH_MAX}",
        )
    return text


def check_count(field: str, items: Collection[object]) -> None:
    """Refuse more members than one clause may have."""
    if len(items) > MEMBERS_MAX:
        raise LimitError(
            field, f"has {len(items)} members", fix=f"use at most {MEMBERS_MAX}, or wider ones"
        )


def check_name(field: str, text: str) -> None:
    """Refuse a name with blanks or characters that cannot be seen: two names must look like two."""
    if " " in text or not text.isprintable():
        raise LimitError(
            field,
            f"{shown(text)} has a blank, control or invisible character",
            fix="write the name without it",
        )


def unusable(field: str, value: object, *, fix: str = "", choices: str = ALL_OR_NONE) -> LimitError:
    """Return the error for a value of a type that cannot be read here."""
    if value is None:
        fix = f"leave it out, or {choices}" if choices else "leave it out"
        return LimitError(field, "is null", fix=fix)
    return LimitError(field, f"is {_kind(value)}", fix=f"{fix}; {choices}")


def shown(text: str) -> str:
    """Return text as it may stand in a message: quoted, escaped and short."""
    return repr(text if len(text) <= _SHOWN_MAX else f"{text[:_SHOWN_MAX]}...")


def listed(names: Collection[str]) -> str:
    """Return names for people, in order; no name at all is said aloud."""
    return ", ".join(sorted(names)) or "none"


def _kind(value: object) -> str:
    return f"of type {type(value).__name__}"
