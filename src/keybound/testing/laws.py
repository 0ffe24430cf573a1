"""The laws of every dimension, as tests to inherit: a dimension that keeps them can only narrow.

class TestGeo(DimensionLaws):
    dimension = Geo
    values = st.lists(st.sampled_from(["CH", "DE"]))
    facts = ...                     # requests that this dimension looks at, some of them hits
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, ClassVar, Final, TypeAlias

import pytest
from hypothesis import find, given, settings
from hypothesis import strategies as st
from hypothesis.errors import NoSuchExample

from keybound.core.errors import LimitError
from keybound.core.facts import IPV6_BASE, RequestFacts
from keybound.core.limits import Clause, Limits, Unreadable
from keybound.core.reasons import Reason

if TYPE_CHECKING:
    from collections.abc import Callable

    from hypothesis.strategies import SearchStrategy


def request_facts() -> SearchStrategy[RequestFacts]:
    """Return requests from a small world, so that two of them often have something in common."""
    name = st.sampled_from(("a", "b", "*", ""))
    packed = st.integers(0x0A000000, 0x0A00000F) | st.integers(IPV6_BASE, IPV6_BASE + 15)
    return st.builds(
        RequestFacts,
        method=st.sampled_from(("GET", "POST", "PUT", "WEBSOCKET", "get")),
        path=st.just("/"),
        address=st.none() | packed,
        tenant=st.none() | st.lists(name, min_size=1, max_size=3).map("/".join),
        model=st.none() | name,
        access=st.sampled_from(("read", "write")),
        scopes=st.lists(st.sampled_from(("a", "b", "*")), max_size=2).map(tuple),
        in_header=st.booleans(),
    )


class DimensionLaws:
    """Inherit, name the class and the values that its ``parse`` accepts, and run pytest.

    ``values`` should often be related (small alphabets, nested ranges), and ``facts`` often be
    permitted: a law about what never happens holds of anything.
    """

    dimension: ClassVar[type[Clause]]
    values: ClassVar[SearchStrategy[object]]
    facts: ClassVar[SearchStrategy[RequestFacts]] = request_facts()
    moments: ClassVar[SearchStrategy[float]] = st.integers(0, 40).map(lambda half: half / 2)

    def limits(self) -> SearchStrategy[Limits]:
        """Return limits of this dimension alone: one clause, or none for a value that means all."""
        return self.values.map(
            lambda value: Limits.of_clauses(_present(self.dimension.parse(value)))
        )

    def clauses(self) -> SearchStrategy[Clause]:
        """Return clauses of this dimension."""
        return self.limits().filter(lambda limits: limits.clauses != ()).map(_only)

    def test_there_is_something_that_the_laws_are_about(self) -> None:
        """Some request is permitted, some other refused, and some of it by clauses that cover."""
        cases = st.tuples(self.clauses(), self.clauses(), self.facts, self.moments)
        for what, holds in _OCCASIONS.items():
            try:
                find(cases, holds, settings=settings(max_examples=2_000, deadline=None))
            except NoSuchExample:
                pytest.fail(f"{what}: give `values` and `facts` that meet more often")

    def test_a_request_passes_a_meet_if_it_passes_both(self) -> None:
        """Narrowing twice permits what both permit: nothing more, and nothing less."""

        @settings(deadline=None)
        @given(self.limits(), self.limits(), self.facts, self.moments)
        def law(one: Limits, two: Limits, facts: RequestFacts, now: float) -> None:
            both = one.permits(facts, now) and two.permits(facts, now)
            assert one.meet(two).permits(facts, now) is both

        law()

    def test_adding_a_limit_never_allows_more(self) -> None:
        """Whatever passes the narrower limits passed before."""

        @settings(deadline=None)
        @given(self.limits(), self.limits(), self.facts, self.moments)
        def law(one: Limits, two: Limits, facts: RequestFacts, now: float) -> None:
            assert one.covers(one.meet(two))
            if one.meet(two).permits(facts, now):
                assert one.permits(facts, now)

        law()

    def test_the_order_of_narrowing_does_not_matter(self) -> None:
        """Meet is commutative, associative and idempotent."""

        @settings(deadline=None)
        @given(self.limits(), self.limits(), self.limits())
        def law(one: Limits, two: Limits, three: Limits) -> None:
            assert one.meet(two) == two.meet(one)
            assert one.meet(two).meet(three) == one.meet(two.meet(three))
            assert one.meet(one) == one

        law()

    def test_what_is_covered_is_permitted(self) -> None:
        """A ceiling that covers a limit permits every request that the limit permits."""

        @settings(deadline=None)
        @given(self.clauses(), self.clauses(), self.facts, self.moments)
        def law(ceiling: Clause, below: Clause, facts: RequestFacts, now: float) -> None:
            if ceiling.covers(below) and below.permits(facts, now):
                assert ceiling.permits(facts, now)

        law()

    def test_a_clause_covers_itself_and_nothing_foreign(self) -> None:
        """A key may be issued with exactly its maker's limits; another kind of clause is unsure."""

        @settings(deadline=None)
        @given(self.clauses())
        def law(clause: Clause) -> None:
            assert clause.covers(clause) is True
            assert clause.covers(Unreadable.of(clause.dimension, clause.dump())) is False

        law()

    def test_a_clause_answers_with_a_bool_and_always_the_same(self) -> None:
        """Only ``True`` permits, and nothing but the request and the time has a say."""

        @settings(deadline=None)
        @given(self.clauses(), self.facts, self.moments)
        def law(clause: Clause, facts: RequestFacts, now: float) -> None:
            answer: object = clause.permits(facts, now)
            assert answer is True or answer is False
            assert clause.permits(facts, now) is answer
            if answer is False:
                assert isinstance(clause.reason(facts, now), Reason)

        law()

    def test_what_is_stored_is_read_back_equal(self) -> None:
        """No limit is lost or widened on its way through the store, which holds JSON."""

        @settings(deadline=None)
        @given(self.clauses())
        def law(clause: Clause) -> None:
            again = self.dimension.parse(json.loads(json.dumps(clause.dump())))
            assert again == clause
            assert hash(again) == hash(clause)

        law()

    def test_a_description_is_one_line_that_can_be_read(self) -> None:
        """People see the limit in tables and errors: no line breaks, nothing invisible."""

        @settings(deadline=None)
        @given(self.clauses())
        def law(clause: Clause) -> None:
            text = clause.describe()
            assert text.strip()
            assert text.isprintable()
            assert clause.describe() == text

        law()

    def test_null_is_refused(self) -> None:
        """Null is neither all nor none."""
        with pytest.raises(LimitError):
            self.dimension.parse(None)


_Case: TypeAlias = tuple[Clause, Clause, RequestFacts, float]

_OCCASIONS: Final[dict[str, Callable[[_Case], bool]]] = {
    "no request is ever permitted": lambda case: case[0].permits(*case[2:]),
    "no request is ever refused": lambda case: not case[0].permits(*case[2:]),
    "no clause covers one that permits a request": lambda case: (
        case[0].covers(case[1]) and case[1].permits(*case[2:])
    ),
}


def _present(clause: Clause | None) -> tuple[Clause, ...]:
    return () if clause is None else (clause,)


def _only(limits: Limits) -> Clause:
    (clause,) = limits
    return clause
