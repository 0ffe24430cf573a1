"""The part of the store contract that is about usage: numbers that add up, and touch nothing else.

A store that leaves both effects out (it raises, or answers ``None``) works all the same; then uses
of keys are not counted there, and its class here says ``counts = False``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from keybound.core.effects import (
    EVERYTHING,
    USAGE_ROWS_MAX,
    LoadNode,
    OpenStore,
    ReadUsage,
    RecordUsage,
    Sync,
    UsageRow,
)
from keybound.core.errors import StoreError
from keybound.testing.records import a_digest, a_group, a_key, commit, load, new
from keybound.testing.store_kit import ENTROPY, THREADS, StoreKit, together

if TYPE_CHECKING:
    from keybound.stores import Store

AT = 1_780_000_000.125


class UsageContract(StoreKit):
    """What is recorded adds up, whoever records, and neither nodes nor revisions hear of it."""

    counts = True
    """Whether the subject keeps usage at all."""

    @pytest.fixture(autouse=True)
    def _only_where_it_counts(self) -> None:
        if not self.counts:
            pytest.skip("the store says that it keeps no usage")

    def test_what_is_recorded_is_read_exactly(self, store: Store) -> None:
        """To the last digit, of the keys asked about, and of no others."""
        rows = (UsageRow("key_a", AT, 3, 1, AT + 0.25, AT + 1), UsageRow("key_b", AT, refusals=2))
        assert store.perform(RecordUsage(rows)) == len(rows)
        assert store.perform(ReadUsage(("key_a",))) == {"key_a": rows[0]}
        assert store.perform(ReadUsage(("key_b", "key_c", "key_a"))) == {
            row.key: row for row in rows
        }
        assert store.perform(ReadUsage(())) == {}

    def test_numbers_add_up_and_moments_are_the_latest(self, store: Store) -> None:
        """In whatever order they arrive; since when it is counted is said by the first."""
        record(store, UsageRow("key_a", AT, 3, 0, AT + 5, None))
        record(store, UsageRow("key_a", AT + 1, 4, 2, AT + 2, AT + 7))
        record(store, UsageRow("key_a", AT - 1, -1, 1, None, AT + 6))
        record(store, UsageRow("key_a", AT + 2, 0, 0, AT + 9, None))
        expected = UsageRow("key_a", AT, 6, 3, AT + 9, AT + 7)
        assert store.perform(ReadUsage(("key_a",))) == {"key_a": expected}

    def test_great_numbers_are_kept(self, store: Store) -> None:
        """A busy key of many years."""
        record(store, UsageRow("key_a", AT, 2**40, 2**41))
        record(store, UsageRow("key_a", AT, 2**40, 1))
        (row,) = store.perform(ReadUsage(("key_a",))).values()
        assert (row.uses, row.refusals) == (2**41, 2**41 + 1)

    def test_nothing_else_is_touched(self, store: Store) -> None:
        """No revision, change or node: what is recorded brings nothing back and ends nothing."""
        commit(store, new(a_group("group_a")))
        commit(store, new(a_key("key_a", groups=("group_a",)), a_digest(1)))
        before, loaded = store.perform(Sync(0)), load(store, "key_a")
        names = sorted(["group_a", "key_a", "key_gone", EVERYTHING, "d:0"])
        record(store, *(UsageRow(name, AT, 1, 1, AT, AT) for name in names))
        assert store.perform(Sync(0)) == before
        assert load(store, "key_a") == loaded
        assert store.perform(LoadNode("key_gone")).key is None
        commit(store, new(a_key("key_gone"), a_digest(2)))  # which an id that is used up would stop
        assert store.perform(ReadUsage(("key_gone",)))["key_gone"].uses == 1

    def test_whoever_records_at_once_adds_up(self, store: Store) -> None:
        """The same keys from many threads: nothing is lost, and nobody waits for ever."""
        names = sorted(f"key_{i}" for i in range(50))
        rows = tuple(UsageRow(name, AT, 1, 0, AT) for name in names)

        def work(_number: int) -> None:
            for _ in range(5):
                record(store, *rows)

        together(work)
        found = store.perform(ReadUsage(tuple(names)))
        assert {row.uses for row in found.values()} == {THREADS * 5}
        assert len(found) == len(names)

    def test_second_handle_adds_to_the_same(self, store: Store, second: Store) -> None:
        """What several processes record is one number."""
        one, other = UsageRow("key_a", AT, 1), UsageRow("key_a", AT, 2)
        record(store, one)
        record(second, other)
        for each in (store, second):
            assert each.perform(ReadUsage(("key_a",))) == {"key_a": one.plus(other)}

    def test_as_many_as_there_may_be_are_recorded_and_read(self, store: Store) -> None:
        """One effect may have this many."""
        names = sorted(f"key_{i}" for i in range(USAGE_ROWS_MAX))
        assert store.perform(RecordUsage(tuple(UsageRow(n, AT, 1) for n in names))) == len(names)
        assert len(store.perform(ReadUsage(tuple(names)))) == USAGE_ROWS_MAX

    def test_usage_of_a_store_that_nobody_opened_is_an_error(self, unopened: Store) -> None:
        """There is no store yet, which is not the same as no usage."""
        with pytest.raises(StoreError):
            unopened.perform(RecordUsage((UsageRow("key_a", AT, 1),)))
        with pytest.raises(StoreError):
            unopened.perform(ReadUsage(("key_a",)))
        unopened.perform(OpenStore(ENTROPY))
        assert unopened.perform(ReadUsage(("key_a",))) == {}


def record(store: Store, *rows: UsageRow) -> None:
    """Record rows, all of which must be taken."""
    assert store.perform(RecordUsage(rows)) == len(rows)
