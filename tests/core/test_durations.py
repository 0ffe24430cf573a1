"""Durations as people write them."""

from __future__ import annotations

from datetime import timedelta
from math import inf, nan

import pytest

from keybound.core.durations import parse_duration
from keybound.core.errors import InputError


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("30s", 30),
        ("30m", 1_800),
        ("12 h", 43_200),
        (" 90d\t", 7_776_000),
        ("2w", 1_209_600),
        (1.5, 1.5),
        (60, 60),
        (timedelta(minutes=1), 60),
        ("36600d", 36_600 * 86_400),
    ],
)
def test_a_duration_is_read_as_seconds(written, seconds):
    """Text with a unit, a number of seconds and a ``timedelta`` mean the same."""
    assert parse_duration("expires_in", written) == seconds


@pytest.mark.parametrize(
    "written",
    [
        *("", "90", "soon", "d", "-1d", "1.5h", "1D", "1d2h", "0d", "٩d", "1d\n", "9999999999d"),
        *(0, -1, nan, inf, True, None, b"1d", timedelta(0), timedelta(days=-1), "36601d"),
    ],
)
def test_what_is_no_duration_is_refused_by_the_name_of_its_field(written):
    """Nothing is guessed: no unit, zero, the past and more than a century are errors."""
    with pytest.raises(InputError, match="is not a duration") as caught:
        parse_duration("expires_in", written)
    assert caught.value.field == "expires_in"
    assert "90d" in caught.value.fix
