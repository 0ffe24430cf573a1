"""The local cache: what it holds is alive, leased or proved, and bounded."""

from __future__ import annotations

import gc
from itertools import count

import pytest

from keybound.caches import local, shelf
from keybound.caches.local import LocalCache
from keybound.core.chain import Chain
from keybound.core.effects import Change, LogHead, Moment, SyncAnswer
from keybound.core.fence import Applied, Heard
from keybound.core.terms import ChainPolicy
from keybound.testing.records import a_group, a_key
from tests.simulation.reader import reading_between

BOUND = 5.0
POLICY = ChainPolicy()
START = Moment(1_000.0, 1_700_000_000.0)


def moment(seconds):
    """Return a moment that many seconds after the start."""
    return Moment(START.boot + seconds, START.wall + seconds)


def tag(rev):
    """Return the name of a revision."""
    return LogHead(rev, f"t{rev}".encode(), b"epoch")


def sync(cache, rev, *nodes, at=0.0, epoch=b"epoch"):
    """Let a sync that was sent at a moment answer that ``rev`` changed these nodes."""
    answer = SyncAnswer(
        head=tag(rev)._replace(epoch=epoch),
        changes=tuple(Change(rev, node) for node in nodes),
        tags={each: tag(each).tag for each in range(rev + 1)},
    )
    fence = cache.fence
    return cache.apply(answer, since=fence.since, hinted=fence.hinted, sent_at=moment(at))


def keep(cache, name, *, rev=1, at=0.0, nodes=None):
    """Admit the chain of a key that was read at a moment; return its entry."""
    chain = Chain(a_key(name), {}, ChainPolicy())
    heads = dict.fromkeys(nodes or chain.nodes, tag(rev))
    assert cache.admit(name.encode(), chain, heads=heads, proof=moment(at))
    return cache.entries[name.encode()]


def miss(cache, name, *, at=0.0):
    """Admit that there is no such key."""
    index = name.encode()
    assert cache.admit(index, None, heads={f"d:{name}": tag(1)}, proof=moment(at))
    return cache.absent[index]


def holds(cache, entry, seconds):
    """Return whether an entry may be used at a moment."""
    now = moment(seconds)
    return cache.holds(entry, now.boot, now.wall)


@pytest.fixture
def cache():
    """Return a cache that has seen revision 1."""
    cache = LocalCache(bound=BOUND, size_max=3)
    assert sync(cache, 1, "first") is Applied.DONE
    return cache


def test_an_entry_holds_while_the_last_sync_is_no_older_than_the_bound(cache):
    """However long ago it was read itself."""
    entry = keep(cache, "k")
    sync(cache, 1, at=4.0)
    assert holds(cache, entry, 9.0)
    assert not holds(cache, entry, 9.001)


def test_an_entry_holds_while_its_own_reading_is_no_older_than_the_bound(cache):
    """However long ago the last sync was."""
    entry = keep(cache, "k", at=4.0)
    assert holds(cache, entry, 9.0)
    assert not holds(cache, entry, 9.001)


@pytest.mark.parametrize(("boot", "wall"), [(5.5, 0.0), (0.0, 5.5)])
def test_either_clock_ends_an_entry(cache, boot, wall):
    """A suspended machine and a clock that is set back extend nothing."""
    entry = keep(cache, "k")
    assert not cache.holds(entry, START.boot + boot, START.wall + wall)


def test_what_a_sync_ends_is_dead_for_ever(cache):
    """And what it does not name stays."""
    ended, other, absent = keep(cache, "k"), keep(cache, "m"), miss(cache, "n")
    sync(cache, 2, "key", "k", "d:n")
    assert (ended.alive, other.alive, absent.alive) == (False, True, False)
    assert (list(cache.entries), cache.absent) == ([b"m"], {})
    sync(cache, 2, at=1.0)
    assert not holds(cache, ended, 1.0)
    assert holds(cache, other, 1.0)


def test_a_gap_ends_whatever_may_be_in_it(cache):
    """An answer without the changes is an answer, and nothing read before it is used again."""
    entry = keep(cache, "k")
    sync(cache, 2)
    assert not entry.alive


