"""Announcing: what other workers are told of a change, and that nothing depends on it."""

from __future__ import annotations

import secrets
from dataclasses import replace

import pytest

from keybound.core import issuing
from keybound.core.announcing import Announcer, names_of
from keybound.core.edits import activation, revocation
from keybound.core.effects import (
    Announce,
    Commit,
    HostCommit,
    OfferShared,
    Put,
    Sync,
    absence_id,
)
from keybound.core.errors import CacheError, ConflictError
from keybound.core.issuing import NewKey
from keybound.core.lifecycle import edit, settle
from keybound.core.messages import Message, Messages
from keybound.core.secret import Secret
from keybound.core.shared import SharedRecord, SharedRecords
from keybound.testing.records import a_digest, a_group, a_key, commit, new, row_of
from tests.core.conftest import World

SECRET = Secret("a-secret-of-the-tests-0123456789-abcdef")
RECORDS, MESSAGES = SharedRecords(SECRET), Messages(SECRET)
KEY = a_digest(1)


class Loud(World):
    """A world with an announcer, that keeps what is announced and offered, in order."""

    def __init__(self):
        """Have a key in a group, and a child of that."""
        super().__init__()
        self.site = replace(self.site, announcer=Announcer(RECORDS, MESSAGES))
        commit(self.store, new(a_group("group_1")))
        commit(self.store, new(a_key("key_1", groups=("group_1",)), KEY))
        self.done = []
        self.down = False

    def __call__(self, effect):
        """Note what is announced, unless nobody takes it."""
        if isinstance(effect, Announce):
            self.done.append(effect)
            if self.down:
                raise CacheError("down")
            return None
        if isinstance(effect, OfferShared):
            self.done += effect.offers
            return None
        if isinstance(effect, Commit):
            self.done.append(effect)
        return super().__call__(effect)

    @property
    def head(self):
        """Where the store stands."""
        return self.store.perform(Sync(0)).head


@pytest.fixture
def loud():
    """Return a world that announces."""
    return Loud()


def test_a_change_is_announced_as_it_was_committed(loud):
    """The key's record at the revision of the commit, where it is looked for, and a message."""
    receipt = loud.do(edit(loud.site, "key_1", revocation()))
    done, announced, offered = loud.done
    assert isinstance(done, Commit)
    assert receipt.announced is True
    head, name = loud.head, RECORDS.key_name(loud.head.epoch, KEY)
    assert head.rev == receipt.rev
    assert (announced.offer.name, announced.offer.replace) == (name, False)
    found = RECORDS.decode(name, head.epoch, announced.offer.value)
    assert found == SharedRecord(receipt.node, head, ("group_1",))
    assert found.node == row_of(loud.store, "key_1").node
    assert announced.channel == MESSAGES.channel
    assert MESSAGES.decode(announced.message) == Message(
        head.epoch, names_of("key_1", KEY), head.rev, loud.clock.wall()
    )
    # Perhaps it is a parent: then it is looked for under another name as well.
    above = RECORDS.node_name(head.epoch, "key_1")
    assert (offered.name, offered.replace) == (above, False)
    assert RECORDS.decode(above, head.epoch, offered.value) == SharedRecord(found.node, head, ())


def test_a_group_is_announced_where_those_below_it_look(loud):
    """It has one name alone."""
    receipt = loud.do(edit(loud.site, "group_1", activation(enabled=False)))
    _, announced = loud.done
    name = RECORDS.node_name(loud.head.epoch, "group_1")
    found = RECORDS.decode(name, loud.head.epoch, announced.offer.value)
    assert announced.offer.name == name
    assert found == SharedRecord(receipt.node, loud.head, ())


def test_a_new_key_is_announced_with_the_absence_that_it_ends(loud):
    """Whoever tried it before it was issued may use it at once; nobody stands below it yet."""
    asked = NewKey(name="child", parent="key_1", groups=())
    issued = loud.do(issuing.issue(loud.site, asked))
    _, announced = loud.done
    assert issued.receipt.announced is True
    digest = loud.site.peppers.digest(issued.secret.reveal())
    message = MESSAGES.decode(announced.message)
    assert message.nodes == (issued.id, absence_id(digest))
    name = RECORDS.key_name(loud.head.epoch, digest)
    found = RECORDS.decode(name, loud.head.epoch, announced.offer.value)
    assert found == SharedRecord(issued.key, loud.head, ("key_1", "group_1"))


def test_what_a_change_is_fenced_under_is_what_it_is_announced_under(loud):
    """Here and elsewhere, the node, and the absence of its digest, which may be believed yet."""
    issued = loud.do(issuing.issue(loud.site, NewKey(name="CI")))
    loud.do(edit(loud.site, issued.id, revocation()))
    announced = [each for each in loud.done if isinstance(each, Announce)]
    told = [MESSAGES.decode(each.message) for each in announced]
    assert [(each.nodes, each.rev) for each in told] == [
        (names, head.rev) for names, head in loud.floors
    ]
    assert {names for names, _ in loud.floors} == {
        names_of(issued.id, loud.site.peppers.digest(issued.secret.reveal()))
    }


