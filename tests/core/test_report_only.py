"""Nodes that only report: what they soften, what they never do, and who is told."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pytest

from keybound import Guard
from keybound.core.ceilings import check_ceilings, check_edit
from keybound.core.chain import Chain
from keybound.core.decision import Allowed, Denied, decide
from keybound.core.demands import Demand
from keybound.core.edits import amendment
from keybound.core.effects import Row
from keybound.core.errors import ExceedsCeilingError, InputError, RefusedError
from keybound.core.explain import Explanation, explain
from keybound.core.facts import RequestFacts, pack_address
from keybound.core.issuing import NewKey, create_group, issue
from keybound.core.limits import DIMENSIONS, Limits, Networks
from keybound.core.nodes import decode_node, encode_node
from keybound.core.reasons import LIMIT_REASONS, Reason
from keybound.core.rights import REPORT_ONLY, RIGHTS, SOFTENED
from keybound.core.terms import ChainPolicy
from keybound.engine import Engine
from keybound.settings import Settings
from keybound.stores.memory import MemoryStore
from keybound.testing.clock import START, FakeClock
from keybound.testing.records import a_group, a_key

RIGHT = (REPORT_ONLY,)
NOW = START.timestamp()  # a Thursday, 00:00 UTC
POST = RequestFacts(
    method="POST",
    path="/x",
    address=pack_address("10.0.0.1"),
    tenant="acme",
    model="invoice",
    scopes=("a",),
    in_header=False,
)
SOFT: dict[Reason, dict[str, object]] = {
    Reason.NETWORK_NOT_ALLOWED: {"networks": "192.168.0.0/16", "scopes": "a"},
    Reason.METHOD_NOT_ALLOWED: {"methods": "GET", "scopes": "a"},
    Reason.INSUFFICIENT_SCOPE: {"scopes": "b"},
    Reason.OUTSIDE_TIME_WINDOW: {"hours": "mon 08:00-18:00 UTC", "scopes": "a"},
    Reason.MODEL_NOT_ALLOWED: {"models": {"order": "write"}, "scopes": "a"},
}


def chain(key, *above, **policy):
    """Return the chain of a key with these nodes above."""
    return Chain(key, {node.id: node for node in above}, ChainPolicy(**policy))


def a_reporter(limits=None, **members):
    """Return a key that only reports, in no tenant."""
    return a_key("key_1", rights=RIGHT, limits=Limits.read(limits or {}), **members)


# --------------------------------------------------------------------------------- what it softens


@pytest.mark.parametrize("reason", SOFT, ids=str)
def test_a_refusal_of_its_own_limits_is_reported_and_passes(reason):
    """The same key without the right is refused for what is reported with it."""
    limits = SOFT[reason]
    denied = decide(chain(a_key("key_1", limits=Limits.read(limits))), POST, NOW)
    allowed = decide(chain(a_reporter(limits)), POST, NOW)
    assert (denied.reason, denied.check.node) == (reason, "key_1")
    assert allowed.reported == (denied,)
    assert allowed.identity.key_id == "key_1"
    assert (allowed.begins, allowed.ends) == (NOW, NOW), "so that the next one is reported too"


def test_reading_only_is_softened_as_methods_are():
    """Its refusal is that of a method."""
    allowed = decide(chain(a_reporter({"read_only": True, "scopes": "a"})), POST, NOW)
    assert [denied.reason for denied in allowed.reported] == [Reason.METHOD_NOT_ALLOWED]


def test_every_refusal_is_reported_in_the_order_of_the_checks():
    """Whoever is about to enforce a limit sees all that it would refuse."""
    limits = {name: value for each in SOFT.values() for name, value in each.items()}
    allowed = decide(chain(a_reporter(limits | {"scopes": "b"})), POST, NOW)
    assert [denied.reason for denied in allowed.reported] == [
        Reason.NETWORK_NOT_ALLOWED,
        Reason.METHOD_NOT_ALLOWED,
        Reason.INSUFFICIENT_SCOPE,
        Reason.OUTSIDE_TIME_WINDOW,
        Reason.MODEL_NOT_ALLOWED,
    ]
    assert [denied.scopes for denied in allowed.reported] == [(), (), ("a",), (), ()]


def test_a_key_that_would_pass_is_decided_as_any_other():
    """Nothing is reported, and the decision holds as long as it would."""
    limits = {"methods": "POST", "scopes": "a", "expires_at": "2027-01-01T00:00:00Z"}
    plain, reporter = chain(a_key("key_1", limits=Limits.read(limits))), chain(a_reporter(limits))
    one, other = decide(plain, POST, NOW), decide(reporter, POST, NOW)
    assert (one.reported, other.reported) == ((), ())
    assert (one.begins, one.ends) == (other.begins, other.ends) == (reporter.begins, reporter.ends)


@pytest.mark.parametrize(
    ("limits", "facts", "reason"),
    [
        ({"tenants": "globex"}, {}, Reason.TENANT_MISMATCH),
        ({"tenants": "acme"}, {"tenant": None}, Reason.TENANT_UNRESOLVED),
        ({"networks": "10.0.0.0/8"}, {"address": None}, Reason.NETWORK_UNKNOWN),
        ({"models": "invoice"}, {"model": None}, Reason.MODEL_UNRESOLVED),
        ({"header_only": True}, {}, Reason.CREDENTIAL_NOT_ALLOWED),
        ({"expires_at": "2025-01-01T00:00:00Z"}, {}, Reason.EXPIRED),
        ({"not_before": "2027-01-01T00:00:00Z"}, {}, Reason.NOT_YET_VALID),
    ],
    ids=str,
)
def test_nothing_else_is_softened(limits, facts, reason):
    """A tenant, what is unresolved, where the key came from, and a dead key are refused."""
    asked = {name: getattr(POST, name) for name in POST.__struct_fields__} | facts
    key = a_reporter({"scopes": "a"} | limits)
    denied = decide(chain(key), RequestFacts(**asked), NOW)
    assert isinstance(denied, Denied)
    assert denied.reason is reason


@pytest.mark.parametrize(
    "members", [{"enabled": False}, {"revoked_at": START}], ids=["disabled", "revoked"]
)
def test_a_dead_node_is_dead(members):
    """To report only is nothing that a disabled or revoked key, or a group, still has."""
    assert isinstance(decide(chain(a_reporter({"scopes": "a"}, **members)), POST, NOW), Denied)
    key = a_reporter({"scopes": "a"}, groups=("group_1",))
    assert isinstance(decide(chain(key, a_group("group_1", **members)), POST, NOW), Denied)
    assert isinstance(decide(chain(key), POST, NOW), Denied), "nor has one that is gone"


def test_a_stored_limit_that_cannot_be_read_is_not_softened():
    """Nobody knows what it means, nor how much would pass."""
    limits = Limits.load({"networks": [["nowhere"]], "scopes": [["a"]]})
    denied = decide(chain(a_key("key_1", rights=RIGHT, limits=limits)), POST, NOW)
    assert denied.reason is Reason.LIMIT_INVALID


@dataclass(frozen=True, slots=True)
class Stricter(Networks):
    """A dimension of a site's own that is made of one of ours, and refuses in its words."""

    dimension = "stricter"

    def permits(self, _facts, _now):
        """Refuse."""
        return False


