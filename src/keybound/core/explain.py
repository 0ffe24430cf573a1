"""Why a request is or was refused, and what would admit it: every check, not only the first."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from keybound.core.decision import refusal_of
from keybound.core.mends import mend_of
from keybound.core.reasons import Reason

if TYPE_CHECKING:
    from datetime import datetime

    from keybound.core.chain import Chain, Check
    from keybound.core.facts import RequestFacts

MEANINGS: dict[Reason, str] = {
    Reason.DUPLICATE_CREDENTIALS: "The request carried more than one credential.",
    Reason.CONFLICTING_CREDENTIALS: "The request carried credentials in two places.",
    Reason.INVALID_PATH: "The path is not absolute, or has dot segments or control characters.",
    Reason.MISSING_CREDENTIALS: "The request carried no credential.",
    Reason.MALFORMED_CREDENTIALS: "What was sent is no key: form, prefix, length or checksum.",
    Reason.UNKNOWN_KEY: "It looks like a key, but no such key was issued here.",
    Reason.DISABLED: "It is disabled.",
    Reason.EXPIRED: "Its lifetime is over.",
    Reason.NOT_YET_VALID: "Its lifetime has not begun.",
    Reason.REVOKED: "It was revoked, or no longer exists.",
    Reason.ROTATED: "It was replaced by its successor.",
    Reason.CREDENTIAL_NOT_ALLOWED: "The key came in a query or a cookie, and may only in a header.",
    Reason.TENANT_MISMATCH: "The request is about a tenant that is not among those permitted.",
    Reason.TENANT_UNRESOLVED: "No route says which tenant the request is about.",
    Reason.NETWORK_NOT_ALLOWED: "The client's address is not in a permitted network.",
    Reason.NETWORK_UNKNOWN: "The client's address is not known.",
    Reason.METHOD_NOT_ALLOWED: "The method is not permitted, or writes where only reading is.",
    Reason.INSUFFICIENT_SCOPE: "The route asks for a scope that was not granted.",
    Reason.OUTSIDE_TIME_WINDOW: "It is outside the permitted hours.",
    Reason.MODEL_NOT_ALLOWED: "The model is not permitted, or only for reading.",
    Reason.MODEL_UNRESOLVED: "No route says which model the request is about.",
    Reason.LIMIT_INVALID: "A stored limit cannot be checked here, so nothing passes it.",
    Reason.RATE_LIMITED: "Too many requests in too short a time.",
    Reason.QUOTA_EXCEEDED: "The quota is used up.",
    Reason.STORE_UNAVAILABLE: "The store did not answer in time.",
    Reason.RECORD_CORRUPT: "A stored record cannot be read exactly.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One check with its verdict; ``mend`` is the smallest edit that would admit the request.

    ``reported`` is the reason for which it would refuse, were its node not only to report.
    """

    check: str
    node: str
    kind: str
    clause: str
    refused: Reason | None
    mend: str | None
    reported: Reason | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Every check of one request in the order of the decision; the first refusal is the reason.

    ``facts`` is what the request was taken for. ``unguarded`` says that no check applies.
    """

    key: str
    facts: RequestFacts
    steps: tuple[Step, ...]
    unguarded: bool = False

    @property
    def reason(self) -> Reason | None:
        """The reason of the refusal, ``None`` when the request is allowed."""
        if self.unguarded:
            return None
        return next((step.refused for step in self.steps if step.refused is not None), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class DenialExplanation:
    """What the id of a denial says. ``step`` is the check as it is stored now, if unchanged."""

    at: datetime
    reason: Reason
    meaning: str
    key: str | None
    step: Step | None


def explain(chain: Chain, facts: RequestFacts, now: float) -> tuple[Step, ...]:
    """Return every check of a chain with its verdict at ``now`` (POSIX seconds)."""
    return tuple([_explained(chain, check, facts, now) for check in chain.checks])


def _explained(chain: Chain, check: Check, facts: RequestFacts, now: float) -> Step:
    refused = refusal_of(check.clause, facts, now)
    if refused is None or not chain.reports(check, refused):
        return explain_check(chain, check, facts, refused, now)
    return replace(explain_check(chain, check, facts, None, now), reported=refused)


def explain_check(
    chain: Chain, check: Check, facts: RequestFacts | None, refused: Reason | None, at: float
) -> Step:
    """Return one check of a chain with a verdict, and the edit that would turn it.

    Without ``facts`` only the time ``at`` which the request was made is known (POSIX seconds).
    """
    dimension = check.clause.dimension
    alike = [
        each.clause
        for each in chain.checks
        if each.node == check.node and each.clause.dimension == dimension
    ]
    return Step(
        check=dimension,
        node=check.node,
        kind=check.kind,
        clause=check.clause.describe(),
        refused=refused,
        mend=None if refused is None else mend_of(check.node, alike, facts, refused, at),
    )
