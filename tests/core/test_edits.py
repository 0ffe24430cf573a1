"""Edits: what a change does to a node, as pure functions."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from keybound.core.edits import activation, amendment, restriction, revocation
from keybound.core.errors import InputError, LimitError
from keybound.core.limits import Limits
from keybound.core.terms import ChainPolicy
from keybound.testing.records import a_group, a_key

NOW = datetime(2026, 1, 2, tzinfo=UTC)
LATER = datetime(2026, 1, 3, tzinfo=UTC)
PLAIN = ChainPolicy()


@pytest.mark.parametrize("tenancy", [False, True])
def test_restricting_the_tenants_of_a_key_that_has_none_is_refused(tenancy):
    """Without a home or tenants there is nothing to narrow, and adding some might widen."""
    edit = restriction(Limits(tenants=["acme"]), ChainPolicy(tenancy=tenancy))
    with pytest.raises(InputError, match="key_1 has none to narrow, nor a home"):
        edit(a_key("key_1"), NOW)


@pytest.mark.parametrize(
    ("node", "tenants"),
    [
        (a_key("key_1", tenant="acme"), "acme, globex; and acme"),
        (a_key("key_1", limits=Limits(tenants="*")), "*; and acme, globex"),
        (a_group("group_1"), "acme, globex"),
    ],
    ids=["home", "all", "group"],
)
def test_a_restriction_keeps_what_absence_meant(node, tenants):
    """A home tenant stays the only one; a group without tenants may get some."""
    edit = restriction(Limits(tenants=["acme", "globex"]), PLAIN)
    assert edit(node, NOW).limits.describe()["tenants"] == tenants


def test_restricting_scopes_grants_none():
    """A key without scopes has none, before and after."""
    changed = restriction(Limits(scopes=["a"]), PLAIN)(a_key("key_1"), NOW)
    assert Limits(scopes=[]) in [Limits.of_clauses([each]) for each in changed.limits]


def test_a_revoked_node_stays_revoked():
    """Enabling is refused, disabling is allowed, and the first moment of revoking stays."""
    revoked = revocation()(a_key("key_1"), NOW)
    assert revoked.revoked_at == NOW
    assert revocation()(revoked, LATER).revoked_at == NOW
    with pytest.raises(InputError, match="for ever"):
        activation(enabled=True)(revoked, LATER)
    assert activation(enabled=False)(revoked, LATER).enabled is False


def test_disabling_and_enabling_are_each_others_inverse():
    """Nothing else changes."""
    key = a_key("key_1", owner="u")
    disabled = activation(enabled=False)(key, NOW)
    assert disabled.enabled is False
    assert activation(enabled=True)(disabled, NOW) == key


@pytest.mark.parametrize("member", ["owner", "role"])
def test_a_member_that_the_kind_of_node_does_not_have_is_refused(member):
    """Saying the owner of a group is a mistake, not a no-op."""
    with pytest.raises(InputError, match=f"{member}: is not a member of a group"):
        amendment({member: "u"}, {})(a_group("group_1"), NOW)


def test_an_amendment_sets_what_it_names_and_keeps_the_rest():
    """``None`` takes a member away where there may be none."""
    key = a_key("key_1", owner="u", role="r", limits=Limits(methods=["GET"], scopes=["a"]))
    changed = amendment({"owner": None, "name": "new"}, {"methods": "*"})(key, NOW)
    assert (changed.owner, changed.name, changed.role) == (None, "new", "r")
    assert changed.limits == Limits(scopes=["a"])
    changed = amendment({}, Limits(methods=["POST"]))(key, NOW)
    assert changed.limits == Limits(methods=["POST"], scopes=["a"])


def test_an_expiry_is_counted_from_the_moment_of_the_change():
    """And the other moment of the lifetime stays."""
    key = a_key("key_1", limits=Limits(not_before=NOW))
    changed = amendment({}, {}, expires_for=86_400)(key, NOW)
    assert changed.limits == Limits(not_before=NOW, expires_at=LATER)


@pytest.mark.parametrize(
    ("members", "limits"),
    [
        ({"name": ""}, {}),
        ({"name": None}, {}),
        ({"tenant": "*"}, {}),
        ({"owner": "a\nb"}, {}),
        ({"metadata": []}, {}),
        ({}, {"modles": []}),
        ({}, {"methods": None}),
    ],
)
def test_what_cannot_be_used_is_refused(members, limits):
    """An amendment is checked as an issue is."""
    with pytest.raises((InputError, LimitError)):
        amendment(members, limits)(a_key("key_1"), NOW)
