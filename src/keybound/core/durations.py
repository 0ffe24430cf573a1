"""Spans of time as people write them."""

from __future__ import annotations

import re
from datetime import timedelta

from keybound.core.errors import InputError

_UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
_DURATION = re.compile(r"(\d{1,9})\s*([smhdw])", re.ASCII)
_LONGEST = 100 * 366 * 86_400


def parse_duration(field: str, value: object) -> float:
    """Return seconds from ``"90d"``, ``"12h"``, a number of seconds or a ``timedelta``.

    Raises ``InputError`` naming ``field`` for anything else, zero, or more than a century.
    """
    seconds: float | None = None
    if isinstance(value, timedelta):
        seconds = value.total_seconds()
    elif isinstance(value, str):
        found = _DURATION.fullmatch(value.strip(" \t"))
        seconds = float(int(found[1]) * _UNITS[found[2]]) if found else None
    elif isinstance(value, int | float) and not isinstance(value, bool):
        seconds = float(value)
    if seconds is None or not 0 < seconds <= _LONGEST:
        raise InputError(field, f"{value!r} is not a duration", fix="write '90d', '12h' or '30m'")
    return seconds
