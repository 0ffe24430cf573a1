"""What a worker knows: floors that rise, revisions it has seen, and syncs that fail to settle."""

from __future__ import annotations

import secrets

import pytest

from keybound.caches.local import LocalCache
from keybound.core.coherence import Worker, look_up, sync
from keybound.core.effects import (
    EVERYTHING,
    Change,
    LoadByDigest,
    Loaded,
    LogHead,
    Moment,
    Row,
    Sync,
    SyncAnswer,
)
from keybound.core.errors import RecordCorruptError, StoreUnavailableError
from keybound.core.fence import Applied, Fence
from keybound.core.tally import Tally
from keybound.core.terms import ChainPolicy
from keybound.stores.memory import MemoryStore
from keybound.testing.records import a_group, commit, new
from tests.core.conftest import World

TAG, EPOCH = b"t" * 16, b"e" * 16


def answer(rev, *changes):
    """Return what a sync answers for a store at ``rev``."""
    return SyncAnswer(head=LogHead(rev, TAG, EPOCH), changes=changes, tags={rev: TAG, 0: TAG})


def apply(fence, said, *, since=0, at=0.0):
    """Take in an answer to a question sent at ``at``."""
    return fence.apply(said, since=since, hinted=fence.hinted, sent_at=Moment(at, at))


def test_a_change_of_everything_raises_every_floor():
    """A revision that touched all nodes leaves nothing that was read before it."""
    fence = Fence()
    assert apply(fence, answer(3, Change(3, EVERYTHING))) is Applied.DONE
    assert (fence.floor("key_a"), fence.floor_all) == (3, 3)


def test_an_older_change_does_not_lower_a_floor():
    """A floor only rises."""
    fence = Fence()
    fence.raise_floor("key_a", 5)
    fence.raise_floor("key_a", 2)
    assert fence.floor("key_a") == 5


def test_forgetting_floors_raises_the_floor_of_all():
    """Memory is bounded, and what is forgotten is required of every node."""
    fence = Fence(floors_max=2)
    for rev, node in enumerate(("key_a", "key_b", "key_c"), start=1):
        fence.raise_floor(node, rev)
    assert fence.floor_all > 0
    assert fence.floor("key_a") >= 1


def test_a_sync_sent_before_the_last_one_is_dropped():
    """Answers may arrive in any order; only the later question counts."""
    fence = Fence()
    assert apply(fence, answer(1), at=2.0) is Applied.DONE
    assert apply(fence, answer(2), since=1, at=1.0) is Applied.OVERTAKEN
    assert fence.since == 1


def worker():
    """Return a worker that knows nothing."""
    return Worker(cache=LocalCache(bound=5.0), policy=ChainPolicy())


class Restless(MemoryStore):
    """A store that has another epoch at every question."""

    def perform(self, effect):
        """Answer, as another installation each time."""
        said = super().perform(effect)
        if isinstance(effect, Sync):
            head = said.head._replace(epoch=secrets.token_bytes(16))
            return SyncAnswer(head=head, changes=said.changes, tags=said.tags)
        return said


def test_a_store_that_never_settles_is_unavailable():
    """A sync does not go on for ever."""
    world, known = World(Restless()), worker()
    world.do(sync(known))
    with pytest.raises(StoreUnavailableError, match="under every sync"):
        world.do(sync(known))


class Mistaken(MemoryStore):
    """A store whose look-ups by digest find this row, whatever was asked."""

    row: Row

    def perform(self, effect):
        """Answer with the row."""
        if isinstance(effect, LoadByDigest):
            head = super().perform(Sync(0)).head
            return Loaded(head=head, key=self.row.node.id, rows={self.row.node.id: self.row})
        return super().perform(effect)


@pytest.mark.parametrize("digest", [None, b"x" * 32])
def test_a_row_with_another_digest_is_no_key(digest):
    """What a collation or a mistake finds is compared with what was asked, in full."""
    store = Mistaken()
    store.row = Row(a_group("group_a"), 0, digest)
    known = worker()
    World(store).do(look_up(known, b"index", b"d" * 32, lambda: (b"d" * 32,)))
    assert known.cache.absent[b"index"].chain is None


