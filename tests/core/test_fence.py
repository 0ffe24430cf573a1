"""The fence: what may be used after a sync, after a change of one's own, and after a restore."""

from __future__ import annotations

import pytest

from keybound.core import fence as module
from keybound.core.effects import EVERYTHING, Change, LogHead, Moment, SyncAnswer
from keybound.core.fence import Applied, Fence, Heard

NOW = Moment(100.0, 1_700_000_000.0)


def head(rev, *, line="a", epoch=b"epoch"):
    """Return the head of one time line; another line has other tags."""
    return LogHead(rev, f"{line}{rev}".encode(), epoch)


def sync(
    fence,
    at,
    *changes,
    since=None,
    hinted=None,
    sent=0.0,
    line="a",
    epoch=b"epoch",
    tags=(),
    names=None,
):
    """Let a sync answer that the store is at a revision, after these changes."""
    asked = fence.since if since is None else since
    answer = SyncAnswer(
        head=head(at, line=line, epoch=epoch),
        changes=tuple(Change(*change) for change in changes),
        tags=names or {rev: head(rev, line=line).tag for rev in (tags or range(at + 1))},
    )
    sent_at = Moment(NOW.boot + sent, NOW.wall + sent)
    known = fence.hinted if hinted is None else hinted
    return fence.apply(answer, since=asked, hinted=known, sent_at=sent_at)


@pytest.fixture
def fence():
    """Return a fence that has seen revision 5."""
    fence = Fence()
    assert sync(fence, 5, *((rev, "k") for rev in range(1, 6))) is Applied.DONE
    return fence


def test_nothing_is_known_before_the_first_sync():
    """No lease, and no revision that was seen."""
    fence = Fence()
    assert fence.lapsed(5.0, NOW)
    assert not fence.has_seen(head(0))


def test_the_first_sync_requires_what_it_says_and_nothing_of_other_nodes(fence):
    """All changes there ever were are in its answer, so what is not in it never changed."""
    assert (fence.floor("k"), fence.floor("other"), fence.since) == (5, 0, 5)
    assert all(fence.has_seen(head(rev)) for rev in range(6))
    assert not fence.has_seen(head(5, line="b"))
    assert not fence.has_seen(head(6))


def test_a_change_ends_what_was_read_of_its_node_alone(fence):
    """Whatever else is cached may stay, after any number of syncs."""
    fence.take_raised()
    assert sync(fence, 6, (6, "m")) is Applied.DONE
    assert sync(fence, 6) is Applied.DONE
    assert (fence.floor("m"), fence.floor("k"), fence.floor_all) == (6, 5, 0)
    assert fence.take_raised() == {"m"}
    assert fence.take_raised() == set()


def test_a_floor_never_sinks(fence):
    """An older change that is heard of later changes nothing."""
    fence.raise_floor("k", 3)
    assert fence.floor("k") == 5


@pytest.mark.parametrize(
    ("at", "changes", "floor"),
    [
        (9, [(8, "m"), (9, "n")], 7),  # 6 and 7 were pruned
        (9, [], 9),  # all were pruned
        (9, [(9, EVERYTHING)], 9),
        (9, [(6, "m"), (7, "m"), (8, "m"), (9, "m")], 6),  # as many as fit: 6 may be cut
        (8, [(6, "m"), (7, "m"), (8, "m")], 0),
    ],
)
def test_what_an_answer_leaves_out_is_required_of_all(fence, monkeypatch, at, changes, floor):
    """The answer is complete above a revision; up to that one, anything may have changed."""
    monkeypatch.setattr(module, "CHANGES_MAX", 4)
    assert sync(fence, at, *changes) is Applied.DONE
    assert (fence.floor("never heard of"), fence.since) == (floor, at)


def test_forgetting_a_floor_requires_it_of_all():
    """The fence is bounded, and what it forgets it does not let through."""
    fence = Fence(floors_max=4)
    for rev in range(1, 6):
        fence.raise_floor(f"n{rev}", rev)
    assert (fence.floor("n1"), fence.floor("n5"), fence.floor("never heard of")) == (3, 5, 3)


