"""The part of the store contract that is about opening: how a store begins and who it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from keybound.core.effects import (
    Commit,
    ListNodes,
    LoadByDigest,
    LoadNode,
    OpenStore,
    ReplaceEpoch,
    SetFingerprint,
    Sync,
)
from keybound.core.errors import StoreError, StoreUnavailableError
from keybound.testing.records import a_digest, a_key, commit, load, new
from keybound.testing.store_kit import ENTROPY, StoreKit, together

if TYPE_CHECKING:
    from typing import Any

    from keybound.core.effects import Effect
    from keybound.stores import Store


class OpeningContract(StoreKit):
    """A store is opened once for ever, and is recognised by what it was given then."""

    def test_store_begins_at_revision_0(self, store: Store) -> None:
        """A new store has a head with a tag, and nothing has happened."""
        answer = store.perform(Sync(0))
        assert answer.head.rev == 0
        assert answer.changes == ()
        assert answer.tags == {0: answer.head.tag}

    def test_what_a_store_begins_with_is_random_each_by_itself(self, store: Store) -> None:
        """Who learns the epoch or a tag learns nothing of the installation's id."""
        installation = store.perform(OpenStore(ENTROPY))
        head = store.perform(Sync(0)).head
        values = [installation.id, head.tag, head.epoch]
        assert len(set(values)) == len(values)
        assert not any(value in ENTROPY or ENTROPY in value for value in values)

    def test_opening_again_changes_nothing(self, store: Store) -> None:
        """Every process opens the store, and all but the first find what is there."""
        commit(store, new(a_key("key_a")))
        first = store.perform(OpenStore(ENTROPY))
        assert store.perform(OpenStore(bytes(32))) == first
        assert load(store, "key_a").key == "key_a"

    def test_processes_that_open_at_once_agree(self, unopened: Store) -> None:
        """Whoever comes first makes the store; nobody fails and nobody makes another."""

        def open_it(number: int) -> bytes:
            handle = self.make_second(unopened)
            try:
                return handle.perform(OpenStore(bytes([number]) * 32)).id
            finally:
                handle.close()

        assert len(set(together(open_it))) == 1

    @pytest.mark.parametrize(
        "effect",
        [
            Commit(puts=(), tag=bytes(16)),
            ListNodes(),
            LoadByDigest((a_digest(1),)),
            LoadNode("key_a"),
            ReplaceEpoch(bytes(16), bytes(16)),
            SetFingerprint("0" * 16),
            Sync(0),
        ],
        ids=lambda effect: type(effect).__name__,
    )
    def test_store_that_was_never_opened_says_so(
        self, unopened: Store, effect: Effect[Any]
    ) -> None:
        """Nothing is answered from a store that is not there, least of all "no such key"."""
        with pytest.raises(StoreError) as caught:
            unopened.perform(effect)
        assert not isinstance(caught.value, StoreUnavailableError)

    def test_fingerprint_is_remembered(self, store: Store, second: Store) -> None:
        """The secret in use can be told from another one, and that is no change of any key."""
        assert store.perform(OpenStore(ENTROPY)).fingerprint is None
        store.perform(SetFingerprint("00112233aabbccdd"))
        assert second.perform(OpenStore(ENTROPY)).fingerprint == "00112233aabbccdd"
        assert store.perform(Sync(0)).head.rev == 0

    def test_epoch_is_replaced_only_if_it_was_seen(self, store: Store) -> None:
        """Of two workers that find the store restored, one sets the epoch and both get it."""
        before = store.perform(Sync(0)).head
        assert store.perform(ReplaceEpoch(before.epoch, b"1" * 16)) == b"1" * 16
        assert store.perform(ReplaceEpoch(before.epoch, b"2" * 16)) == b"1" * 16
        assert store.perform(Sync(0)).head == before._replace(epoch=b"1" * 16)

    def test_epochs_set_at_once_are_one(self, store: Store) -> None:
        """However many workers replace the epoch they saw, all get the one that won."""
        seen = store.perform(Sync(0)).head.epoch
        answers = together(lambda n: store.perform(ReplaceEpoch(seen, bytes([n + 1]) * 16)))
        assert set(answers) == {store.perform(Sync(0)).head.epoch}
        assert answers[0] != seen

    def test_closed_store_goes_on_when_used_again(self, store: Store) -> None:
        """Closing lets go of connections, not of keys; it may be done twice."""
        commit(store, new(a_key("key_a")))
        store.close()
        store.close()
        assert load(store, "key_a").key == "key_a"

    def test_handles_of_one_database_see_the_same(self, store: Store, second: Store) -> None:
        """A commit is seen through every handle as soon as it is answered."""
        head = commit(store, new(a_key("key_a"), a_digest(1)))
        assert second.perform(Sync(0)).head == head
        assert second.perform(LoadByDigest((a_digest(1),))).key == "key_a"

    def test_location_can_be_shown(self, store: Store, second: Store) -> None:
        """People are told where their keys are, by every handle alike."""
        assert store.location
        assert store.location == second.location
