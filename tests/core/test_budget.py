"""The budget of look-ups in vain: a second's worth at once, and then as many as a second brings."""

from __future__ import annotations

from keybound.core.budget import Budget

NOW = 1_000.0


def taken(budget, now):
    """Return how many look-ups there are in it now, taking all of them."""
    for count in range(10):
        if budget.spent(now):
            return count
        budget.charge(now)
    return None


def test_a_second_of_it_may_be_spent_at_once():
    """However long nobody used it: what is not used is not saved up."""
    assert taken(Budget(4), NOW) == 4
    budget = Budget(4)
    budget.charge(NOW - 60)
    assert taken(budget, NOW) == 4


def test_it_fills_at_its_rate():
    """A half second brings half of it, and until the first is there, there is none."""
    budget = Budget(4)
    taken(budget, NOW)
    assert budget.spent(NOW + 0.125)
    assert taken(budget, NOW + 0.25) == 1
    assert taken(budget, NOW + 0.75) == 2
    assert taken(budget, NOW + 5) == 4


def test_what_was_under_way_when_it_was_used_up_is_made_up_for():
    """So that many at once get no more out of it than as many one after the other."""
    budget = Budget(4)
    for _ in range(8):
        budget.charge(NOW)
    assert budget.spent(NOW + 1)
    assert taken(budget, NOW + 1.25) == 1


def test_zero_is_no_limit():
    """Whoever wants none has none, whoever of several reads the clock first."""
    budget = Budget(0)
    assert taken(budget, NOW) is None
    assert taken(budget, NOW - 60) is None


def test_one_a_second_is_one_a_second():
    """The smallest that there is."""
    budget = Budget(1)
    assert taken(budget, NOW) == 1
    assert budget.spent(NOW + 0.5)
    assert taken(budget, NOW + 1) == 1


def test_whoever_read_the_clock_earlier_takes_no_less_and_gives_nothing_back():
    """Look-ups take their time, so they are charged in any order."""
    budget = Budget(4)
    budget.charge(NOW)
    budget.charge(NOW - 0.5)
    budget.charge(NOW - 0.5)
    assert taken(budget, NOW - 0.5) == 1
    assert taken(budget, NOW) == 0
    assert taken(budget, NOW + 0.25) == 1