def test_a_sync_that_was_overtaken_is_dropped(fence):
    """One that was sent later was applied already, and knew at least as much."""
    assert sync(fence, 6, (6, "m"), sent=2.0) is Applied.DONE
    assert sync(fence, 5, since=5, sent=1.0) is Applied.OVERTAKEN
    assert (fence.since, fence.synced_at.boot) == (6, NOW.boot + 2.0)


def test_a_sync_that_asked_about_another_revision_is_repeated(fence):
    """Its changes are not those after what is known by now."""
    assert sync(fence, 6, (6, "m"), since=4) is Applied.AGAIN
    assert fence.since == 5


def test_another_epoch_ends_everything(fence):
    """The store was restored, somebody else noticed, and nothing known is worth anything."""
    before = fence.resets
    assert sync(fence, 5, epoch=b"other") is Applied.AGAIN
    assert (fence.epoch, fence.since, fence.synced_at) == (b"other", 0, None)
    assert fence.resets == before + 1
    assert not fence.has_seen(head(5))


@pytest.mark.parametrize(("at", "line"), [(4, "a"), (5, "b"), (7, "b")])
def test_a_store_that_went_back_is_noticed(fence, at, line):
    """By a lower revision, or by another random name of the one that is known."""
    assert sync(fence, at, line=line) is Applied.REGRESSED
    assert fence.since == 5


def test_a_worker_that_the_store_has_forgotten_starts_anew(fence):
    """Nobody can tell any more whether the store went back."""
    assert sync(fence, 900, (900, "m"), tags=range(800, 901)) is Applied.AGAIN
    assert (fence.epoch, fence.since) == (b"epoch", 0)


@pytest.mark.parametrize("moment", [Moment(105.5, NOW.wall), Moment(NOW.boot, NOW.wall + 5.5)])
def test_the_lease_ends_by_whichever_clock_says_so(fence, moment):
    """One of them may stand still in suspension, the other may be set back."""
    assert not fence.lapsed(5.0, Moment(NOW.boot + 5.0, NOW.wall + 5.0))
    assert fence.lapsed(5.0, moment)


def test_a_change_of_its_own_counts_before_any_sync(fence):
    """Whoever revoked a key does not accept it a moment later."""
    fence.take_raised()
    fence.wrote(["k", "m"], head(6))
    assert (fence.floor("k"), fence.floor("m"), fence.floor("other")) == (6, 6, 0)
    assert fence.take_raised() == {"k", "m"}


def test_a_sync_that_was_sent_before_a_change_does_not_end_its_floor(fence):
    """It may have been answered before the change, too."""
    asked = fence.hinted
    fence.wrote(["m"], head(6))
    assert sync(fence, 5, hinted=asked) is Applied.DONE
    assert fence.floor("m") == 6


def test_a_sync_that_was_sent_after_a_change_takes_its_floor_over(fence):
    """From then on the floor is one of the store's: if it lost the change, there is none."""
    fence.wrote(["m"], head(6))
    assert sync(fence, 5) is Applied.DONE
    assert fence.floor("m") == 0
    fence.wrote(["m"], head(6))
    assert sync(fence, 6, (6, "m")) is Applied.DONE
    assert fence.floor("m") == 6
    fence.take_raised()
    assert sync(fence, 6) is Applied.DONE
    assert fence.floor("m") == 6


def test_a_change_at_a_revision_that_had_another_name_ends_everything(fence):
    """The store went back, and what was read meanwhile may be of commits that it lost."""
    before = fence.resets
    fence.wrote(["m"], head(5))  # the answer of a sync was faster
    assert fence.resets == before
    fence.wrote(["m"], head(5, line="b"))
    assert fence.resets == before + 1
    assert (fence.floor("m"), fence.synced_at) == (5, None)


