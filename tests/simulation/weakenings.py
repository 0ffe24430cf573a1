"""Every way to weaken the protocol, patched into the real code.

What concerns the shared cache is in ``shared_weakenings``, what concerns messages in
``message_weakenings``, what concerns the transactions of hosts in ``host_weakenings``.

Syncs that are taken in out of order are dropped for two reasons: one that was sent later is known
already (``OVERTAKEN``), or the revision that was asked about is no longer the one that is known
(``AGAIN``). The first one alone cannot be missed here: what it drops and the second would not asks
about the same revision as all that was taken in since, and floors never sink, so that it could only
shorten the lease. ``test_a_sync_that_was_overtaken_is_dropped``, of the fence, shows that nothing
does. Nor is it missed within these walks that a sync from before everything was forgotten is late:
``test_a_sync_from_before_a_change_tells_nothing_once_all_is_forgotten``.

That two threads look at the fence between two steps of a procedure is a matter of the cache's lock.
"""

# ruff: noqa: SLF001 - what is weakened is within

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from keybound.caches.local import LocalCache
from keybound.caches.shelf import Shelf
from keybound.core import coherence, fence
from keybound.core.effects import (
    Moment,
    SyncAnswer,
    absence_id,
)
from keybound.core.fence import Applied, Fence
from tests.simulation.store import SimulatedStore
from tests.simulation.weak_stores import (
    HalfPrunedStore,
    ReplicatedStore,
    SequencedStore,
    TwoStatementStore,
)
from tests.simulation.worker import CLOCKS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from keybound.caches.local import Entry
    from keybound.core.effects import LogHead

    Weakening = Callable[[pytest.MonkeyPatch], type[SimulatedStore]]


def lease_from_the_answer(patch: pytest.MonkeyPatch) -> type[SimulatedStore]:
    """The lease starts when a sync is answered, not when it is asked."""
    apply = LocalCache.apply

    def late(self: LocalCache, answer: SyncAnswer, **asked: Any) -> Applied:
        return apply(self, answer, **asked | {"sent_at": _now(self)})

    patch.setattr(LocalCache, "apply", late)
    return SimulatedStore


def proof_from_the_answer(patch: pytest.MonkeyPatch) -> type[SimulatedStore]:
    """A load proves its entry from when it is answered, not from when it is asked."""
    admit = LocalCache.admit

    def late(self: LocalCache, *args: Any, **read: Any) -> bool:
        return admit(self, *args, **read | {"proof": _now(self)})

    patch.setattr(LocalCache, "admit", late)
    return SimulatedStore


def no_lease(patch: pytest.MonkeyPatch) -> type[SimulatedStore]:
    """An entry is used as long as no sync ended it."""
    patch.setattr(LocalCache, "holds", lambda _cache, entry, _boot, _wall: entry.alive)
    return SimulatedStore


def boot_clock_alone(patch: pytest.MonkeyPatch) -> type[SimulatedStore]:
    """The wall clock does not count, so a suspended machine notices nothing."""

    def holds(self: LocalCache, entry: Entry, boot: float, _wall: float) -> bool:
        return entry.alive and boot <= max(self.lease_boot, entry.boot)

    patch.setattr(LocalCache, "holds", holds)
    return SimulatedStore


def wall_clock_alone(patch: pytest.MonkeyPatch) -> type[SimulatedStore]:
    """The boot clock does not count, so a wall clock that is set back extends every lease."""

    def holds(self: LocalCache, entry: Entry, _boot: float, wall: float) -> bool:
        return entry.alive and wall <= max(self.lease_wall, entry.wall)

    patch.setattr(LocalCache, "holds", holds)
    return SimulatedStore


def lease_before_the_dead(patch: pytest.MonkeyPatch) -> type[SimulatedStore]:
    """The lease is extended before the entries that the sync ended are dead."""

    def apply(self: LocalCache, answer: SyncAnswer, **asked: Any) -> Applied:
        applied = self.fence.apply(answer, **asked)
        if applied is Applied.DONE:
            self._lease(self._bound)
        self._drop_raised()
        return applied

    patch.setattr(LocalCache, "apply", apply)
    return SimulatedStore


