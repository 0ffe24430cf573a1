"""Keeping up with the store: what a look-up brings, and what happens when it cannot."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import replace

import pytest

from keybound.caches.local import LocalCache
from keybound.core.budget import Budget
from keybound.core.coherence import ATTEMPTS, Worker, look_up, sync
from keybound.core.effects import LoadByDigest, LogHead, Put, ReplaceEpoch, Sync
from keybound.core.errors import RecordCorruptError, StoreBusyError, StoreUnavailableError
from keybound.core.joining import Join, Unshared, alone
from keybound.drivers import run
from keybound.flights import Flights
from keybound.stores.memory import MemoryStore
from keybound.testing.records import a_digest, a_group, a_key, commit, new, row_of
from tests.core.test_sharing import Busy

KEY, OTHER, UNKNOWN = a_digest(1), a_digest(2), a_digest(3)


class Moody(MemoryStore):
    """A store in which something happens around each load or sync, as a test says."""

    down = False
    asked = 0

    def before_sync(self):
        """Happen before a sync is answered."""

    def after_load(self, loaded):
        """Happen before a load is delivered; return what is delivered."""
        return loaded

    def perform(self, effect):
        """Answer, unless it is down."""
        if self.down:
            raise StoreUnavailableError("down")
        self.asked += isinstance(effect, Sync | LoadByDigest)
        if isinstance(effect, Sync):
            self.before_sync()
        answer = super().perform(effect)
        return self.after_load(answer) if isinstance(effect, LoadByDigest) else answer


@pytest.fixture
def place(make_world):
    """Return a world with two keys, one of them in a group, and a worker that knows neither."""
    place = make_world(Moody())
    commit(place.store, new(a_group("group_1")))
    commit(place.store, new(a_key("key_1", groups=("group_1",)), KEY))
    commit(place.store, new(a_key("key_2"), OTHER))
    place.cache = LocalCache(bound=5.0, grace=10.0)
    place.worker = Worker(cache=place.cache, policy=place.site.policy, bound=5.0, grace=10.0)
    return place


def find(place, digest):
    """Look a key up; return its entry if that may be used now."""
    place.do(look_up(place.worker, digest, digest, lambda: (digest,)))
    entry = place.cache.entries.get(digest) or place.cache.absent.get(digest)
    usable = entry is not None and place.cache.holds(entry, place.clock.boot(), place.clock.wall())
    return entry if usable else None


def change(place, node_id, **members):
    """Change a node behind the worker's back."""
    row = row_of(place.store, node_id)
    make = a_key if row.node.kind == "key" else a_group
    return commit(place.store, Put(node=make(node_id, **members), expected=row.rev))


def test_a_look_up_brings_a_key_and_everything_above_it(place):
    """Compiled into one chain, fenced under each of its nodes."""
    entry = find(place, KEY)
    assert entry.chain.key.id == "key_1"
    assert entry.nodes == ("key_1", "group_1")


def test_a_look_up_brings_the_fact_that_there_is_no_such_key(place):
    """Until one is issued that these digests find."""
    assert find(place, UNKNOWN).chain is None
    commit(place.store, new(a_key("key_3"), UNKNOWN))
    place.do(sync(place.worker))
    assert not place.cache.absent
    assert find(place, UNKNOWN).chain.key.id == "key_3"


def test_a_change_takes_away_what_it_is_about_and_nothing_else(place):
    """A busy administrator costs the other keys no load, however often workers sync."""
    entry, other = find(place, KEY), find(place, OTHER)
    change(place, "group_1", enabled=False)
    for _ in range(3):
        place.do(sync(place.worker))
    assert (entry.alive, other.alive) == (False, True)


def test_a_lookup_while_the_lease_holds_is_one_question(place):
    """And two when the lease is out: what changed comes first."""
    find(place, KEY)
    place.store.asked = 0
    find(place, OTHER)
    assert place.store.asked == 1
    place.clock.advance(seconds=5.5)
    find(place, KEY)
    assert place.store.asked == 3


@pytest.mark.parametrize("digest", [OTHER, None])
def test_what_a_collation_took_for_the_same_digest_is_no_match(place, digest):
    """A database may compare without case; a key is found by exactly its digest."""
    row = row_of(place.store, "key_2")._replace(digest=digest)
    place.store.after_load = lambda loaded: replace(loaded, key="key_2", rows={"key_2": row})
    assert find(place, KEY).chain is None


def test_a_credential_that_leads_to_a_group_is_corrupt(place):
    """A group has no key, so nothing can be said of who holds one."""
    commit(place.store, new(a_group("group_2"), UNKNOWN))
    with pytest.raises(RecordCorruptError, match="group_2 has a digest but is no key"):
        find(place, UNKNOWN)


