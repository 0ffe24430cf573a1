"""The smallest edit: it admits the request and gives nothing else."""

from __future__ import annotations

from keybound.core.facts import RequestFacts
from keybound.core.limits import Limits
from keybound.core.mends import mend_of
from keybound.core.reasons import Reason


def test_a_mend_keeps_what_several_clauses_permit_together():
    """A model that one of two clauses leaves out stays out; what both grant stays, as narrow."""
    one, two = Limits(models={"a": "read", "b": "write"}), Limits(models={"a": "write"})
    facts = RequestFacts(method="GET", path="/c", model="c", access="read")
    mend = mend_of("key_1", [*one, *two], facts, Reason.MODEL_NOT_ALLOWED, 0.0)
    assert mend == "keybound update key_1 --model a:read --model c:read"
