"""The part of the store contract that is about commits: all or nothing, one after another."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest

from keybound.core.effects import ListNodes, LoadByDigest, Put, Sync
from keybound.core.errors import ConflictError, InputError
from keybound.core.nodes import RECORD_MAX
from keybound.testing.records import a_digest, a_group, a_key, commit, new, row_of
from keybound.testing.store_kit import THREADS, StoreKit, together

if TYPE_CHECKING:
    from keybound.core.effects import Change, LogHead
    from keybound.stores import Store


class CommitContract(StoreKit):
    """A commit is one revision; it happens as a whole, or it never happened."""

    def test_commit_is_one_revision(self, store: Store) -> None:
        """All nodes of a commit bear the revision that it answers, which is the next one."""
        epoch = store.perform(Sync(0)).head.epoch
        head = commit(store, new(a_key("key_a")), new(a_group("group_a")))
        assert (head.rev, head.epoch) == (1, epoch)
        assert store.perform(Sync(0)).head == head
        assert {row_of(store, "key_a").rev, row_of(store, "group_a").rev} == {1}

    def test_revisions_have_no_gaps_under_threads(self, store: Store) -> None:
        """Writers at the same time take one revision each, and the log has every one of them."""
        each = 12

        def write(number: int) -> list[LogHead]:
            return [commit(store, new(a_key(f"key_{number}_{i}"))) for i in range(each)]

        heads = [head for written in together(write) for head in written]
        assert sorted(head.rev for head in heads) == list(range(1, THREADS * each + 1))
        answer = store.perform(Sync(0))
        assert [change.rev for change in answer.changes] == list(range(1, THREADS * each + 1))
        assert {head.rev: head.tag for head in heads}.items() <= answer.tags.items()

    def test_revisions_come_in_order_of_commits(self, store: Store, second: Store) -> None:
        """Whoever knows a revision has seen all before it: none is committed later."""
        each = 12

        def work(number: int) -> list[Change]:
            if number:
                for i in range(each):
                    commit(store, new(a_key(f"key_{number}_{i}")))
                return []
            seen: list[Change] = []
            while len(seen) < (THREADS - 1) * each:
                answer = second.perform(Sync(seen[-1].rev if seen else 0))
                seen += answer.changes
                assert answer.head.rev == (seen[-1].rev if seen else 0)
            return seen

        seen = together(work)[0]
        assert [change.rev for change in seen] == list(range(1, (THREADS - 1) * each + 1))

    def test_no_update_is_lost(self, store: Store, second: Store) -> None:
        """Who changes what was read either changes exactly that or is told of the conflict."""
        commit(store, new(a_key("key_a", metadata={"count": 0})))
        each = 3

        def count(number: int) -> None:
            handle = second if number % 2 else store
            done = 0
            while done < each:
                row = row_of(handle, "key_a")
                metadata = {"count": row.node.metadata["count"] + 1}
                node = msgspec.structs.replace(row.node, metadata=metadata)
                try:
                    commit(handle, Put(node=node, expected=row.rev))
                except ConflictError:
                    continue
                done += 1

        together(count)
        assert row_of(store, "key_a").node.metadata == {"count": THREADS * each}

    @pytest.mark.parametrize(
        "put",
        [
            Put(node=a_key("key_a"), expected=None),
            Put(node=a_key("key_a"), expected=1),
            Put(node=a_key("key_a"), expected=3),
            Put(node=a_key("key_none"), expected=1),
        ],
        ids=["exists", "older", "newer", "missing"],
    )
    def test_put_on_another_revision_is_a_conflict(self, store: Store, put: Put) -> None:
        """A node is written only over what its writer read; the error names the node."""
        commit(store, new(a_key("key_a", name="before")))
        head = commit(store, Put(node=a_key("key_a", name="now"), expected=1))
        with pytest.raises(ConflictError, match=put.node.id):
            commit(store, new(a_key("key_b"), a_digest(2)), put)
        self._is_as_before(store, head)

    @pytest.mark.parametrize("ceiling", [("key_a", 1), ("key_a", 3), ("key_none", 1)])
    def test_changed_ceiling_is_a_conflict(self, store: Store, ceiling: tuple[str, int]) -> None:
        """What a key was measured against is still so when it is written; the error names it."""
        commit(store, new(a_key("key_a", name="before")))
        head = commit(store, Put(node=a_key("key_a", name="now"), expected=1))
        with pytest.raises(ConflictError, match=ceiling[0]):
            commit(store, new(a_key("key_b"), a_digest(2)), ceilings=(("key_a", 2), ceiling))
        self._is_as_before(store, head)
        commit(store, new(a_key("key_b"), a_digest(2)), ceilings=(("key_a", 2),))

    def _is_as_before(self, store: Store, head: LogHead) -> None:
        answer = store.perform(Sync(0))
        assert answer.head == head
        assert [change.node for change in answer.changes] == ["key_a", "key_a"]
        assert [row.node.name for row in store.perform(ListNodes())] == ["now"]
        assert store.perform(LoadByDigest((a_digest(2),))).key is None

    def test_digest_of_another_key_is_a_conflict(self, store: Store) -> None:
        """A digest finds one key at most, however it comes to be there."""
        head = commit(store, new(a_key("key_a"), a_digest(1)), new(a_key("key_b"), a_digest(2)))
        with pytest.raises(ConflictError, match="key_c"):
            commit(store, new(a_key("key_c"), a_digest(1)))
        with pytest.raises(ConflictError, match="key_d"):
            commit(store, new(a_key("key_c"), a_digest(3)), new(a_key("key_d"), a_digest(3)))
        with pytest.raises(ConflictError, match="key_b"):
            commit(store, Put(node=a_key("key_b"), expected=1, digest=a_digest(1)))
        assert store.perform(Sync(0)).head == head

    def test_node_twice_in_a_commit_is_a_conflict(self, store: Store) -> None:
        """Two states of one node cannot both be that of a revision."""
        with pytest.raises(ConflictError, match="key_a"):
            commit(store, new(a_key("key_a", name="one")), new(a_key("key_a", name="two")))
        assert store.perform(ListNodes()) == ()

    def test_digest_stays_when_none_is_given(self, store: Store) -> None:
        """Changing a key does not lock its holder out."""
        commit(store, new(a_key("key_a"), a_digest(1)))
        commit(store, Put(node=a_key("key_a", enabled=False), expected=1))
        assert store.perform(LoadByDigest((a_digest(1),))).key == "key_a"
        row = row_of(store, "key_a")
        assert (row.rev, row.digest, row.node.enabled) == (2, a_digest(1), False)

    def test_digest_can_be_replaced(self, store: Store) -> None:
        """A key found by a new digest is no longer found by its old one, which is free again."""
        commit(store, new(a_key("key_a"), a_digest(1)))
        commit(store, Put(node=a_key("key_a"), expected=1, digest=a_digest(2)))
        assert store.perform(LoadByDigest((a_digest(1),))).key is None
        assert store.perform(LoadByDigest((a_digest(2),))).key == "key_a"
        commit(store, new(a_key("key_b"), a_digest(1)))

    def test_record_that_is_too_large_is_not_written(self, store: Store) -> None:
        """What could not be read back is refused, with everything that comes with it."""
        large = a_key("key_b", metadata={"text": "x" * RECORD_MAX})
        with pytest.raises(InputError):
            commit(store, new(a_key("key_a"), a_digest(1)), new(large))
        assert store.perform(Sync(0)).head.rev == 0
        assert store.perform(ListNodes()) == ()
