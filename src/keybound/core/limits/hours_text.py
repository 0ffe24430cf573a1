"""Read one weekly window, exactly: days, a span of the wall clock, and the zone of that clock."""

from __future__ import annotations

import re
from itertools import groupby
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

from keybound.core.errors import LimitError
from keybound.core.limits.clause import BLANKS, shown

FIELD: Final = "hours"
EVERY_MINUTE: Final = (1 << 7 * 24 * 60) - 1
"""The bits of all minutes of a week."""

_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_DAILY = "daily"
_DAY_MINUTES = 24 * 60
_WEEK_MINUTES = 7 * _DAY_MINUTES
_PARTS = 3
_RUN_MIN = 3
"""Days in a row from which on they are written as a range."""

_EXAMPLE = "write it as 'mon-fri 08:00-18:00 Europe/Zurich'"
_DAY = f"(?:{'|'.join(_DAYS)})"
_DAYS_ALONE = re.compile(rf"{_DAY}(?:-{_DAY})?")
_SPAN = re.compile(
    r"(?P<from>(?:[01][0-9]|2[0-3]):[0-5][0-9])-(?P<to>(?:[01][0-9]|2[0-3]):[0-5][0-9]|24:00)"
)
# Names of the IANA begin with a capital, as no other file beside them does, and have no dots: so
# none is a path to anywhere else. They have three parts at most: hundreds are an error of Python's.
_ZONE = re.compile(r"[A-Z][A-Za-z0-9_+-]*(?:/[A-Za-z0-9_+-]+){0,2}")


class Window(NamedTuple):
    """Days (0 is Monday), and the minutes of a day from when until when; that may be past midnight.

    ``ends`` is 1 to 1440; at or before ``starts`` it is on the next day.
    """

    days: tuple[int, ...]
    starts: int
    ends: int
    zone: str

    @property
    def minutes(self) -> int:
        """The minutes of a week that lie within, as bits; the lowest is Monday 00:00."""
        length = (self.ends - self.starts) % _DAY_MINUTES or _DAY_MINUTES
        span = (1 << length) - 1
        bits = 0
        for day in self.days:
            bits |= span << day * _DAY_MINUTES + self.starts
        return (bits | bits >> _WEEK_MINUTES) & EVERY_MINUTE  # Sunday's night ends on Monday

    def __str__(self) -> str:
        """Return the window as it is written."""
        return f"{_days_text(self.days)} {_time(self.starts)}-{_time(self.ends)} {self.zone}"


def split_windows(text: str) -> list[str]:
    """Return the windows of a text; a comma after days alone is one between days."""
    windows, days = list[str](), ""
    for piece in text.split(","):
        days += piece
        if _DAYS_ALONE.fullmatch(piece.strip(BLANKS)):
            days += ","
        else:
            windows.append(days)
            days = ""
    return [*windows, days.removesuffix(",")] if days else windows


def read_window(text: str) -> Window:
    """Read ``mon-fri 08:00-18:00 Europe/Zurich``. Raises `LimitError` naming the fix."""
    parts = re.split(r"[ \t]+", re.sub(r"[ \t]*,[ \t]*", ",", text))
    span = _SPAN.fullmatch(parts[1]) if len(parts) > 1 else None
    if span is not None and len(parts) < _PARTS:
        fix = f"write {shown(f'{text} UTC')}, or a zone such as Europe/Zurich"
        raise LimitError(FIELD, f"{shown(text)} has no time zone", fix=fix)
    if len(parts) != _PARTS:
        raise LimitError(FIELD, f"{shown(text)} is no window", fix=_EXAMPLE)
    if span is None:
        problem = f"{shown(parts[1])} is no span of hours"
        raise LimitError(FIELD, problem, fix="write it as 08:00-18:00, up to 24:00")
    days, starts, ends = _read_days(parts[0]), _minute(span["from"]), _minute(span["to"])
    check_zone(parts[2])
    return Window(days, starts, ends or _DAY_MINUTES, parts[2])


def check_zone(name: str) -> None:
    """Load the rules of a zone, which are then there. Raises `LimitError` for an unknown one.

    That reads a file, which the core otherwise never does: package data like that of a codec, the
    same for whoever reads it, once for each name, and when limits are read, never at a request.
    """
    if not (_ZONE.fullmatch(name) and _loads(name)):
        fix = "write a name of the IANA, such as Europe/Zurich, or UTC"
        raise LimitError(FIELD, f"{shown(name)} is no time zone known here", fix=fix)


def _loads(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (LookupError, ValueError, OSError):  # of a folder, the file system has its say
        return False
    return True


def _read_days(text: str) -> tuple[int, ...]:
    if text == _DAILY:
        return tuple(range(7))
    days = set[int]()
    for part in text.split(","):
        if not _DAYS_ALONE.fullmatch(part):
            fix = f"write {', '.join(_DAYS)}, a range such as mon-fri, or daily"
            raise LimitError(FIELD, f"{shown(text)} are no days", fix=fix)
        first, last = _DAYS.index(part[:3]), _DAYS.index(part[-3:])
        days.update((first + more) % 7 for more in range((last - first) % 7 + 1))
    return tuple(sorted(days))


def _days_text(days: tuple[int, ...]) -> str:
    if len(days) == len(_DAYS):
        return _DAILY
    runs = [
        [day for _, day in run]
        for _, run in groupby(enumerate(days), key=lambda placed: placed[1] - placed[0])
    ]
    return ",".join(
        f"{_DAYS[run[0]]}-{_DAYS[run[-1]]}"
        if len(run) >= _RUN_MIN
        else ",".join(_DAYS[day] for day in run)
        for run in runs
    )


def _minute(text: str) -> int:
    return int(text[:2]) * 60 + int(text[3:])


def _time(minute: int) -> str:
    return f"{minute // 60:02}:{minute % 60:02}"