def test_readers_never_see_a_new_lease_over_an_old_entry(cache):
    """Between any two lines of taking in a sync, a reader without a lock refuses what it ended."""
    seen = []
    for at in (20.0, 40.0):
        entry = keep(cache, "k", rev=cache.fence.since, at=at - 20.0)

        def read(entry=entry, at=at):
            seen.append(holds(cache, entry, at))

        with reading_between(read, every=1, first=0):
            assert sync(cache, cache.fence.since + 1, "k", at=at) is Applied.DONE
    assert len(seen) > 2 * 20
    assert not any(seen)


def test_what_was_read_below_a_floor_is_not_kept(cache):
    """The node changed while its record was on the way."""
    sync(cache, 2, "k")
    chain = Chain(a_key("k"), {}, ChainPolicy())
    assert not cache.admit(b"k", chain, heads={"k": tag(1)}, proof=START)
    assert cache.admit(b"k", chain, heads={"k": tag(2)}, proof=START)


def test_what_was_read_at_a_revision_that_was_not_seen_is_not_kept(cache):
    """It may be one that a restore has lost since."""
    chain = Chain(a_key("k"), {}, ChainPolicy())
    for head in (tag(2), tag(1)._replace(tag=b"lost")):
        assert not cache.admit(b"k", chain, heads={"k": head}, proof=START)
    assert cache.entries == {}


def test_a_change_of_its_own_ends_entries_at_once(cache):
    """No sync is needed for that."""
    entry, other = keep(cache, "k"), keep(cache, "m")
    cache.raise_floors(["k"], tag(2))
    assert (entry.alive, other.alive) == (False, True)


def test_a_message_ends_entries_at_once_until_they_are_read_anew(cache):
    """Of its nodes alone; what was read before it is not kept, what was read at it is."""
    entry, other = keep(cache, "k"), keep(cache, "m")
    leases = cache.lease_boot, cache.lease_wall
    assert cache.hint(["k"], 2, b"epoch") is Heard.AHEAD
    assert (entry.alive, other.alive) == (False, True)
    assert (cache.lease_boot, cache.lease_wall) == leases
    chain = Chain(a_key("k"), {}, ChainPolicy())
    assert not cache.admit(b"k", chain, heads={"k": tag(1)}, proof=START)
    assert sync(cache, 2, "k", at=1.0) is Applied.DONE
    assert cache.admit(b"k", chain, heads={"k": tag(2)}, proof=START)
    assert other.alive


def test_a_message_that_a_sync_was_faster_than_ends_nothing(cache):
    """Nor does one of another store."""
    entry = keep(cache, "k")
    assert cache.hint(["k"], 1, b"epoch") is Heard.BEHIND
    assert cache.hint(["k"], 9, b"other") is Heard.FOREIGN
    assert entry.alive


def test_another_epoch_empties_the_cache_and_ends_the_lease(cache):
    """Nothing that was known of the store before a restore is used after it."""
    entry, absent = keep(cache, "k"), miss(cache, "n")
    assert sync(cache, 1, epoch=b"other") is Applied.AGAIN
    assert not any((entry.alive, absent.alive, cache.entries, cache.absent))
    assert cache.lease_boot == cache.lease_wall == float("-inf")


def test_a_newer_reading_replaces_an_older_one(cache):
    """Also where there was no such key before, or is none any more."""
    absent = miss(cache, "k")
    first = keep(cache, "k")
    second = keep(cache, "k")
    assert (absent.alive, first.alive, second.alive) == (False, False, True)
    again = miss(cache, "k")
    assert (second.alive, again.alive, cache.entries) == (False, True, {})


def test_the_grace_extends_the_lease_and_a_sync_ends_it():
    """Only for entries that are alive, and counted from the last sync."""
    cache = LocalCache(bound=BOUND, grace=10.0)
    cache.extend()
    assert cache.lease_boot == float("-inf")
    sync(cache, 1, "first")
    entry = keep(cache, "k")
    cache.extend()
    assert holds(cache, entry, 15.0)
    assert not holds(cache, entry, 15.001)
    sync(cache, 1, at=1.0)
    assert not holds(cache, entry, 6.001)


def test_no_more_keys_are_kept_than_asked_for(cache):
    """The oldest goes, unless it was used since it was last looked at."""
    entries = {name: keep(cache, name) for name in ("a", "b", "c")}
    entries["a"].uses += 1
    keep(cache, "d")
    assert sorted(cache.entries) == [b"a", b"c", b"d"]
    keep(cache, "e")
    keep(cache, "f")
    assert sorted(cache.entries) == [b"d", b"e", b"f"]  # its second chance is over


