"""Edges of how limits are kept: what is shared, in which order, and what has no lifetime."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import permutations
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis.strategies import datetimes, just

from keybound.core.limits import Hours, Lifetime, Limits, Methods, Models
from keybound.core.limits.stored import canonical

LIFE = {"expires_at": "2030-01-01T00:00:00Z"}


@pytest.mark.parametrize("stored", ["x", {}, [], [LIFE, LIFE], [{}], [{"expires_at": 1}], None])
def test_only_one_lifetime_that_can_be_read_is_added(stored: object):
    """All else is read in the other way, which says what is wrong with it."""
    assert Limits(methods="GET").living(stored) is None


@pytest.mark.parametrize(
    "life",
    [LIFE, LIFE | {"not_before": "2029-01-01T00:00:00Z"}, {"expires_at": "2030-01-01 00:00:00z"}],
)
def test_limits_with_a_lifetime_share_what_is_made_of_the_rest(life: dict[str, str]):
    """Many keys differ in that alone, however it is written."""
    limits = Limits(methods="GET")
    living = limits.living([life])
    assert living == Limits(methods="GET").meet(Limits.read(life))
    assert living is not None
    assert living.compiled is limits.compiled


@given(moment=datetimes(timezones=just(UTC)))
def test_a_lifetime_that_only_ends_is_read_as_it_was_dumped(moment: datetime):
    """As it is in the long way, to the microsecond."""
    stored = Lifetime(None, moment).dump()
    assert Lifetime.as_dumped(stored) == Lifetime.parse(stored) == Lifetime(None, moment)


@pytest.mark.parametrize(
    "stored",
    [
        {"expires_at": "2027-W08-5T23:40:13Z"},
        {"expires_at": "2027-02-26"},
        {"expires_at": "2027-02-26T23:40:13"},
        {"expires_at": "2027-02-26 23:40:13Z"},
        {"expires_at": "2027-02-26T23:40:13+01:00"},
        {"expires_at": "2027-02-26T24:00:00Z"},
        {"expires_at": datetime(2027, 2, 26, tzinfo=UTC)},
        {"expires_at": "2027-02-26T23:40:13Z", "never_at": "2027-02-26T23:40:13Z"},
        {"not_before": "2027-02-26T23:40:13Z"},
        {"expires_at": None},
        {},
        "2027-02-26T23:40:13Z",
        None,
    ],
    ids=str,
)
def test_whatever_nobody_dumped_is_read_in_the_long_way(stored: object):
    """Python takes more for a moment than RFC 3339 does, and without an offset it is nobody's."""
    assert Lifetime.as_dumped(stored) is None


def test_lifetimes_are_told_from_all_other_limits():
    """There may be none, and there may be several."""
    (life,) = Limits(expires_at="2030-01-01T00:00:00Z")
    (other,) = Limits(expires_at="2031-01-01T00:00:00Z")
    (methods,) = Limits(methods="GET")
    assert Limits().lives == ()
    assert Limits.of_clauses([methods]).lives == ()
    assert Limits.of_clauses([methods, life]).lives == (life,)
    assert set(Limits.of_clauses([other, methods, life]).lives) == {life, other}


def test_limits_are_built_in_if_every_clause_is():
    """One that cannot be read may be of a dimension that somebody registers later."""
    assert Limits().built_in
    assert Limits(methods="GET", models="m").built_in
    assert not Limits(methods="GET").meet(Limits.load({"geo": [["CH"]]})).built_in


def test_two_clauses_are_ordered_and_none_is_there_twice():
    """However they come; those of one dimension by their text."""
    (methods,), (models,) = Limits(methods="GET"), Limits(models="m")
    assert (type(methods), type(models)) == (Methods, Models)
    assert Limits.of_clauses([models, methods]).clauses == (methods, models)
    assert Limits.of_clauses([methods, methods]).clauses == (methods,)
    several = [clause for name in "EDCBA" for clause in Limits(methods=name)]
    for order in permutations(several):
        clauses = Limits.of_clauses(order).clauses
        assert [clause.describe() for clause in clauses] == [*"ABCDE"]


def test_equal_stored_clauses_are_one_object():
    """However many others were read meanwhile, up to some thousand; then all are forgotten."""

    def clause_of(name: str) -> object:
        (clause,) = Limits.load({"methods": [[name]]})
        return clause

    first = clause_of("FIRST")
    clause_of("SECOND")
    assert clause_of("FIRST") is first
    for number in range(4_097):
        clause_of(f"N{number}")
    assert clause_of("FIRST") is not first
    assert clause_of("FIRST") == first


def test_equal_json_is_written_alike():
    """Whatever the order of its names."""
    assert canonical({"b": 1, "a": 2}) == canonical({"a": 2, "b": 1}) == '{"a": 2, "b": 1}'


def test_the_hour_around_a_moment_is_told_in_a_zone():
    """In UTC where there is none."""
    midnight = 1_767_225_600.0  # 2026-01-01, a Thursday
    assert Hours.around(midnight, None) == "thu 00:00-01:00 UTC"
    assert Hours.around(midnight, ZoneInfo("Europe/Zurich")) == "thu 01:00-02:00 Europe/Zurich"
    assert (
        Hours.around(midnight, ZoneInfo("America/New_York")) == "wed 19:00-20:00 America/New_York"
    )
