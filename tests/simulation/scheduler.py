"""The scheduler: when an effect is performed, what becomes of it, and when that is known."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any, TypeVar

from keybound.core.effects import (
    Announce,
    Commit,
    HostCommit,
    LoadByDigest,
    Loaded,
    LogHead,
    Moment,
    OfferShared,
    ReadClock,
    ReadEntropy,
    ReadShared,
    Sleep,
    Stamp,
    SyncAnswer,
    Uninterrupted,
)
from keybound.core.errors import CacheError, KeyboundError, StoreUnavailableError
from keybound.core.joining import Join
from keybound.core.keys import ENTROPY_BYTES
from keybound.drivers import run
from tests.simulation.reader import reading_between

if TYPE_CHECKING:
    import random
    from collections.abc import Callable
    from concurrent.futures import Future

    from keybound.core.effects import Effect, Steps
    from tests.simulation.channel import SimulatedChannel
    from tests.simulation.shared_cache import SimulatedCache
    from tests.simulation.store import SimulatedStore
    from tests.simulation.truth import Question
    from tests.simulation.worker import SimulatedWorker, Timeline

T = TypeVar("T")

STEPS_MAX = 300
"""Steps that anything needs while nothing fails."""

LATE_BY = 4.0
"""Seconds that a late answer takes: nearly as long as anything may be relied on."""

LINES = 8
"""Lines of the cache after which another thread reads it again, where one does."""


_LOCAL = (ReadClock, ReadEntropy, Sleep, Join, OfferShared)


class Fate(Enum):
    """What becomes of a question to the store, or to the shared cache."""

    ANSWERED = "answered"
    LOST = "lost"
    ANSWERED_LATE = "answered late"
    ANSWER_LOST = "answer lost"


@dataclass(eq=False, slots=True)
class Task:
    """A procedure on its way. ``planned`` is what its first draw of key entropy is answered with.

    ``turned`` are the verdicts that its own commits turned, ``told`` those that the last one
    turned, if it was of one node: a message about that node tells of them all.
    """

    name: str
    worker: SimulatedWorker
    steps: Steps[Any]
    planned: bytes | None = None
    effect: Effect[Any] | None = None
    answered: bool = False
    answer: Any = None
    error: Exception | None = None
    wakes_at: float = 0.0
    leader: Future[None] | None = None
    result: Any = None
    turned: list[tuple[Question, int]] = field(default_factory=list)
    told: tuple[tuple[Question, int], ...] = ()

    def __str__(self) -> str:
        """Name the worker and what it does."""
        return f"{self.worker.name} {self.name}"


class Scheduler:
    """All tasks of all workers, in front of one store; ``committed`` says what a commit turned."""

    def __init__(
        self,
        store: SimulatedStore,
        shared: SimulatedCache,
        channel: SimulatedChannel,
        time: Timeline,
        chance: random.Random,
        *,
        committed: Callable[[], list[tuple[Question, int]]],
        read_all: Callable[[SimulatedWorker], None],
        confirm: Callable[[], None],
    ) -> None:
        """Begin without tasks."""
        self.tasks: list[Task] = []
        self.steps = 0
        self.events: deque[str] = deque(maxlen=30)
        self._store = store
        self._shared = shared
        self._channel = channel
        self._time = time
        self._chance = chance
        self._committed = committed
        self._read_all = read_all
        self._confirm = confirm

    def note(self, event: str) -> None:
        """Write an event down."""
        self.events.append(f"{self._time.now:9.2f} {event}")

    def start(self, task: Task) -> Task:
        """Let a procedure run until it asks for something."""
        task.steps = _flat(task.steps)
        self.tasks.append(task)
        self._resume(task)
        return task

    def step(self, index: int, fate: Fate, *, line: int = 0) -> None:
        """Perform what a task asks for, or deliver what it was answered.

        ``line``: before every ``LINES`` lines of taking in a sync, beginning with this one, another
        thread reads all of the cache. 0 is never.
        """
        ready = [task for task in self.tasks if self._ready(task)]
        if not ready:
            return
        self.steps += 1
        task = ready[index % len(ready)]
        learns = isinstance(task.answer, SyncAnswer | Loaded | tuple)
        if line and learns:
            with reading_between(lambda: self._read_all(task.worker), every=LINES, first=line):
                self._resume(task)
            self._confirm()
        else:
            self._advance(task, fate)
        if learns:
            self._read_all(task.worker)

    def finish(self, task: Task) -> bool:
        """Take a task to its end without any failure, unless it sleeps; return whether it ended."""
        for _ in range(STEPS_MAX):
            ahead = self._ahead_of(task)
            if task not in self.tasks or not self._ready(ahead):
                break
            self.steps += 1
            self._advance(ahead, Fate.ANSWERED)
        return task not in self.tasks

    def answer(self, task: Task) -> bool:
        """Take a sync as far as to be answered, but not told yet; return whether it got there."""
        for _ in range(STEPS_MAX):
            if task not in self.tasks or task.error is not None or not self._ready(task):
                return False
            if isinstance(task.answer, SyncAnswer) and not task.answer.unstamped:
                return True
            self.steps += 1
            self._advance(task, Fate.ANSWERED)
        return False

    def kill(self, task: Task) -> None:
        """Cancel a task where it stands."""
        self.tasks.remove(task)
        task.steps.close()
        self.note(f"{task}: cancelled")

    def perform_now(self, worker: SimulatedWorker, effect: Effect[Any]) -> Any:
        """Answer an effect at once."""
        if isinstance(effect, ReadClock):
            return Moment(worker.clock.boot(), worker.clock.wall())
        if isinstance(effect, ReadEntropy):
            return self._chance.randbytes(effect.size)
        if isinstance(effect, Uninterrupted):
            return run(effect.steps, lambda each: self.perform_now(worker, each))
        if isinstance(effect, Announce):
            return self._channel.publish(effect.message)
        return self._store.perform(effect)

    def _ready(self, task: Task) -> bool:
        if task.worker.paused:  # what it has sent is on its way
            return not task.answered and not isinstance(task.effect, _LOCAL)
        return self._time.now >= task.wakes_at and (task.leader is None or task.leader.done())

    def _ahead_of(self, task: Task) -> Task:
        """Return the task itself, or one of those that it may be waiting for."""
        if task.leader is None or task.leader.done():
            return task
        others = (each for each in self.tasks if each.worker is task.worker and each is not task)
        return next((each for each in others if self._ready(each)), task)

    def _advance(self, task: Task, fate: Fate) -> None:
        if task.answered:
            self._resume(task)
        else:
            self._perform(task, fate)

    def _perform(self, task: Task, fate: Fate) -> None:
        effect = task.effect
        task.answered = True
        if isinstance(effect, ReadEntropy) and effect.size == ENTROPY_BYTES and task.planned:
            task.answer, task.planned = task.planned, None
        elif isinstance(effect, ReadClock | ReadEntropy):
            task.answer = self.perform_now(task.worker, effect)
        elif isinstance(effect, OfferShared):
            self._shared.take(effect.offers)
        elif isinstance(effect, Join):
            task.leader = effect.other
            return
        elif isinstance(effect, ReadShared):
            self._ask_cache(task, effect, fate)
            return
        elif isinstance(effect, Announce):
            self._announce(task, effect, fate)
            return
        elif not isinstance(effect, Sleep):
            self._ask_store(task, fate)
            return
        self._resume(task)

    def _ask_store(self, task: Task, fate: Fate) -> None:
        assert task.effect is not None
        if fate is Fate.LOST or task.worker.cut_off:
            task.error = StoreUnavailableError("the question was lost")
            self.note(f"{task}: {_brief(task.effect)} is lost")
            return
        try:
            task.answer = self._store.perform(task.effect)
        except KeyboundError as error:
            task.error = error
        else:
            if isinstance(task.effect, Commit | Stamp):
                task.worker.wrote.add(task.effect.tag)
            if isinstance(task.effect, Commit | HostCommit):
                turned = self._committed()
                task.turned += turned
                task.told = (
                    tuple(turned)
                    if isinstance(task.effect, Commit) and len(task.effect.puts) == 1
                    else ()
                )
        self.note(f"{task}: {_brief(task.effect)} -> {task.error or _brief(task.answer)}")
        if fate is Fate.ANSWERED_LATE:
            task.wakes_at = self._time.now + LATE_BY
        elif fate is Fate.ANSWER_LOST:
            task.error = StoreUnavailableError("the answer was lost")
            self.note(f"{task}: the answer is lost")

    def _ask_cache(self, task: Task, effect: ReadShared, fate: Fate) -> None:
        if fate in {Fate.LOST, Fate.ANSWER_LOST}:
            task.error = CacheError("the question was lost")
        else:
            task.answer = self._shared.read(effect.names)
            found = sum(value is not None for value in task.answer)
            self.note(f"{task}: reads {found} of {len(effect.names)} records")
        if fate is Fate.ANSWERED_LATE:
            task.wakes_at = self._time.now + LATE_BY

    def _announce(self, task: Task, effect: Announce, fate: Fate) -> None:
        if fate is not Fate.LOST:
            self._shared.keep(effect.offer)
            self._channel.publish(effect.message, task.told)
        if fate in {Fate.LOST, Fate.ANSWER_LOST}:
            task.error = CacheError("the announcement was lost, or its answer")
        if fate is Fate.ANSWERED_LATE:
            task.wakes_at = self._time.now + LATE_BY
        self.note(f"{task}: announces its change ({fate.value})")

    def _resume(self, task: Task) -> None:
        answer, error = task.answer, task.error
        if task.leader is not None:
            failure = task.leader.exception(timeout=0)
            assert failure is None or isinstance(failure, Exception)
            error = failure
        task.answered, task.answer, task.error, task.leader = False, None, None, None
        try:
            task.effect = task.steps.send(answer) if error is None else task.steps.throw(error)
        except StopIteration as stop:
            self.tasks.remove(task)
            task.result = stop.value
            task.worker.own.update(task.turned)
            if self._store.unseen(task.worker.engine.cache.fence.since, task.worker.wrote):
                task.worker.blind.update(turn for _, turn in task.turned)
            self.note(f"{task}: done")
        except KeyboundError as failure:
            self.tasks.remove(task)
            task.error = failure
            self.note(f"{task}: {type(failure).__name__}: {failure}")
        else:
            slept = task.effect.seconds if isinstance(task.effect, Sleep) else 0.0
            task.wakes_at = self._time.now + slept


def _flat(steps: Steps[T]) -> Steps[T]:
    """Return the same procedure, with what nobody can cancel as steps of its own: crashes can."""
    try:
        effect = next(steps)
        while True:
            try:
                if isinstance(effect, Uninterrupted):
                    answer = yield from _flat(effect.steps)
                else:
                    answer = yield effect
            except KeyboundError as error:
                effect = steps.throw(error)
            else:
                effect = steps.send(answer)
    except StopIteration as stop:
        value: T = stop.value
        return value
    finally:
        steps.close()


def _brief(value: object) -> str:  # noqa: PLR0911 - one for each kind of value
    """Return what matters of an effect or an answer, in one line."""
    match value:
        case LogHead(rev=rev, tag=tag):
            return f"revision {rev}, tag {tag.hex()[:4]}"
        case SyncAnswer(head=head, changes=changes):
            rows = ", ".join(f"{node} at {rev}" for rev, node in changes) or "nothing"
            return f"{_brief(head)}, epoch {head.epoch.hex()[:4]}: {rows}"
        case Loaded(head=head, rows=rows):
            loaded = [f"{node} of {row.rev}" for node, row in rows.items() if row is not None]
            return f"{_brief(head)}: {', '.join(loaded) or 'nothing'}"
        case LoadByDigest():
            return "load by digest"
        case Stamp():
            return "stamp"
        case Commit(puts=puts):
            return f"commit {', '.join(put.node.id for put in puts)}"
        case HostCommit(commit=commit):
            return f"{_brief(commit)} without a revision"
        case _:
            return str(value)
