"""A worker of the simulation: the real engine of one process, under clocks of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from keybound.core.fence import Fence
from keybound.engine import Engine
from keybound.judge import Miss
from keybound.verbs import Verbs

if TYPE_CHECKING:
    from collections.abc import Callable

    from keybound.caches.local import LocalCache
    from keybound.core.decision import Decision
    from keybound.core.inquiry import NeedBody
    from keybound.core.reasons import Reason
    from keybound.judge import Outcome
    from keybound.settings import Settings
    from tests.simulation.store import SimulatedStore
    from tests.simulation.truth import Question

    DecideSettled = Callable[[Miss], Decision | NeedBody | None]
    Decide = Callable[[str, str, str | None, bytes | Reason | None], Outcome]
    Judged = Callable[["SimulatedWorker", str, bytes, Outcome], None]


class Timeline:
    """Real time, in seconds: what no worker can read, and what the claim is about."""

    def __init__(self) -> None:
        """Begin."""
        self.now = 0.0


class WorkerClock:
    """Two clocks that need not agree with each other, nor with those of other machines."""

    def __init__(self, timeline: Timeline, *, skew: float) -> None:
        """Count from somewhere."""
        self._timeline = timeline
        self.boot_offset = 1_000.0 + skew
        self.wall_offset = 1_700_000_000.0 + skew

    def boot(self) -> float:
        """Return time that never goes back, and counts suspended time unless ``suspend`` ran."""
        return self._timeline.now + self.boot_offset

    def wall(self) -> float:
        """Return time that an operator or a time server may set."""
        return self._timeline.now + self.wall_offset

    def sleep(self, seconds: float, /) -> None:
        """Let time pass for everyone."""
        self._timeline.now += seconds

    async def asleep(self, seconds: float, /) -> None:
        """Let time pass for everyone."""
        self._timeline.now += seconds


CLOCKS: WeakKeyDictionary[LocalCache, WorkerClock] = WeakKeyDictionary()
"""The clock beside each cache: weakened code reads it when it should not."""


class SimulatedWorker:
    """One process.

    ``own`` are the turns of verdicts that its own finished changes brought, and ``heard`` those of
    changes that a message told it of, before any sync. Those that are ``blind`` came when it had
    not heard yet of what others changed before; ``wrote`` are the names of its own revisions.
    """

    def __init__(
        self,
        name: str,
        settings: Settings,
        store: SimulatedStore,
        clock: WorkerClock,
        *,
        floors_max: int,
        judged: Judged,
    ) -> None:
        """Start with an empty cache; ``judged`` is told of every decision as it is taken."""
        self.name = name
        self.clock = clock
        self.paused = False
        self.cut_off = False
        self._settings = settings
        self._store = store
        self._floors_max = floors_max
        self._judged = judged
        self.restart()

    def restart(self) -> None:
        """Begin again, knowing nothing."""
        self.engine = Engine(self._settings, self._store, self.clock, background=False)
        self.engine.cache.fence = Fence(floors_max=self._floors_max)
        judge = self.engine.rules.judge_of(None)
        judge.decide = self._watched(judge.decide)
        watched = self._watched_settled(judge.decide_settled)
        judge.decide_settled = watched  # type: ignore[assignment]
        self.verbs = Verbs(self.engine)
        self._missed: dict[bytes, bytes] = {}
        self.own: dict[Question, int] = {}
        self.heard: dict[Question, int] = {}
        self.blind: set[int] = set()
        self.wrote: set[bytes] = set()
        CLOCKS[self.engine.cache] = self.clock

    def hear(self, payload: bytes) -> bool:
        """Hear a message; return whether it is ahead of what this worker knows."""
        ear = self.engine.ear
        assert ear is not None
        before = ear.ahead
        ear.hear(payload)
        return ear.ahead > before

    def _watched(self, decide: Decide) -> Decide:
        def watched(
            method: str, path: str, peer: str | None, raw: bytes | Reason | None, *more: None
        ) -> Outcome:
            outcome = decide(method, path, peer, raw, *more)
            assert isinstance(raw, bytes)
            if isinstance(outcome, Miss):
                self._missed[outcome.index] = raw
            self._judged(self, method, raw, outcome)
            return outcome

        return watched

    def _watched_settled(self, decide: DecideSettled) -> DecideSettled:
        def watched(miss: Miss) -> Decision | NeedBody | None:
            outcome = decide(miss)
            if outcome is not None:
                method, _ = miss.inquiry.asks[0]
                self._judged(self, method, self._missed[miss.index], outcome)
            return outcome

        return watched