def test_a_change_is_done_although_nobody_takes_its_announcement(loud):
    """The receipt says so, and nothing else is offered."""
    loud.down = True
    receipt = loud.do(edit(loud.site, "key_1", revocation()))
    assert receipt.announced is False
    assert row_of(loud.store, "key_1").node.revoked_at is not None
    assert [type(each) for each in loud.done] == [Commit, Announce]


@pytest.mark.parametrize(("enabled", "dry_run"), [(True, False), (False, True)])
def test_what_changes_nothing_is_announced_to_nobody(loud, enabled, dry_run):
    """Neither what is so already, nor what is only tried."""
    receipt = loud.do(edit(loud.site, "key_1", activation(enabled=enabled), dry_run=dry_run))
    assert receipt.announced is False
    assert loud.done == []


def test_what_conflicts_is_announced_once_it_is_committed(loud):
    """Only what became of it, with what the other one did."""
    steps = edit(loud.site, "key_1", activation(enabled=False))
    before = loud.store.perform

    def perform(effect):
        if isinstance(effect, Commit):
            loud.store.perform = before
            row = row_of(loud.store, "key_1")
            commit(loud.store, Put(node=a_key("key_1", owner="u"), expected=row.rev))
        return before(effect)

    loud.store.perform = perform
    receipt = loud.do(steps)
    first, second, announced, _ = loud.done
    assert [type(each) for each in (first, second)] == [Commit, Commit]
    found = RECORDS.decode(announced.offer.name, loud.head.epoch, announced.offer.value)
    assert (found.node, found.head) == (receipt.node, loud.head)
    assert (found.node.owner, found.node.enabled) == ("u", False)


def test_a_failed_change_is_announced_to_nobody(loud):
    """It may not even be there."""
    with pytest.raises(ConflictError):
        loud.do(edit(loud.site, "key_1", revocation(), if_revision=77))
    assert loud.done == []


def by_host(world, put):
    """Commit a change without a revision, as within the transaction of a host."""
    world.store.perform(HostCommit(Commit(puts=(put,), tag=secrets.token_bytes(16))))


@pytest.mark.parametrize("enabled", [True, False], ids=["as it was", "changed"])
def test_nobody_is_told_of_a_change_before_its_host_commits(loud, enabled):
    """It may yet be undone, and the receipt says that it was not announced."""
    site = replace(loud.site, joins=[].extend)
    receipt = loud.do(edit(site, "key_1", activation(enabled=enabled)))
    assert receipt.node.enabled is enabled
    assert receipt.announced is False
    assert loud.done == []


def test_what_a_host_committed_is_announced_as_it_is_stored_by_then(loud):
    """Its transaction is over: what is told is read again, and not what was meant to be written."""
    rev = row_of(loud.store, "key_1").rev
    by_host(loud, Put(node=a_key("key_1", groups=("group_1",), enabled=False), expected=rev))
    (receipt,) = loud.do(settle(loud.site, ["key_1"]))
    announced, offered = loud.done
    head, name = loud.head, RECORDS.key_name(loud.head.epoch, KEY)
    assert (receipt.rev, receipt.announced, receipt.node.enabled) == (head.rev, True, False)
    found = RECORDS.decode(name, head.epoch, announced.offer.value)
    assert found == SharedRecord(receipt.node, head, ("group_1",))
    assert MESSAGES.decode(announced.message) == Message(
        head.epoch, names_of("key_1", KEY), head.rev, loud.clock.wall()
    )
    assert offered.name == RECORDS.node_name(head.epoch, "key_1")


def test_a_key_that_a_host_issued_ends_its_absence_elsewhere(loud):
    """Whoever tried it before its host committed knows that it is not there any more."""
    put = Put(node=a_key("key_2"), expected=None, digest=a_digest(2))
    by_host(loud, put)
    (receipt,) = loud.do(settle(loud.site, names_of("key_2", put.digest)))
    announced = loud.done[0]
    assert receipt.announced is True
    assert MESSAGES.decode(announced.message).nodes == ("key_2", absence_id(a_digest(2)))
    assert announced.offer.name == RECORDS.key_name(loud.head.epoch, a_digest(2))


def test_a_group_that_a_host_changed_is_announced_under_its_own_name(loud):
    """It has no digest; keys below it look for it by its id."""
    rev = row_of(loud.store, "group_1").rev
    by_host(loud, Put(node=a_group("group_1", enabled=False), expected=rev))
    (receipt,) = loud.do(settle(loud.site, ["group_1"]))
    (announced,) = loud.done
    assert receipt.announced is True
    assert announced.offer.name == RECORDS.node_name(loud.head.epoch, "group_1")
    assert MESSAGES.decode(announced.message).nodes == ("group_1",)


def test_what_a_host_committed_is_done_whether_or_not_it_can_be_announced(loud):
    """The receipt says that nobody was told."""
    rev = row_of(loud.store, "key_1").rev
    by_host(loud, Put(node=a_key("key_1", enabled=False), expected=rev))
    loud.down = True
    (receipt,) = loud.do(settle(loud.site, ["key_1"]))
    assert (receipt.rev, receipt.announced) == (loud.head.rev, False)
