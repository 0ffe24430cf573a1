"""From when until when a node lives."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from math import inf
from typing import TYPE_CHECKING, cast

import msgspec

from keybound.core.errors import LimitError, nearest
from keybound.core.limits.clause import EVERY, Clause, shown, unusable
from keybound.core.reasons import Reason

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Self

    from keybound.core.facts import RequestFacts
    from keybound.core.limits.clause import Json

NOT_BEFORE = "not_before"
EXPIRES_AT = "expires_at"
_EXAMPLE = "2030-01-31T00:00:00Z"

# RFC 3339 section 5.6, to the microsecond; the offset is asked for in words of its own.
_MOMENT = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ](?:[01][0-9]|2[0-3]):[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,6})?"
    r"(?P<offset>[Zz]|[+-][0-9]{2}:[0-9]{2})?"
)


@dataclass(frozen=True, slots=True)
class Lifetime(Clause):
    """``not_before <= now < expires_at``, each an aware UTC moment or open."""

    dimension = "lifetime"
    choices = "write '*' for always"

    not_before: datetime | None = None
    expires_at: datetime | None = None
    begins: float = field(init=False, repr=False, compare=False)
    ends: float = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Turn the moments into the seconds that a request is compared with."""
        begins = -inf if self.not_before is None else self.not_before.timestamp()
        ends = inf if self.expires_at is None else self.expires_at.timestamp()
        object.__setattr__(self, "begins", begins)
        object.__setattr__(self, "ends", ends)

    @classmethod
    def parse(cls, value: object, /) -> Self | None:
        """Read ``not_before`` and ``expires_at``: aware datetimes, or RFC 3339 with an offset.

        Without either, or with ``*`` for both, there is no clause.
        """
        if not isinstance(value, Mapping):
            fix = f"write {EXPIRES_AT} = '{_EXAMPLE}'"
            raise unusable(cls.dimension, value, fix=fix, choices=cls.choices)
        given = cast("Mapping[object, object]", value)
        for name in given:
            if name not in {NOT_BEFORE, EXPIRES_AT}:
                fix = nearest(str(name), (NOT_BEFORE, EXPIRES_AT))
                raise LimitError(cls.dimension, f"{shown(str(name))} is not known", fix=fix)
        start = _moment(NOT_BEFORE, given.get(NOT_BEFORE, EVERY))
        end = _moment(EXPIRES_AT, given.get(EXPIRES_AT, EVERY))
        if start is not None and end is not None and end <= start:
            raise LimitError(
                EXPIRES_AT, f"is not after {NOT_BEFORE}", fix="write a later moment, or swap them"
            )
        return None if start is None and end is None else cls(start, end)

    @classmethod
    def as_dumped(cls, stored: object, /) -> Self | None:
        """Return the lifetime of one that was stored by `dump`, if it only ends; else ``None``.

        That is what `parse` returns of it, in less time: many keys end, each at its own moment.
        """
        if type(stored) is not dict or len(cast("dict[object, object]", stored)) != 1:
            return None
        end = _as_text(cast("dict[object, object]", stored).get(EXPIRES_AT))
        return None if end is None else cls(None, end)

    def permits(self, _facts: RequestFacts, now: float, /) -> bool:
        """Say whether ``now`` lies within; the first moment does, the last does not."""
        return self.begins <= now < self.ends

    def covers(self, other: Clause, /) -> bool:
        """Say whether the other's time lies within this; exact."""
        return (
            isinstance(other, Lifetime) and self.begins <= other.begins and other.ends <= self.ends
        )

    def reason(self, _facts: RequestFacts, now: float, /) -> Reason:
        """Tell too early from too late."""
        return Reason.NOT_YET_VALID if now < self.begins else Reason.EXPIRED

    def describe(self) -> str:
        """Return the moments in UTC."""
        words = {NOT_BEFORE: "from", EXPIRES_AT: "until"}
        return " ".join(f"{words[name]} {moment}" for name, moment in self.dump().items())

    def dump(self) -> Mapping[str, Json]:
        """Return the moments that are set, as RFC 3339 text in UTC."""
        moments = {NOT_BEFORE: self.not_before, EXPIRES_AT: self.expires_at}
        return {name: _text(moment) for name, moment in moments.items() if moment is not None}


def narrowest(stored: object) -> object:
    """Return a stored lifetime whose moments have offsets; what is none stays what it is.

    We store none without, but others may have edited one. It may be local time of anywhere, so a
    beginning without an offset is the latest that it may mean, and an end the soonest.
    """
    if not isinstance(stored, dict):
        return stored
    members = cast("dict[object, object]", stored)
    return {name: _offset(value, _NARROWEST.get(name)) for name, value in members.items()}


_NARROWEST: Mapping[object, str] = {NOT_BEFORE: "-12:00", EXPIRES_AT: "+14:00"}


def _offset(value: object, offset: str | None) -> object:
    found = _MOMENT.fullmatch(value) if isinstance(value, str) and offset else None
    return value if found is None or found["offset"] else f"{found[0]}{offset}"


def combined(starts: Iterable[Clause], ends: Iterable[Clause]) -> tuple[Lifetime, ...]:
    """Return the lifetime from the last of ``starts`` until the first of ``ends``.

    There is none if it would be open on both sides; raises `LimitError` if it would be empty.
    """
    opening = [life.not_before for life in starts if isinstance(life, Lifetime) and life.not_before]
    closing = [life.expires_at for life in ends if isinstance(life, Lifetime) and life.expires_at]
    life = Lifetime.parse(
        {
            NOT_BEFORE: max(opening, default=EVERY),
            EXPIRES_AT: min(closing, default=EVERY),
        }
    )
    return () if life is None else (life,)


def _text(moment: datetime) -> str:
    text: str = msgspec.to_builtins(moment)
    return text


def _as_text(text: object) -> datetime | None:
    """Return the moment that has this very text; Python reads many more forms than RFC 3339 has."""
    try:
        moment = datetime.fromisoformat(cast("str", text))
    except (ValueError, TypeError):
        return None
    return moment if moment.tzinfo is UTC and _text(moment) == text else None


def _moment(name: str, value: object) -> datetime | None:
    if value == EVERY:
        return None
    if isinstance(value, str):
        value = _read(name, value)
    if not isinstance(value, datetime):
        fix = f"write an aware datetime, or text such as '{_EXAMPLE}'"
        raise unusable(name, value, fix=fix, choices=Lifetime.choices)
    if value.utcoffset() is None:
        raise LimitError(
            name, "has no time zone", fix="give the datetime a tzinfo, such as datetime.UTC"
        )
    try:
        return value.astimezone(UTC)
    except OverflowError:
        raise LimitError(
            name, "is outside the years 1 to 9999 in UTC", fix=f"leave {name} out"
        ) from None


def _read(name: str, text: str) -> datetime:
    found = _MOMENT.fullmatch(text)
    if found is not None and found["offset"] is None:
        raise LimitError(
            name, f"{shown(text)} has no offset", fix=f"write {text + 'Z'!r} if it is UTC"
        )
    try:
        return datetime.fromisoformat((found and found[0].upper()) or "")
    except ValueError:
        raise LimitError(
            name, f"{shown(text)} is no moment", fix=f"write it as '{_EXAMPLE}' (RFC 3339)"
        ) from None
