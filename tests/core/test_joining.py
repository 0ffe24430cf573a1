"""One question at a time: it is asked here, or its end is waited for, and never both."""

from __future__ import annotations

from concurrent.futures import Future

import pytest

from keybound.core.effects import ReadClock, ask
from keybound.core.errors import StoreUnavailableError
from keybound.core.joining import Join, alone
from keybound.drivers import run

CLOCK = ReadClock()


class Noted:
    """Flights of which somebody is on one, or nobody; what lands is noted."""

    def __init__(self, other=None):
        """Have this one under way."""
        self.other = other
        self.landed = []

    def join(self, _about):
        """Return the one that is under way."""
        return self.other

    def land(self, about, error=None):
        """Note it."""
        self.landed.append((about, error))


def steps():
    """Ask for the time."""
    yield from ask(CLOCK)


def test_what_nobody_asks_is_asked_here():
    """And whoever waits for it goes on when it has been answered."""
    flights, asked = Noted(), list[object]()
    assert run(alone(flights, b"x", steps()), asked.append) is True
    assert (asked, flights.landed) == ([CLOCK], [(b"x", None)])


def test_what_somebody_asks_is_waited_for():
    """It is not asked again, nor ended by who only waits."""
    other = Future[None]()
    flights, asked = Noted(other), list[object]()
    assert run(alone(flights, b"x", steps()), asked.append) is False
    assert (asked, flights.landed) == ([Join(other)], [])


def test_what_goes_wrong_is_raised_here_and_wherever_it_is_waited_for():
    """The same error."""
    flights, error = Noted(), StoreUnavailableError("down")

    def down(_effect):
        raise error

    with pytest.raises(StoreUnavailableError):
        run(alone(flights, b"x", steps()), down)
    assert flights.landed == [(b"x", error)]


def test_whoever_is_cancelled_lets_another_one_begin_anew():
    """Nothing went wrong with the question."""
    flights = Noted()
    taken = alone(flights, b"x", steps())
    assert next(taken) == CLOCK
    taken.close()
    assert flights.landed == [(b"x", None)]