def grace_from_now(patch: pytest.MonkeyPatch) -> type[SimulatedStore]:
    """The grace starts when the store is missed, not when it was last heard."""

    def extend(self: LocalCache) -> None:
        now, longer = _now(self), self._bound + self._grace
        self.lease_boot, self.lease_wall = now.boot + longer, now.wall + longer

    patch.setattr(LocalCache, "extend", extend)
    return SimulatedStore


def floors_unchecked(patch: pytest.MonkeyPatch) -> type[SimulatedStore]:
    """What was loaded enters the cache although a floor has risen above it meanwhile."""
    admit = LocalCache.admit

    def trusting(self: LocalCache, *args: Any, **read: Any) -> bool:
        with patch.context() as inner:
            inner.setattr(Fence, "floor", lambda _fence, _node: 0)
            return admit(self, *args, **read)

    patch.setattr(LocalCache, "admit", trusting)
    return SimulatedStore


def base_one_too_low(patch: pytest.MonkeyPatch) -> type[SimulatedStore]:
    """The lowest revision of a full answer counts as complete, although it may be cut."""

    def complete_above(answer: SyncAnswer, since: int) -> int:
        return answer.changes[0].rev - 1 if answer.changes else max(since, answer.head.rev)

    patch.setattr(fence, "_complete_above", complete_above)
    return SimulatedStore


def gaps_ignored(patch: pytest.MonkeyPatch) -> type[SimulatedStore]:
    """What an answer leaves out is taken for unchanged."""
    patch.setattr(fence, "_complete_above", lambda _answer, since: since)
    return SimulatedStore


def floors_forgotten(patch: pytest.MonkeyPatch) -> type[SimulatedStore]:
    """A floor too many is forgotten, and nothing is required instead."""
    raise_floor = Fence.raise_floor

    def forgetful(self: Fence, node: str, rev: int) -> None:
        before = self.floor_all
        raise_floor(self, node, rev)
        self.floor_all = before

    patch.setattr(Fence, "raise_floor", forgetful)
    return SimulatedStore


def unseen_revisions(patch: pytest.MonkeyPatch) -> type[SimulatedStore]:
    """What was loaded enters the cache although a restore may have lost it."""
    patch.setattr(Fence, "has_seen", lambda _fence, _head: True)
    return SimulatedStore


def lost_commits_ignored(patch: pytest.MonkeyPatch) -> type[SimulatedStore]:
    """A store that went back is believed."""
    apply = Fence.apply

    def trusting(self: Fence, answer: SyncAnswer, **asked: Any) -> Applied:
        self.epoch = answer.head.epoch
        applied = apply(self, answer, **asked)
        if applied is Applied.REGRESSED:
            self.synced_at = asked["sent_at"]
            return Applied.DONE
        return applied

    patch.setattr(Fence, "apply", trusting)
    return SimulatedStore


def epochs_ignored(patch: pytest.MonkeyPatch) -> type[SimulatedStore]:
    """That somebody noticed a store that went back means nothing to others."""
    apply = Fence.apply

    def deaf(self: Fence, answer: SyncAnswer, **asked: Any) -> Applied:
        self.epoch = answer.head.epoch
        return apply(self, answer, **asked)

    patch.setattr(Fence, "apply", deaf)
    return SimulatedStore


def tags_ignored(patch: pytest.MonkeyPatch) -> type[SimulatedStore]:
    """A store that went back is noticed only while its revision is lower."""
    apply = Fence.apply

    def trusting(self: Fence, answer: SyncAnswer, *, since: int, **asked: Any) -> Applied:
        answer.tags.pop(since, None)
        answer.tags.update({since: self._tags[since]} if since in self._tags else {})
        return apply(self, answer, since=since, **asked)

    patch.setattr(Fence, "apply", trusting)
    return SimulatedStore