def test_a_dimension_of_a_site_is_not_softened():
    """Whatever class it is made of, and whatever reason it gives."""
    limits = Limits(scopes=["a"]).meet(Limits.of_clauses([Stricter(frozenset())]))
    denied = decide(chain(a_key("key_1", rights=RIGHT, limits=limits)), POST, NOW)
    assert denied.reason is Reason.NETWORK_NOT_ALLOWED


def test_what_is_softened_are_reasons_of_dimensions_of_ours():
    """The table names no unresolved, dead or invalid one."""
    assert set(SOFTENED) <= set(DIMENSIONS.values())
    assert set(SOFTENED.values()) == set(SOFT) <= LIMIT_REASONS


def test_a_node_softens_its_own_limits_alone():
    """Neither does a key soften its groups and parents, nor they it."""
    strict = Limits(methods=["GET"])
    key = a_reporter({"scopes": "a"}, groups=("group_1",))
    group = a_group("group_1", limits=strict)
    assert decide(chain(key, group), POST, NOW).check.node == "group_1"
    key = a_key("key_1", limits=strict.meet(Limits(scopes=["a"])), groups=("group_1",))
    assert decide(chain(key, a_group("group_1", rights=RIGHT)), POST, NOW).check.node == "key_1"
    child = a_reporter({"scopes": "a"}, parent="key_2")
    parent = a_key("key_2", limits=Limits(scopes=["a"]).meet(strict))
    assert decide(chain(child, parent), POST, NOW).check.node == "key_2"


