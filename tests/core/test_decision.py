"""The decision: refusing is the fall-through, whatever a site's own dimension says."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from math import inf, nan
from typing import Any

import pytest

from keybound import Guard
from keybound.core.chain import Chain
from keybound.core.decision import Allowed, Denied, decide, refusal_of
from keybound.core.facts import RequestFacts
from keybound.core.limits import DIMENSIONS, Clause, Limits
from keybound.core.reasons import LIMIT_REASONS, Reason
from keybound.core.terms import ChainPolicy
from keybound.engine import Engine
from keybound.settings import Settings
from keybound.stores.memory import MemoryStore
from keybound.testing.clock import FakeClock
from keybound.testing.records import a_key

GET = RequestFacts(method="GET", path="/", access="read", scopes=("a", "b"))


@dataclass(frozen=True, slots=True)
class Odd(Clause):
    """A dimension of somebody's own that answers anything."""

    dimension = "odd"

    permitted: Any = False
    because: Any = Reason.LIMIT_INVALID

    @classmethod
    def parse(cls, _value):
        """Read anything."""
        return cls()

    def permits(self, _facts, _now):
        """Answer as told."""
        return self._answer(self.permitted)

    def reason(self, _facts, _now):
        """Answer as told."""
        return self._answer(self.because)

    def covers(self, other):
        """Answer honestly."""
        return self == other

    def describe(self):
        """Say nothing."""
        return "odd"

    def dump(self):
        """Store nothing."""
        return {}

    @staticmethod
    def _answer(what):
        if isinstance(what, type) and issubclass(what, BaseException):
            raise what
        return what


@dataclass(frozen=True, slots=True)
class After(Odd):
    """Permits from a moment on, which the core cannot know of a foreign dimension."""

    dimension = "after"

    opens: float = 0.0

    @classmethod
    def parse(cls, value):
        """Read POSIX seconds."""
        return cls(opens=float(value))

    def permits(self, _facts, now):
        """Say whether it is late enough."""
        return now >= self.opens

    def dump(self):
        """Store the moment."""
        return self.opens


class SteppingClock(FakeClock):
    """A clock whose wall time an administrator sets back."""

    step = 0.0

    def wall(self):
        """Return POSIX time as it was set."""
        return super().wall() - self.step


def ruled(*clauses, key=None):
    """Return the chain of a key with these clauses."""
    return Chain(
        key or a_key("key_1", limits=Limits(scopes=["a", "b"]).meet(Limits.of_clauses(clauses))),
        {},
        ChainPolicy(),
    )


def test_a_request_that_passes_every_check_is_allowed():
    """For as long as every lifetime of the chain stays as it is."""
    chain = ruled(*Limits(expires_at="2027-01-01T00:00:00Z"))
    decision = decide(chain, GET, 0.0)
    assert isinstance(decision, Allowed)
    assert (decision.begins, decision.ends) == (chain.begins, chain.ends)
    assert decision.identity.key_id == "key_1"
    assert isinstance(decide(chain, GET, chain.ends), Denied)


@pytest.mark.parametrize(
    "answer", [False, None, 1, "yes", (True,), NotImplemented, ZeroDivisionError], ids=repr
)
def test_every_answer_but_true_denies(answer):
    """A dimension that forgets to return, or returns something truthy, permits nothing."""
    assert decide(ruled(Odd(answer)), GET, 0.0).reason is Reason.LIMIT_INVALID


@pytest.mark.parametrize(
    "because",
    [
        *(None, "limit_invalid", "disabled", True, 0, ValueError),
        *(reason for reason in Reason if reason not in LIMIT_REASONS),
    ],
    ids=repr,
)
def test_a_refusal_for_no_reason_of_a_limit_is_a_refusal_all_the_same(because):
    """Neither nothing, nor text, nor the reason of another stage, lets a request through."""
    denied = decide(ruled(Odd(because=because)), GET, 0.0)
    assert denied == Denied(Reason.LIMIT_INVALID, key="key_1", check=denied.check)
    assert denied.check.clause.dimension == "odd"


@pytest.mark.parametrize("because", sorted(LIMIT_REASONS))
def test_a_reason_that_a_limit_can_have_is_kept(because):
    """What a dimension says is what the operator reads."""
    assert refusal_of(Odd(because=because), GET, 0.0) is because


def test_a_program_that_is_being_stopped_is_not_held_up():
    """Only errors deny; an interrupt goes through."""
    with pytest.raises(KeyboardInterrupt):
        decide(ruled(Odd(KeyboardInterrupt)), GET, 0.0)


def test_only_a_lack_of_scopes_names_scopes():
    """Whoever is refused for them learns all that the route asks for."""
    lacking = decide(ruled(key=a_key("key_1", limits=Limits(scopes=["a"]))), GET, 0.0)
    assert (lacking.reason, lacking.scopes) == (Reason.INSUFFICIENT_SCOPE, ("a", "b"))
    assert decide(ruled(Odd()), GET, 0.0).scopes == ()


