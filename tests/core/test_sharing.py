"""What the shared cache is believed, and what it is offered; a dictionary stands for Redis."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import replace

import pytest

from keybound.caches.local import LocalCache
from keybound.core.budget import Budget
from keybound.core.coherence import ATTEMPTS, Worker, catch_up, look_up, sync
from keybound.core.effects import LoadByDigest, LogHead, OfferShared, Put, ReadShared, Sync
from keybound.core.errors import (
    CacheError,
    RecordCorruptError,
    StoreBusyError,
    StoreUnavailableError,
)
from keybound.core.joining import Join, Unshared
from keybound.core.secret import Secret
from keybound.core.shared import SharedRecords
from keybound.drivers import run
from keybound.stores.memory import MemoryStore
from keybound.testing.records import a_digest, a_group, a_key, commit, new, row_of
from tests.core.conftest import World

KEY, OTHER, CHILD, UNKNOWN = (a_digest(number) for number in range(1, 5))
RECORDS = SharedRecords(Secret("a-secret-of-the-tests-0123456789-abcdef"))


class Place(World):
    """A store, a shared cache, and what they were asked."""

    def __init__(self):
        """Put a key in two groups, another in none, and a child of the first into the store."""
        super().__init__(MemoryStore())
        commit(self.store, new(a_group("group_1")), new(a_group("group_2")))
        commit(self.store, new(a_key("key_1", groups=("group_1", "group_2")), KEY))
        commit(self.store, new(a_key("key_2"), OTHER))
        commit(self.store, new(a_key("key_3", parent="key_1", groups=("group_1",)), CHILD))
        self.values = {}
        self.asked = []
        self.offered = []
        self.down = False

    def __call__(self, effect):
        """Answer from the store or the shared cache, and keep what is offered."""
        if isinstance(effect, ReadShared):
            if self.down:
                raise CacheError("down")
            self.asked.append(len(effect.names))
            return tuple(self.values.get(name) for name in effect.names)
        if isinstance(effect, OfferShared):
            self.offered.append(effect.offers)
            self.values.update({offer.name: offer.value for offer in effect.offers})
            return None
        if isinstance(effect, LoadByDigest | Sync):
            self.asked.append(type(effect))
        return super().__call__(effect)

    def worker(self):
        """Return a worker that has synced and knows no key."""
        cache = LocalCache(bound=5.0)
        worker = Worker(cache=cache, policy=self.site.policy, records=RECORDS)
        self.do(sync(worker))
        self.asked.clear()
        return worker

    def find(self, worker, *digests):
        """Look a key up; return its entry if that may be used now."""
        self.do(look_up(worker, digests[0], digests[0], lambda: digests))
        cache = worker.cache
        entry = cache.entries.get(digests[0]) or cache.absent.get(digests[0])
        held = entry is not None and cache.holds(entry, self.clock.boot(), self.clock.wall())
        return entry if held else None

    def change(self, node_id, **members):
        """Change a node in the store."""
        row = row_of(self.store, node_id)
        changed = {name: getattr(row.node, name) for name in row.node.__struct_fields__} | members
        return commit(self.store, Put(node=type(row.node)(**changed), expected=row.rev))

    def name_of(self, digest):
        """Return where a key is."""
        return RECORDS.key_name(self.store.perform(Sync(0)).head.epoch, digest)

    def name_above(self, node):
        """Return where a node is that stands above keys."""
        return RECORDS.node_name(self.store.perform(Sync(0)).head.epoch, node)


class Busy(Unshared):
    """Flights that somebody else is on, so many times."""

    def __init__(self, times):
        """Be busy that often."""
        self.times = times

    def join(self, _about):
        """Return what ends without telling anything."""
        self.times -= 1
        return Future() if self.times >= 0 else None


@pytest.fixture
def place():
    """Return a place where everything has been shared."""
    place = Place()
    first = place.worker()
    for digest in (KEY, OTHER, CHILD):
        place.find(first, digest)
    return place


def test_a_key_is_found_in_two_round_trips(place):
    """Itself, and then everything above it, whatever stands above that."""
    entry = place.find(place.worker(), CHILD)
    assert entry.nodes == ("key_3", "key_1", "group_1", "group_2")
    assert place.asked == [1, 3]


def test_what_stands_above_nothing_takes_one(place):
    """Its name is made of one digest, however many it may be stored under."""
    assert place.find(place.worker(), OTHER, UNKNOWN).chain.key.id == "key_2"
    assert place.asked == [1]


def test_a_key_that_is_stored_under_another_digest_is_shared_all_the_same(place):
    """As one issued before the secret was set, or under a secret that is retired."""
    today = a_digest(8)
    assert place.find(place.worker(), today, OTHER).chain.key.id == "key_2"
    assert place.asked == [1, LoadByDigest]
    assert place.find(place.worker(), today, OTHER).chain.key.id == "key_2"
    assert place.asked == [1]


def test_what_is_held_already_is_not_asked_for(place):
    """As a group that many keys share."""
    worker = place.worker()
    place.find(worker, CHILD)
    place.asked.clear()
    assert place.find(worker, KEY).chain.key.id == "key_1"
    assert place.asked == [1]  # its groups stand above the other as well
    place.asked.clear()
    assert place.find(worker, KEY).alive
    assert place.asked == []  # it is known


def test_it_proves_nothing_about_now(place):
    """An entry of the shared cache ends with the lease, one of the store has a proof."""
    worker = place.worker()
    place.clock.advance(seconds=3)
    entry = place.find(worker, OTHER)
    place.clock.advance(seconds=2.5)
    assert not worker.cache.holds(entry, place.clock.boot(), place.clock.wall())
    place.clock.advance(seconds=-1)
    assert worker.cache.holds(entry, place.clock.boot(), place.clock.wall())


def test_a_failure_of_it_is_a_miss(place):
    """The store is asked, and what it says is offered."""
    place.down = True
    place.offered.clear()
    assert place.find(place.worker(), OTHER).chain.key.id == "key_2"
    assert place.asked == [LoadByDigest]
    assert [offer.name for offers in place.offered for offer in offers] == [place.name_of(OTHER)]


def test_a_record_below_a_floor_is_read_from_the_store(place):
    """Each node for itself: only the group has changed."""
    place.change("group_2", enabled=False)
    entry = place.find(place.worker(), CHILD)
    assert entry.chain.nodes["group_2"].enabled is False
    assert place.asked[-1] is LoadByDigest
    place.asked.clear()
    entry = place.find(place.worker(), KEY)
    assert entry.chain.nodes["group_2"].enabled is False
    assert LoadByDigest not in place.asked
    assert entry.rev_of("key_1") < entry.rev_of("group_2")


def test_nothing_more_is_asked_of_it_for_a_key_below_its_floor(place):
    """What stood above an outdated key is not worth a round trip."""
    place.change("key_1", name="renamed")
    worker = place.worker()
    assert place.find(worker, KEY).chain.key.name == "renamed"
    assert place.asked == [1, LoadByDigest]
    assert (worker.tally.outdated, worker.tally.forged) == (1, 0)


def test_an_entry_of_several_snapshots_dies_with_any_of_them(place):
    """By a change of a node, and by a floor of all."""
    worker = place.worker()
    place.change("group_2", name="renamed")
    place.find(place.worker(), CHILD)  # which offers the group as it is now
    place.do(sync(worker))
    entry = place.find(worker, KEY)
    place.change("key_1", name="renamed")
    place.do(sync(worker))
    assert not entry.alive
    entry = place.find(worker, KEY)
    worker.cache.fence.raise_floor("*other*", 1)
    worker.cache.fence._raise_all(min(entry.revs))  # noqa: SLF001 - as forgetting a floor does
    place.change("group_1", name="renamed")
    place.do(sync(worker))
    assert not entry.alive


def test_what_was_only_just_committed_is_seen_first(place):
    """A record of a later revision than the last sync costs a sync, and no load."""
    worker = place.worker()
    place.change("key_2", owner="new")
    place.find(place.worker(), OTHER)
    place.asked.clear()
    assert place.find(worker, OTHER).chain.key.owner == "new"
    assert place.asked == [1, Sync]


def test_what_nobody_has_seen_is_replaced(place):
    """It may be of commits that a restore has lost, and claim to be newer than all there is."""
    name = place.name_of(OTHER)
    lost = LogHead(99, b"lost", place.store.perform(Sync(0)).head.epoch)
    place.values[name] = RECORDS.encode(name, a_key("key_2", owner="lost"), lost, [])
    place.offered.clear()
    assert place.find(place.worker(), OTHER).chain.key.owner is None
    assert [offer.replace for offers in place.offered for offer in offers] == [True]


@pytest.mark.parametrize("value", [b"junk", b"1" + b"9" * 200])
def test_what_is_no_record_is_replaced(place, value):
    """Where something stands that never was one, what the store says goes over it."""
    place.values[place.name_above("group_1")] = value
    place.offered.clear()
    assert place.find(place.worker(), KEY).chain.nodes["group_1"].enabled
    (offers,) = place.offered
    assert [offer.replace for offer in offers] == [False, True, False]


def test_two_keys_for_one_credential_are_the_stores_to_judge(place):
    """It says that they are corrupt, and neither is shared under that credential."""
    with pytest.raises(RecordCorruptError, match="found by the same credential"):
        place.find(place.worker(), UNKNOWN, KEY, OTHER)


def test_a_group_under_a_digest_is_the_stores_to_judge(place):
    """No key is found by that."""
    name, head = place.name_of(UNKNOWN), place.store.perform(Sync(0)).head
    place.values[name] = RECORDS.encode(name, a_group("group_9"), head, [])
    assert place.find(place.worker(), UNKNOWN).chain is None


def test_what_stands_above_is_decided_by_the_nodes(place):
    """A hint that says less costs a load, and one that says more a look."""
    name, head = place.name_of(CHILD), place.store.perform(Sync(0)).head
    child = row_of(place.store, "key_3").node
    place.values[name] = RECORDS.encode(name, child, head, ["key_1", "group_1", "key_2"])
    assert set(place.find(place.worker(), CHILD).nodes) == {"key_3", "key_1", "group_1", "group_2"}
    assert place.asked == [1, 3, LoadByDigest]


def test_a_chain_that_returns_to_its_key_is_the_stores_to_judge(place):
    """A record may be authentic and corrupt."""
    name, head = place.name_above("key_1"), place.store.perform(Sync(0)).head
    parent = a_key("key_1", parent="key_3")
    place.values[name] = RECORDS.encode(name, parent, head, [])
    assert place.find(place.worker(), CHILD).chain.nodes["key_1"].parent is None
    assert place.asked[-1] is LoadByDigest


def test_a_dead_chain_is_not_offered(place):
    """Nor the fact that there is no key: made-up keys would push good records out."""
    place.change("key_2", groups=("group_9",))
    place.offered.clear()
    assert place.find(place.worker(), OTHER).chain.nodes["group_9"] is None
    assert place.find(place.worker(), UNKNOWN).chain is None
    assert place.offered == []


def test_a_worker_that_was_reset_asks_the_store(place):
    """Another thread may notice a restore between the sync and the search."""
    worker = place.worker()
    worker.cache.fence.epoch = None
    assert place.find(worker, OTHER).chain.key.id == "key_2"
    assert place.asked[0] is LoadByDigest


def test_a_node_whose_revision_is_forgotten_is_not_lent(place):
    """The worker could not keep it again, so it is asked for once more."""
    worker = place.worker()
    place.find(worker, KEY)
    assert worker.cache.held("group_1") is not None
    worker.cache.fence._tags.clear()  # noqa: SLF001 - as a thousand revisions do
    assert worker.cache.held("group_1") is None
    assert worker.cache.held("group_9") is None


def test_whoever_waited_for_a_sync_that_was_cancelled_makes_one(place):
    """Two may wait for one that never ends well."""
    worker = place.worker()
    waited = []

    def perform(effect):
        return waited.append(effect) if isinstance(effect, Join) else place(effect)

    place.clock.advance(seconds=6)
    worker = replace(worker, flights=Busy(1))
    run(look_up(worker, OTHER, OTHER, lambda: (OTHER,)), perform)
    assert len(waited) == 1
    assert place.asked == [Sync, 1]


def test_waiting_for_syncs_of_others_has_an_end(place):
    """Whoever cannot get one in their own name goes on, and asks the store."""
    worker, waited = replace(place.worker(), flights=Busy(ATTEMPTS)), []
    run(catch_up(worker, lambda: False), lambda effect: waited.append(type(effect)))
    assert waited == [Join] * ATTEMPTS


def test_a_store_that_is_down_is_down_whatever_redis_has(place):
    """A record of a revision that cannot be seen is not taken."""
    worker = place.worker()
    place.change("key_2", owner="new")
    place.find(place.worker(), OTHER)

    def down(_effect):
        raise StoreUnavailableError("down")

    place.store.perform, working = down, place.store.perform
    with pytest.raises(StoreUnavailableError):
        place.find(worker, OTHER)
    place.store.perform = working
    assert place.find(worker, OTHER).chain.key.owner == "new"


def test_a_node_above_that_is_not_there_is_asked_of_the_store(place):
    """Redis evicts what it likes; what is left of a chain is no chain."""
    del place.values[place.name_above("group_2")]
    assert place.find(place.worker(), KEY).chain.nodes["group_2"].enabled
    assert place.asked == [1, 2, LoadByDigest]


def test_a_node_above_that_is_newer_than_the_last_sync_is_caught_up_with(place):
    """As the key itself is: then it is one of a revision that was seen."""
    worker, name = place.worker(), place.name_of(KEY)
    older = place.values[name]
    place.change("group_1", enabled=False)
    place.find(place.worker(), KEY)
    place.values[name] = older
    place.asked.clear()
    assert place.find(worker, KEY).chain.nodes["group_1"].enabled is False
    assert place.asked == [1, 2, Sync]


def test_what_is_shared_is_found_while_no_stranger_is_looked_for(place):
    """A flood of keys that do not exist costs keys in the shared cache nothing."""
    worker = replace(place.worker(), unknown=Budget(1))
    assert place.find(worker, UNKNOWN).chain is None
    for digest in (KEY, OTHER):
        assert place.find(worker, digest).chain is not None
    with pytest.raises(StoreBusyError):
        place.find(worker, a_digest(9))
    assert place.asked == [1, LoadByDigest, 1, 2, 1, 1]
