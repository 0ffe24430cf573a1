"""What a host commits without a revision: seen, stamped and read again, by whoever comes first."""

from __future__ import annotations

import secrets
from dataclasses import replace

import pytest

from keybound.caches.local import LocalCache
from keybound.core.announcing import names_of
from keybound.core.coherence import Worker, look_up, sync
from keybound.core.edits import activation
from keybound.core.effects import (
    Commit,
    HostCommit,
    LoadByDigest,
    LoadNode,
    Put,
    Stamp,
    Sync,
    absence_id,
)
from keybound.core.errors import ConflictError, StoreUnavailableError
from keybound.core.issuing import NewKey, issue
from keybound.core.lifecycle import commit as commit_one
from keybound.core.lifecycle import edit, load, settle
from keybound.core.stamping import ATTEMPTS, load_stamped
from keybound.stores.memory import MemoryStore
from keybound.stores.rules import unstamped_rev
from keybound.testing.records import a_digest, a_key, commit, new, row_of
from keybound.testing.records import load as read

KEY, OTHER = a_digest(1), a_digest(2)
OFF, ON = activation(enabled=False), activation(enabled=True)


class Hosting(MemoryStore):
    """A store of whose loads, syncs and stamps a test counts, with a host that may never rest."""

    def __init__(self):
        """Begin without a host."""
        super().__init__()
        self.asked: list[str] = []
        self.restless = False

    def perform(self, effect):
        """Answer; a host that never rests has changed the key again once it was stamped."""
        self.asked.append(type(effect).__name__)
        answer = super().perform(effect)
        if isinstance(effect, Stamp) and self.restless:
            by_host(self, "key_1")
        return answer


def by_host(store, *names, **members):
    """Commit a change of each of these keys without a revision."""
    for name in names:
        rev = MemoryStore.perform(store, LoadNode(name)).rows[name].rev
        put = Put(node=a_key(name, **members), expected=rev)
        MemoryStore.perform(store, HostCommit(Commit(puts=(put,), tag=secrets.token_bytes(16))))


@pytest.fixture
def place(make_world):
    """Return a world with two keys and a worker that knows neither."""
    place = make_world(Hosting())
    commit(place.store, new(a_key("key_1"), KEY))
    commit(place.store, new(a_key("key_2"), OTHER))
    place.cache = LocalCache(bound=5.0)
    place.worker = Worker(cache=place.cache, policy=place.site.policy)
    place.store.asked.clear()
    return place


def find(place, digest):
    """Look a key up and return its entry."""
    place.do(look_up(place.worker, digest, digest, lambda: (digest,)))
    return place.cache.entries[digest]


def test_a_sync_stamps_what_it_finds_and_asks_again(place):
    """What was known of the key is over, and the revision it has now is known."""
    before = find(place, KEY)
    by_host(place.store, "key_1", enabled=False)
    place.store.asked.clear()
    place.do(sync(place.worker))
    assert place.store.asked == ["Sync", "Stamp", "Sync"]
    assert (place.cache.fence.since, place.cache.fence.floor("key_1")) == (3, 3)
    assert not before.alive
    assert place.cache.fence.floor("key_2") == 2
    place.store.asked.clear()
    place.do(sync(place.worker))
    assert place.store.asked == ["Sync"]


def test_the_lease_of_such_a_sync_starts_at_its_first_question(place):
    """What is without a revision at the second one was committed later than that."""
    place.store.restless = True
    by_host(place.store, "key_1")
    asked_at = place.clock.boot()
    perform = place.store.perform

    def slow(effect):
        place.clock.advance(seconds=1)
        return perform(effect)

    place.store.perform = slow
    place.do(sync(place.worker))
    assert place.store.asked == ["Sync", "Stamp", "Sync"]
    assert place.cache.fence.synced_at.boot == asked_at
    assert perform(Sync(0)).unstamped


def test_a_look_up_keeps_nothing_without_a_revision(place):
    """It is stamped and read again, so that a restore which loses it is noticed."""
    place.do(sync(place.worker))
    by_host(place.store, "key_1", enabled=False)
    place.store.asked.clear()
    entry = find(place, KEY)
    assert place.store.asked == ["LoadByDigest", "Stamp", "LoadByDigest", "Sync"]
    assert (min(entry.revs), entry.chain.key.enabled) == (3, False)
    by_host(place.store, "key_1")
    place.store.asked.clear()
    assert min(find(place, OTHER).revs) == 3  # which nobody changed
    assert place.store.asked == ["LoadByDigest"]


