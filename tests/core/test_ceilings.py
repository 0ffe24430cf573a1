"""Ceilings: a key never exceeds the keys above it, and the refusal says where it would."""

from __future__ import annotations

import pytest

from keybound.core.ceilings import check_ceilings, check_edit
from keybound.core.effects import Row
from keybound.core.errors import ExceedsCeilingError
from keybound.core.limits import Limits
from keybound.core.terms import ChainPolicy
from keybound.testing.records import a_group, a_key

PLAIN = ChainPolicy()


def rows(*nodes):
    """Return stored nodes by their ids."""
    return {node.id: Row(node, 1, None) for node in nodes}


def child(**members):
    """Return a key under ``key_parent``."""
    return a_key("key_child", parent="key_parent", **members)


@pytest.mark.parametrize(
    ("above", "asked", "dimension"),
    [
        ({"limits": Limits(methods=["GET"])}, {}, "methods"),
        ({"limits": Limits(read_only=True)}, {}, "read_only"),
        ({}, {"limits": Limits(scopes=["a"])}, "scopes"),
        ({"tenant": "acme"}, {}, "tenants"),
        ({"tenant": "acme"}, {"tenant": "globex"}, "tenants"),
        (
            {"tenant": "acme"},
            {"tenant": "globex", "limits": Limits(tenants=["acme"])},
            "tenant",
        ),
        ({"rights": ("keys:read",)}, {"rights": ("keys:read", "keys:write")}, "rights"),
        ({}, {"rights": ("can_issue",)}, "rights"),
        ({"owner": "u"}, {"owner": "v"}, "owner"),
        ({"owner": "u"}, {}, "owner"),
        ({"role": "r"}, {"role": "admin"}, "role"),
        ({"role": "r"}, {}, "role"),
    ],
)
def test_a_key_that_exceeds_its_parent_is_refused_by_dimension(above, asked, dimension):
    """Limits, home tenant, rights, owner and role must all lie within the parent's."""
    with pytest.raises(ExceedsCeilingError) as caught:
        check_ceilings(child(**asked), rows(a_key("key_parent", **above)), PLAIN)
    assert (caught.value.node, caught.value.dimension) == ("key_parent", dimension)


@pytest.mark.parametrize(
    ("above", "asked"),
    [
        ({}, {}),
        ({}, {"owner": "u", "role": "r", "tenant": "acme"}),
        ({"owner": "u", "role": "r"}, {"owner": "u", "role": "r"}),
        ({"tenant": "acme"}, {"tenant": "acme/7"}),
        ({"rights": ("keys:read",)}, {"rights": ("keys:read",)}),
        ({"limits": Limits(scopes=["a", "b"])}, {"limits": Limits(scopes=["a"])}),
        ({}, {"groups": ("group_1",)}),
    ],
)
def test_a_key_within_its_parent_is_fine(above, asked):
    """As much, or less, and any group."""
    check_ceilings(child(**asked), rows(a_key("key_parent", **above)), PLAIN)


def test_a_grandparent_limits_but_does_not_name_the_members():
    """Limits and rights hold up the whole line; owner and role are those of the parent."""
    line = rows(a_key("key_parent", owner="v"), a_key("key_grand", owner="u"))
    check_ceilings(child(owner="v"), line, PLAIN)
    line |= rows(a_key("key_grand", limits=Limits(methods=["GET"])))
    with pytest.raises(ExceedsCeilingError, match="key_grand"):
        check_ceilings(child(owner="v"), line, PLAIN)


def test_a_group_is_no_ceiling_at_issue():
    """It is checked on every request instead, for the child as for the parent."""
    above = rows(a_key("key_parent"), a_group("group_1", limits=Limits(methods=["GET"])))
    check_ceilings(child(groups=("group_1",)), above, PLAIN)


def test_a_key_without_a_parent_has_no_ceiling_at_an_edit():
    """Whoever changes a root key sets the ceiling."""
    before = a_key("key_1", limits=Limits(methods=["GET"]))
    check_edit(a_key("key_1"), before, {}, PLAIN)


def test_narrowing_is_welcome_even_when_the_parent_has_become_narrower_still():
    """Taking away never fails for what somebody else took away before."""
    above = rows(a_key("key_parent", limits=Limits(methods=["GET"])))
    before = child(limits=Limits(networks=["10.0.0.0/8"]))
    check_edit(child(limits=Limits(networks=["10.1.0.0/16"])), before, above, PLAIN)


@pytest.mark.parametrize(
    "change", [{"owner": "v"}, {"role": "v"}, {"tenant": "globex"}, {"limits": Limits()}]
)
def test_an_edit_is_held_to_the_ceilings_of_the_issue(change):
    """What could not be issued cannot be had by changing it later."""
    above = rows(
        a_key("key_parent", tenant="acme", owner="u", role="r", limits=Limits(methods=["GET"]))
    )
    members = {"tenant": "acme", "owner": "u", "role": "r", "limits": Limits(methods=["GET"])}
    with pytest.raises(ExceedsCeilingError):
        check_edit(child(**(members | change)), child(**members), above, PLAIN)
