"""Issuing: how keys and groups come to be, never wider than what they are issued under."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from keybound.core.edits import activation, amendment, revocation
from keybound.core.effects import Commit, Put, absence_id
from keybound.core.errors import (
    ConflictError,
    ExceedsCeilingError,
    InputError,
    NotFoundError,
)
from keybound.core.issuing import NewKey, create_group, issue
from keybound.core.lifecycle import ATTEMPTS, edit
from keybound.core.limits import Limits
from keybound.core.nodes import Group
from keybound.stores.memory import MemoryStore
from keybound.testing.records import commit, row_of


class Restless(MemoryStore):
    """A store in which somebody changes a node just before each of the next commits."""

    restless = 0
    node = ""
    change = staticmethod(lambda node: node)

    def perform(self, effect):
        """Let the other one be faster."""
        if isinstance(effect, Commit) and self.restless:
            self.others()
        return super().perform(effect)

    def others(self):
        """Change the node as somebody else."""
        self.restless, left = 0, self.restless - 1
        row = row_of(self, self.node)
        commit(self, Put(node=self.change(row.node), expected=row.rev))
        self.restless = left


@pytest.fixture
def busy(make_world):
    """Return a world with a parent key, and a store that others change."""
    world = make_world(Restless())
    world.parent = issued(world, name="parent")
    world.store.node = world.parent.id
    return world


def issued(world, **asked):
    """Return a key issued in a world."""
    return world.do(issue(world.site, NewKey(**({"name": "k"} | asked))))


def grouped(world, **limits):
    """Return a group made in a world."""
    steps = create_group(world.site, name="g", tenant=None, limits=Limits(**limits), metadata={})
    return world.do(steps).node


def test_a_parent_that_is_changed_meanwhile_is_read_again(busy):
    """The child is checked against the parent as it is when the child comes to be."""
    busy.store.restless = 1
    child = issued(busy, parent=busy.parent.id)
    assert child.key.parent == busy.parent.id
    assert busy.store.restless == 0


def test_a_parent_that_is_revoked_meanwhile_gets_no_child(busy):
    """Nobody issues under a key that ended between the look and the write."""
    busy.store.restless = 1
    busy.store.change = lambda node: revocation()(node, busy.clock.now)
    with pytest.raises(InputError, match="disabled or revoked"):
        issued(busy, parent=busy.parent.id)


def test_a_parent_that_is_changed_all_the_time_ends_in_a_conflict(busy):
    """It is tried a few times, and then said; nothing was written."""
    busy.store.restless = ATTEMPTS
    with pytest.raises(ConflictError):
        issued(busy, parent=busy.parent.id)
    busy.store.restless = ATTEMPTS - 1
    assert issued(busy, parent=busy.parent.id)


def test_a_key_is_no_group(world):
    """A key named as a group would be a ceiling that nobody checks at issue."""
    key = issued(world)
    with pytest.raises(InputError, match=f"{key.id} is a key; name groups"):
        issued(world, groups=(key.id,))


def test_a_group_is_no_parent(world):
    """And the other way round."""
    group = grouped(world)
    with pytest.raises(InputError, match="is a group; name a key"):
        issued(world, parent=group.id)


@pytest.mark.parametrize("ends", [activation(enabled=False), revocation()], ids=["off", "revoked"])
@pytest.mark.parametrize("place", ["parent", "groups"])
def test_nothing_is_issued_under_what_is_not_alive(world, place, ends):
    """Nor under something that stands below it."""
    node = issued(world).key if place == "parent" else grouped(world)
    below = issued(world, **{place: node.id if place == "parent" else (node.id,)})
    world.do(edit(world.site, node.id, ends))
    for parent in (below.id, node.id) if place == "parent" else (below.id,):
        with pytest.raises(InputError, match=f"{node.id} is disabled or revoked"):
            issued(world, parent=parent)


def test_what_does_not_exist_cannot_be_issued_under(world):
    """Parents and groups are named as missing."""
    for asked in ({"parent": "key_none"}, {"groups": ("group_none",)}):
        with pytest.raises(NotFoundError, match="_none"):
            issued(world, **asked)


@pytest.mark.parametrize(
    "asked",
    [
        {"owner": "v"},
        {"role": "admin"},
        {"tenant": "globex"},
        {"rights": ("keys:write",)},
        {"expires_for": 2 * 86_400.0},
        {"limits": Limits(scopes=["b"])},
        {"limits": Limits(tenants="*")},
    ],
    ids=str,
)
def test_a_child_that_asks_for_more_than_its_parent_is_refused(world, asked):
    """Owner, role, home tenant, rights, lifetime and every limit."""
    parent = issued(
        world,
        owner="u",
        role="r",
        tenant="acme",
        rights=("keys:read",),
        expires_for=86_400.0,
        limits=Limits(scopes=["a"]),
    )
    with pytest.raises(ExceedsCeilingError, match=parent.id):
        issued(world, parent=parent.id, **asked)


@pytest.mark.parametrize("member", [{"owner": "v"}, {"role": "v"}, {"tenant": "globex"}], ids=str)
def test_a_child_cannot_be_changed_into_somebody_else(world, member):
    """What is refused at issue is refused at update, and nothing is written."""
    parent = issued(world, owner="u", role="r", tenant="acme")
    child = issued(world, parent=parent.id)
    with pytest.raises(ExceedsCeilingError, match=parent.id):
        world.do(edit(world.site, child.id, amendment(member, {})))
    assert row_of(world.store, child.id).node == child.key


def test_a_child_is_what_its_parent_is_where_it_asks_for_nothing(world):
    """Members, groups and limits are taken over; scopes and rights never."""
    group = grouped(world, methods=["GET"])
    limits = Limits(scopes=["a"], networks=["10.0.0.0/8"])
    parent = issued(
        world,
        owner="u",
        role="r",
        tenant="acme",
        groups=(group.id,),
        limits=limits,
        rights=("keys:read",),
    )
    child = issued(world, parent=parent.id).key
    assert (child.owner, child.role, child.tenant) == ("u", "r", "acme")
    assert (child.groups, child.issued_by) == ((group.id,), parent.id)
    assert child.limits == Limits(networks=["10.0.0.0/8"])
    assert child.rights == ()


def test_a_child_of_a_key_without_a_tenant_takes_over_its_tenants(world):
    """Where there is no home to take over, the limit is."""
    parent = issued(world, limits=Limits(tenants=["acme", "globex"]))
    child = issued(world, parent=parent.id).key
    assert (child.tenant, child.limits) == (None, parent.key.limits)


def test_a_child_with_its_own_expiry_does_not_take_over_another(world):
    """Its lifetime is what it asked for, within its parent's."""
    parent = issued(world, expires_for=86_400.0)
    child = issued(world, parent=parent.id, expires_for=60.0)
    ends = world.clock.now + timedelta(minutes=1)
    assert child.key.limits == Limits(expires_at=ends)
    assert issued(world, parent=parent.id).key.limits == parent.key.limits


