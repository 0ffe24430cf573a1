"""The part of the store contract that is about syncs: what a worker missed, without a gap."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from keybound.core.effects import CHANGES_MAX, Change, Put, Sync, absence_id
from keybound.testing.records import a_digest, a_group, a_key, commit, new
from keybound.testing.store_kit import StoreKit

if TYPE_CHECKING:
    from keybound.core.effects import LogHead
    from keybound.stores import Store

PRUNED_WITHIN = 100
"""Revisions that the log may keep beyond ``history_max``, so that it is not pruned every time."""


class SyncContract(StoreKit):
    """A sync names every change after a revision, or shows where the list begins to be whole."""

    def test_change_is_logged_under_its_node(self, store: Store) -> None:
        """Every changed node has one row, of the revision that changed it."""
        commit(store, new(a_group("group_a")))
        commit(store, new(a_key("key_a", groups=("group_a",))))
        commit(store, Put(node=a_group("group_a", enabled=False), expected=1))
        logged = (Change(1, "group_a"), Change(2, "key_a"), Change(3, "group_a"))
        assert store.perform(Sync(0)).changes == logged

    def test_new_digest_ends_its_absence(self, store: Store) -> None:
        """A worker that knows a key to be absent learns that it came; a mere change tells none."""
        commit(store, new(a_key("key_a"), a_digest(1)))
        logged = {Change(1, "key_a"), Change(1, absence_id(a_digest(1)))}
        assert set(store.perform(Sync(0)).changes) == logged
        commit(store, Put(node=a_key("key_a", enabled=False), expected=1))
        assert store.perform(Sync(1)).changes == (Change(2, "key_a"),)
        commit(store, Put(node=a_key("key_a"), expected=2, digest=a_digest(2)))
        logged = {Change(3, "key_a"), Change(3, absence_id(a_digest(2)))}
        assert set(store.perform(Sync(2)).changes) == logged

    def test_sync_answers_what_came_after(self, store: Store) -> None:
        """Changes are those after the revision asked about, oldest first, and no others."""
        heads = [commit(store, new(a_key(f"key_{i}"))) for i in range(5)]
        for since in range(6):
            answer = store.perform(Sync(since))
            assert answer.head == heads[-1]
            assert [change.rev for change in answer.changes] == list(range(since + 1, 6))

    def test_sync_answers_tags_of_what_came_after_and_of_where_it_began(self, store: Store) -> None:
        """A worker can tell whether its own revision is still the one that it was."""
        first = store.perform(Sync(0)).head
        heads = [first, *(commit(store, new(a_key(f"key_{i}"))) for i in range(3))]
        for since in range(4):
            assert store.perform(Sync(since)).tags == {head.rev: head.tag for head in heads[since:]}

    def test_sync_from_the_future_shows_that_it_is(self, store: Store) -> None:
        """A worker that knows more than the store gets a lower head and nothing to believe."""
        head = commit(store, new(a_key("key_a")))
        answer = store.perform(Sync(7))
        assert (answer.head, answer.changes, answer.tags) == (head, (), {})

    def test_sync_answers_the_newest_when_there_is_too_much(self, store: Store) -> None:
        """Of more changes than fit, the oldest are missing, and the number shows it."""
        sizes = [1, CHANGES_MAX // 2, CHANGES_MAX // 4, CHANGES_MAX // 2]
        for rev, size in enumerate(sizes, 1):
            commit(store, *(new(a_key(f"key_{rev}_{i}")) for i in range(size)))
        changes = store.perform(Sync(0)).changes
        assert [change.rev for change in changes] == sorted(change.rev for change in changes)
        assert len(set(changes)) == len(changes) == CHANGES_MAX
        cut = CHANGES_MAX - sizes[2] - sizes[3]
        assert Counter(change.rev for change in changes) == {2: cut, 3: sizes[2], 4: sizes[3]}
        assert len(store.perform(Sync(2)).changes) == sizes[2] + sizes[3]

    def test_history_is_forgotten_in_whole_revisions(self, store: Store) -> None:
        """The log ends somewhere, but not before it must, and never within a revision."""
        heads = self._write(store, [], self.history_max)
        for _ in range(PRUNED_WITHIN + 1):  # whenever the store happens to prune
            self._write(store, heads, 1)
            must_be_known = heads[-self.history_max].rev
            answer = store.perform(Sync(must_be_known - 1))
            if len(answer.changes) < CHANGES_MAX:
                assert [change.rev for change in answer.changes[:2]] == [must_be_known] * 2
                assert answer.tags[must_be_known] == heads[-self.history_max].tag
            assert must_be_known in store.perform(Sync(must_be_known)).tags
        may_be_known = heads[-self.history_max].rev - PRUNED_WITHIN
        assert may_be_known - 1 not in store.perform(Sync(may_be_known - 1)).tags
        answer = store.perform(Sync(may_be_known))
        logged = Counter(change.rev for change in answer.changes)
        assert list(logged) == list(range(min(logged), heads[-1].rev + 1))
        if len(answer.changes) == CHANGES_MAX:
            del logged[min(logged)]  # cut by the number of changes that fit
        assert set(logged.values()) == {2}

    def test_sync_answers_the_newest_tags_when_there_are_too_many(self, store: Store) -> None:
        """Of more revisions than fit, the tags of the newest are there."""
        heads = self._write(store, [], min(CHANGES_MAX, self.history_max) + 2)
        newest = heads[-min(CHANGES_MAX, self.history_max) :]
        tags = store.perform(Sync(0)).tags
        assert tags.items() >= {head.rev: head.tag for head in newest}.items()
        assert len(tags) <= CHANGES_MAX + 1

    def _write(self, store: Store, heads: list[LogHead], count: int) -> list[LogHead]:
        """Commit so many more revisions that change two groups each."""
        for _ in range(count):
            rev = heads[-1].rev if heads else None
            names = ("group_a", "group_b")
            heads.append(commit(store, *(Put(node=a_group(n), expected=rev) for n in names)))
        return heads