def test_a_key_that_changes_under_one_load_is_loaded_again(place):
    """What was read before the change never enters the cache."""

    def once(loaded):
        del place.store.after_load
        change(place, "key_1", owner="new")
        place.do(sync(place.worker))
        return loaded

    place.store.after_load = once
    assert find(place, KEY).chain.key.owner == "new"


def test_a_key_that_changes_under_every_load_cannot_be_decided(place):
    """There is an end to trying, and it is no acceptance."""

    def always(loaded):
        change(place, "key_1", owner="new")
        place.do(sync(place.worker))
        return loaded

    place.store.after_load = always
    with pytest.raises(StoreUnavailableError, match="changed under every look-up"):
        find(place, KEY)
    assert place.store.asked <= 4 * ATTEMPTS
    assert not place.cache.entries


def test_what_was_read_of_commits_that_the_store_lost_is_not_kept(place):
    """A load that was answered before a failover is asked again after it."""

    def once(loaded):
        del place.store.after_load
        lost = LogHead(loaded.head.rev + 1, b"lost", loaded.head.epoch)
        return replace(loaded, head=lost)

    place.store.after_load = once
    place.store.asked = 0
    assert min(find(place, KEY).revs) == 3
    assert place.store.asked == 4


def test_a_load_of_what_was_only_just_committed_costs_one_sync(place):
    """It is not loaded twice."""
    find(place, OTHER)
    change(place, "key_1", owner="new")
    place.store.asked = 0
    assert min(find(place, KEY).revs) == 4
    assert place.store.asked == 2


def test_a_store_that_went_back_gets_a_new_epoch_once(place):
    """Whoever notices first sets it; everybody drops what they knew, and goes on."""
    entry = find(place, KEY)
    epoch = place.cache.fence.epoch
    place.cache.fence.since += 1  # a revision that the store has never had
    place.do(sync(place.worker))
    assert not entry.alive
    assert place.cache.fence.epoch != epoch
    assert find(place, KEY).alive


@pytest.mark.parametrize("helps", [True, False])
def test_a_sync_of_somebody_else_is_enough_if_it_came_in_time(place, helps):
    """After one that was cancelled, or was sent too early, the next is one's own."""

    class Taken(Unshared):
        taken = True

        def join(self, _about):
            taken, self.taken = self.taken, False
            return Future() if taken else None

    def perform(effect):
        if not isinstance(effect, Join):
            return place(effect)
        if helps:
            place.do(sync(place.worker))
        return None

    find(place, OTHER)
    place.clock.advance(seconds=5.5)
    place.store.asked = 0
    worker = replace(place.worker, flights=Taken())
    run(look_up(worker, KEY, KEY, lambda: (KEY,)), perform)
    assert place.store.asked == 2  # one sync, whoever sent it, and one load
    assert place.cache.entries[KEY].chain.key.id == "key_1"


def test_a_store_that_goes_back_under_every_sync_is_no_store(place):
    """There is an end to trying."""

    def restless():
        epoch = place.cache.fence.epoch
        place.store.perform(ReplaceEpoch(epoch, epoch[1:] + epoch[:1]))

    place.do(sync(place.worker))
    place.store.before_sync = restless
    with pytest.raises(StoreUnavailableError, match="changed under every sync"):
        place.do(sync(place.worker))


def test_a_store_that_does_not_answer_ends_in_its_error(place):
    """Nothing was known, so nothing is served."""
    place.store.down = True
    with pytest.raises(StoreUnavailableError, match="down"):
        find(place, KEY)


def test_known_keys_are_served_for_the_grace_while_the_store_is_away(place):
    """By the operator's choice, counted from the last sync, and for no unknown key."""
    find(place, KEY)
    place.store.down = True
    place.clock.advance(seconds=14.5)
    assert find(place, KEY).chain.key.id == "key_1"
    assert find(place, OTHER) is None
    place.clock.advance(seconds=1)
    with pytest.raises(StoreUnavailableError, match="down"):
        find(place, KEY)


def test_a_message_makes_a_look_up_read_anew(place):
    """What a change did is seen as soon as its message is heard, long before the next sync."""
    assert find(place, KEY) is not None
    head = change(place, "key_1", enabled=False, groups=("group_1",))
    assert place.cache.entries[KEY].alive
    place.cache.hint(["key_1"], head.rev, head.epoch)
    assert KEY not in place.cache.entries
    assert not find(place, KEY).chain.key.enabled