def test_a_group_with_a_digest_is_corrupt():
    """Nothing but a key is ever found by a credential."""
    store = Mistaken()
    store.row = Row(a_group("group_a"), 0, b"d" * 32)
    with pytest.raises(RecordCorruptError, match="is no key"):
        World(store).do(look_up(worker(), b"index", b"d" * 32, lambda: (b"d" * 32,)))


class Elsewhere(MemoryStore):
    """A store whose look-ups are answered at a revision that its log never has."""

    def perform(self, effect):
        """Answer look-ups as a replica that went its own way would."""
        said = super().perform(effect)
        if isinstance(effect, LoadByDigest):
            return Loaded(head=LogHead(1, secrets.token_bytes(16), EPOCH), key=None, rows={})
        return said


def test_what_was_read_at_an_unseen_revision_is_never_kept():
    """A look-up whose revision the primary's log does not have is not believed."""
    known = worker()
    with pytest.raises(StoreUnavailableError, match="under every look-up"):
        World(Elsewhere()).do(look_up(known, b"index", b"d" * 32, lambda: (b"d" * 32,)))
    assert not known.cache.absent


class Listening:
    """A worker whose changes of elsewhere are told, in a world of its own."""

    def __init__(self):
        """Know a store with one change, which was there before."""
        self.world = World()
        self.told: list[tuple[str, float, int]] = []
        self.tally = Tally(fenced=lambda *told: self.told.append(told))
        self.cache = LocalCache(bound=5.0)
        self.worker = Worker(cache=self.cache, policy=ChainPolicy(), tally=self.tally)
        self.issue("group_0")
        self.sync()

    def issue(self, name):
        """Let somebody else change something."""
        return commit(self.world.store, new(a_group(name)))

    def sync(self):
        """Look what changed."""
        self.world.do(sync(self.worker))


def test_a_change_is_told_with_the_longest_that_it_can_have_taken():
    """It was committed after the sync before was sent, which did not see it; each is told once."""
    here = Listening()
    assert here.told == []  # nobody knows how long ago that was
    here.world.clock.advance(seconds=2.0)
    here.sync()
    here.issue("group_1")
    here.issue("group_2")
    here.world.clock.advance(seconds=0.75)
    here.sync()
    assert here.told == [("sync", 0.75, 2)]
    here.world.clock.advance(seconds=0.5)
    here.sync()
    assert here.told == [("sync", 0.75, 2)]


def test_a_change_that_holds_already_is_not_told_of_a_sync():
    """A message brought it, or it was made here."""
    here = Listening()
    cache = here.cache
    head = here.issue("group_1")
    cache.hint(["group_1"], head.rev, head.epoch)
    cache.raise_floors(["group_2"], here.issue("group_2"))
    here.sync()
    assert here.told == []
    assert cache.fence.since == head.rev + 1


def test_a_sync_that_was_overtaken_tells_nothing():
    """The later one did."""
    here = Listening()
    perform = here.world.store.perform

    def overtaken(effect):
        said = perform(effect)
        here.world.store.perform = perform
        here.world.clock.advance(seconds=1.0)
        here.sync()
        return said

    here.issue("group_1")
    here.world.clock.advance(seconds=1.0)
    here.world.store.perform = overtaken
    here.sync()
    assert here.told == [("sync", 2.0, 1)]
    assert here.cache.fence.since == 2


def test_nobody_need_listen():
    """Then no clock is read for it."""
    here = Listening()
    here.tally.fenced = None
    here.issue("group_1")
    here.sync()
    assert here.cache.fence.since == 2


def test_news_is_what_is_above_a_floor():
    """Of as many revisions, not of as many nodes."""
    fence = Fence()
    fence.raise_floor("key_a", 5)
    changes = [Change(5, "key_a"), Change(6, "key_a"), Change(6, "key_b"), Change(7, "key_b")]
    assert [fence.news(changes[:count]) for count in range(5)] == [0, 0, 1, 1, 2]
