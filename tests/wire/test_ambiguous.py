"""Bytes that servers read differently: no server opens what another keeps shut."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest

from tests.wire.cases import CREDENTIALS, HOSTS
from tests.wire.limited import LIMITS, METHODS, OPTIONAL
from tests.wire.report import handed, lines_of
from tests.wire.safety import check
from tests.wire.targets import TARGETS

if TYPE_CHECKING:
    from tests.wire.cases import Case
    from tests.wire.connections import Answer
    from tests.wire.servers import Fleet

CASES = [*CREDENTIALS, *HOSTS, *TARGETS, *METHODS, *LIMITS, *OPTIONAL]


def outcome(answer: Answer) -> str:
    """Return who answered; an application that was reached without an identity was ``open``."""
    told = answer.told
    return "open" if told is not None and told["key"] is None else answer.outcome


def allowed(case: Case, server: str) -> set[str]:
    """Return what may become of a request that a server hands on."""
    if case.differs is None:
        return {case.expected}
    return {case.expected, "refused"} if server in case.differs.servers else {"refused"}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_no_server_makes_a_request_more_than_it_is(fleet: Fleet, case: Case):
    """Each server refuses a request, or hands it on to be decided as on every other one."""
    answers = fleet.ask(case.raw, head=case.start.startswith(b"HEAD"), within=case.within)
    fleet.recorded[case.name] = answers
    carried = set(re.findall(r"{(\w+)}", case.raw.decode("latin-1")))
    outcomes = {name: outcome(answer) for name, answer in answers.items()}
    try:
        for answer in answers.values():
            check(answer, carried)
        for name, each in outcomes.items():
            assert each in {"server", *allowed(case, name)}
        decided: dict[str, str] = {}
        for name, answer in answers.items():
            if answer.seen is not None:
                what = json.dumps([handed(answer), answer.seen["peer"], answer.seen["raw"]])
                assert decided.setdefault(what, outcomes[name]) == outcomes[name]
        if case.expected != "refused" and not case.differs:
            assert case.expected in outcomes.values()
    except AssertionError as error:
        why = f"; {case.differs.why}" if case.differs else ""
        error.add_note(f"expected: {case.expected}{why}\n{lines_of(answers)}")
        raise