def test_a_sync_that_was_answered_of_lost_commits_is_repeated_after_a_change(fence):
    """The store went back before the change, and what it had before that is not believed of it."""
    asked = fence.hinted
    fence.wrote(["m"], head(6, line="b"))
    fence.wrote(["n"], head(7, line="b"))
    assert sync(fence, 8, (8, "m"), hinted=asked) is Applied.AGAIN
    assert sync(fence, 8, (8, "m"), hinted=asked + 1) is Applied.AGAIN
    assert (fence.since, fence.has_seen(head(8))) == (5, False)
    assert sync(fence, 8, (8, "m"), hinted=asked + 2) is Applied.DONE  # sent after: they were lost
    assert fence.has_seen(head(8))


def test_a_change_contradicts_no_sync_that_knows_of_it_or_was_answered_before(fence):
    """However busy a worker is with changes, its syncs go on."""
    asked = fence.hinted
    fence.wrote(["m"], head(6))
    fence.wrote(["m"], head(7))
    assert sync(fence, 5, hinted=asked) is Applied.DONE
    assert sync(fence, 6, (6, "m"), hinted=asked) is Applied.DONE
    assert sync(fence, 7, hinted=asked, line="b", tags=[6, 7]) is Applied.AGAIN
    assert sync(fence, 7, (7, "m"), hinted=asked) is Applied.DONE


@pytest.mark.parametrize("late", [0, 1])
def test_a_change_is_held_against_syncs_until_one_that_was_sent_after_it(fence, late):
    """From then on the store is believed, also if it lost the change."""
    asked = fence.hinted
    fence.wrote(["m"], head(6))
    assert sync(fence, 5, hinted=asked + late) is Applied.DONE
    names = {5: head(5).tag, 6: head(6, line="b").tag}
    told = sync(fence, 6, (6, "m"), hinted=asked, names=names)
    assert told is (Applied.DONE if late else Applied.AGAIN)


def test_a_sync_from_before_a_change_tells_nothing_once_all_is_forgotten(fence):
    """Otherwise what the change ended would come back, since nothing holds it any more."""
    asked = fence.hinted
    fence.wrote(["m"], head(6))
    assert sync(fence, 900, (900, "m"), tags=range(800, 901)) is Applied.AGAIN
    assert fence.since == 0
    assert sync(fence, 5, (5, "k"), hinted=asked) is Applied.AGAIN
    assert fence.synced_at is None
    assert sync(fence, 6, (6, "m"), hinted=asked + 1) is Applied.DONE


def test_a_hint_is_required_of_its_nodes_and_of_nothing_else(fence):
    """What somebody says that they changed must be read anew, whatever the last sync said."""
    fence.take_raised()
    before = (fence.since, fence.synced_at, fence.floor_all, fence.resets)
    assert fence.hint(["k", "m"], 7, b"epoch") is Heard.AHEAD
    assert (fence.floor("k"), fence.floor("m"), fence.floor("other")) == (7, 7, 0)
    assert fence.take_raised() == {"k", "m"}
    assert (fence.since, fence.synced_at, fence.floor_all, fence.resets) == before


@pytest.mark.parametrize(
    ("rev", "epoch", "heard"),
    [
        (5, b"epoch", Heard.BEHIND),
        (6, b"epoch", Heard.AHEAD),
        (6, b"other", Heard.FOREIGN),
    ],
)
def test_a_hint_counts_if_no_sync_can_have_seen_it(fence, rev, epoch, heard):
    """What the last sync has seen is in the floors already; another epoch is another store."""
    fence.take_raised()
    assert fence.hint(["m"], rev, epoch) is heard
    ahead = heard is Heard.AHEAD
    assert fence.floor("m") == (rev if ahead else 0)
    assert fence.take_raised() == ({"m"} if ahead else set())
    assert fence.hinted == int(ahead)