def test_a_decision_with_a_foreign_dimension_holds_for_no_time_at_all():
    """It may look at anything, so it is asked every time."""
    decision = decide(ruled(Odd(permitted=True)), GET, 7.0)
    assert (decision.begins, decision.ends) == (7.0, 7.0)


def test_a_decision_with_a_foreign_dimension_is_never_remembered(monkeypatch):
    """When the wall clock steps back, what was allowed a moment ago is decided anew."""
    monkeypatch.setitem(DIMENSIONS, "after", After)
    clock = SteppingClock()
    settings = Settings.load({"database": "memory://"})
    guard = Guard(Engine(settings, MemoryStore(), clock, background=False))
    issued = guard.issue(name="k", limits={"after": clock.wall()})
    raw = b"Bearer " + issued.secret.reveal().encode()
    for _ in range(3):
        assert isinstance(guard.authorize("GET", "/", None, raw), Allowed)
    clock.step = 0.5
    assert guard.authorize("GET", "/", None, raw).reason is Reason.LIMIT_INVALID
    clock.step = 0.0
    assert isinstance(guard.authorize("GET", "/", None, raw), Allowed)
    guard.close()


@pytest.mark.parametrize(
    ("holds", "begins", "ends"),
    [
        ((6.0, 8.0), 6.0, 8.0),
        ((7.0, inf), 7.0, 9.0),
        ((-inf, inf), 5.0, 9.0),
        ((7.0, 7.0), 7.0, 7.0),
        ((8.0, 9.0), 7.0, 7.0),
        ((6.0, 7.0), 7.0, 7.0),
        ((nan, nan), 7.0, 7.0),
        ((0.0, nan), 7.0, 7.0),
        ((nan, 9.0), 7.0, 7.0),
        (None, 7.0, 7.0),
        (("0", "9"), 7.0, 7.0),
        (ZeroDivisionError, 7.0, 7.0),
    ],
    ids=repr,
)
def test_a_dimension_may_say_how_long_its_answer_holds(monkeypatch, holds, begins, ends):
    """Within the lifetimes of the chain; what is no time around now is none at all."""
    monkeypatch.setattr(Odd, "holds", lambda self, _now: self._answer(holds))
    limits = Limits(
        not_before=datetime.fromtimestamp(5, UTC), expires_at=datetime.fromtimestamp(9, UTC)
    )
    decision = decide(ruled(*limits, Odd(permitted=True)), GET, 7.0)
    assert (decision.begins, decision.ends) == (begins, ends)


def test_hours_are_decided_once_a_minute_and_end_on_the_dot(monkeypatch):
    """A remembered decision is never older than the minute, and none outlives its window."""
    decided = []

    def counting(*given):
        decided.append(given[-1])
        return decide(*given)

    monkeypatch.setattr("keybound.core.inquiry.decide", counting)
    closes = datetime(2026, 1, 5, 17, tzinfo=UTC)
    clock = FakeClock(closes - timedelta(seconds=75))
    settings = Settings.load({"database": "memory://", "revoke_within": 600})
    guard = Guard(Engine(settings, MemoryStore(), clock, background=False))
    issued = guard.issue(name="k", limits={"hours": "mon-fri 08:00-18:00 Europe/Zurich"})
    raw = b"Bearer " + issued.secret.reveal().encode()
    for seconds in (0, 14.5, 0.5, 0, 30, 29.5, 0.4375):  # the last is still inside
        clock.advance(seconds=seconds)
        assert isinstance(guard.authorize("GET", "/", None, raw), Allowed)
    assert decided == [(closes - timedelta(seconds=left)).timestamp() for left in (75, 60)]
    clock.advance(seconds=0.0625)
    assert clock.now == closes
    for _ in range(2):
        denied = guard.authorize("GET", "/", None, raw)
        assert denied.reason is Reason.OUTSIDE_TIME_WINDOW
    assert decided[2:] == [closes.timestamp()] * 2
    guard.close()


@pytest.mark.parametrize("depth", [33, 40, 4_000])
def test_a_tenant_that_is_too_deep_is_never_permitted(depth):
    """Neither 'all' nor a tenant far above it reaches beneath 32 segments."""
    for tenants in ("*", "t", "t/*"):
        chain = ruled(*Limits(tenants=tenants), key=None)
        for tenant in ("/".join("t" * depth), "t" + "/" * depth):
            facts = RequestFacts(method="GET", path="/", tenant=tenant)
            assert decide(chain, facts, 0.0).reason is Reason.TENANT_MISMATCH
    deepest = RequestFacts(method="GET", path="/", tenant="/".join("t" * 32))
    assert isinstance(decide(ruled(*Limits(tenants="t")), deepest, 0.0), Allowed)
