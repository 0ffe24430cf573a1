"""The client of ``keybound demo``: it sends real requests and compares the answers."""

from __future__ import annotations

from dataclasses import dataclass
from http.client import HTTPConnection
from typing import TYPE_CHECKING, TypeAlias
from urllib.parse import urlsplit

from keybound.cli.demo_cases import AFTERWARDS
from keybound.core.refusals import DENIAL_HEADER

if TYPE_CHECKING:
    from collections.abc import Sequence

    from keybound.cli.demo_cases import Case, DemoKeys
    from keybound.core.reasons import Reason
    from keybound.guard import Guard

_Seen: TypeAlias = "tuple[int, Reason | None, str | None]"

_PATIENCE = 10.0
_PAUSE = 0.002


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a case was answered, alike in every form; ``problem`` says what is wrong with that.

    ``denial`` is the id in a refusal.
    """

    case: Case
    status: int
    reason: Reason | None
    problem: str | None
    denial: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """Everything that the demo saw; ``seconds`` is how long the revoked key lived on."""

    answers: tuple[Answer, ...]
    afterwards: tuple[Answer, ...]
    exceeding: str
    seconds: float
    bound: float

    @property
    def problems(self) -> list[str]:
        """What was not as it must be."""
        found = [each.problem for each in (*self.answers, *self.afterwards) if each.problem]
        if not self.exceeding:
            found.append("a child key was issued that exceeds its parent")
        if self.seconds > self.bound:
            found.append(f"the revoked key lived {self.seconds:.2f} s, more than {self.bound:g} s")
        return found


class Client:
    """Sends real requests, and opens the ids of refusals with the operator's guard."""

    def __init__(self, url: str, operator: Guard, keys: DemoKeys) -> None:
        """Take the URL of a server; each request has a connection of its own."""
        self._address = urlsplit(url).netloc
        self._operator = operator
        self._keys = keys

    def tell(self, cases: Sequence[Case]) -> Story:
        """Send every request, then revoke the key ``full`` and see how long it lives on."""
        answers = tuple(self.ask(case) for case in cases)
        seconds = self._revoke()
        return Story(
            answers=answers,
            afterwards=tuple(self.ask(case) for case in AFTERWARDS),
            exceeding=self._keys.exceeding,
            seconds=seconds,
            bound=self._operator.settings.revoke_within,
        )

    def ask(self, case: Case) -> Answer:
        """Send the request of a case in every form, and compare the answers with the right one."""
        seen = [self._send(case, headers) for headers in self._keys.variants(case.key)]
        wrong = [each for each in seen if each[:2] != (case.status, case.reason)]
        status, reason, denial = (wrong or seen)[0]
        problem = None
        if wrong:
            got, right = _words(status, reason), _words(case.status, case.reason)
            problem = f"{case.method} {case.path} with {case.key}: {got}, not {right}"
        return Answer(case=case, status=status, reason=reason, problem=problem, denial=denial)

    def _revoke(self) -> float:
        """Revoke from outside of the server; return the seconds until it refuses the key."""
        clock, bound = self._operator.engine.clock, self._operator.settings.revoke_within
        self._operator.revoke(self._keys.issued["full"].id)
        committed = clock.boot()
        while self.ask(AFTERWARDS[0]).problem and clock.boot() - committed <= bound:
            clock.sleep(_PAUSE)
        return clock.boot() - committed

    def _send(self, case: Case, authorization: Sequence[str]) -> _Seen:
        connection = HTTPConnection(self._address, timeout=_PATIENCE)
        try:
            connection.putrequest(case.method, case.path)
            for value in authorization:
                connection.putheader("Authorization", value)
            connection.putheader("Content-Length", "0")
            connection.endheaders()
            response = connection.getresponse()
            response.read()
        finally:
            connection.close()
        denial = response.headers.get(DENIAL_HEADER)
        reason = None if denial is None else self._operator.explain_denial(denial).reason
        return response.status, reason, denial


def _words(status: int, reason: Reason | None) -> str:
    return f"{status} {reason.value}" if reason is not None else str(status)
