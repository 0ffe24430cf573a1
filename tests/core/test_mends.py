"""The smallest edit: it admits the request and gives nothing else."""

from __future__ import annotations

import pytest

from keybound.core.facts import RequestFacts, pack_address
from keybound.core.limits import Limits, Unreadable
from keybound.core.mends import ADVICE, mend_of
from keybound.core.reasons import Reason


def test_a_mend_keeps_what_several_clauses_permit_together():
    """A model that one of two clauses leaves out stays out; what both grant stays, as narrow."""
    one, two = Limits(models={"a": "read", "b": "write"}), Limits(models={"a": "write"})
    facts = RequestFacts(method="GET", path="/c", model="c", access="read")
    mend = mend_of("key_1", [*one, *two], facts, Reason.MODEL_NOT_ALLOWED, 0.0)
    assert mend == "keybound update key_1 --model a:read --model c:read"


def about(**facts):
    """Return a request of which only this matters."""
    return RequestFacts(**{"method": "GET", "path": "/", **facts})


def coming_from(address):
    """Return a request from an address."""
    return about(address=pack_address(address))


@pytest.mark.parametrize("refused", ADVICE)
def test_what_helps_whatever_was_asked_for_is_said_first(refused):
    """It names the node, where it is an edit of that."""
    for facts in (None, about(tenant="b")):
        mend = mend_of("key_1", Limits(tenants="a").clauses, facts, refused, 0.0)
        assert mend == ADVICE[refused].format(node="key_1")


@pytest.mark.parametrize("facts", [None, about(method="POST")], ids=str)
def test_a_switch_is_turned_off(facts):
    """There is nothing else to name."""
    clauses = Limits(read_only=True).clauses
    mend = mend_of("key_1", clauses, facts, Reason.METHOD_NOT_ALLOWED, 0.0)
    assert mend == "keybound update key_1 --no-read-only"


@pytest.mark.parametrize(
    ("clauses", "facts"),
    [
        (Limits(tenants="a").clauses, None),
        (Limits(networks="::1").clauses, None),
        ((Unreadable.of("geo", ["CH"]),), about(tenant="b")),
        ((Unreadable.of("geo", ["CH"]),), None),
    ],
    ids=str,
)
def test_what_cannot_be_named_is_left_to_whoever_mends(clauses, facts):
    """As what an old request lacked, or what a dimension of a site's own is about."""
    mend = mend_of("key_1", clauses, facts, Reason.TENANT_MISMATCH, 0.0)
    assert mend == f"keybound update key_1, naming more for {clauses[0].dimension}"


@pytest.mark.parametrize(
    ("limits", "facts", "edit"),
    [
        (["tenants", "a, b", "b, c"], about(tenant="d"), "--tenant b --tenant d"),
        (["tenants", "a/b", "a"], about(tenant="d/e"), "--tenant a/b --tenant d/e"),
        (["methods", "GET, PUT", "GET"], about(method="PUT"), "--method GET --method PUT"),
        (["scopes", "x, y", "y, z"], about(scopes=("y", "z")), "--scope y --scope z"),
        (
            ["networks", "10.0.0.1, 10.0.0.2", "10.0.0.0/31"],
            coming_from("10.0.0.4"),
            "--network 10.0.0.1 --network 10.0.0.4",
        ),
        (
            ["networks", "10.0.0.0/24, !10.0.0.4/31, !10.0.0.8"],
            coming_from("10.0.0.4"),
            (
                "--network 10.0.0.0/24 --network 10.0.0.4"
                " --network '!10.0.0.5/32' --network '!10.0.0.8'"
            ),
        ),
        (
            ["networks", "*, !10.0.0.8"],
            coming_from("10.0.0.8"),
            "--network 0.0.0.0/0 --network ::/0 --network 10.0.0.8",
        ),
        (
            ["networks", "::1, !10.0.0.8"],
            coming_from("::2"),
            "--network ::1 --network ::2 --network '!10.0.0.8'",
        ),
    ],
    ids=repr,
)
def test_a_mend_names_what_all_clauses_permit_and_what_was_asked_for(limits, facts, edit):
    """What one of them leaves out stays out, and so does what was excluded beside it."""
    dimension, *values = limits
    clauses = [clause for value in values for clause in Limits.read({dimension: value})]
    refused = next(each for each in clauses if not each.permits(facts, 0.0)).reason(facts, 0.0)
    assert mend_of("key_1", clauses, facts, refused, 0.0) == f"keybound update key_1 {edit}"
