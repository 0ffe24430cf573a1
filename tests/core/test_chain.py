"""Chains: the key and every node above it, compiled once, never flattened."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from keybound.core import terms
from keybound.core.chain import CHAIN_MAX, Chain, State, kind_of
from keybound.core.decision import Allowed, decide
from keybound.core.errors import LimitError, RecordCorruptError
from keybound.core.facts import RequestFacts
from keybound.core.limits import Limits
from keybound.core.reasons import Reason
from keybound.core.terms import ChainPolicy, effective_limits
from keybound.testing.records import a_group, a_key

PLAIN = ChainPolicy()
GET = RequestFacts(method="GET", path="/", access="read")
WHEN = datetime(2026, 1, 2, tzinfo=UTC)


def chain(key, *above, policy=PLAIN):
    """Return the chain of a key and the nodes above it."""
    return Chain(key, {node.id: node for node in above}, policy)


def test_nearest_ceilings_come_first_and_each_node_once():
    """The order is the key, its parent, its groups, then theirs: breadth first."""
    key = a_key("key_1", parent="key_2", groups=("group_1",))
    parent = a_key("key_2", parent="key_3", groups=("group_1", "group_2"))
    above = (a_group("group_1"), a_group("group_2"), a_key("key_3"))
    found = chain(key, parent, *above)
    assert list(found.nodes) == ["key_1", "key_2", "group_1", "key_3", "group_2"]


def test_every_node_is_alive_before_anything_else_is_checked():
    """States and lifetimes of all nodes, then the other dimensions in their order."""
    limits = Limits(methods=["GET"], expires_at="2027-01-01T00:00:00Z")
    found = chain(a_key("key_1", groups=("group_1",), limits=limits), a_group("group_1"))
    assert [(check.clause.dimension, check.node) for check in found.checks] == [
        ("state", "key_1"),
        ("lifetime", "key_1"),
        ("state", "group_1"),
        ("methods", "key_1"),
        ("scopes", "key_1"),
    ]


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ({"enabled": False}, Reason.DISABLED),
        ({"revoked_at": WHEN}, Reason.REVOKED),
        ({"enabled": False, "revoked_at": WHEN}, Reason.REVOKED),
        (None, Reason.REVOKED),
    ],
)
@pytest.mark.parametrize("place", ["parent", "groups"])
def test_a_dead_or_missing_node_anywhere_denies(place, members, reason):
    """A node that is gone counts as revoked: never as no ceiling."""
    make, node_id = (a_key, "key_2") if place == "parent" else (a_group, "group_2")
    key = a_key("key_1", **{place: node_id if place == "parent" else (node_id,)})
    above = () if members is None else (make(node_id, **members),)
    denied = decide(chain(key, *above), GET, WHEN.timestamp())
    assert (denied.reason, denied.check.node, denied.check.kind) == (
        reason,
        node_id,
        node_id.partition("_")[0],
    )


def test_a_state_is_no_limit_that_anybody_writes():
    """It is shown and compared like a clause, and never read as one."""
    with pytest.raises(LimitError, match="enable, disable or revoke"):
        State.parse("enabled")
    alive, disabled, revoked = State(True, False), State(False, False), State(True, True)  # noqa: FBT003
    assert [each.describe() for each in (alive, disabled, revoked)] == [
        "enabled",
        "disabled",
        "revoked",
    ]
    assert alive.covers(State(True, False))  # noqa: FBT003
    assert not alive.covers(revoked)
    assert revoked.dump() == {"enabled": True, "revoked": True}


def test_a_key_that_stands_above_itself_is_corrupt():
    """A cycle, however long, is never walked as if it were a chain."""
    with pytest.raises(RecordCorruptError, match="stands above itself"):
        chain(a_key("key_1", parent="key_1"))
    with pytest.raises(RecordCorruptError, match="stands above itself"):
        chain(a_key("key_1", parent="key_2"), a_key("key_2", parent="key_1"))
    with pytest.raises(RecordCorruptError, match="stands above itself"):
        chain(a_key("key_1", groups=("key_1",)))


def test_a_cycle_above_the_key_is_corrupt():
    """Corrupt parents permit nothing, although the key is no part of their cycle."""
    first, second = a_key("key_2", parent="key_3"), a_key("key_3", parent="key_2")
    with pytest.raises(RecordCorruptError, match="key_2 stands above itself"):
        chain(a_key("key_1", parent="key_2"), first, second)
    with pytest.raises(RecordCorruptError, match="key_2 stands above itself"):
        chain(a_key("key_1", parent="key_2"), a_key("key_2", parent="key_2"))


def test_a_group_of_a_key_and_of_its_parent_is_there_once():
    """A child is in the groups of its maker: that is no cycle."""
    group = a_group("grp_1")
    parent = a_key("key_2", groups=("grp_1",))
    assert len(chain(a_key("key_1", parent="key_2", groups=("grp_1",)), parent, group).nodes) == 3


def line(length):
    """Return a key and its line of parents, ``length`` nodes in all."""
    return [
        a_key(f"key_{n}", parent=f"key_{n + 1}" if n + 1 < length else None) for n in range(length)
    ]


def test_the_longest_chain_is_read_and_one_more_node_is_corrupt():
    """The bound counts the key."""
    assert len(chain(*line(CHAIN_MAX)).nodes) == CHAIN_MAX
    with pytest.raises(RecordCorruptError, match=f"more than {CHAIN_MAX} nodes"):
        chain(*line(CHAIN_MAX + 1))


@pytest.mark.parametrize(
    ("key", "tenancy", "tenants"),
    [
        ({"tenant": "acme"}, False, "acme"),
        ({"tenant": "acme"}, True, "acme"),
        ({}, True, "none"),
        ({}, False, None),
        ({"tenant": "acme", "limits": Limits(tenants="*")}, True, "*"),
    ],
)
def test_a_key_without_tenants_has_its_home_tenant(key, tenancy, tenants):
    """With tenancy, a key without either reaches no tenant at all."""
    limits = effective_limits(a_key("key_1", **key), ChainPolicy(tenancy=tenancy))
    assert limits.describe().get("tenants") == tenants


def test_a_key_without_scopes_has_none_and_a_group_limits_none():
    """Scopes are only had by name; what a group leaves out it does not limit."""
    assert effective_limits(a_key("key_1"), PLAIN).describe()["scopes"] == "none"
    assert effective_limits(a_group("group_1"), PLAIN) == Limits()


def test_a_star_among_scopes_is_every_scope_only_where_the_site_says_so():
    """Without the setting it is a name like any other."""
    key = a_key("key_1", limits=Limits(scopes=["*"]))
    asked = RequestFacts(method="GET", path="/", access="read", scopes=("a",))
    assert not isinstance(decide(chain(key), asked, 0.0), Allowed)
    wide = chain(key, policy=ChainPolicy(wildcard_scopes=True))
    identity = decide(wide, asked, 0.0).identity
    assert identity.has_scope("anything")
    assert "anything" in identity.auth.scopes


def test_a_decision_holds_between_the_last_begin_and_the_first_end():
    """Of all lifetimes of the chain."""
    key = a_key("key_1", groups=("group_1",), limits=Limits(not_before=WHEN))
    ends = datetime(2027, 1, 1, tzinfo=UTC)
    found = chain(key, a_group("group_1", limits=Limits(expires_at=ends)))
    assert (found.begins, found.ends) == (WHEN.timestamp(), ends.timestamp())
    assert found.identity(None).expires_at == ends
    assert chain(a_key("key_1")).identity(None).expires_at is None


def test_one_identity_serves_many_requests_and_they_do_not_pile_up():
    """A client that invents tenants cannot fill the memory."""
    found = chain(a_key("key_1", limits=Limits(tenants="*")))
    first = found.identity("t0")
    assert found.identity("t0") is first
    for number in range(200):
        assert found.identity(f"t{number}").request_tenant == f"t{number}"
    assert found.identity("t0") == first


def test_the_kind_of_a_missing_node_is_in_its_id():
    """A refusal names a group as a group, even one that is gone."""
    assert kind_of("group_x", None) == "group"
    assert kind_of("anything", a_key("key_1")) == "key"


def test_keys_with_the_same_limits_share_what_those_come_to(monkeypatch):
    """Of one tenant; and what is remembered of others has an end."""
    monkeypatch.setattr(terms, "TERMS_MAX", 10)
    limits = Limits(methods=["GET"])
    one, two = (chain(a_key(name, tenant="acme", limits=limits)) for name in ("key_1", "key_2"))
    assert all(mine is its for mine, its in zip(one.clauses, two.clauses, strict=True))
    assert [check.node for check in one.checks] == ["key_1"] * len(one.checks)
    for number in range(25):
        found = chain(a_key("key_3", tenant=f"tenant-{number}", limits=limits))
        assert found.identity(None).tenant == f"tenant-{number}"
        assert decide(found, RequestFacts(method="GET", path="/"), 0.0).reason is (
            Reason.TENANT_UNRESOLVED
        )
    assert len(limits.compiled) <= 10


def test_lifetimes_above_a_key_bound_what_is_decided_of_it():
    """The first to end ends the chain, whoever shares the other limits."""
    limits = Limits(methods=["GET"], scopes=["a"])
    groups = [
        a_group(f"group_{year}", limits=limits.meet(Limits(expires_at=f"{year}-01-01T00:00:00Z")))
        for year in (2030, 2027, 2029)
    ]
    key = a_key("key_1", groups=tuple(each.id for each in groups), limits=limits)
    found = chain(key, *groups)
    assert found.ends == datetime(2027, 1, 1, tzinfo=UTC).timestamp()
    denied = decide(found, GET, found.ends)
    assert (denied.reason, denied.check.node) == (Reason.EXPIRED, "group_2027")
    assert isinstance(decide(found, GET, found.ends - 1), Allowed)