def test_with_tenancy_a_key_that_would_reach_no_tenant_is_refused(make_world):
    """It has a home, or says explicitly that it is for all."""
    world = make_world(tenancy=True)
    with pytest.raises(InputError, match="name its tenant"):
        issued(world)
    assert issued(world, limits=Limits(tenants="*")).key.tenant is None
    assert issued(world, tenant="acme").key.tenant == "acme"


@pytest.mark.parametrize("rights", [("root",), ("*",), ("keys:reed", "keys:read")], ids=str)
def test_an_unknown_right_is_refused(world, rights):
    """Rights are given by name, and the known ones are listed."""
    with pytest.raises(InputError, match="known: can_issue"):
        issued(world, rights=rights)


def test_a_new_key_is_found_by_its_digest_and_fenced_at_once(world):
    """The key itself is in the answer alone; its absence, if remembered, is ended."""
    new = issued(world, groups=(grouped(world).id,) * 2, rights=("keys:read", "keys:read"))
    row = row_of(world.store, new.id)
    digest = world.site.peppers.digest(new.secret.reveal())
    assert (row.node, row.digest, row.rev) == (new.key, digest, new.receipt.rev)
    assert world.floors[-1][0] == (new.id, absence_id(digest))
    assert (len(new.key.groups), new.key.rights) == (1, ("keys:read",))
    assert new.secret.reveal() not in repr(new)


def test_a_group_is_checked_as_a_key_is(world):
    """Name, home and metadata."""
    group = grouped(world, read_only=True)
    assert isinstance(group, Group)
    assert group.limits == Limits(read_only=True)
    bad_ones: list[dict[str, Any]] = [{"name": ""}, {"tenant": "*"}, {"metadata": []}]
    for bad in bad_ones:
        asked: dict[str, Any] = {
            "name": "g",
            "tenant": "acme",
            "limits": Limits(),
            "metadata": {},
        } | bad
        with pytest.raises(InputError, match=next(iter(bad))):
            world.do(create_group(world.site, **asked))