def test_a_group_reports_for_every_key_in_it():
    """And the report names the group."""
    group = a_group("group_1", rights=RIGHT, limits=Limits(methods=["GET"]))
    key = a_key("key_1", limits=Limits(scopes=["a"]), groups=("group_1",))
    (denied,) = decide(chain(key, group), POST, NOW).reported
    assert (denied.key, denied.check.node, denied.check.kind) == ("key_1", "group_1", "group")


# ---------------------------------------------------------------------------- what a view is told


def test_a_view_is_held_to_what_was_decided():
    """What passed before the application runs does not fail within it."""
    limits = {"scopes": "b", "models": {"order": "read"}, "read_only": True}
    found = decide(chain(a_reporter(limits)), POST, NOW).identity
    assert found.has_scope("a")
    assert "a" in found.auth.scopes
    assert found.permits(model="invoice")
    assert not found.read_only
    demand = Demand.read("a", model="invoice", access="write")
    assert demand.check(found, method="POST", fields={}, strict=True) is found
    assert found.scopes == {"b"}, "what was granted is not more for that"


def test_a_view_whose_model_is_unknown_is_refused_all_the_same():
    """That a key is limited in models is not softened, only which they are."""
    found = decide(chain(a_reporter({"scopes": "a", "models": "invoice"})), POST, NOW).identity
    assert found.limited_in_models
    with pytest.raises(RefusedError) as caught:
        Demand().check(found, method="POST", fields={}, strict=True)
    assert caught.value.denied.reason is Reason.MODEL_UNRESOLVED


def test_limits_of_other_nodes_bind_a_view():
    """Those of a key in a group that reports, and those of a group above a key that does."""
    group = a_group("group_1", rights=RIGHT, limits=Limits(scopes=["b"], read_only=True))
    key = a_key("key_1", limits=Limits(scopes=["a"], models="invoice"), groups=("group_1",))
    found = decide(chain(key, group), POST, NOW).identity
    assert [found.has_scope(name) for name in "abc"] == [True, False, False]
    assert found.auth.scopes == ("authenticated", "a")
    assert found.scopes == frozenset()
    assert not found.permits(model="order")
    group = a_group("group_1", limits=Limits(scopes=["a"], models="invoice"))
    found = decide(chain(a_reporter({}, groups=("group_1",)), group), POST, NOW).identity
    assert [found.has_scope(name) for name in "ab"] == [True, False]
    assert found.auth.scopes == ("authenticated", "a")
    assert not found.permits(model="order")


def test_keys_with_the_same_limits_are_told_apart():
    """One reports and the other refuses, though what their limits come to is shared."""
    limits = Limits(methods=["GET"])
    for rights in ((), RIGHT, ()):
        decision = decide(chain(a_key("key_1", limits=limits, rights=rights)), POST, NOW)
        assert isinstance(decision, Allowed) is bool(rights)


# ------------------------------------------------------------------------------------ explanations


def test_an_explanation_shows_what_is_reported():
    """As such, with no mend: it is not what refuses the request."""
    key = a_reporter({"methods": "GET"}, tenant="globex")
    steps = explain(chain(key), POST, NOW)
    told = {step.check: (step.refused, step.reported, step.mend is None) for step in steps}
    assert told == {
        "state": (None, None, True),
        "tenants": (Reason.TENANT_MISMATCH, None, False),
        "methods": (None, Reason.METHOD_NOT_ALLOWED, True),
        "scopes": (None, Reason.INSUFFICIENT_SCOPE, True),
    }
    assert Explanation(key="key_1", facts=POST, steps=steps).reason is Reason.TENANT_MISMATCH
    steps = explain(chain(a_reporter({"methods": "GET"})), POST, NOW)
    assert Explanation(key="key_1", facts=POST, steps=steps).reason is None


