"""How keys are used: each number is handed over once at most, and read as it was recorded."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from keybound.core import usage
from keybound.core.effects import (
    EVERYTHING,
    USAGE_ROWS_MAX,
    ListNodes,
    Moment,
    OpenStore,
    ReadClock,
    ReadUsage,
    RecordUsage,
    UsageRow,
)
from keybound.core.errors import InputError, StoreUnavailableError, UnsureError
from keybound.core.usage import UncountedError, Usage, hand_over, list_unused, read_usage
from keybound.counting import Counts
from keybound.drivers import run
from keybound.stores.memory import MemoryStore
from keybound.testing.records import a_key, commit, new

NOW = datetime(2026, 6, 1, tzinfo=UTC)
DAY = timedelta(days=1)


class World:
    """A real store under a clock that stands still, which can be told to fail."""

    def __init__(self):
        """Open an empty store."""
        self.store = MemoryStore()
        self.store.perform(OpenStore(bytes(32)))
        self.now = NOW
        self.asked = []
        self.befalls = {}

    def __call__(self, effect):
        """Answer an effect, or do what is to befall the one of this number."""
        if isinstance(effect, ReadClock):
            return Moment(0.0, self.now.timestamp())
        self.asked.append(effect)
        befalls = self.befalls.pop(len(self.asked), None)
        if befalls is None:
            return self.store.perform(effect)
        if isinstance(befalls, BaseException | type):
            raise befalls
        return befalls(effect)

    def recorded(self):
        """Return what is recorded of every key."""
        rows = self.store.perform(ReadUsage(tuple(NAMES)))
        return {key: row.uses for key, row in rows.items()}


@pytest.fixture
def world():
    """Return a store and a clock."""
    return World()


def counted(names, uses=1):
    """Return counts of so many uses of each key."""
    counts = Counts()
    at = NOW.timestamp()
    counts.give_back([UsageRow(name, at, uses, 0, at) for name in names])
    return counts


NAMES = [f"key_{i:04}" for i in range(2 * USAGE_ROWS_MAX + 1)]


def test_what_was_counted_is_handed_over_in_order(world):
    """As many transactions as it takes, each in order of ids, and then nothing is left."""
    counts = counted(reversed(NAMES), uses=2)
    run(hand_over(counts), world)
    batches = [[row.key for row in effect.rows] for effect in world.asked]
    assert [len(each) for each in batches] == [1, USAGE_ROWS_MAX, USAGE_ROWS_MAX, 1]
    assert [name for each in batches for name in each] == [EVERYTHING, *NAMES]
    assert world.recorded() == dict.fromkeys(NAMES, 2)
    run(hand_over(counts), world)
    assert len(world.asked) == 4
    assert counts.take_lost() == 0


def test_counting_begins_once(world):
    """A worker says with the first that it hands over since when there is counting."""
    run(hand_over(counted([])), world)
    assert world.asked == []
    counts = counted(["key_a"])
    for _ in range(2):
        run(hand_over(counts), world)
        counts.refused("key_a", NOW.timestamp())
        world.now += DAY
    begins = [effect for effect in world.asked if effect.rows[0].key == EVERYTHING]
    assert [effect.rows for effect in begins] == [(UsageRow(EVERYTHING, NOW.timestamp()),)]
    found = run(read_usage(["key_a"]), world)["key_a"]
    assert found.counted_since == NOW


@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_what_a_store_did_not_take_is_kept(world, number):
    """Whichever transaction fails: what was recorded is not sent again, and all else is."""
    counts = counted(NAMES)
    world.befalls[number] = StoreUnavailableError("away")
    with pytest.raises(StoreUnavailableError, match="away"):
        run(hand_over(counts), world)
    assert set(world.recorded()) == set(NAMES[: max(number - 2, 0) * USAGE_ROWS_MAX])
    counts.give_back([UsageRow(NAMES[-1], 0.0, 1)])
    run(hand_over(counts), world)
    assert world.recorded() == {**dict.fromkeys(NAMES, 1), NAMES[-1]: 2}
    assert counts.take_lost() == 0


def test_nothing_is_counted_twice_when_nobody_can_tell(world):
    """An answer that was lost may have been a yes: those numbers are lost rather than doubled."""
    counts = counted(NAMES)

    def lost(effect):
        world.store.perform(effect)
        raise UnsureError("no answer")

    world.befalls[3] = lost
    with pytest.raises(UnsureError):
        run(hand_over(counts), world)
    run(hand_over(counts), world)
    assert world.recorded() == dict.fromkeys(NAMES, 1)
    assert counts.take_lost() == USAGE_ROWS_MAX
    assert counts.take_lost() == 0


def test_whoever_is_interrupted_doubles_nothing_either(world):
    """What was under way is not sent again; what was not is kept."""
    counts = counted(NAMES)
    world.befalls[2] = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        run(hand_over(counts), world)
    run(hand_over(counts), world)
    assert set(world.recorded()) == set(NAMES[USAGE_ROWS_MAX:])


@pytest.mark.parametrize(
    "answer",
    [KeyError, NotImplementedError, lambda _: None, lambda _: 2],
    ids=["KeyError", "NotImplementedError", "None", "another number"],
)
def test_store_that_does_not_count_is_told_from_one_that_fails(world, answer):
    """One of a time before these effects raises anything, or answers nothing."""
    world.befalls[1] = answer
    with pytest.raises(UncountedError, match="does not keep"):
        run(hand_over(counted(["key_a"])), world)
    world.asked.clear()
    world.befalls[1] = answer
    with pytest.raises(UncountedError, match="does not keep"):
        run(read_usage(["key_a"]), world)


def test_every_key_has_its_usage(world):
    """What is recorded, exactly, or that nothing is; in questions of bounded size."""
    row = UsageRow("key_0001", 5.0, 3, 4, NOW.timestamp() + 0.125, (NOW + DAY).timestamp())
    world.store.perform(RecordUsage((row,)))
    found = run(read_usage(NAMES), world)
    assert list(found) == NAMES
    assert found["key_0001"] == Usage(
        uses=3,
        refusals=4,
        last_used_at=NOW + timedelta(seconds=0.125),
        last_refused_at=NOW + DAY,
    )
    assert found["key_0000"] == Usage()
    sizes = [len(effect.keys) for effect in world.asked]
    assert sizes == [USAGE_ROWS_MAX, USAGE_ROWS_MAX, len(NAMES) - 2 * usage.PAGE + 1]
    world.store.perform(RecordUsage((UsageRow(EVERYTHING, NOW.timestamp()),)))
    found = run(read_usage(NAMES[:2]), world)
    assert {each.counted_since for each in found.values()} == {NOW}
    assert run(read_usage([]), world) == {}


def test_failure_of_a_question_is_the_failure(world):
    """A store that is down is not one that keeps no usage."""
    world.befalls[1] = StoreUnavailableError("away")
    with pytest.raises(StoreUnavailableError, match="away"):
        run(read_usage(["key_a"]), world)


def unused(world, days, **options):
    """Return the ids of keys that were unused for so many days."""
    rows = run(list_unused(ListNodes(**options), days * DAY.total_seconds()), world)
    return [row.node.id for row in rows]


def make(world, name, *, made=100, used=None, **members):
    """Store a key that was made and used so many days ago."""
    commit(world.store, new(a_key(name, created_at=NOW - made * DAY, **members)))
    if used is not None:
        at = (NOW - used * DAY).timestamp()
        world.store.perform(RecordUsage((UsageRow(name, at, 1, 0, at),)))


def begin(world, days):
    """Let counting have begun so many days ago."""
    world.store.perform(RecordUsage((UsageRow(EVERYTHING, (NOW - days * DAY).timestamp()),)))


def test_unused_is_what_nobody_used_for_so_long(world):
    """By its last use, or else by when it was made."""
    begin(world, 1_000)
    make(world, "key_a", used=10)
    make(world, "key_b", used=9.999)
    make(world, "key_c", made=10)
    make(world, "key_d", made=9.999)
    make(world, "key_e", made=1, used=20)
    make(world, "key_f", used=20, revoked_at=NOW)
    assert unused(world, 10) == ["key_a", "key_c", "key_e"]
    assert unused(world, 20) == ["key_e"]


def test_nothing_is_unused_for_longer_than_there_is_counting(world):
    """A store that was upgraded yesterday knows of nobody who was quiet for a month."""
    make(world, "key_a")
    assert unused(world, 1) == []
    begin(world, 5)
    assert unused(world, 5) == ["key_a"]
    assert unused(world, 5.001) == []


def test_refused_is_not_used(world):
    """Who only tries in vain does not keep a key alive."""
    begin(world, 1_000)
    make(world, "key_a")
    world.store.perform(RecordUsage((UsageRow("key_a", 0.0, 0, 3, None, NOW.timestamp()),)))
    assert unused(world, 50) == ["key_a"]


def test_unused_are_found_over_all_pages(world, monkeypatch):
    """As many as are asked for, however many others lie between, and on from where one stopped."""
    monkeypatch.setattr(usage, "PAGE", 3)
    begin(world, 1_000)
    for number in range(13):
        make(world, f"key_{number:02}", used=50 if number % 4 == 0 else 1)
    assert unused(world, 10) == ["key_00", "key_04", "key_08", "key_12"]
    assert unused(world, 10, limit=3) == ["key_00", "key_04", "key_08"]
    assert unused(world, 10, limit=1) == ["key_00"]
    assert unused(world, 10, after="key_04") == ["key_08", "key_12"]
    world.asked.clear()
    unused(world, 10, limit=1)
    assert len(world.asked) == 2
    world.asked.clear()
    assert unused(world, 10, after="key_12") == []
    assert [type(effect) for effect in world.asked] == [ListNodes]


def test_unused_keeps_to_what_else_is_asked(world):
    """Keys of a tenant, of a parent."""
    begin(world, 1_000)
    make(world, "key_a", tenant="acme")
    make(world, "key_b", tenant="other")
    assert unused(world, 1, tenant="acme") == ["key_a"]


def test_unused_needs_a_store_that_counts(world):
    """It is an error of who asks, which says so, not an empty list."""
    make(world, "key_a")
    world.befalls[len(world.asked) + 2] = KeyError(ReadUsage)
    with pytest.raises(InputError, match="unused_for: this store does not keep"):
        unused(world, 1)


@pytest.mark.parametrize(
    ("one", "other", "sum_"),
    [
        (UsageRow("k", 1.0, 1, 2, 3.0, 4.0), UsageRow("k", 9.0, 5, 7, 2.0, 5.0), (6, 9, 3.0, 5.0)),
        (UsageRow("k", 1.0), UsageRow("k", 9.0, 1, 0, 2.0), (1, 0, 2.0, None)),
        (UsageRow("k", 1.0, 1, 1, 0.0, 2.0), UsageRow("k", 9.0, -1), (0, 1, 0.0, 2.0)),
    ],
)
def test_rows_add_up(one, other, sum_):
    """Sums, the later moments, and since when the first says."""
    assert one.plus(other) == UsageRow("k", 1.0, *sum_)