def syncs_out_of_order(patch: pytest.MonkeyPatch) -> type[SimulatedStore]:
    """Whatever a sync was answered is taken in, although one that was sent later was before."""
    return _taking_in_late(patch, {"synced_at": None})


def syncs_about_another_revision(patch: pytest.MonkeyPatch) -> type[SimulatedStore]:
    """It is, unless the clock tells that one which was sent later was taken in before."""
    return _taking_in_late(patch, {})


def _taking_in_late(
    patch: pytest.MonkeyPatch, forgotten: Mapping[str, None]
) -> type[SimulatedStore]:
    apply = Fence.apply

    def late(self: Fence, answer: SyncAnswer, *, since: int, **asked: Any) -> Applied:
        known = {"since": self.since, "synced_at": self.synced_at}
        if answer.head.epoch == self.epoch:
            for name, value in {"since": since, **forgotten}.items():
                setattr(self, name, value)
        resets = self.resets
        applied = apply(self, answer, since=since, **asked)
        if applied is not Applied.DONE and self.resets == resets:
            for name, before in known.items():
                setattr(self, name, before)
        return applied

    patch.setattr(Fence, "apply", late)
    return SimulatedStore


def own_changes_not_held_against_syncs(patch: pytest.MonkeyPatch) -> type[SimulatedStore]:
    """A sync may have been answered of commits that were lost before a change of one's own."""
    patch.setattr(Fence, "_contradicts_own", lambda _fence, _answer, _hinted: False)
    return SimulatedStore


def own_changes_unfenced(patch: pytest.MonkeyPatch) -> type[SimulatedStore]:
    """A worker learns of its own changes from the next sync."""
    patch.setattr(LocalCache, "raise_floors", lambda _cache, _nodes, _head: None)
    return SimulatedStore


def own_changes_for_ever(patch: pytest.MonkeyPatch) -> type[SimulatedStore]:
    """The floor of an own change stays although the store lost the change."""
    apply = Fence.apply

    def stubborn(self: Fence, answer: SyncAnswer, **asked: Any) -> Applied:
        return apply(self, answer, **asked | {"hinted": 0})

    patch.setattr(Fence, "apply", stubborn)
    return SimulatedStore


def only_the_key_is_fenced(patch: pytest.MonkeyPatch) -> type[SimulatedStore]:
    """What ends a parent or a group does not reach the entries of the keys below."""
    admit = LocalCache.admit

    def narrow(self: LocalCache, *args: Any, heads: Mapping[str, LogHead], **read: Any) -> bool:
        return admit(self, *args, heads=dict(list(heads.items())[:1]), **read)

    patch.setattr(LocalCache, "admit", narrow)
    return SimulatedStore


def absence_unfenced(patch: pytest.MonkeyPatch) -> type[SimulatedStore]:
    """That there is no such key stays known although it was issued."""
    patch.setattr(coherence, "absence_id", lambda digest: absence_id(digest[::-1]))
    return SimulatedStore


def pruning_inside_a_revision(_patch: pytest.MonkeyPatch) -> type[SimulatedStore]:
    """The log is pruned by rows, so that it loses a part of a revision."""
    return HalfPrunedStore


def syncs_from_a_replica(_patch: pytest.MonkeyPatch) -> type[SimulatedStore]:
    """Syncs do not ask the primary."""
    return ReplicatedStore


def revisions_from_a_sequence(_patch: pytest.MonkeyPatch) -> type[SimulatedStore]:
    """A commit may have a lower revision than one before it."""
    return SequencedStore


def row_before_its_revision(_patch: pytest.MonkeyPatch) -> type[SimulatedStore]:
    """A load reads the row first and the revision later, in two snapshots."""
    return TwoStatementStore


STEPS = 600
WALKS_MAX = 1_500
"""Walks that finding one may take: the rarest takes about 500, so chance never reaches this."""

