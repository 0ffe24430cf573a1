"""Lifecycle: every change is decided on what is stored at that very moment."""

from __future__ import annotations

from datetime import timedelta

import pytest

from keybound.core.edits import activation, amendment, revocation
from keybound.core.effects import Commit, Put
from keybound.core.errors import ConflictError, InputError, NotFoundError, StoreUnavailableError
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
    assert (names, head.rev) == (("key_1",), receipt.rev)


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