# ----------------------------------------------------------------------------------------- records


def test_a_group_without_rights_is_stored_as_it_was_before_there_were_any():
    """Stores of earlier versions are read, and what needs nothing new is read by them."""
    plain, reporter = a_group("group_1"), a_group("group_1", rights=RIGHT)
    assert "rights" not in json.loads(encode_node(plain))
    assert decode_node(encode_node(plain)).rights == ()
    assert decode_node(encode_node(reporter)) == reporter
    assert "rights" in json.loads(encode_node(a_key("key_1")))


# --------------------------------------------------------------------------------- how it is given


def test_rights_are_given_by_name_to_who_can_have_them(world):
    """A group only reports; a key may have others as well."""
    asked: dict[str, Any] = {"name": "g", "tenant": None, "limits": Limits(), "metadata": {}}
    group = world.do(create_group(world.site, **asked, rights=(REPORT_ONLY,) * 2)).node
    assert group.rights == RIGHT
    assert RIGHTS["group"] == {REPORT_ONLY} < RIGHTS["key"]
    with pytest.raises(InputError, match="rights: can_issue unknown for a group; known: report"):
        world.do(create_group(world.site, **asked, rights=("can_issue",)))
    for node in (group, a_key("key_1", rights=RIGHT)):
        assert amendment({}, {})(node, START).rights == RIGHT
        assert amendment({}, {}, rights=())(node, START).rights == ()
        with pytest.raises(InputError, match=f"root unknown for a {node.kind}"):
            amendment({}, {}, rights=("root",))(node, START)


def test_a_child_does_not_report_because_its_parent_does(world):
    """It has to be said of each."""
    parent = world.do(issue(world.site, NewKey(name="p", rights=RIGHT)))
    assert world.do(issue(world.site, NewKey(name="c", parent=parent.id))).key.rights == ()


def test_reporting_is_not_held_to_the_parent():
    """It opens nothing that the parent refuses, whose limits are checked as well."""
    above = {"key_2": Row(a_key("key_2", rights=("keys:read",)), 1, None)}
    child = a_key("key_1", parent="key_2", rights=("keys:read", REPORT_ONLY))
    check_ceilings(child, above, ChainPolicy())
    above = {"key_2": Row(a_key("key_2", limits=Limits(methods=["GET"])), 1, None)}
    before, after = (a_key("key_1", parent="key_2", rights=each) for each in ((), RIGHT))
    check_edit(after, before, above, ChainPolicy())
    with pytest.raises(ExceedsCeilingError, match="rights"):
        check_ceilings(child, {"key_2": Row(a_key("key_2"), 1, None)}, ChainPolicy())


def test_a_guard_reports_every_single_request():
    """Also one that was reported a moment ago; taking the right away refuses the next."""
    settings = Settings.load({"database": "memory://"})
    guard = Guard(Engine(settings, MemoryStore(), FakeClock(), background=False))
    group = guard.create_group(name="g", limits={"methods": "GET"}, rights=[REPORT_ONLY]).node
    issued = guard.issue(name="k", limits={"read_only": True}, groups=[group.id], rights=RIGHT)
    raw = b"Bearer " + issued.secret.reveal().encode()
    for _ in range(3):
        reported = guard.authorize("POST", "/", None, raw).reported
        assert [denied.check.node for denied in reported] == [group.id, issued.id]
    guard.update(group.id, rights=[])
    assert guard.authorize("POST", "/", None, raw).check.node == group.id
    guard.update(group.id, rights=[REPORT_ONLY], limits={"methods": "*"})
    guard.update(issued.id, rights=())
    assert guard.authorize("POST", "/", None, raw).check.node == issued.id
    guard.close()
