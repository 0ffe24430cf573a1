"""Weekly hours: the wall clock of a zone decides, to the second, in every week of the year."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from math import nextafter
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keybound.core.errors import LimitError
from keybound.core.facts import RequestFacts
from keybound.core.limits import Hours, Limits
from keybound.core.reasons import Reason

GET = RequestFacts(method="GET", path="/")
OFFICE = "mon-fri 08:00-18:00 Europe/Zurich"
NIGHT = "sat 22:00-02:00 Europe/Zurich"


def at(text: str) -> float:
    """Return a moment of UTC as POSIX seconds."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def clause(*windows: str) -> Hours:
    """Return the clause of windows."""
    read = Hours.parse(list(windows))
    assert read is not None
    return read


def spans(hours: Hours, first: str, last: str) -> list[str]:
    """Return from when until when a clause permits between two moments of UTC, asked each minute.

    What it says of a minute it says of its first and its last moment, and that it holds as long.
    """
    edges: list[str] = []
    inside = False
    now, end = at(first), at(last)
    while now < end:
        permitted = hours.permits(GET, now)
        assert hours.permits(GET, nextafter(now + 60, now)) is permitted
        assert hours.holds(now) == hours.holds(nextafter(now + 60, now)) == (now, now + 60)
        if permitted is not inside:
            edges.append(datetime.fromtimestamp(now, UTC).strftime("%d %H:%M"))
            inside = permitted
        now += 60
    return edges


# ------------------------------------------------------------------------------------ what is said


@pytest.mark.parametrize(
    ("written", "canonical"),
    [
        (OFFICE, OFFICE),
        ("mon,tue,wed,thu,fri 08:00-18:00 Europe/Zurich", OFFICE),
        (" mon , tue-fri\t08:00-18:00   Europe/Zurich ", OFFICE),
        ("fri-mon 00:00-00:00 UTC", "mon,fri-sun 00:00-24:00 UTC"),
        ("sat,sun 22:00-00:00 UTC", "sat,sun 22:00-24:00 UTC"),
        ("sun-sat 10:00-10:00 UTC", "daily 10:00-10:00 UTC"),
        ("daily 00:00-24:00 Etc/GMT+5", "daily 00:00-24:00 Etc/GMT+5"),
        (
            "wed-wed 01:00-02:00 America/Argentina/Buenos_Aires",
            "wed 01:00-02:00 America/Argentina/Buenos_Aires",
        ),
    ],
)
def test_a_window_is_stored_and_shown_in_one_way(written: str, canonical: str):
    """However it was written; and what is shown can be written again."""
    limits = Limits(hours=[written])
    assert limits.dump() == {"hours": [[canonical]]}
    assert limits.describe() == {"hours": canonical}
    assert Limits(hours=canonical) == limits == Limits(hours=written)


def test_windows_in_one_text_are_told_apart_from_days():
    """A comma between days alone does not end a window."""
    text = f"{NIGHT}, mon, wed,fri-sat 08:00-12:00 UTC,sun 10:00-12:00 UTC"
    windows = [NIGHT, "mon,wed,fri,sat 08:00-12:00 UTC", "sun 10:00-12:00 UTC"]
    assert Limits(hours=text) == Limits(hours=windows) == Limits(hours=set(windows))
    shown = f"mon,wed,fri,sat 08:00-12:00 UTC, {NIGHT}, sun 10:00-12:00 UTC"
    assert Limits(hours=text).describe() == {"hours": shown}


@pytest.mark.parametrize("empty", [[], (), set(), frozenset(), "[]", " [] "])
def test_no_window_is_never(empty: object):
    """``[]`` is not leaving it out."""
    limits = Limits.read({"hours": empty})
    assert limits.describe() == {"hours": "never"}
    assert limits.dump() == {"hours": [[]]}
    assert not limits.permits(GET, 0.0)
    assert Limits(hours=["*", OFFICE]) == Limits()


