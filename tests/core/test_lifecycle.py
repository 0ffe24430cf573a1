"""Lifecycle: every change is decided on what is stored at that very moment."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from keybound.caches.local import LocalCache
from keybound.core.coherence import Worker, look_up
from keybound.core.edits import activation, amendment, revocation
from keybound.core.effects import Commit, Put, absence_id
from keybound.core.errors import (
    ConflictError,
    ExceedsCeilingError,
    InputError,
    NotFoundError,
    StoreUnavailableError,
)
from keybound.core.lifecycle import ATTEMPTS, edit, show
from keybound.core.limits import Limits
from keybound.stores.memory import MemoryStore
from keybound.testing.records import a_digest, a_group, a_key, commit, new, row_of

OFF = activation(enabled=False)


class Restless(MemoryStore):
    """A store in which somebody narrows the key before each of the next commits."""

    restless = 0

    def perform(self, effect):
        """Let the other one be faster."""
        if isinstance(effect, Commit) and self.restless:
            self.restless, left = 0, self.restless - 1
            row = row_of(self, "key_1")
            commit(self, Put(node=row.node, expected=row.rev))
            self.restless = left
        return super().perform(effect)


@pytest.fixture
def busy(make_world):
    """Return a world with one key and a store that others change."""
    world = make_world(Restless())
    commit(world.store, new(a_key("key_1", owner="u"), a_digest(1)))
    return world


def test_a_change_is_made_to_what_others_made_of_the_node(busy):
    """A conflict is read again, up to a few times; nobody's change is lost."""
    busy.store.restless = ATTEMPTS - 1
    receipt = busy.do(edit(busy.site, "key_1", OFF))
    row = row_of(busy.store, "key_1")
    assert (row.node, row.rev, row.digest) == (receipt.node, receipt.rev, a_digest(1))
    assert (row.node.enabled, row.node.owner) == (False, "u")


def test_a_node_that_is_changed_all_the_time_ends_in_a_conflict(busy):
    """Said, not tried for ever, and nothing was written."""
    busy.store.restless = ATTEMPTS
    with pytest.raises(ConflictError, match="being changed by others all the time"):
        busy.do(edit(busy.site, "key_1", OFF))
    assert row_of(busy.store, "key_1").node.enabled


def test_a_revision_that_is_not_the_last_is_refused(busy):
    """Also when the other change came between the look and the write."""
    rev = row_of(busy.store, "key_1").rev
    busy.store.restless = 1
    with pytest.raises(ConflictError, match="read it again"):
        busy.do(edit(busy.site, "key_1", OFF, if_revision=rev))
    assert row_of(busy.store, "key_1").node.enabled


def test_a_revision_that_is_the_last_is_changed(busy):
    """Whoever changes what they have seen is not refused."""
    rev = row_of(busy.store, "key_1").rev
    receipt = busy.do(edit(busy.site, "key_1", OFF, if_revision=rev))
    assert row_of(busy.store, "key_1").node.enabled is False
    assert row_of(busy.store, "key_1").rev == receipt.rev > rev


def test_a_receipt_says_when_a_change_holds_everywhere(busy):
    """The bound from now on; waiting lets it pass, also where nothing was left to change."""
    for _ in range(2):
        before = busy.clock.now
        receipt = busy.do(edit(busy.site, "key_1", OFF))
        assert receipt.effective_by == before + timedelta(seconds=busy.site.settle_for)
        assert busy.clock.now == before
        receipt = busy.do(edit(busy.site, "key_1", OFF, wait=True))
        assert busy.clock.now == receipt.effective_by


def test_a_dry_run_writes_nothing_and_waits_for_nothing(busy):
    """It answers the node as it would become."""
    before, rev = busy.clock.now, row_of(busy.store, "key_1").rev
    receipt = busy.do(edit(busy.site, "key_1", OFF, wait=True, dry_run=True))
    assert receipt.node.enabled is False
    assert row_of(busy.store, "key_1").rev == receipt.rev == rev
    assert (busy.clock.now, busy.floors) == (before, [])


def test_a_change_is_fenced_in_this_process_at_once(busy):
    """Floors are raised with the head that the commit answered."""
    receipt = busy.do(edit(busy.site, "key_1", revocation()))
    ((names, head),) = busy.floors
    assert (names, head.rev) == (("key_1", absence_id(a_digest(1))), receipt.rev)


def test_a_change_of_a_key_ends_that_there_is_none(busy):
    """As this process may believe that was asked for it before somebody else made it."""
    cache = LocalCache(bound=5.0)
    worker = Worker(cache=cache, policy=busy.site.policy)
    digest = a_digest(9)
    busy.do(look_up(worker, digest, digest, lambda: (digest,)))
    absent = cache.absent[digest]
    commit(busy.store, new(a_key("key_9"), digest))
    assert absent.alive
    busy.do(edit(replace(busy.site, raise_floors=cache.raise_floors), "key_9", OFF))
    assert not absent.alive


