"""Hypothesis in search of a shortest sequence of events that breaks the claim."""

from __future__ import annotations

from contextlib import ExitStack

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from tests.simulation.channel import MISUSES
from tests.simulation.procedures import CHANGES, WAITING
from tests.simulation.scheduler import LINES, Fate
from tests.simulation.shared_cache import MISDEEDS
from tests.simulation.walk import JUMPS, PASSING, small_limits
from tests.simulation.world import Scene, World

NUMBERS = st.integers(0, 7)
WORKERS = st.integers(0, 1)


class Claim(RuleBasedStateMachine):
    """Every event of the world as a rule; the world itself checks every decision."""

    def __init__(self) -> None:
        """Make everything that is bounded small."""
        super().__init__()
        self._limits = ExitStack()
        self._limits.enter_context(small_limits(changes_max=3))

    @initialize(grace=st.sampled_from((0.0, 10.0)), floors_max=st.sampled_from((3, 50)))
    def begin(self, grace, floors_max):
        """Two workers and a store."""
        self.world = World(0, Scene(grace=grace, floors_max=floors_max))

    @rule(worker=WORKERS, credential=NUMBERS, method=st.integers(0, 1))
    def request(self, worker, credential, method):
        """A client makes a request."""
        self.world.request(worker, credential, method)

    @rule(task=NUMBERS, fate=st.sampled_from(Fate), line=st.integers(0, LINES))
    def step(self, task, fate, line):
        """A task gets further, perhaps while others read."""
        self.world.step(task, fate, line=line)

    @rule(task=NUMBERS)
    def finish(self, task):
        """A task comes to its end."""
        self.world.finish(task)

    @rule(worker=WORKERS)
    def sync(self, worker):
        """The thread in the background starts a sync."""
        self.world.sync(worker)

    @rule(worker=WORKERS, verb=st.sampled_from(sorted({**CHANGES, **WAITING})), node=NUMBERS)
    def change(self, worker, verb, node):
        """An operator changes something."""
        self.world.change(worker, verb, node)

    @rule(worker=WORKERS, verb=st.sampled_from(sorted(CHANGES)), node=NUMBERS, dies=st.booleans())
    def change_with_host(self, worker, verb, node, dies):
        """An operator changes something within a transaction of the application."""
        self.world.change_with_host(worker, verb, node, dies=dies)

    @rule(worker=WORKERS, start=NUMBERS, count=st.integers(2, 4), enabled=st.booleans())
    def switch_several(self, worker, start, count, enabled):
        """An operator changes several things in one revision."""
        self.world.switch_several(worker, start, count, enabled=enabled)

    @rule(worker=WORKERS, kind=st.integers(0, 5), dies=st.sampled_from((None, False, True)))
    def issue(self, worker, kind, dies):
        """An operator issues a key, or a host does."""
        self.world.issue(worker, kind, dies=dies)

    @rule(seconds=st.sampled_from(PASSING))
    def pass_time(self, seconds):
        """Time passes."""
        self.world.pass_time(seconds)

    @rule(worker=WORKERS, seconds=st.sampled_from(JUMPS))
    def set_wall_clock(self, worker, seconds):
        """A wall clock is moved."""
        self.world.set_wall_clock(worker, seconds)

    @rule(worker=WORKERS, event=st.sampled_from(("pause", "cut_off", "restart")))
    def disturb(self, worker, event):
        """A worker is stopped, cut off, or crashes."""
        getattr(self.world, event)(worker)

    @rule(task=NUMBERS)
    def kill(self, task):
        """A task is cancelled."""
        self.world.kill(task)

    @rule(offer=NUMBERS)
    def write_shared(self, offer):
        """Something that was offered reaches the shared cache."""
        self.world.write_shared(offer)

    @rule(what=st.sampled_from(MISDEEDS))
    def befall_shared(self, what):
        """The shared cache deceives."""
        self.world.befall_shared(what)

    @rule(message=NUMBERS)
    def deliver(self, message):
        """Something that was published reaches a worker."""
        self.world.deliver(message)

    @rule(what=st.sampled_from(MISUSES))
    def befall_channel(self, what):
        """The channel loses, repeats, and lies."""
        self.world.befall_channel(what)

    @rule(keep=st.integers(1, 3))
    def prune(self, keep):
        """The store forgets history."""
        self.world.prune(keep)

    @rule(event=st.sampled_from(("back_up", "restore", "settle")))
    def befall(self, event):
        """The store is backed up or restored, or everything is mended."""
        getattr(self.world, event)()

    def teardown(self) -> None:
        """Give the bounds their own values again."""
        self._limits.close()


TestClaim = Claim.TestCase
TestClaim.settings = settings(stateful_step_count=80)
