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


def test_a_mend_is_made_of_what_the_node_itself_says_of_the_dimension():
    """Neither what another node says of it counts, nor what it says of another."""
    limits = Limits(methods="GET,PUT", tenants="acme").meet(Limits(methods="GET,HEAD"))
    key = a_key("key_1", limits=limits, groups=("group_1",))
    chain = Chain(key, {"group_1": a_group("group_1", limits=LIMITS)}, ChainPolicy())
    mends = {step.node: step.mend for step in explain(chain, POST, 0.0) if step.check == "methods"}
    assert mends == {
        node: f"keybound update {node} --method GET --method POST" for node in ("key_1", "group_1")
    }


@pytest.mark.parametrize("rights", [(), ("report_only",)], ids=str)
def test_what_a_node_would_refuse_and_only_reports_is_no_refusal(rights):
    """It is said apart, and has no mend; another refusal of the node stays one."""
    key = a_key("key_1", tenant="acme", limits=LIMITS, rights=rights)
    said = {
        step.check: (step.refused, step.reported, step.mend is not None)
        for step in explain(Chain(key, {}, ChainPolicy()), POST, 0.0)
    }
    assert said == {
        "state": (None, None, False),
        "scopes": (None, None, False),
        "tenants": (Reason.TENANT_MISMATCH, None, True),
        "methods": (
            (None, Reason.METHOD_NOT_ALLOWED, False)
            if rights
            else (Reason.METHOD_NOT_ALLOWED, None, True)
        ),
        "models": (
            (None, Reason.MODEL_NOT_ALLOWED, False)
            if rights
            else (Reason.MODEL_NOT_ALLOWED, None, True)
        ),
    }


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