@pytest.mark.parametrize(
    ("value", "problem", "fix"),
    [
        ("mon-fri", "is no window", OFFICE),
        ("mon,", "is no window", OFFICE),
        ("08:00-18:00 UTC", "has no time zone|is no window", "mon-fri"),
        ("mon 08:00 - 18:00 UTC", "is no window", OFFICE),
        ("mon 08:00-18:00", "has no time zone", "write 'mon 08:00-18:00 UTC'"),
        ("Mon 08:00-18:00 UTC", "'Mon' are no days", "or daily"),
        ("mo 08:00-18:00 UTC", "are no days", "a range such as mon-fri"),
        ("mon- 08:00-18:00 UTC", "are no days", "mon-fri"),
        (["daily,mon 08:00-18:00 UTC"], "are no days", "or daily"),
        ("* 08:00-18:00 UTC", "are no days", "or daily"),
        ("mon 8:00-18:00 UTC", "is no span of hours", "08:00-18:00"),
        ("mon 08:00 UTC", "is no span of hours", "08:00-18:00"),
        ("mon 24:00-01:00 UTC", "is no span of hours", "up to 24:00"),
        ("mon 08:00-24:01 UTC", "is no span of hours", "up to 24:00"),
        ("mon 08:60-18:00 UTC", "is no span of hours", "up to 24:00"),
        ("mon 08:00:00-18:00:00 UTC", "is no span of hours", "up to 24:00"),
        ("mon \u0660\u0668:00-18:00 UTC", "is no span of hours", "up to 24:00"),
        ("mon\u00a008:00-18:00 UTC", "is no window", OFFICE),
        (["mon 08:00-18:00 Zurich"], "'Zurich' is no time zone", "such as Europe/Zurich"),
        (["mon 08:00-18:00 Europe"], "is no time zone", "IANA"),
        (["mon 08:00-18:00 europe/zurich"], "is no time zone", "IANA"),
        (["mon 08:00-18:00 +02:00"], "is no time zone", "IANA"),
        (["mon 08:00-18:00 localtime"], "is no time zone", "IANA"),
        (["mon 08:00-18:00 right/UTC"], "is no time zone", "IANA"),
        (["mon 08:00-18:00 posixrules"], "is no time zone", "IANA"),
        (["mon 08:00-18:00 Europe/../UTC"], "is no time zone", "IANA"),
        (["mon 08:00-18:00 ../UTC"], "is no time zone", "IANA"),
        (["mon 08:00-18:00 /usr/share/zoneinfo/UTC"], "is no time zone", "IANA"),
        (["mon 08:00-18:00 UTC\x00"], "is no time zone", "IANA"),
        (["mon 08:00-18:00 UTC/"], "is no time zone", "IANA"),
        (["mon 08:00-18:00 A" + "/A" * 100], "is no time zone", "IANA"),
        ("", "an empty member", "write '*'"),
        (["mon 08:00-18:00 UTC", " "], "an empty member", "write '*'"),
        (["mon 08:00-18:00 " + "A" * 256], "characters", "at most 256"),
        (["mon 08:00-18:00 UTC"] * 1_001, "1001 members", "at most"),
        (",".join(["mon 08:00-18:00 UTC"] * 1_001), "1001 members", "at most"),
        ([8], "has a member that is of type int", "as text"),
        (True, "is of type bool", "list"),
        ({"mon": "08:00-18:00"}, "is of type dict", "list"),
    ],
)
def test_what_is_no_window_is_an_error_with_the_fix(value: object, problem: str, fix: str):
    """Nothing is guessed, and no name of a zone leads to another file."""
    with pytest.raises(LimitError, match=problem) as caught:
        Limits.read({"hours": value})
    assert caught.value.field == "hours"
    assert fix in caught.value.fix
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 300


def test_hours_that_cannot_be_read_are_invalid_when_stored():
    """A zone that is not known here lets nothing pass, and the operator sees why."""
    (stored,) = Limits.load({"hours": [["mon 08:00-18:00 Mars/Olympus"]]})
    assert stored.reason(GET, 0.0) is Reason.LIMIT_INVALID
    assert clause(OFFICE).reason(GET, 0.0) is Reason.OUTSIDE_TIME_WINDOW


# ---------------------------------------------------------------------------------- what is inside


def test_the_start_is_inside_and_the_end_is_not():
    """To the smallest fraction of a second that a clock can tell."""
    hours = clause(OFFICE)
    opens, closes = at("2026-01-05T07:00"), at("2026-01-05T17:00")
    assert not hours.permits(GET, nextafter(opens, 0))
    assert hours.permits(GET, opens)
    assert hours.permits(GET, nextafter(closes, 0))
    assert not hours.permits(GET, closes)


def test_a_window_is_of_its_days():
    """The days are those of the zone, which may not be those of UTC."""
    assert spans(clause("mon-tue,thu 00:00-01:00 Asia/Tokyo"), "2026-01-04", "2026-01-11") == [
        *("04 15:00", "04 16:00"),
        *("05 15:00", "05 16:00"),
        *("07 15:00", "07 16:00"),
    ]


