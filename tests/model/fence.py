"""The protocol of one worker and one key as a machine with few states, for all interleavings.

Everybody else is the environment: they change the key or something else, and Redis holds every
record that any of them could ever have written there, so a read of it may answer any revision up
to the newest, or nothing. A message about any change may arrive at any time, again and again, or
never. Each step may come any time after the one before, so pauses need no steps of their own. Ages
stop counting where they no longer matter, so time has no end. The store never loses a commit here;
the simulation has that as well.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

BOUND = 2
"""Ticks for which a sync, or a read of the store, proves what is kept."""

OLD = BOUND + 1
"""An age from which on nothing depends on it."""


class Revision(NamedTuple):
    """One commit: whether it was about the key, and how that stood afterwards."""

    touches: bool
    active: bool


class Flight(NamedTuple):
    """A sync or a load: how long ago it was sent, what was known then, what the store answered."""

    age: int
    since: int
    pending: tuple[int, ...]
    answer: int


class Kept(NamedTuple):
    """A record in the local cache: the revision it was read at, and the age of its proof."""

    as_of: int
    proof: int


class State(NamedTuple):
    """Everything that is; revision 0 is the first, at which the key is active."""

    log: tuple[Revision, ...] = (Revision(touches=True, active=True),)
    ended_for: int = 0
    since: int = 0
    synced: int = OLD
    floor: int = 0
    pending: tuple[int, ...] = ()
    changing: int = 0
    own: int = 0
    kept: Kept | None = None
    syncs: tuple[Flight, ...] = ()
    load: Flight | None = None


@dataclass(frozen=True, slots=True)
class Machine:
    """The protocol, with the weakenings that tests switch on to see that they are found.

    ``commits``: revisions of the store after the first. ``syncs``: those under way at once.
    """

    commits: int = 3
    syncs: int = 2
    lease_from_answer: bool = False
    proof_from_answer: bool = False
    no_lease: bool = False
    floors_unchecked: bool = False
    message_proves: bool = False
    own_unfenced: bool = False
    own_dropped_by_any_sync: bool = False
    claim: int = BOUND

    def broken(self, state: State) -> str | None:
        """Return what is wrong if the worker accepts the key now, though it may not any more."""
        kept = state.kept
        if kept is None or not state.log[kept.as_of].active or not self._fresh(state, kept):
            return None
        if not state.log[-1].active and state.ended_for > self.claim:
            return f"accepted {state.ended_for} ticks after the end"
        if kept.as_of < state.own and not any(each.active for each in state.log[state.own :]):
            return "accepted after it had ended the key itself"
        return None

    def successors(self, state: State) -> Iterator[tuple[str, State]]:
        """Yield every step that may come next."""
        yield "a tick", _older(state)
        yield from self._changes(state)
        yield from self._syncs(state)
        yield from self._loads(state)
        for rev in range(1, len(state.log)):
            yield f"message {rev}", self._hear(state, rev)

    def _fresh(self, state: State, kept: Kept) -> bool:
        return self.no_lease or min(state.synced, kept.proof) <= BOUND

    def _changes(self, state: State) -> Iterator[tuple[str, State]]:
        newest = state.log[-1]
        if len(state.log) <= self.commits:
            other = Revision(touches=False, active=newest.active)
            turned = Revision(touches=True, active=not newest.active)
            yield "a change of something else", state._replace(log=(*state.log, other))
            changed = state._replace(log=(*state.log, turned), ended_for=0)
            yield "a change of the key", changed
            if not state.changing:
                yield "its own change is committed", changed._replace(changing=len(state.log))
        if state.changing:
            done = state._replace(changing=0, own=state.changing)
            if not self.own_unfenced:
                done = _drop(done._replace(pending=_with(done.pending, state.changing)))
            yield "its own change is answered", done

    def _hear(self, state: State, rev: int) -> State:
        heard = state._replace(synced=0) if self.message_proves else state
        if not state.log[rev].touches:
            return heard
        return _drop(heard._replace(pending=_with(state.pending, rev)))

    def _syncs(self, state: State) -> Iterator[tuple[str, State]]:
        if len(state.syncs) < self.syncs:
            sent = Flight(0, state.since, state.pending, -1)
            yield "a sync is sent", state._replace(syncs=_sorted(*state.syncs, sent))
        for number, flight in enumerate(state.syncs):
            others = state.syncs[:number] + state.syncs[number + 1 :]
            if flight.answer < 0:
                answered = flight._replace(answer=len(state.log) - 1)
                yield "the store answers a sync", state._replace(syncs=_sorted(*others, answered))
            else:
                yield "a sync is applied", self._apply(state._replace(syncs=others), flight)

    def _apply(self, state: State, flight: Flight) -> State:
        age = 0 if self.lease_from_answer else flight.age
        if flight.age > state.synced or flight.since != state.since:  # overtaken, or to be repeated
            return state
        touched = [rev for rev in _changes_of_the_key(state) if rev <= flight.answer]
        floor = max([state.floor, *(rev for rev in touched if rev > flight.since)])
        settled = state.pending if self.own_dropped_by_any_sync else flight.pending
        pending = tuple(rev for rev in state.pending if rev not in settled)
        # Of those that were sent before, none can be applied any more if there was news.
        syncs = tuple(each for each in state.syncs if each.since == flight.answer)
        applied = state._replace(since=flight.answer, floor=floor, pending=pending, synced=age)
        return _drop(applied._replace(syncs=syncs))

    def _loads(self, state: State) -> Iterator[tuple[str, State]]:
        for rev in range(len(state.log)):  # whatever Redis has
            if self._admits(state, rev):
                yield f"Redis answers {rev}", state._replace(kept=Kept(rev, OLD))
        load = state.load
        if load is None:
            yield "a load is sent", state._replace(load=Flight(0, 0, (), -1))
        elif load.answer < 0:
            answered = load._replace(answer=len(state.log) - 1)
            yield "the store answers a load", state._replace(load=answered)
        else:
            done = state._replace(load=None)
            if self._admits(state, load.answer):
                proof = 0 if self.proof_from_answer else load.age
                done = done._replace(kept=Kept(load.answer, proof))
            yield "a load is over", done

    def _admits(self, state: State, rev: int) -> bool:
        return rev <= state.since and (rev >= _required(state) or self.floors_unchecked)


def _older(state: State) -> State:
    kept, load = state.kept, state.load
    return state._replace(
        ended_for=0 if state.log[-1].active else min(state.ended_for + 1, OLD),
        synced=min(state.synced + 1, OLD),
        kept=kept and kept._replace(proof=min(kept.proof + 1, OLD)),
        load=load and load._replace(age=min(load.age + 1, OLD)),
        syncs=_sorted(*(each._replace(age=min(each.age + 1, OLD)) for each in state.syncs)),
    )


def _sorted(*flights: Flight) -> tuple[Flight, ...]:
    """Return them in one order, since it does not matter which of two was sent first."""
    return tuple(sorted(flights))


def _changes_of_the_key(state: State) -> list[int]:
    return [rev for rev, each in enumerate(state.log) if rev and each.touches]


def _required(state: State) -> int:
    """Return the revision at which the key may have been read, at least."""
    return max(state.floor, *state.pending, 0)


def _drop(state: State) -> State:
    """Forget what is kept if it was read too early."""
    kept = state.kept
    return state._replace(kept=None) if kept and kept.as_of < _required(state) else state


def _with(pending: tuple[int, ...], rev: int) -> tuple[int, ...]:
    return tuple(sorted({*pending, rev}))
