"""Demands of views: they narrow what a key may do, and never widen it."""

from __future__ import annotations

import pytest

from keybound.core.chain import Chain
from keybound.core.demands import Demand, joined
from keybound.core.errors import InputError, RefusedError
from keybound.core.limits import Limits
from keybound.core.reasons import Reason
from keybound.core.terms import ChainPolicy
from keybound.testing.records import a_key


def an_identity(*, tenant="acme", request_tenant="acme", **limits):
    """Return the identity of a key with these limits."""
    key = a_key("key_1", tenant=tenant, limits=Limits(**limits))
    return Chain(key, {}, ChainPolicy()).identity(request_tenant)


def refused(demand, identity, *, method="GET", fields=None, said=None, strict=False):
    """Return why a demand is not met, ``None`` when it is."""
    try:
        met = demand.check(identity, method=method, fields=fields or {}, said=said, strict=strict)
    except RefusedError as error:
        return error.denied.reason
    assert met is identity
    return None


def test_whoever_calls_without_a_key_is_asked_for_one():
    """A demand is for a key, whatever else it asks."""
    assert refused(Demand(), None) is Reason.MISSING_CREDENTIALS


def test_a_key_without_limits_meets_a_demand_without_members():
    """To ask for a key is all that is asked."""
    assert refused(Demand(), an_identity()) is None


def test_every_scope_is_needed_and_all_are_named():
    """A denial carries all scopes of the demand, for the challenge."""
    demand = Demand.read("reports ui")
    assert refused(demand, an_identity(scopes=["reports", "ui", "more"])) is None
    with pytest.raises(RefusedError) as caught:
        demand.check(an_identity(scopes=["ui"]), method="GET", fields={})
    denied = caught.value.denied
    assert (denied.reason, denied.key) == (Reason.INSUFFICIENT_SCOPE, "key_1")
    assert denied.scopes == ("reports", "ui")
    assert "reports" not in str(caught.value)


@pytest.mark.parametrize(
    ("method", "access", "reason"),
    [
        ("GET", None, None),
        ("POST", None, Reason.MODEL_NOT_ALLOWED),
        ("POST", "read", None),
        ("GET", "write", Reason.MODEL_NOT_ALLOWED),
    ],
)
def test_a_model_is_read_or_written_as_said_or_by_the_method(method, access, reason):
    """What is said of the access counts before the method."""
    identity = an_identity(models={"invoice": "read"})
    assert refused(Demand.read(model="invoice", access=access), identity, method=method) is reason
    assert refused(Demand.read(model="invoice"), identity, method=method, said=access) is reason
    assert refused(Demand.read(model="device"), identity) is Reason.MODEL_NOT_ALLOWED


def test_a_key_that_only_reads_is_refused_what_is_said_to_write():
    """Also where the method seems to read."""
    reader = an_identity(read_only=True)
    assert refused(Demand.read(access="write"), reader) is Reason.METHOD_NOT_ALLOWED
    assert refused(Demand.read(access="read"), reader) is None


def test_a_view_that_nobody_decided_on_is_judged_by_what_is_unknown():
    """Its method says what it does, and whoever is limited in models needs one to be known."""
    reader, limited = an_identity(read_only=True), an_identity(models={"*": "read"})
    assert refused(Demand(), reader, method="POST") is None
    assert refused(Demand(), reader, method="POST", strict=True) is Reason.METHOD_NOT_ALLOWED
    assert refused(Demand(access="read"), reader, method="POST", strict=True) is None
    assert refused(Demand(), limited) is None
    assert refused(Demand(), limited, strict=True) is Reason.MODEL_UNRESOLVED
    assert refused(Demand(model="x"), limited, strict=True) is None
    assert refused(Demand(model="{x}"), limited, strict=True) is Reason.MODEL_UNRESOLVED
    assert refused(Demand(scopes=("a",)), limited, strict=True) is Reason.INSUFFICIENT_SCOPE
    assert refused(Demand(), an_identity(), method="POST", strict=True) is None


def test_a_model_is_filled_from_what_the_router_matched():
    """Without the field nobody can say what is asked for, so nobody may."""
    demand = Demand(model="{kind}")
    identity = an_identity(models={"invoice": "read"})
    assert refused(demand, identity, fields={"kind": "invoice"}) is None
    assert refused(demand, identity, fields={"kind": "device"}) is Reason.MODEL_NOT_ALLOWED
    assert refused(demand, identity) is Reason.MODEL_UNRESOLVED
    assert refused(demand, identity, fields={"kind": None}) is Reason.MODEL_UNRESOLVED


def test_a_tenant_is_that_of_the_request():
    """A view about another tenant than the decided one is refused, and so is an unknown one."""
    demand = Demand(tenant="{domain}")
    assert refused(demand, an_identity(), fields={"domain": "acme"}) is None
    assert refused(demand, an_identity(), fields={"domain": "evil"}) is Reason.TENANT_MISMATCH
    assert refused(demand, an_identity()) is Reason.TENANT_UNRESOLVED
    nowhere = an_identity(request_tenant=None)
    assert refused(demand, nowhere, fields={"domain": "acme"}) is Reason.TENANT_UNRESOLVED
    own = Demand(tenant="~")
    assert refused(own, an_identity()) is None
    assert refused(own, an_identity(request_tenant="beta")) is Reason.TENANT_MISMATCH
    assert refused(demand, an_identity(), fields={"domain": "~"}) is None
    segments = Demand(tenant="{domain}/{user}")
    fields = {"domain": "~", "user": "~"}
    assert refused(segments, an_identity(), fields=fields) is Reason.TENANT_UNRESOLVED


@pytest.mark.parametrize(
    ("members", "named"),
    [({"scopes": "a,b"}, "scopes"), ({"scopes": 7}, "scopes"), ({"access": "change"}, "access")],
    ids=str,
)
def test_a_demand_that_cannot_be_read_names_its_member(members, named):
    """As a route does."""
    with pytest.raises(InputError, match=f"^{named}"):
        Demand.read(**members)


def test_demands_on_one_view_hold_together():
    """Scopes add up, writing and requiring win, and what is said once is said."""
    together = joined(
        [
            Demand(scopes=("a",), auth="optional"),
            Demand(scopes=("b", "a"), model="invoice", access="read"),
            Demand(access="write", tenant="~"),
        ],
        path="/x",
    )
    assert together == Demand(scopes=("a", "b"), model="invoice", access="write", tenant="~")
    assert joined([Demand(auth="optional")], path="/x") == Demand(auth="optional")
    assert joined([], path="/x") is None


def test_demands_about_different_models_contradict_each_other():
    """The path and both models are named."""
    with pytest.raises(InputError, match="/x requires device and invoice"):
        joined([Demand(model="invoice"), Demand(model="device")], path="/x")


@pytest.mark.parametrize("model", ["body(model)", "bodies(model)", ["bill"]], ids=str)
def test_a_view_does_not_ask_for_what_a_body_names(model):
    """Bodies are read before there is a view, so a configured route says which fields count."""
    with pytest.raises(InputError, match="model"):
        Demand.read(model=model)
