"""Explanations: every check of a request, agreeing with the decision."""

from __future__ import annotations

import pytest

from keybound.core.chain import Chain
from keybound.core.decision import decide
from keybound.core.explain import MEANINGS, Explanation, explain, explain_check
from keybound.core.facts import RequestFacts
from keybound.core.limits import Limits
from keybound.core.mends import ADVICE
from keybound.core.reasons import LIMIT_REASONS, Reason
from keybound.core.terms import ChainPolicy
from keybound.testing.records import a_group, a_key

POST = RequestFacts(method="POST", path="/x", tenant="globex", model="invoice")
LIMITS = Limits(methods=["GET"], models={"order": "read"})
CHAIN = Chain(
    a_key("key_1", tenant="acme", limits=LIMITS, groups=("group_1",)),
    {"group_1": a_group("group_1", enabled=False)},
    ChainPolicy(),
)


def test_every_reason_has_a_meaning():
    """Whatever an id says, people can read it."""
    assert set(MEANINGS) == set(Reason)
    assert all(meaning.endswith(".") for meaning in MEANINGS.values())
    assert len(set(MEANINGS.values())) == len(Reason)
    assert set(ADVICE) <= LIMIT_REASONS


def test_every_check_is_explained_and_the_first_refusal_is_the_decision():
    """Not only the first: whoever mends one thing sees what is next."""
    steps = explain(CHAIN, POST, 0.0)
    assert [(step.check, step.node) for step in steps] == [
        (check.clause.dimension, check.node) for check in CHAIN.checks
    ]
    explained = Explanation(key="key_1", facts=POST, steps=steps)
    assert explained.reason is decide(CHAIN, POST, 0.0).reason is Reason.DISABLED
    assert [step.refused for step in steps if step.refused] == [
        Reason.DISABLED,
        Reason.TENANT_MISMATCH,
        Reason.METHOD_NOT_ALLOWED,
        Reason.MODEL_NOT_ALLOWED,
    ]


def test_what_refuses_has_a_mend_and_what_permits_has_none():
    """A mend names the node that refuses."""
    for step in explain(CHAIN, POST, 0.0):
        assert (step.mend is None) == (step.refused is None)
        assert step.mend is None or step.node in step.mend


def test_nothing_refuses_an_unguarded_request():
    """Its checks are shown, but none of them applies."""
    steps = explain(CHAIN, POST, 0.0)
    assert Explanation(key="key_1", facts=POST, steps=steps, unguarded=True).reason is None
    assert Explanation(key="key_1", facts=POST, steps=()).reason is None


@pytest.mark.parametrize("refused", [None, Reason.METHOD_NOT_ALLOWED], ids=str)
def test_a_check_of_an_old_denial_is_explained_without_its_request(refused):
    """The facts are gone; the clause and what helps are not."""
    check = next(each for each in CHAIN.checks if each.clause.dimension == "methods")
    step = explain_check(CHAIN, check, None, refused, 0.0)
    assert (step.check, step.node, step.kind, step.clause) == ("methods", "key_1", "key", "GET")
    assert (step.mend is None) == (refused is None)
