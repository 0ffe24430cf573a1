"""The one decision. Refusing is the fall-through: one line allows, after every check.

Whoever remembers decisions repeats what was allowed here, and refuses nothing by heart.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from msgspec import Struct
from msgspec.structs import replace

from keybound.core.chain import Check
from keybound.core.identity import Identity
from keybound.core.reasons import LIMIT_REASONS, Reason

if TYPE_CHECKING:
    from keybound.core.chain import Chain
    from keybound.core.facts import RequestFacts
    from keybound.core.limits import Clause


class Allowed(Struct, frozen=True):
    """The request passed every check; the same one passes again from ``begins`` until ``ends``.

    Where the two are equal, it has to be decided anew every time. ``reported`` are the refusals of
    nodes that only report, in the order of the checks.
    """

    identity: Identity
    begins: float
    ends: float
    reported: tuple[Denied, ...] = ()


class Denied(Struct, frozen=True):
    """The request must not reach the application.

    ``check`` is the first that failed, and ``key`` the id of the key, where there was one;
    ``scopes`` are all that the route asks for, when they were not granted.
    """

    reason: Reason
    key: str | None = None
    check: Check | None = None
    scopes: tuple[str, ...] = ()


Decision = Allowed | Denied


def decide(chain: Chain, facts: RequestFacts, now: float) -> Decision:
    """Return whether every node of the chain is alive and permits the request at ``now``.

    ``now`` is POSIX seconds. A check that answers anything but ``True``, or raises, denies; where
    a node only reports, what it would let pass is passed over, and reported every time.
    """
    reported: tuple[Denied, ...] = ()
    for place, clause in enumerate(chain.clauses):
        try:
            permitted = clause.permits(facts, now) is True
        except Exception:  # noqa: BLE001 - a site's own dimension may raise anything: that denies
            permitted = False
        if not permitted:
            # Refused it is, whatever a clause that does not know its own mind says now.
            reason = refusal_of(clause, facts, now) or Reason.LIMIT_INVALID
            scopes = facts.scopes if reason is Reason.INSUFFICIENT_SCOPE else ()
            check = chain.checks[place]
            denied = Denied(reason, key=chain.key.id, check=check, scopes=scopes)
            if not chain.reports(check, reason):
                return denied
            reported = (*reported, denied)
    begins, ends = (now, now) if reported else _holding(chain, now)
    return Allowed(chain.identity(facts.tenant), begins, ends, reported)


def both(first: Decision, second: Decision) -> Decision:
    """Return the decision on a request that is two in one: the first refusal, if there is one."""
    if not (isinstance(first, Allowed) and isinstance(second, Allowed)):
        return second if isinstance(first, Allowed) else first
    reported = first.reported + second.reported
    if not reported:
        return first
    return replace(first, ends=first.begins, reported=reported)


def again(allowed: Allowed, now: float) -> Allowed:
    """Return a decision of ``now`` that has to be taken anew every time."""
    return replace(allowed, begins=now, ends=now)


def _holding(chain: Chain, now: float) -> tuple[float, float]:
    """Return from when until when every clause answers an equal request as it did ``now``."""
    begins, ends = chain.begins, chain.ends
    for clause in chain.fleeting:
        try:
            start, end = clause.holds(now)
            holds = start <= now < end  # no number is between what is none
        except Exception:  # noqa: BLE001 - a site's own dimension may raise anything
            return now, now
        if not holds:
            return now, now
        begins, ends = max(begins, start), min(ends, end)
    return begins, ends


def refusal_of(clause: Clause, facts: RequestFacts, now: float) -> Reason | None:
    """Return why one clause refuses, or ``None`` when it permits."""
    try:
        if clause.permits(facts, now) is True:
            return None
        reason = cast("object", clause.reason(facts, now))
    except Exception:  # noqa: BLE001 - a site's own dimension may raise anything: that denies
        return Reason.LIMIT_INVALID
    # Whatever a site's own dimension says, it refuses, and for a reason that a limit can have.
    return (
        reason if isinstance(reason, Reason) and reason in LIMIT_REASONS else Reason.LIMIT_INVALID
    )