def test_a_night_belongs_to_the_day_on_which_it_starts():
    """Also where the week ends: what starts on Sunday ends on Monday."""
    assert spans(clause("sat 22:00-02:00 UTC"), "2026-01-03", "2026-01-06") == [
        *("03 22:00", "04 02:00")
    ]
    assert spans(clause("sun 22:00-02:00 UTC"), "2026-01-04T12:00", "2026-01-06") == [
        *("04 22:00", "05 02:00")
    ]
    assert spans(clause("sun 10:00-10:00 UTC"), "2026-01-04", "2026-01-06") == [
        *("04 10:00", "05 10:00")
    ]


def test_several_windows_are_one_set_and_two_limits_are_both():
    """Within a clause any window is enough; narrowing again asks for all clauses."""
    either = clause("mon 08:00-12:00 UTC", "mon 11:00-14:00 UTC", "mon 09:00-10:00 Asia/Tokyo")
    assert spans(either, "2026-01-05", "2026-01-06") == [
        "05 00:00",
        "05 01:00",
        "05 08:00",
        "05 14:00",
    ]
    both = Limits(hours="mon 08:00-12:00 UTC").meet(Limits(hours="mon 11:00-14:00 UTC"))
    assert len(both.of("hours")) == 2
    assert both.permits(GET, at("2026-01-05T11:59"))
    assert not both.permits(GET, at("2026-01-05T10:59"))
    assert not both.permits(GET, at("2026-01-05T12:00"))


@pytest.mark.parametrize(
    ("window", "first", "last", "edges"),
    [
        # 02:00 becomes 03:00 at 01:00 UTC
        ("sun 02:00-03:00 Europe/Zurich", "2026-03-28", "2026-03-30", []),
        ("sun 01:30-03:30 Europe/Zurich", "2026-03-29", "2026-03-30", ["29 00:30", "29 01:30"]),
        ("sun 02:30-03:30 Europe/Zurich", "2026-03-29", "2026-03-30", ["29 01:00", "29 01:30"]),
        (
            "daily 08:00-09:00 Europe/Zurich",
            "2026-03-28",
            "2026-03-30",
            ["28 07:00", "28 08:00", "29 06:00", "29 07:00"],
        ),
        ("sat 22:00-04:00 Europe/Zurich", "2026-03-28", "2026-03-30", ["28 21:00", "29 02:00"]),
        # 03:00 becomes 02:00 at 01:00 UTC
        ("sun 02:00-03:00 Europe/Zurich", "2026-10-25", "2026-10-26", ["25 00:00", "25 02:00"]),
        (
            "sun 02:30-02:45 Europe/Zurich",
            "2026-10-25",
            "2026-10-26",
            ["25 00:30", "25 00:45", "25 01:30", "25 01:45"],
        ),
        (
            "sun 01:30-02:30 Europe/Zurich",
            "2026-10-24T12:00",
            "2026-10-26",
            ["24 23:30", "25 00:30", "25 01:00", "25 01:30"],
        ),
        ("sat 22:00-04:00 Europe/Zurich", "2026-10-24", "2026-10-26", ["24 20:00", "25 03:00"]),
        # 02:00 becomes 01:30 at 15:00 UTC, and half a year later 02:30 at 15:30 UTC
        (
            "sun 01:30-02:00 Australia/Lord_Howe",
            "2026-04-04",
            "2026-04-05",
            ["04 14:30", "04 15:30"],
        ),
        (
            "sun 01:45-02:15 Australia/Lord_Howe",
            "2026-04-04",
            "2026-04-05",
            ["04 14:45", "04 15:00", "04 15:15", "04 15:45"],
        ),
        ("sun 02:00-02:30 Australia/Lord_Howe", "2026-10-03", "2026-10-04", []),
        (
            "sun 01:45-02:45 Australia/Lord_Howe",
            "2026-10-03",
            "2026-10-04",
            ["03 15:15", "03 15:45"],
        ),
        # midnight becomes 23:00 on the day before at 03:00 UTC, half a year later 01:00
        (
            "sat 23:00-24:00 America/Santiago",
            "2026-04-04T12:00",
            "2026-04-06",
            ["05 02:00", "05 04:00"],
        ),
        (
            "sat 23:30-00:30 America/Santiago",
            "2026-04-04T12:00",
            "2026-04-06",
            ["05 02:30", "05 03:00", "05 03:30", "05 04:30"],
        ),
        ("sun 00:00-01:00 America/Santiago", "2026-09-05", "2026-09-07", []),
        ("sat 23:30-01:30 America/Santiago", "2026-09-05", "2026-09-07", ["06 03:30", "06 04:30"]),
    ],
)
def test_a_window_holds_across_a_change_of_the_clock(
    window: str, first: str, last: str, edges: list[str]
):
    """An hour that is repeated is inside twice; one that is skipped never comes."""
    assert spans(clause(window), first, last) == edges


