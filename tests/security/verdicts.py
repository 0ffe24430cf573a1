"""Whether an outcome is what a case expects."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from keybound.core.refusals import PROBLEM_TYPE
from tests.security.keyring import MARK
from tests.security.outcomes import NotReplayableError
from tests.security.reasons_of import PROBLEMS, reasons_of, reasons_with

if TYPE_CHECKING:
    from tests.security.cases import Case
    from tests.security.outcomes import Outcome

DECISIONS = frozenset(
    {"allow", "deny", "passthrough", "reject", "check", "error", "mixed", "close"}
)

REFUSED_FROM, FAILED_FROM = 400, 500


def check(case: Case, outcome: Outcome, *, odd: bool, homeless: bool = False) -> None:
    """Assert the decision, the status, the reason and the problem that a case expects.

    ``homeless``: the key has no tenant, where a case calls such a record invalid.
    """
    expected = case.expected
    if expected.decision not in DECISIONS:
        msg = f"nobody knows the decision {expected.decision!r}"
        raise NotReplayableError(msg)
    _check_invariants(case, outcome)
    if expected.decision == "error":
        _check_error(case, outcome)
        return
    status = outcome.status
    if expected.decision in _OPEN and _is_either(case, outcome):
        return
    if outcome.reason == "startup_error":
        assert status in expected.others, f"{outcome.short}: expected {expected.decision}"
        return
    if outcome.closed:
        assert outcome.decision == "deny", outcome.short
        refused = any(each >= REFUSED_FROM for each in expected.others)
        assert refused or expected.decision in {"deny", "close"}, outcome.short
        _check_reason(case, outcome, exact=expected.decision != "allow", odd=odd)
        return
    wanted = {expected.status, *expected.others}
    assert status in wanted, f"{outcome.short}: expected {expected.decision} {expected.status}"
    exact = status == expected.status
    decision = expected.decision if exact else _decision_of(status or 0)
    assert outcome.decision == decision, f"{outcome.short}: expected {decision}"
    if homeless and outcome.reason == "tenant_mismatch":  # it reaches none, whichever is asked for
        return
    if _has_alias(case) and (case.expected.reason, outcome.reason) == _UNREAD:
        return
    _check_reason(case, outcome, exact=exact, odd=odd)
    if exact and outcome.decision == "deny" and outcome.answer is not None:
        _check_problem(case, outcome)


def _has_alias(case: Case) -> bool:
    """Return whether a name has an underscore, which something behind us may read as a hyphen."""
    listed = case.request.get("headers") or ()
    return any(isinstance(each, list) and "_" in str(each[0]) for each in listed)


_UNREAD = "missing_credentials", "malformed_credentials"
"""What a case may say of a key under such a name, and what we do: it is refused, and not read."""

_OPEN = frozenset({"check", "mixed"})


def _is_either(case: Case, outcome: Outcome) -> bool:
    """Return whether a request was permitted or refused, with a status that the case names."""
    named = {case.expected.status, *case.expected.others} - {None}
    return outcome.decision in {"allow", "deny"} and (not named or outcome.status in named)


def _check_invariants(case: Case, outcome: Outcome) -> None:
    if outcome.decision == "deny":
        assert not outcome.served, f"{outcome.short}, and the application was called"
    expected = {case.expected.status, *case.expected.others}
    failed = outcome.status is not None and outcome.status >= FAILED_FROM
    failed = failed and case.expected.decision != "error"
    assert not failed or outcome.status in expected, f"{outcome.short}: a failure of ours"
    if outcome.answer is not None:
        text = f"{outcome.answer.headers}{outcome.answer.body!r}"
        assert MARK not in text, "the answer holds a secret"


def _check_error(case: Case, outcome: Outcome) -> None:
    """Assert that a request failed where it should: neither refused by us nor served."""
    others = case.expected.others
    if outcome.status in others:
        return
    failed = outcome.error is not None or (outcome.status or 0) >= FAILED_FROM
    assert failed, f"{outcome.short}: expected an error"
    assert outcome.reason in {None, "ok", "exempt", case.expected.reason}, outcome.short


def _decision_of(status: int) -> str:
    return "allow" if status < REFUSED_FROM else "deny"


def _check_reason(case: Case, outcome: Outcome, *, exact: bool, odd: bool) -> None:
    if outcome.reason is None:
        return
    ended = any(name.startswith("delete") for event in case.world.events for name in event)
    wanted = reasons_of(case.expected.reason, odd=odd, ended=ended)
    if wanted is None:
        msg = f"no reason of ours is for {case.expected.reason}"
        raise NotReplayableError(msg)
    if not exact:
        wanted |= reasons_with(outcome.status or 0)
    assert outcome.reason in wanted, f"{outcome.short}: expected {case.expected.reason}"


def _check_problem(case: Case, outcome: Outcome) -> None:
    expected, answer = case.expected, outcome.answer
    if not expected.says_problem or answer is None:
        return
    challenges = answer.all("www-authenticate")
    if expected.problem is None:
        assert challenges, "no challenge"
        assert not any("error" in each for each in challenges), "a challenge with an error"
        return
    if expected.problem not in PROBLEMS:
        msg = f"no problem of ours is {expected.problem}"
        raise NotReplayableError(msg)
    if not answer.body:  # of a HEAD
        return
    slug = json.loads(answer.body)["type"].removeprefix(PROBLEM_TYPE)
    assert slug in PROBLEMS[expected.problem], f"problem {slug}: expected {expected.problem}"


def same(outcomes: dict[str, Outcome], *, apart: bool) -> None:
    """Assert that every subject gave the same decision and the same status.

    Where the two protocols have the request ``apart``, such as lines of a header that are joined in
    one of them, they may say so with another of the statuses that are as good.
    """
    decisions = {each.decision for each in outcomes.values()}
    statuses = {each.status for each in outcomes.values() if not each.closed}
    agreed = len(statuses) <= 1 or apart or decisions == {"error"}
    lines = "; ".join(f"{name}: {each.short}" for name, each in outcomes.items())
    assert agreed, f"the subjects do not agree: {lines}"
    assert len(decisions) == 1, f"the subjects do not agree: {lines}"