def test_an_edit_whose_result_could_not_be_read_back_is_refused(busy):
    """Nothing is stored that is too large to read."""
    limits = Limits(models={f"m{n}".ljust(200, "x"): "read" for n in range(400)})
    with pytest.raises(InputError, match="bytes"):
        busy.do(edit(busy.site, "key_1", amendment({}, limits)))


def test_what_does_not_exist_is_neither_shown_nor_changed(world):
    """The id is named."""
    for steps in (show("key_none"), edit(world.site, "key_none", OFF)):
        with pytest.raises(NotFoundError, match="key_none"):
            world.do(steps)


def test_a_node_is_shown_with_everything_above_it(world):
    """Missing ones too: they deny, so they must be seen."""
    commit(world.store, new(a_group("group_1")))
    commit(world.store, new(a_key("key_1", groups=("group_1",))))
    assert set(world.do(show("key_1")).rows) == {"key_1", "group_1"}


def test_a_store_that_does_not_answer_is_no_success(make_world):
    """The failure reaches the caller, and no floor is raised for what was not committed."""

    class Dying(MemoryStore):
        def perform(self, effect):
            if isinstance(effect, Commit) and effect.puts[0].expected is not None:
                raise StoreUnavailableError("gone")
            return super().perform(effect)

    world = make_world(Dying())
    commit(world.store, new(a_key("key_1")))
    with pytest.raises(StoreUnavailableError):
        world.do(edit(world.site, "key_1", OFF))
    assert world.floors == []


def test_a_key_is_held_to_the_key_above_it(world):
    """Widened beyond that it is refused, and nothing is written; narrowed it is welcome."""
    commit(world.store, new(a_key("key_1", limits=Limits(methods="GET", scopes="a,b"))))
    child = a_key("key_2", parent="key_1", limits=Limits(methods="GET", scopes="a"))
    commit(world.store, new(child, a_digest(2)))
    with pytest.raises(ExceedsCeilingError, match="key_1"):
        world.do(edit(world.site, "key_2", amendment({}, {"scopes": "c"})))
    assert row_of(world.store, "key_2").node == child
    receipt = world.do(edit(world.site, "key_2", amendment({}, {"scopes": "a,b"})))
    assert receipt.node == row_of(world.store, "key_2").node != child


def test_what_exceeds_the_key_above_it_may_stay_as_it_is(world):
    """A change that changes nothing is checked against nothing."""
    commit(world.store, new(a_key("key_1", owner="u")))
    commit(world.store, new(a_key("key_2", parent="key_1", limits=Limits(scopes="a"))))
    receipt = world.do(edit(world.site, "key_2", activation(enabled=True)))
    assert receipt.rev == row_of(world.store, "key_2").rev
    assert receipt.node == row_of(world.store, "key_2").node


def test_a_key_under_what_is_gone_is_changed_all_the_same(world):
    """It cannot be used, and may be revoked."""
    commit(world.store, new(a_key("key_1", groups=("group_gone",))))
    world.do(edit(world.site, "key_1", revocation()))
    assert row_of(world.store, "key_1").node.revoked_at is not None


def test_a_group_is_changed_as_a_key_is(world):
    """Nothing stands above it."""
    commit(world.store, new(a_group("group_1")))
    world.do(edit(world.site, "group_1", amendment({}, {"scopes": "a"})))
    assert row_of(world.store, "group_1").node.limits == Limits(scopes="a")


def test_a_change_is_not_made_under_a_key_that_was_changed_meanwhile(make_world):
    """What it was held to is checked again in the transaction that writes."""

    class Narrowed(MemoryStore):
        narrowed = False

        def perform(self, effect):
            if (
                isinstance(effect, Commit)
                and effect.puts[0].node.id == "key_2"
                and not self.narrowed
            ):
                self.narrowed = True
                if effect.puts[0].expected is not None:
                    row = row_of(self, "key_1")
                    commit(self, Put(node=a_key("key_1"), expected=row.rev))
            return super().perform(effect)

    world = make_world(Narrowed())
    world.store.narrowed = True
    commit(world.store, new(a_key("key_1", limits=Limits(scopes="a,b"))))
    commit(world.store, new(a_key("key_2", parent="key_1", limits=Limits(scopes="a"))))
    world.store.narrowed = False
    with pytest.raises(ExceedsCeilingError, match="key_1"):
        world.do(edit(world.site, "key_2", amendment({}, {"scopes": "a,b"})))
    assert row_of(world.store, "key_2").node.limits == Limits(scopes="a")