@given(
    st.sampled_from(["Europe/Zurich", "Australia/Lord_Howe", "America/Santiago", "Asia/Kathmandu"]),
    st.integers(0, 6),
    st.integers(0, 1_439),
    st.integers(0, 1_439),
    st.datetimes(datetime(2026, 1, 1), datetime(2027, 1, 1)),  # noqa: DTZ001 - of UTC
)
def test_hours_are_what_a_wall_clock_shows(
    zone: str, day: int, starts: int, ends: int, moment: datetime
):
    """The compiled minutes agree with comparing what the clock on the wall shows."""
    name = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")[day]
    span = "-".join(f"{minute // 60:02}:{minute % 60:02}" for minute in (starts, ends))
    shown = moment.replace(tzinfo=UTC).astimezone(ZoneInfo(zone))
    clock, today = shown.hour * 60 + shown.minute, shown.weekday()
    if starts < (ends or 1_440):
        said = today == day and starts <= clock < (ends or 1_440)
    else:
        said = (today == day and clock >= starts) or (today == (day + 1) % 7 and clock < ends)
    now = moment.replace(tzinfo=UTC).timestamp()
    assert clause(f"{name} {span} {zone}").permits(GET, now) is said


@pytest.mark.parametrize("zone", ["Europe/Zurich", "Australia/Lord_Howe", "America/Santiago"])
def test_an_answer_holds_for_the_minute(zone: str):
    """Since clocks are off UTC by whole minutes, and are changed at one, by whole minutes."""
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    while moment < datetime(2027, 1, 1, tzinfo=UTC):
        offset = moment.astimezone(ZoneInfo(zone)).utcoffset()
        assert offset is not None
        assert offset % timedelta(minutes=1) == timedelta(0)
        moment += timedelta(minutes=30)
    begins, ends = clause(OFFICE).holds(at("2026-01-05T07:00:59.999"))
    assert (begins, ends) == (at("2026-01-05T07:00"), at("2026-01-05T07:01"))


# ------------------------------------------------------------------------------------ what it costs


def test_no_zone_is_read_at_a_request(monkeypatch: pytest.MonkeyPatch):
    """The rules of a zone are there once limits are."""
    hours = clause(OFFICE)

    def refuse(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr("keybound.core.limits.hours.ZoneInfo", refuse)
    monkeypatch.setattr("keybound.core.limits.hours_text.ZoneInfo", refuse)
    ZoneInfo.clear_cache()
    assert hours.permits(GET, at("2026-01-05T07:00"))


# --------------------------------------------------------------------------------------- ceilings


@pytest.mark.parametrize(
    ("ceiling", "below", "covered"),
    [
        (OFFICE, "mon 08:00-18:00 Europe/Zurich, tue 09:00-10:00 Europe/Zurich", True),
        (OFFICE, "mon 08:00-18:01 Europe/Zurich", False),
        (OFFICE, "sat 08:00-09:00 Europe/Zurich", False),
        ("mon 08:00-12:00 UTC, mon 12:00-18:00 UTC", "mon 08:00-18:00 UTC", True),
        (NIGHT, "sun 00:00-02:00 Europe/Zurich", True),
        ("sun 22:00-02:00 UTC", "mon 00:00-02:00 UTC", True),
        (OFFICE, "mon 10:00-11:00 UTC", False),
        ("mon 10:00-11:00 UTC", "mon 10:00-11:00 Etc/UTC", False),
        ("daily 00:00-24:00 UTC", OFFICE, True),
        ("daily 12:00-12:00 Asia/Tokyo", "daily 00:00-24:00 UTC", True),
        (OFFICE, [], True),
        ([], OFFICE, False),
        ([], [], True),
    ],
)
def test_hours_are_covered_by_minutes_of_the_week(ceiling: object, below: object, covered: bool):  # noqa: FBT001
    """In one zone; of two zones nothing is known but that always is always."""
    assert Limits.read({"hours": ceiling}).covers(Limits.read({"hours": below})) is covered
