"""The claim, checked at every decision of every worker.

What a worker decides is what the store said at some moment of the last ``allowance`` seconds of
real time, and never from before a change that the same worker has finished itself, or has heard of.
That holds for refusals as well: a key that was issued or enabled works within the same time, and at
once where the worker knew of all that was changed before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from keybound.core.decision import Allowed, Denied
from keybound.core.reasons import Reason

if TYPE_CHECKING:
    from keybound.judge import Outcome
    from tests.simulation.truth import Question, Truth
    from tests.simulation.worker import SimulatedWorker, Timeline

_OF_THE_STORE = frozenset(
    {Reason.UNKNOWN_KEY, Reason.DISABLED, Reason.REVOKED, Reason.METHOD_NOT_ALLOWED}
)


class ViolationError(AssertionError):
    """The claim does not hold; the message says what led to it."""


class Claim:
    """Judges decisions; ``latest`` is how long after a change the last one was accepted."""

    def __init__(self, truth: Truth, time: Timeline, *, allowance: float) -> None:
        """Hold every decision to the truth."""
        self.accepts = 0
        self.latest = 0.0
        self._truth = truth
        self._time = time
        self._allowance = allowance
        self._violation: ViolationError | None = None

    def judge(self, worker: SimulatedWorker, question: Question, outcome: Outcome) -> None:
        """Check one decision at the moment it is taken."""
        if isinstance(outcome, Allowed):
            self.accepts += 1
            self._check(worker, question, permitted=True)
        elif isinstance(outcome, Denied):
            if outcome.reason not in _OF_THE_STORE:
                self.violate(f"{worker.name} refused {question}: {outcome.reason}")
            self._check(worker, question, permitted=False)

    def violate(self, what: str) -> None:
        """Say that the claim does not hold."""
        self._violation = ViolationError(what)
        raise self._violation

    def confirm(self) -> None:
        """Raise again what a procedure took for a failure of its own."""
        if self._violation is not None:
            raise self._violation

    def _check(self, worker: SimulatedWorker, question: Question, *, permitted: bool) -> None:
        verdict = self._truth.verdicts.get(question)
        if verdict is None or verdict.permitted is permitted:
            return
        age = self._time.now - verdict.since
        did = "accepted" if permitted else "refused"
        if age > self._allowance:
            self.violate(f"{worker.name} {did} {question} {age:.2f} s after that had changed")
        if not permitted and verdict.turn in worker.blind:
            return
        if worker.own.get(question) == verdict.turn:
            self.violate(f"{worker.name} {did} {question} after it had changed that itself")
        if worker.heard.get(question) == verdict.turn:
            self.violate(f"{worker.name} {did} {question} after it had heard of that change")
        if permitted:
            self.latest = max(self.latest, age)