def test_replaced_entries_do_not_pile_up(cache):
    """The queue of what goes first is bounded as well, so the dead in it are let go."""

    def held():
        gc.collect()
        # Not by isinstance: that would wake lazy objects of whatever else is loaded.
        return sum(type(each) is local.Entry for each in gc.get_objects())

    before = held()
    for _ in range(20):
        keep(cache, "a")
    assert held() - before <= 6
    assert cache.entries[b"a"].alive


def test_room_is_made_even_while_everything_is_in_use(cache, monkeypatch):
    """Readers mark entries faster than one thread can look at them; it must not do so for ever."""
    uses = count(1)
    monkeypatch.setattr(local.Entry, "uses", property(lambda _: next(uses), lambda *_: None))
    for name in ("a", "b", "c", "d"):
        keep(cache, name)
    assert len(cache.entries) == 3


def test_known_absences_are_bounded_on_their_own(cache, monkeypatch):
    """Whoever tries random keys pushes nobody's key out."""
    monkeypatch.setattr(local, "ABSENT_MAX", 2)
    key = keep(cache, "k")
    for name in "abcdef":
        miss(cache, name)
    assert sorted(cache.absent) == [b"e", b"f"]
    assert key.alive


def test_known_absences_take_no_room_from_keys(cache, monkeypatch):
    """Whoever tries keys that nobody has makes nobody else's be loaded again."""
    monkeypatch.setattr(local, "ABSENT_MAX", 2)
    kept = [keep(cache, name) for name in ("a", "b", "c")]
    absent = [miss(cache, name) for name in ("k", "l", "m")]
    assert [entry.alive for entry in kept] == [True, True, True]
    keep(cache, "d")
    assert [entry.alive for entry in absent] == [False, True, True]


def test_the_end_of_a_group_ends_every_entry_that_uses_it(cache):
    """However many there are; those of other groups stay."""
    for name in ("a", "b"):
        keep(cache, name, nodes=[name, "group"])
    keep(cache, "c", nodes=["c", "other"])
    sync(cache, 2, "group", "a")
    assert list(cache.entries) == [b"c"]


@pytest.fixture
def small():
    """Return a cache that has seen revision 1, and packs what it has not room for."""
    cache = LocalCache(bound=BOUND, size_max=10, compiled_max=2)
    assert sync(cache, 1, "first") is Applied.DONE
    return cache


def keep_below(cache, name, *groups, rev=1, parent=None):
    """Admit a key with nodes above it; return its entry."""
    key = a_key(name, groups=groups, parent=parent)
    parents = () if parent is None else (parent,)
    above = {group: a_group(group) for group in groups} | {each: a_key(each) for each in parents}
    chain = Chain(key, above, POLICY)
    assert cache.admit(name.encode(), chain, heads=dict.fromkeys(chain.nodes, tag(rev)), proof=None)
    return cache.entries[name.encode()]


def fill(cache, *, rev=1):
    """Let everything that is compiled make room."""
    for name in ("x", "y", "z"):
        keep(cache, name, rev=rev)


def test_a_key_that_made_room_is_compiled_again(small):
    """It is kept so if that happens again, and ends as it would have before."""
    first = keep(small, "k", at=3.0)
    fill(small)
    assert not first.alive
    once, entry = small.find(b"k"), small.find(b"k")
    assert (once.chain.key.id, once.nodes, once.revs) == ("k", ("k",), (1,))
    assert (once.kept, entry.kept) == (False, True)
    assert small.find(b"k") is entry
    assert holds(small, entry, 5.0)
    assert not holds(small, entry, 5.001)  # how it was read is no proof any more
    sync(small, 2, "k", at=1.0)
    assert not entry.alive
    assert small.find(b"k") is None


def test_what_is_compiled_for_once_is_over_with_its_lease(small):
    """Nothing ends it when something changes, so a later sync does not extend it."""
    keep(small, "k")
    fill(small)
    once = small.find(b"k")
    assert small.absent == {}
    assert b"k" not in small.entries
    sync(small, 1, at=4.0)
    assert holds(small, once, 5.0)
    assert not holds(small, once, 5.001)
    assert holds(small, small.find(b"k"), 9.0)