def test_a_load_below_a_message_is_repeated_after_a_sync_and_never_believed(place):
    """What the message is about may be committed between the load and its answer."""
    place.do(sync(place.worker))

    def after_load(loaded):
        place.store.after_load = lambda loaded: loaded
        head = change(place, "key_1", enabled=False, groups=("group_1",))
        place.cache.hint(["key_1"], head.rev, head.epoch)
        return loaded

    place.store.after_load = after_load
    assert not find(place, KEY).chain.key.enabled


def test_a_message_about_what_never_was_denies_nothing(place):
    """A change that a restore lost costs a load and a sync."""
    assert find(place, KEY) is not None
    place.cache.hint(["key_1", "group_1"], 1_000, place.cache.fence.epoch)
    place.store.asked = 0
    assert find(place, KEY) is not None
    assert place.store.asked == 2
    assert find(place, KEY) is not None
    assert place.store.asked == 2


def test_a_sync_that_was_sent_before_a_message_is_not_waited_for_in_vain(place):
    """Whoever waits for one that cannot settle what was heard since sends another."""
    assert find(place, KEY) is not None
    place.cache.hint(["key_1"], 1_000, place.cache.fence.epoch)
    worker = replace(place.worker, flights=Busy(1))
    place.store.asked = 0
    steps = look_up(worker, KEY, KEY, lambda: (KEY,))
    run(steps, lambda effect: None if isinstance(effect, Join) else place(effect))
    assert KEY in place.cache.entries
    assert place.store.asked == 2


@pytest.fixture
def frugal(place):
    """Return the place, with a worker that may ask for two unknown keys a second."""
    place.worker = replace(place.worker, unknown=Budget(2))
    return place


def exhaust(place):
    """Look for as many unknown keys as the worker may."""
    for number in (11, 12):
        assert find(place, a_digest(number)).chain is None
    place.store.asked = 0


def test_unknown_keys_are_looked_for_only_so_often(frugal):
    """Then the store is not asked, until time has passed; nothing is said about the key."""
    exhaust(frugal)
    with pytest.raises(StoreBusyError, match="unknown_keys_max"):
        find(frugal, UNKNOWN)
    assert frugal.store.asked == 0
    assert UNKNOWN not in frugal.cache.absent
    frugal.clock.advance(seconds=0.5)
    assert find(frugal, UNKNOWN).chain is None
    with pytest.raises(StoreBusyError):
        find(frugal, a_digest(13))


def test_keys_that_exist_are_looked_for_as_often_as_one_likes(frugal):
    """They are charged to nobody, whatever state they are in."""
    change(frugal, "key_1", enabled=False)
    for digest in (KEY, OTHER):
        assert find(frugal, digest).chain is not None
    exhaust(frugal)


def test_what_is_known_costs_nothing_and_stays_known(frugal):
    """Keys and strangers alike are decided from memory while nobody may be looked for."""
    find(frugal, KEY)
    exhaust(frugal)
    assert find(frugal, KEY).chain.key.id == "key_1"
    assert find(frugal, a_digest(11)).chain is None
    assert frugal.store.asked == 0


def test_what_lacks_nothing_but_a_sync_is_known_after_it(frugal):
    """That the lease was out makes no stranger of a key; one that has changed meanwhile waits."""
    find(frugal, KEY)
    find(frugal, OTHER)
    change(frugal, "key_2", enabled=False)
    frugal.clock.advance(seconds=5.5)
    for _ in range(2):
        frugal.worker.unknown.charge(frugal.clock.boot())
    frugal.store.asked = 0
    assert find(frugal, KEY).chain.key.id == "key_1"
    assert frugal.store.asked == 1
    with pytest.raises(StoreBusyError):
        find(frugal, OTHER)
    assert frugal.store.asked == 1


def test_a_failure_is_no_look_up_in_vain(frugal):
    """Nobody was told that there is no such key."""
    find(frugal, KEY)
    frugal.store.down = True
    for number in (11, 12, 13):
        with pytest.raises(StoreUnavailableError, match="down"):
            find(frugal, a_digest(number))
    frugal.store.down = False
    exhaust(frugal)


def test_whoever_is_refused_lets_the_next_one_try(frugal):
    """What is asked about the same key ends with the refusal, and so do those who wait for it."""
    exhaust(frugal)
    flights = Flights()
    steps = look_up(frugal.worker, UNKNOWN, UNKNOWN, lambda: (UNKNOWN,))
    with pytest.raises(StoreBusyError):
        frugal.do(alone(flights, UNKNOWN, steps))
    assert flights.join(UNKNOWN) is None
