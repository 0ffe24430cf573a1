"""A miss that is handed on: what was found out of a request is not found out again."""

from __future__ import annotations

from typing import Any

import pytest

from keybound import Guard, Route
from keybound.core.decision import Allowed, Denied
from keybound.judge import Miss


@pytest.fixture
def guard() -> Guard:
    """Return a guard in memory."""
    return Guard.from_settings(database="memory://")


def missed(guard: Guard) -> tuple[tuple[str, str, str | None, bytes], Miss]:
    """Return a request with a key that the guard has not loaded, and what it says of it."""
    issued = guard.issue(name="CI", tenant="acme")
    request = "GET", "/globex", None, b"Bearer " + issued.secret.reveal().encode()
    outcome = guard.decide(*request)
    assert isinstance(outcome, Miss)
    return request, outcome


def test_miss_is_gone_on_with(guard: Guard, monkeypatch: pytest.MonkeyPatch):
    """Neither the table nor the header is looked at a second time."""
    request, outcome = missed(guard)
    judge: Any = guard.engine.rules.judge_of(None)
    monkeypatch.setattr(judge, "decide", lambda *_: pytest.fail("it was decided again"))
    assert isinstance(guard.authorize(*request, outcome=outcome), Allowed)


def test_miss_of_rules_that_are_over_is_not(guard: Guard):
    """The request is decided by the rules that there are now."""
    request, outcome = missed(guard)
    guard.engine.use_routes([Route("/{tenant}")])
    decided = guard.authorize(*request, outcome=outcome)
    assert isinstance(decided, Denied)
    assert decided.reason == "tenant_mismatch"


def test_miss_of_another_application_is_not(guard: Guard):
    """Each has its own table; a guard of none has what all of them declare."""
    request, outcome = missed(guard)
    declaring, other = type("Application", (), {})(), type("Application", (), {})()
    part, plain = guard.of(declaring), guard.of(other)
    guard.engine.declare_routes(declaring, [Route("/{tenant}")])
    assert isinstance(plain.authorize(*request, outcome=outcome), Allowed)
    for each in (part, guard):
        decided = each.authorize(*request, outcome=outcome)
        assert isinstance(decided, Denied)
        assert decided.reason == "tenant_mismatch"