def test_that_a_key_came_once_is_forgotten(small, monkeypatch):
    """After some more that came once each."""
    monkeypatch.setattr(shelf, "ONCE_MAX", 1)
    for name in ("k", "l", "m"):
        keep(small, name)
    fill(small)
    kept = [small.find(name).kept for name in (b"k", b"l", b"m", b"k", b"m")]
    assert kept == [False, False, False, False, True]


@pytest.mark.parametrize("changed", ["k", "group", "parent"])
def test_a_packed_key_of_which_something_changed_is_forgotten(small, changed):
    """Itself, or any node above it; by a sync, or because somebody said so."""
    keep_below(small, "k", "group", parent="parent")
    fill(small)
    small.hint([changed], 2, b"epoch")
    assert small.find(b"k") is None
    sync(small, 2, "another")  # so that was no truth
    assert small.find(b"k") is None
    keep_below(small, "k", "group", rev=2, parent="parent")
    fill(small, rev=2)
    sync(small, 3, changed)
    assert small.find(b"k") is None


def test_a_packed_key_is_compiled_with_the_nodes_above_it(small):
    """Each as it was read last, with the revision of that."""
    keep_below(small, "k", "group", "other")
    sync(small, 2, "group")
    assert small.find(b"k") is None
    keep_below(small, "m", "group", rev=2)
    keep_below(small, "k", "other", "group", rev=2)
    fill(small, rev=2)
    once, entry = small.find(b"k"), small.find(b"k")
    assert once.nodes == entry.nodes == ("k", "other", "group")
    assert entry.chain.nodes["group"].id == "group"
    sync(small, 3, "other")
    assert not entry.alive


def test_a_packed_key_without_a_node_above_it_is_forgotten(small, monkeypatch):
    """There is room for so many of them; the store is asked for it then."""
    monkeypatch.setattr(shelf, "ABOVE_MAX", 1)
    keep_below(small, "k", "group")
    keep_below(small, "m", "other")
    fill(small)
    assert small.find(b"k") is None
    assert small.find(b"m") is not None
    assert small.held("group") is None
    assert small.held("other")[0].id == "other"


def test_a_chain_that_cannot_be_is_forgotten(small):
    """As where what stands above has changed into a circle since."""
    keep_below(small, "k", "group", parent="parent")
    circle = Chain(a_key("m", parent="parent"), {"parent": a_key("parent", parent="k")}, POLICY)
    heads = dict.fromkeys(circle.nodes, tag(1))
    assert small.admit(b"m", circle, heads=heads, proof=None)
    fill(small)
    assert small.find(b"k") is None


def test_a_chain_that_lacks_a_node_is_not_packed(small):
    """It is dead, and whether it stays so is for the store to say."""
    chain = Chain(a_key("k", groups=("gone",)), {}, POLICY)
    assert small.admit(b"k", chain, heads=dict.fromkeys(chain.nodes, tag(1)), proof=None)
    fill(small)
    assert small.find(b"k") is None


@pytest.mark.parametrize("absent", [False, True])
def test_a_newer_reading_replaces_what_is_packed(small, absent):
    """Be it of the key, or that there is none."""
    keep(small, "k")
    fill(small)
    newer = miss(small, "k") if absent else keep(small, "k")
    assert small.find(b"k") is newer
    sync(small, 2, *newer.nodes)
    assert small.find(b"k") is None


def test_another_epoch_forgets_what_is_packed(small):
    """And the nodes that were read under the old one."""
    keep_below(small, "k", "group")
    fill(small)
    assert small.held("group") is not None
    sync(small, 1, epoch=b"other")
    sync(small, 1, epoch=b"other")
    assert small.find(b"k") is None
    assert small.held("group") is None


def test_what_had_to_die_is_not_packed(small):
    """Neither what a floor ended, nor what is gone because it was replaced."""
    entry = keep(small, "k")
    sync(small, 2, "k")
    fill(small, rev=2)
    assert not entry.alive
    assert b"k" not in small._shelf  # noqa: SLF001 - nothing else shows it


def test_nobody_waits_who_decides(small):
    """While somebody changes the cache a packed key is not found, except by who can wait."""
    keep(small, "k")
    fill(small)
    with small._lock:  # noqa: SLF001 - as whoever takes in a sync
        assert small.find(b"k") is None
    assert small.find(b"k") is not None
    assert small.knows(b"k", START)
