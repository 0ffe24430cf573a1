"""The real procedures, caches and store of several workers, under a scheduler and virtual clocks.

Performing an effect is atomic. When it is performed, whether its answer is lost, and when that is
delivered is up to the caller, who thus produces every interleaving, crash and pause.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

from keybound.core import coherence
from keybound.core.decision import Allowed
from keybound.core.effects import Sleep
from keybound.core.keys import ENTROPY_BYTES
from keybound.core.secret import Secret
from keybound.drivers import run
from keybound.settings import Settings
from tests.simulation import procedures
from tests.simulation.channel import SimulatedChannel
from tests.simulation.claim import Claim
from tests.simulation.scheduler import Fate, Scheduler, Task
from tests.simulation.shared_cache import SimulatedCache
from tests.simulation.store import SimulatedStore
from tests.simulation.truth import METHODS, Question, Truth
from tests.simulation.worker import SimulatedWorker, Timeline, WorkerClock

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from keybound.core.effects import Steps
    from keybound.judge import Outcome

BOUND = 5.0
CREDENTIALS_MAX = 8

_SECRET = Secret("a secret of the simulation, long enough")
GROUPS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """What the workers are: small caches and short histories make rare things frequent."""

    workers: int = 2
    grace: float = 0.0
    floors_max: int = 4
    cache_size_max: int = 6
    cache_compiled_max: int = 3
    history_max: int = 10_000
    shared: bool = True
    boot_counts_sleep: bool = True


class World:
    """Workers, a store, real time, and everything that can happen to them."""

    def __init__(
        self, seed: int, scene: Scene, *, store: type[SimulatedStore] = SimulatedStore
    ) -> None:
        """Make two groups, two keys in none, one in a group, and a child of that; plan one more."""
        self.scene = scene
        self.time = Timeline()
        self.truth = Truth()
        self.claim = Claim(self.truth, self.time, allowance=BOUND + scene.grace)
        self.store = store(history_max=scene.history_max)
        self._chance = random.Random(seed)
        self.shared = SimulatedCache(self._chance)
        self.channel = SimulatedChannel(self._chance, _SECRET, workers=scene.workers)
        self._targets: list[str] = []
        self._entropy: dict[int, bytes] = {}
        self._raws: list[bytes] = []
        self.scheduler = Scheduler(
            self.store,
            self.shared,
            self.channel,
            self.time,
            self._chance,
            committed=self._committed,
            read_all=self._read_all,
            confirm=self.claim.confirm,
        )
        settings = Settings(
            database="memory://",
            secret=_SECRET,
            redis=Secret("redis://simulated") if scene.shared else None,
            revoke_within=BOUND,
            stale_grace=scene.grace,
            cache_size_max=scene.cache_size_max,
            cache_compiled_max=scene.cache_compiled_max,
        )
        self.workers = [
            SimulatedWorker(
                f"w{number}",
                settings,
                self.store,
                WorkerClock(self.time, skew=100.0 * number),
                floors_max=scene.floors_max,
                judged=self._judged,
            )
            for number in range(scene.workers)
        ]
        for _ in range(GROUPS):
            self._at_once(self.workers[0].verbs.create_group(name="group"))
        for kind in (3, 3, 1, 0):
            self.issue(0, kind)
            self.scheduler.finish(self.scheduler.tasks[-1])
        self._plan()
        self._backup = self.store.back_up()

    # ------------------------------------------------------------------------ what people start

    def request(self, worker: int, credential: int, method: int) -> None:
        """Let a client make a request."""
        number = list(self._entropy)[credential % len(self._entropy)]
        self._ask(self._worker(worker), Question(number, METHODS[method % len(METHODS)]))

    def traffic(self, worker: int) -> None:
        """Let every client make a request, and wait unless the worker stands still."""
        subject = self._worker(worker)
        if not subject.paused:
            for question in list(self.truth.verdicts)[:: len(METHODS)]:
                self.scheduler.finish(self._ask(subject, question))

    def sync(self, worker: int) -> Task:
        """Let the thread in the background ask what changed."""
        subject = self._worker(worker)
        steps = subject.engine.opened(coherence.sync(subject.engine.rules.worker))
        return self.scheduler.start(Task("sync", subject, steps))

    def change(self, worker: int, verb: str, target: int) -> None:
        """Let an operator change a key or a group."""
        subject = self._worker(worker)
        node = self._targets[target % len(self._targets)]
        change = procedures.CHANGES.get(verb) or procedures.WAITING[verb]
        self.scheduler.start(Task(f"{verb} {node}", subject, change(subject.verbs, node)))

    def change_with_host(self, worker: int, verb: str, target: int, *, dies: bool) -> None:
        """Let an operator change a key or a group within a transaction of the application."""
        subject = self._worker(worker)
        node = self._targets[target % len(self._targets)]
        steps = procedures.change_with_host(subject, verb, node, dies=dies)
        self.scheduler.start(Task(f"{verb} {node} with the host", subject, steps))

    def overtake(self, worker: int, target: int, verbs: Sequence[str], *, synced: bool) -> None:
        """Let the store lose what a sync was answered, and that answer come late.

        All of ``verbs`` but the last are lost, and what others wrote of them is still shared. The
        last is a change of the worker itself, after the loss; it may be ``synced``, by a later one.
        """
        subject, other = self._worker(worker), self._worker(worker + 1)
        if subject.paused or other.paused:
            return
        node = self._targets[target % len(self._targets)]
        self.back_up()
        for verb in verbs[:-1]:
            self._change_at_once(other, verb, node)
        late = self.sync(worker)
        if not self.scheduler.answer(late):
            return
        self.restore()
        own = self._change_at_once(subject, verbs[-1], node)
        if synced:
            self.scheduler.finish(self.sync(worker))
        self.scheduler.finish(late)
        for question, _ in own.turned:
            self.scheduler.finish(self._ask(subject, question))

    def switch_several(self, worker: int, start: int, count: int, *, enabled: bool) -> None:
        """Let an operator enable or disable several keys and groups as one change."""
        subject = self._worker(worker)
        nodes = [self._targets[(start + i) % len(self._targets)] for i in range(count)]
        steps = procedures.switch_several(subject, nodes, enabled=enabled)
        self.scheduler.start(Task(f"{enabled=} {nodes}", subject, steps))

    def issue(self, worker: int, kind: int, *, dies: bool | None = None) -> None:
        """Let an operator issue a key that clients tried before it was: below a parent, or not.

        ``dies`` says that a host does so, and whether it dies after its commit.
        """
        subject = self._worker(worker)
        parents, groups = self._targets[GROUPS:], self._targets[:GROUPS]
        parent = parents[-1 - kind // 2 % len(parents)] if kind % 2 == 0 and parents else None
        credential = self._plan()
        groups = groups[: kind % (GROUPS + 1)]
        steps = procedures.issue(subject, parent=parent, groups=groups)
        if dies is not None:
            steps = procedures.issue_with_host(subject, parent=parent, groups=groups, dies=dies)
        task = Task(f"issue #{credential}", subject, steps, planned=self._entropy[credential])
        self.scheduler.start(task)

    # ------------------------------------------------------------------------- what befalls them

    def step(self, index: int, fate: Fate = Fate.ANSWERED, *, line: int = 0) -> None:
        """Let one task get further; see ``Scheduler.step``."""
        self.scheduler.step(index, fate, line=line)

    def finish(self, index: int) -> None:
        """Let one task come to its end while everything else waits."""
        tasks = [task for task in self.scheduler.tasks if not task.worker.paused]
        if tasks:
            self.scheduler.finish(tasks[index % len(tasks)])

    def pass_time(self, seconds: float) -> None:
        """Let time pass for everyone; then every thread that runs makes every request it can."""
        self.time.now += seconds
        for worker in self.workers:
            if not worker.paused:
                self._read_all(worker)

    def set_wall_clock(self, worker: int, seconds: float) -> None:
        """Move the wall clock of one machine, forwards or back."""
        self._worker(worker).clock.wall_offset += seconds
        self._note(worker, f"the wall clock is moved by {seconds} s")

    def suspend(self, worker: int, seconds: float) -> None:
        """Suspend a machine whose boot clock does not count that."""
        self._worker(worker).clock.boot_offset -= seconds
        self._note(worker, f"is suspended for {seconds} s")
        self.pass_time(seconds)

    def pause(self, worker: int) -> None:
        """Stop a process, or let it go on."""
        subject = self._worker(worker)
        subject.paused = not subject.paused
        self._note(worker, "stopped" if subject.paused else "goes on")

    def cut_off(self, worker: int) -> None:
        """Cut a worker off from the store, or connect it again."""
        subject = self._worker(worker)
        subject.cut_off = not subject.cut_off
        self._note(worker, "cut off" if subject.cut_off else "connected")

    def kill(self, index: int) -> None:
        """Cancel one task in the middle."""
        if self.scheduler.tasks:
            self.scheduler.kill(self.scheduler.tasks[index % len(self.scheduler.tasks)])

    def restart(self, worker: int) -> None:
        """Crash a process with all its tasks, and start it again."""
        subject = self._worker(worker)
        for task in [task for task in self.scheduler.tasks if task.worker is subject]:
            self.scheduler.kill(task)
        subject.restart()
        self._note(worker, "crashed and started again")

    def write_shared(self, number: int) -> None:
        """Let a value that was offered reach the shared cache, however long ago that was."""
        self.shared.write(number)

    def befall_shared(self, what: str) -> None:
        """Let something happen to what is in the shared cache."""
        self.shared.befall(what)
        self.scheduler.note(f"the shared cache: {what}")

    def deliver(self, number: int) -> None:
        """Let a message reach a worker, unless that stands still."""
        parcel = self.channel.take(number)
        if parcel is None or self.workers[parcel.worker].paused:
            return
        worker = self.workers[parcel.worker]
        if worker.hear(parcel.payload):
            worker.heard.update(parcel.turned)
            if self.store.unseen(worker.engine.cache.fence.since, worker.wrote) > 1:
                worker.blind.update(turn for _, turn in parcel.turned)
        self.scheduler.note(f"{worker.name}: hears a message")
        self._read_all(worker)

    def befall_channel(self, what: str) -> None:
        """Let something happen to what workers tell each other."""
        self.channel.nodes = self._targets
        self.channel.befall(what)
        self.scheduler.note(f"the channel: {what}")

    def prune(self, keep: int) -> None:
        """Let the store forget all but the newest entries of its log."""
        self.store.prune(keep)
        self.scheduler.note(f"the store forgets all but the last {keep}")

    def back_up(self) -> None:
        """Make the backup that a later restore goes back to."""
        self._backup = self.store.back_up()
        self.scheduler.note("the store is backed up")

    def restore(self) -> None:
        """Lose every commit since the backup."""
        self.store.restore(self._backup)
        self._committed()
        self.scheduler.note("the store is restored")

    def settle(self) -> None:
        """Mend everything; after one sync, every worker must answer as the store does, at once."""
        self.scheduler.note("everything is mended")
        for worker in self.workers:
            worker.paused = worker.cut_off = False
        for task in self.scheduler.tasks:
            if task.answered:
                task.wakes_at = 0.0
        for task in list(self.scheduler.tasks):
            if not self.scheduler.finish(task) and not isinstance(task.effect, Sleep):
                self.claim.violate(f"{task} never ends")
        for task in list(self.scheduler.tasks):
            self.scheduler.kill(task)
        for number, worker in enumerate(self.workers):
            sync = self.sync(number)
            if not self.scheduler.finish(sync) or sync.error is not None:
                self.claim.violate(f"{worker.name} cannot sync, though nothing fails: {sync.error}")
            for question in self.truth.verdicts:
                self._check_settled(worker, question)

    # ------------------------------------------------------------------------------------ helpers

    def _check_settled(self, worker: SimulatedWorker, question: Question) -> None:
        for known in (False, True):
            task = self._ask(worker, question)
            done = task not in self.scheduler.tasks or (not known and self.scheduler.finish(task))
            permitted = self.truth.verdicts[question].permitted
            if not done or isinstance(task.result, Allowed) is not permitted:
                self.claim.violate(
                    f"{worker.name} answers {task.result} to {question} after a sync"
                )

    def _change_at_once(self, worker: SimulatedWorker, verb: str, node: str) -> Task:
        steps = procedures.CHANGES[verb](worker.verbs, node)
        task = self.scheduler.start(Task(f"{verb} {node}", worker, steps))
        self.scheduler.finish(task)
        return task

    def _ask(self, worker: SimulatedWorker, question: Question) -> Task:
        raw = self._raws[question.credential]
        steps = worker.engine.authorized(question.method, "/", None, raw)
        return self.scheduler.start(Task(str(question), worker, steps))

    def _read_all(self, worker: SimulatedWorker) -> None:
        for question in self.truth.verdicts:
            judge = worker.engine.rules.judge_of(None)
            judge.decide(question.method, "/", None, self._raws[question.credential])

    def _judged(self, worker: SimulatedWorker, method: str, raw: bytes, outcome: Outcome) -> None:
        self.claim.judge(worker, Question(self._raws.index(raw), method), outcome)

    def _plan(self) -> int:
        """Return a credential that is not issued yet; clients may try it from now on."""
        peppers = self.workers[0].engine.peppers
        for credential, entropy in self._entropy.items():
            if peppers.digest(self._key(entropy)) not in self.store.owners():
                return credential
        entropy = self._chance.randbytes(ENTROPY_BYTES)
        key, credential = self._key(entropy), len(self._raws)
        self._entropy[credential] = entropy
        self._raws.append(b"Bearer " + key.encode())
        self.truth.add(credential, peppers.candidates(key))
        if len(self._entropy) > CREDENTIALS_MAX:
            oldest = min(self._entropy)
            del self._entropy[oldest]
            self.truth.forget(oldest)
        return credential

    def _key(self, entropy: bytes) -> str:
        return self.workers[0].engine.format.generate(entropy).reveal()

    def _committed(self) -> list[tuple[Question, int]]:
        known = self.store.nodes()
        fresh = [node for node in known if node not in self._targets]
        self._targets = [node for node in (*self._targets, *fresh) if node in known]
        del self._targets[GROUPS : len(self._targets) - CREDENTIALS_MAX]
        return self.truth.refresh(self.store, self.time.now)

    def _at_once(self, steps: Steps[Any]) -> None:
        worker = self.workers[0]
        run(steps, lambda effect: self.scheduler.perform_now(worker, effect))
        self._committed()

    def _worker(self, number: int) -> SimulatedWorker:
        return self.workers[number % len(self.workers)]

    def _note(self, worker: int, event: str) -> None:
        self.scheduler.note(f"{self._worker(worker).name}: {event}")