SHOWN_BY = {
    "a_repetition_is_settled_with_the_first": [339],
    "boot_clock_alone": [486],
    "lease_before_the_dead": [418],
    "lease_from_the_answer": [306],
    "packed_keys_unfenced_by_terms": [249],
    "shared_records_prove": [320],
    "wall_clock_alone": [132],
}
"""Walks that show what is rarely shown, to be taken first; without them it is found as well."""


def packed_keys_unfenced(patch: pytest.MonkeyPatch) -> type[SimulatedStore]:
    """A packed key is compiled again, whatever happened since it was read."""
    return _unpacking_below_the_floor(patch, lambda _node: True)


def only_packed_keys_are_fenced(patch: pytest.MonkeyPatch) -> type[SimulatedStore]:
    """It is compiled with the nodes above it as they are kept, whatever happened to those."""
    return _unpacking_below_the_floor(patch, lambda node: node.startswith("group"))


def packed_keys_unfenced_by_terms(patch: pytest.MonkeyPatch) -> type[SimulatedStore]:
    """Terms decide on a packed key, whatever happened since it was read."""
    patch.setattr(LocalCache, "peek", lambda cache, index: cache._shelf.peek(index))
    return SimulatedStore


def packed_keys_prove_themselves(patch: pytest.MonkeyPatch) -> type[SimulatedStore]:
    """A packed key is compiled as if the store had just been asked for it."""
    compile_again = LocalCache._compile

    def proved(self: LocalCache, index: bytes) -> Entry | None:
        entry = compile_again(self, index)
        if entry is not None and entry.chain is not None:
            entry.boot = entry.wall = float("inf")
        return entry

    patch.setattr(LocalCache, "_compile", proved)
    return SimulatedStore


def packed_keys_of_another_epoch(patch: pytest.MonkeyPatch) -> type[SimulatedStore]:
    """Keys that were packed before a restore are compiled after it."""
    patch.setattr(Shelf, "clear", lambda _self: None)
    return SimulatedStore


def _unpacking_below_the_floor(
    patch: pytest.MonkeyPatch, unfenced: Callable[[str], bool]
) -> type[SimulatedStore]:
    take, floor = Shelf.take, Fence.floor

    def unchecked(self: Shelf, *asked: Any) -> Any:
        with pytest.MonkeyPatch.context() as meanwhile:
            meanwhile.setattr(
                Fence, "floor", lambda fence, node: 0 if unfenced(node) else floor(fence, node)
            )
            return take(self, *asked)

    patch.setattr(Shelf, "take", unchecked)
    return SimulatedStore


WEAKENINGS: tuple[Weakening, ...] = (
    lease_from_the_answer,
    proof_from_the_answer,
    no_lease,
    boot_clock_alone,
    wall_clock_alone,
    lease_before_the_dead,
    grace_from_now,
    floors_unchecked,
    base_one_too_low,
    gaps_ignored,
    floors_forgotten,
    unseen_revisions,
    lost_commits_ignored,
    epochs_ignored,
    tags_ignored,
    own_changes_unfenced,
    own_changes_for_ever,
    only_the_key_is_fenced,
    absence_unfenced,
    pruning_inside_a_revision,
    syncs_from_a_replica,
    row_before_its_revision,
    revisions_from_a_sequence,
    packed_keys_unfenced,
    only_packed_keys_are_fenced,
    packed_keys_unfenced_by_terms,
    packed_keys_prove_themselves,
    packed_keys_of_another_epoch,
)

OUT_OF_ORDER: tuple[Weakening, ...] = (
    syncs_out_of_order,
    syncs_about_another_revision,
    own_changes_not_held_against_syncs,
)
"""What shows where a store loses commits that a sync was answered, and others overtake it."""


def _now(cache: LocalCache) -> Moment:
    clock = CLOCKS[cache]
    return Moment(clock.boot(), clock.wall())