def test_a_key_that_a_host_changes_all_the_time_cannot_be_loaded(place):
    """Said, not tried for ever; another key can."""
    place.do(sync(place.worker))
    place.store.restless = True
    by_host(place.store, "key_1")
    place.store.asked.clear()
    with pytest.raises(StoreUnavailableError, match="changed under every look-up"):
        find(place, KEY)
    assert place.store.asked == ["LoadByDigest", "Stamp"] * 6
    with pytest.raises(StoreUnavailableError, match="faster than it was read"):
        place.do(load("key_1"))
    assert place.store.asked[-2 * ATTEMPTS :] == ["LoadNode", "Stamp"] * ATTEMPTS
    assert find(place, OTHER)


def test_absence_that_a_host_ends_is_not_believed(place):
    """Who looks for a key that was just issued is told of it, and so is who finds none."""
    digest = b"9" * 32
    tag = secrets.token_bytes(16)
    put = Put(node=a_key("key_9"), expected=None, digest=digest)
    place.store.perform(HostCommit(Commit(puts=(put,), tag=tag)))
    loaded = place.store.perform(LoadByDigest((digest,)))
    assert (loaded.unstamped, loaded.rows["key_9"].rev) == (True, unstamped_rev(tag))
    assert place.store.perform(LoadByDigest((b"8" * 32, digest))).unstamped
    assert not place.store.perform(LoadByDigest((OTHER,))).unstamped
    head = place.store.perform(Stamp(bytes(16)))
    logged = {change.node for change in place.store.perform(Sync(2)).changes}
    assert (head.rev, logged) == (3, {"key_9", absence_id(digest)})


def test_stamping_is_done_once(place):
    """All that is there takes one revision, and nothing takes none."""
    by_host(place.store, "key_1", "key_2")
    head = place.store.perform(Stamp(b"1" * 16))
    assert (head.rev, head.tag) == (3, b"1" * 16)
    assert place.store.perform(Stamp(b"2" * 16)) == head
    assert row_of(place.store, "key_1").rev == row_of(place.store, "key_2").rev == 3
    assert place.do(load_stamped(LoadNode("key_1"))) == read(place.store, "key_1")


def test_a_version_without_revision_tells_changes_apart(place):
    """Who read what was there before a host's change, or between two, cannot write over it."""
    tags = [bytes([number]) * 16 for number in range(2)]
    assert len({unstamped_rev(tag) for tag in tags}) == len(tags)
    assert all(-(2**48) <= unstamped_rev(tag) < 0 for tag in (*tags, b"\xff" * 16, bytes(16)))
    by_host(place.store, "key_1")
    between = row_of(place.store, "key_1").rev
    by_host(place.store, "key_1")
    for rev in (1, between):
        with pytest.raises(ConflictError):
            commit(place.store, Put(node=a_key("key_1"), expected=rev))


def within(place, names):
    """Return what the settings mean within a transaction of a host."""
    return replace(place.site, joins=names.extend)


def test_a_change_with_a_host_has_no_revision_yet(place):
    """Nothing is fenced before the host commits, and the receipt says neither what nor when."""
    names: list[str] = []
    site = within(place, names)
    receipt = place.do(edit(site, "key_1", OFF))
    assert (receipt.node.enabled, receipt.rev, receipt.effective_by) == (False, None, None)
    again = place.do(edit(site, "key_2", ON))  # which it is
    assert (again.rev, again.effective_by) == (None, None)
    assert names == [*names_of("key_1", KEY)]
    assert place.floors == []
    issued = place.do(issue(site, NewKey(name="new")))
    digest = site.peppers.digest(issued.secret.reveal())
    assert names == [*names_of("key_1", KEY), issued.id, absence_id(digest)]
    assert issued.receipt.rev is None


def test_what_a_host_committed_is_settled(place):
    """It is stamped and fenced here at once, and told of as it is stored."""
    names: list[str] = []
    place.do(edit(within(place, names), "key_1", OFF))
    by_host(place.store, "key_1", enabled=False, name="later")
    settled = place.do(settle(place.site, [*names, "key_1", "key_none", "d:0"]))
    fenced = (*names_of("key_1", KEY), "key_none", "d:0")
    assert place.floors == [(fenced, place.store.perform(Sync(0)).head)]
    (receipt,) = settled
    assert (receipt.node.name, receipt.rev) == ("later", 3)
    assert receipt.effective_by.timestamp() == place.clock.wall() + 5.0
    assert not receipt.announced


def test_an_ordinary_change_has_its_revision(place):
    """Where there is no host, the receipt has all of it."""
    receipt = place.do(commit_one(place.site, new(a_key("key_3"), a_digest(3))))
    assert (receipt.rev, place.floors[0][0]) == (3, ("key_3", absence_id(a_digest(3))))
    assert receipt.effective_by is not None