def test_before_the_first_sync_any_epoch_may_be_that_of_the_store():
    """Nobody can tell yet whose it is; a sync that was sent before may not know of the change."""
    fence = Fence()
    asked = fence.hinted
    assert fence.hint(["m"], 6, b"epoch") is Heard.AHEAD
    assert fence.hint(["n"], 7, b"other") is Heard.AHEAD
    assert sync(fence, 5, hinted=asked) is Applied.DONE
    assert (fence.floor("m"), fence.floor("n")) == (6, 7)
    assert fence.hint(["n"], 7, b"other") is Heard.FOREIGN
    assert sync(fence, 5) is Applied.DONE
    assert fence.floor("m") == fence.floor("n")
    assert fence.floor("m") < 6


def test_a_hint_ends_with_the_first_sync_that_was_sent_after_it(fence):
    """One sent before may have been answered before, too; one sent after knows better."""
    asked = fence.hinted
    fence.hint(["m"], 6, b"epoch")
    assert sync(fence, 5, hinted=asked) is Applied.DONE
    assert fence.floor("m") == 6
    assert sync(fence, 5) is Applied.DONE
    assert fence.floor("m") == 0


def test_a_hint_that_says_more_is_younger_and_one_that_says_less_is_nothing(fence):
    """A repetition keeps nothing alive, and a higher revision counts from when it came."""
    fence.hint(["m"], 7, b"epoch")
    first = fence.hinted
    fence.take_raised()
    fence.hint(["m"], 7, b"epoch")
    fence.hint(["m"], 6, b"epoch")
    assert fence.floor("m") == 7
    assert fence.take_raised() == set()
    assert sync(fence, 5, hinted=first) is Applied.DONE
    assert fence.floor("m") == 0
    fence.hint(["m"], 7, b"epoch")
    asked = fence.hinted
    fence.hint(["m"], 8, b"epoch")
    assert sync(fence, 5, hinted=asked) is Applied.DONE
    assert fence.floor("m") == 8


def test_a_change_of_its_own_is_no_older_than_itself(fence):
    """Whatever was hinted of the same node before, and however high."""
    fence.hint(["m"], 9, b"epoch")
    asked = fence.hinted
    fence.wrote(["m"], head(6))
    assert fence.floor("m") == 9
    assert sync(fence, 5, hinted=asked) is Applied.DONE
    assert fence.floor("m") == 9
    fence.wrote(["m"], head(10))
    assert fence.floor("m") == 10


def test_hints_are_bounded_and_what_is_known_may_still_rise(fence, monkeypatch):
    """Beyond the bound a message only makes a sync come soon; a change of its own always counts."""
    monkeypatch.setattr(module, "HINTS_MAX", 2)
    fence.take_raised()
    assert fence.hint(["m", "n", "o"], 6, b"epoch") is Heard.AHEAD
    assert [fence.floor(node) for node in "mno"] == [6, 6, 0]
    assert fence.take_raised() == {"m", "n"}
    fence.hint(["n"], 7, b"epoch")
    fence.wrote(["o"], head(8))
    assert [fence.floor(node) for node in "mno"] == [6, 7, 8]


def test_another_epoch_ends_hints_too(fence):
    """They were about a store that is gone; what is numbered after them is no younger."""
    fence.hint(["m"], 7, b"epoch")
    assert sync(fence, 5, epoch=b"other") is Applied.AGAIN
    assert fence.floor("m") == 0
    assert fence.hinted == 1


def test_heads_are_admitted_if_all_were_seen_and_none_is_below_its_floor(fence):
    """One node of a chain that is too old, or of a revision nobody saw, spoils it."""
    assert fence.admits({"k": head(5), "other": head(2)})
    assert not fence.admits({"k": head(4), "other": head(2)})
    assert not fence.admits({"other": head(2), "k": head(5, line="b")})
    assert fence.admits({})
    fence.hint(["other"], 6, b"epoch")
    assert not fence.admits({"k": head(5), "other": head(5)})
