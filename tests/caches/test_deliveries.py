"""Whether a channel brings what syncs see; asked once a tick."""

from __future__ import annotations

import pytest

from keybound.caches import deliveries
from keybound.caches.deliveries import Deliveries

BEGUN = 100.0


@pytest.fixture
def expecting():
    """Return deliveries that expect what comes after revision 5."""
    expecting = Deliveries(BEGUN)
    assert not expecting.lack(5, BEGUN)
    return expecting


def test_what_was_committed_before_the_first_sync_is_not_expected():
    """Nor what a sync saw that was sent before the subscription began."""
    expecting = Deliveries(BEGUN)
    assert not expecting.lack(3, BEGUN - 1)
    assert not expecting.lack(5, BEGUN)
    assert not expecting.lack(5, BEGUN + 1)
    assert not expecting.lack(5, BEGUN + 2)


def test_what_came_is_not_lacking_in_whatever_order(expecting):
    """Changes of several processes may overtake each other on their way."""
    expecting.bring(7)
    assert not expecting.lack(6, BEGUN + 1)
    expecting.bring(6)
    assert not expecting.lack(7, BEGUN + 2)
    assert not expecting.lack(7, BEGUN + 3)


def test_what_did_not_come_is_lacking_once_and_not_before_it_had_a_tick_to_come(expecting):
    """A sync may be faster than a message."""
    assert not expecting.lack(6, BEGUN + 1)
    assert expecting.lack(7, BEGUN + 2)
    assert expecting.lack(7, BEGUN + 3)
    assert not expecting.lack(7, BEGUN + 4)


def test_one_of_many_is_enough(expecting):
    """All that a sync saw at once is expected."""
    for rev in (6, 7, 9):
        expecting.bring(rev)
    assert not expecting.lack(9, BEGUN + 1)
    assert expecting.lack(9, BEGUN + 1)


def test_a_store_that_went_back_is_expected_from_anew(expecting):
    """What was lost is lacking to nobody, nor is anything while a fence knows nothing."""
    assert not expecting.lack(9, BEGUN + 1)
    assert not expecting.lack(0, float("-inf"))
    assert not expecting.lack(3, BEGUN + 2)
    assert not expecting.lack(4, BEGUN + 3)
    assert expecting.lack(4, BEGUN + 3)


def test_what_claims_to_be_ahead_takes_bounded_room(expecting, monkeypatch):
    """Beyond the bound nothing is noted, and nothing is wrong but a doubt too many."""
    monkeypatch.setattr(deliveries, "BROUGHT_MAX", 2)
    for rev in (1_000, 2_000, 6):
        expecting.bring(rev)
    assert not expecting.lack(6, BEGUN + 1)
    assert expecting.lack(6, BEGUN + 2)
