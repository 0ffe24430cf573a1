"""Lets a schedule happen at a place, and keeps what was done and when."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pytest

from tests.chaos.changes import KINDS, Change, Subject, make
from tests.chaos.faults import FAULTS, NOTHING
from tests.chaos.place import REVOKE_WITHIN, SYNC_EVERY

if TYPE_CHECKING:
    from collections.abc import Sequence
    from concurrent.futures import Future

    from tests.chaos.place import Place
    from tests.chaos.schedule import Episode

GOOD = 24
"""Keys that are never changed: more than a forgetful worker remembers."""

SENTINELS = 2
"""How many of them tell whether a worker works."""

RECOVERS_WITHIN = 30.0
"""Seconds after a fault within which every worker decides rightly again, on any machine."""

OBSERVED_FOR = REVOKE_WITHIN + 1.0
"""Seconds after a change for which nobody touches its keys again, and everybody asks for them."""

SETTLES_WITHIN = SYNC_EVERY + 0.5
"""Seconds for which a fault is kept up for the last change that was made in it."""

MEASURED_FOR = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """When a fault was there, and how long it took after its end until all was well."""

    fault: str
    aim: int | None
    full_load: bool
    began: float
    ended: float
    recovered_after: float


class Run:
    """One run at one place."""

    def __init__(self, place: Place) -> None:
        """Make the good keys, and learn how much load half of it is."""
        self._place = place
        self._client = place.client
        self._workers = range(len(place.workers))
        self._subjects: list[Subject] = []
        self._watched: list[Subject] = []
        self.changes: list[Change] = []
        self.windows: list[Window] = []
        credentials = [place.guard.issue(name="good").secret.reveal() for _ in range(GOOD)]
        self.good = range(GOOD)
        self._next_key = GOOD
        for number, credential in enumerate(credentials):
            self._client.ask_for(number, credential)
        self._sentinels = self.good[:SENTINELS]
        for number in self._sentinels:
            self._client.watch(number, credentials[number], accepted=True)
        self._await("at the start", self._sentinels, accepted=True)
        self.throughput = self._client.throughput(MEASURED_FOR)

    def play(self, episodes: Sequence[Episode]) -> None:
        """Let all of it happen, and observe the last changes to the end."""
        for episode in episodes:
            self._play(episode)
        self._release(until=float("inf"))
        commits = self._place.commits()
        self.changes = [replace(each, committed=commits[each.rev]) for each in self.changes]

    def _play(self, episode: Episode) -> None:
        fault, client = FAULTS[episode.fault], self._client
        self._release(until=time.monotonic())
        client.pace(0 if episode.full_load else self.throughput / 2)
        subjects = [self._subject(planned.kind) for planned in episode.changes]
        for subject in subjects:
            self._await(f"before {episode.fault}", subject.keys, accepted=subject.accepted)
        aim = episode.aim if fault.aimed else None
        others = [worker for worker in self._workers if worker != aim]
        began = time.monotonic()
        zero = began + 0.1
        with ThreadPoolExecutor(3) as pool:
            made = [
                pool.submit(self._change, episode, aim, subject, zero + planned.at)
                for subject, planned in zip(subjects, episode.changes, strict=True)
            ]
            time.sleep(0.1)
            with fault.begin(self._place, episode.aim):
                time.sleep(max(0.0, zero + episode.lasts - time.monotonic()))
                self._settle(subjects, made, others)
            ended = time.monotonic()
            changes = [each.result() for each in made]
        for subject in subjects:
            self._await(f"after {episode.fault}", subject.keys, accepted=subject.accepted)
        self._await(f"after {episode.fault}", self._sentinels, accepted=True)
        self.changes += changes
        self.windows.append(
            Window(
                fault=episode.fault,
                aim=aim,
                full_load=episode.full_load,
                began=began if episode.fault == NOTHING else zero,
                ended=ended,
                recovered_after=time.monotonic() - ended,
            )
        )

    def _change(self, episode: Episode, aim: int | None, subject: Subject, at: float) -> Change:
        time.sleep(max(0.0, at - time.monotonic()))
        for key in subject.keys:
            self._client.hurry(key)
        until = at + episode.lasts + RECOVERS_WITHIN
        receipt, asked, answered, attempts = make(self._place.guard, subject, until=until)
        assert receipt.rev is not None  # no host has this transaction
        subject.accepted = not subject.accepted
        subject.free_at = answered + OBSERVED_FOR
        return Change(
            fault=episode.fault,
            aim=aim,
            full_load=episode.full_load,
            kind=subject.kind,
            keys=tuple(subject.keys),
            accepted=subject.accepted,
            asked=asked,
            answered=answered,
            rev=receipt.rev,
            committed=answered,  # until the database is asked, at the end
            attempts=attempts,
            announced=receipt.announced,
        )

    def _settle(
        self, subjects: Sequence[Subject], made: Sequence[Future[Change]], workers: Sequence[int]
    ) -> None:
        """Wait, but not for long, until the workers that can hear of the changes have."""
        until = time.monotonic() + SETTLES_WITHIN
        for subject, change in zip(subjects, made, strict=True):
            if change.done() and change.exception() is None:
                accepted = subject.accepted
                self._client.wait_for(subject.keys, workers, accepted=accepted, until=until)

    def _subject(self, kind: str) -> Subject:
        """Return something to change that all know as it is: one nobody watches, or a new one."""
        for subject in self._subjects:
            ends = subject.accepted or KINDS[kind].back is not None
            if subject.kind == kind and ends and subject not in self._watched:
                break
        else:
            node, issued = KINDS[kind].make(self._place.guard)
            keys = {self._next_key + at: key.secret.reveal() for at, key in enumerate(issued)}
            self._next_key += len(keys)
            subject = Subject(kind=kind, node=node, keys=keys)
            self._subjects.append(subject)
        subject.free_at = float("inf")
        self._watched.append(subject)
        for key, credential in subject.keys.items():
            self._client.watch(key, credential, accepted=not subject.accepted)
        return subject

    def _release(self, *, until: float) -> None:
        """Leave those alone that were watched long enough; wait for those that will be then."""
        for subject in sorted(self._watched, key=lambda each: each.free_at):
            if subject.free_at <= until:
                time.sleep(max(0.0, subject.free_at - time.monotonic()))
                self._watched.remove(subject)
                for key in subject.keys:
                    self._client.unwatch(key)

    def _await(self, when: str, keys: Sequence[int] | dict[int, str], *, accepted: bool) -> None:
        until = time.monotonic() + RECOVERS_WITHIN
        for worker in self._workers:
            if not self._client.wait_for(keys, [worker], accepted=accepted, until=until):
                spec = self._place.workers[worker].spec
                said = self._client.said(keys, worker)
                pytest.fail(f"{when}, worker {worker} ({spec}) says {said} for {RECOVERS_WITHIN} s")
