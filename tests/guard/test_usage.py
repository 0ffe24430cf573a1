"""How keys are used is counted as requests come, and recorded when nobody waits for it."""

from __future__ import annotations

import gc
import os
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest

from keybound import Guard, Limits, counting
from keybound.clocks import SystemClock
from keybound.core.effects import ListNodes, ReadUsage, RecordUsage, Sync
from keybound.core.errors import InputError, StoreUnavailableError, UnsureError
from keybound.core.usage import Usage
from keybound.engine import Engine
from keybound.judge import UNSETTLED
from keybound.settings import Settings
from keybound.stores.memory import MemoryStore

PEER = "203.0.113.7"
THREAD = "keybound-usage"


class Store(MemoryStore):
    """The real one, which can be away, lose an answer, or be of a time before usage."""

    def __init__(self):
        """Be well."""
        super().__init__()
        self.away = self.loses = self.old = False
        self.recorded = []
        self.tries = 0

    def perform(self, effect):
        """Answer an effect."""
        self.tries += isinstance(effect, RecordUsage)
        if isinstance(effect, RecordUsage | ReadUsage):
            if self.old:
                raise NotImplementedError
            if self.away:
                message = "the store is away"
                raise StoreUnavailableError(message)
        answer = super().perform(effect)
        if isinstance(effect, RecordUsage):
            self.recorded.append(effect.rows)
            if self.loses:
                message = "no answer"
                raise UnsureError(message)
        return answer


@pytest.fixture
def store():
    """Return a store."""
    return Store()


@pytest.fixture
def of(store):
    """Return a function that makes guards of the store, all of them closed in the end."""
    made = []

    def make(*, background=False, **settings):
        chosen = Settings(database="memory://", **settings)
        made.append(Guard(Engine(chosen, store, SystemClock(), background=background)))
        return made[-1]

    yield make
    store.away = store.old = False
    for guard in made:
        guard.close()


def raw_of(issued):
    """Return the header with a key."""
    return b"Bearer " + issued.secret.reveal().encode()


def ask(guard, issued, method="GET", path="/"):
    """Make a request with a key."""
    outcome = guard.decide(method, path, PEER, raw_of(issued))
    if outcome.__class__ not in UNSETTLED:
        return outcome
    return guard.authorize(method, path, PEER, raw_of(issued), outcome=outcome)


def used(guard, issued):
    """Return what is recorded of a key: uses and refusals."""
    usage = guard.usage([issued.id])[issued.id]
    return usage.uses, usage.refusals


def wait_until(holds, within=20.0):
    """Wait until something holds."""
    deadline = time.monotonic() + within
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def threads():
    """Return how many threads record."""
    return sum(thread.name == THREAD for thread in threading.enumerate())


def test_uses_and_refusals_are_recorded_at_the_end(make):
    """With every store and both guards: numbers and moments, of each key by itself."""
    guard = make(secret="a-secret-of-the-tests-0123456789-abcdef")
    busy = guard.issue(name="busy", limits=Limits(methods=["GET"]))
    idle = guard.issue(name="idle")
    before = datetime.now(UTC)
    for _ in range(5):
        assert guard.ask(busy).identity.key_id == busy.id
    for _ in range(2):
        assert guard.ask(busy, method="POST").reason == "method_not_allowed"
    guard.disable(busy.id)
    assert guard.ask(busy).reason == "disabled"
    after = datetime.now(UTC)
    assert guard.show(busy.id).usage == Usage()
    guard.close()
    found = guard.usage([idle.id, busy.id])
    assert (found[busy.id].uses, found[busy.id].refusals) == (5, 3)
    assert before <= found[busy.id].last_used_at < found[busy.id].last_refused_at <= after
    assert found[idle.id] == Usage(counted_since=found[busy.id].counted_since)
    assert guard.show(busy.id).usage == found[busy.id]
    group = guard.create_group(name="a group").node
    assert guard.show(group.id).usage is None


def test_unused_keys_are_listed(make):
    """Among all keys, and only where it is about keys."""
    guard = make()
    keys = [guard.issue(name="a key") for _ in range(3)]
    used_key = min(keys, key=lambda each: each.id)
    guard.ask(used_key)
    guard.close()
    time.sleep(0.02)
    listed = [node.id for node in guard.list(unused_for=0.01)]
    assert listed == sorted(each.id for each in keys)
    assert guard.list(unused_for="1h") == ()
    with pytest.raises(InputError, match="unused_for: 'soon' is not a duration"):
        guard.list(unused_for="soon")
    with pytest.raises(InputError, match="unused_for: is not about a group"):
        guard.list(unused_for="1d", kind="group")


def test_no_thread_loses_a_count_of_another(of):
    """A thousand requests of each of many threads that take turns as fast as they can."""
    guard = of()
    issued = guard.issue(name="a key")
    ask(guard, issued)
    raw, decide = raw_of(issued), guard.decide
    times, workers = 1_000, 16

    def work(_number):
        for _ in range(times):
            decide("GET", "/", PEER, raw)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(workers) as pool:
            done = pool.map(work, range(workers))
            for _ in range(20):
                guard.engine.recorder.record()
            assert len(list(done)) == workers
    finally:
        sys.setswitchinterval(interval)
    guard.close()
    assert used(guard, issued) == (1 + times * workers, 0)


def test_entries_that_end_are_counted(of):
    """Whatever ends them: a change of the key, others that need the room, other routes."""
    guard = of(cache_size_max=1)
    changed, pushed, ruled = (guard.issue(name=name) for name in ("changed", "pushed", "ruled"))
    ask(guard, changed)
    guard.update(changed.id, name="another name")
    ask(guard, pushed)
    ask(guard, ruled)
    ask(guard, ruled)
    guard.engine.use_routes([])
    ask(guard, ruled)
    guard.close()
    assert [used(guard, each) for each in (changed, pushed, ruled)] == [(1, 0), (1, 0), (3, 0)]


def test_keys_that_come_now_and_then_are_counted(of):
    """Those for which there is no room but a smaller one."""
    guard = of(cache_size_max=10, cache_compiled_max=1)
    keys = [guard.issue(name=name) for name in "abc"]
    for _ in range(4):
        for key in keys:
            ask(guard, key)
    guard.close()
    assert [used(guard, key) for key in keys] == [(4, 0)] * 3


def test_what_is_only_reported_is_a_use(of):
    """The request went through."""
    guard = of()
    issued = guard.issue(name="a key", limits=Limits(methods=["GET"]), rights=["report_only"])
    for _ in range(3):
        assert ask(guard, issued, method="POST").reported
    guard.close()
    assert used(guard, issued) == (3, 0)


def test_nobody_is_counted_who_is_not_known(of, store):
    """Unknown keys, no keys: there is nothing that they could be counted under."""
    guard = of()
    issued = guard.issue(name="a key")
    for raw in (None, b"Bearer nonsense", raw_of(issued)[:-1] + b"!"):
        guard.authorize("GET", "/", PEER, raw)
    guard.close()
    assert store.recorded == []


def test_thread_records_now_and_then(of):
    """From the first use on, in one thread, without anybody asking."""
    guard = of(background=True, usage_every=0.05)
    issued = guard.issue(name="a key")
    before = threads()
    ask(guard, issued)
    assert threads() == before + 1
    wait_until(lambda: used(guard, issued) == (1, 0))
    ask(guard, issued)
    wait_until(lambda: used(guard, issued) == (2, 0))
    assert threads() == before + 1
    guard.close()
    assert threads() == before
    ask(guard, issued)  # a guard that is used again begins again
    wait_until(lambda: used(guard, issued) == (3, 0))


def test_many_keys_do_not_wait_for_the_interval(of, monkeypatch):
    """Where much is to be recorded the thread hurries."""
    monkeypatch.setattr("keybound.recording.NOTED_MAX", 20)
    guard = of(background=True, usage_every=3_600)
    keys = [guard.issue(name="a key") for _ in range(20)]
    for each in keys[:-1]:
        ask(guard, each)
    time.sleep(0.1)
    assert used(guard, keys[0]) == (0, 0)
    ask(guard, keys[-1])
    wait_until(lambda: {used(guard, each) for each in keys} == {(1, 0)})


def test_keys_that_are_only_refused_are_recorded_now_and_then(of):
    """A thief's requests are seen, whoever else comes or not."""
    guard = of(background=True, usage_every=0.05)
    issued = guard.issue(name="a key")
    guard.revoke(issued.id)
    for _ in range(3):
        assert ask(guard, issued).reason == "revoked"
    wait_until(lambda: used(guard, issued) == (0, 3))


def test_many_keys_that_are_packed_do_not_wait_for_the_interval(of, monkeypatch):
    """Those that are allowed by their terms alone count as the others do."""
    guard = of(background=True, usage_every=3_600, cache_size_max=100, cache_compiled_max=1)
    keys = [guard.issue(name="a key") for _ in range(20)]
    for each in keys:
        ask(guard, each)
    guard.engine.recorder.record()
    monkeypatch.setattr("keybound.recording.NOTED_MAX", 20)
    for each in keys[:-1]:
        ask(guard, each)
    time.sleep(0.1)
    assert used(guard, keys[0]) == (1, 0)
    ask(guard, keys[-1])
    wait_until(lambda: {used(guard, each) for each in keys} == {(2, 0)})


def test_what_is_kept_hurries_nobody(of, monkeypatch, store):
    """A store that is away is not asked again for each request; only new keys are more work."""
    monkeypatch.setattr("keybound.recording.NOTED_MAX", 3)
    guard = of(background=True, usage_every=3_600)
    keys = [guard.issue(name="a key") for _ in range(6)]
    for each in keys:
        guard.revoke(each.id)
    store.away = True
    for each in keys[:3]:
        ask(guard, each)
    wait_until(lambda: store.tries == 1)
    for each in keys[:5] * 3:
        ask(guard, each)
    time.sleep(0.1)
    assert store.tries == 1
    ask(guard, keys[5])
    wait_until(lambda: store.tries == 2)


def test_thread_goes_with_its_guard():
    """Nobody closes it, nobody has it: its thread ends at once, however long the interval."""
    before = threads()
    engine = Engine(Settings(database="memory://", usage_every=3_600), Store(), SystemClock())
    guard = Guard(engine)
    ask(guard, guard.issue(name="a key"))
    assert threads() == before + 1
    del guard, engine
    gc.collect()
    wait_until(lambda: threads() == before)


def test_what_a_store_does_not_take_is_kept(of, store, caplog):
    """Requests go on; one line says that it fails, and one that it works again."""
    guard = of()
    issued = guard.issue(name="a key")
    store.away = True
    for _ in range(3):
        ask(guard, issued)
        guard.engine.recorder.record()
    store.away = False
    assert used(guard, issued) == (0, 0)
    for _ in range(2):
        guard.engine.recorder.record()
    assert used(guard, issued) == (3, 0)
    lines = [line for line in caplog.messages if "uses of keys" in line]
    assert lines == [
        "uses of keys are kept until they can be recorded: the store is away",
        "uses of keys are recorded again; lost meanwhile: 0",
    ]


def test_lost_answer_counts_nothing_twice(of, store, caplog):
    """What may have been recorded is not recorded again, and the log says how many may be lost."""
    guard = of()
    issued = guard.issue(name="a key")
    ask(guard, issued)
    guard.engine.recorder.record()
    for _ in range(7):
        ask(guard, issued)
    store.loses = True
    guard.engine.recorder.record()
    store.loses = False
    ask(guard, issued)
    guard.engine.recorder.record()
    assert used(guard, issued) == (9, 0)
    assert caplog.messages[-1] == "uses of keys are recorded again; lost meanwhile: 7"


def test_store_from_before_there_was_usage_works(of, store, caplog):
    """Everything else works, one line says what does not, and nothing is asked for again."""
    guard = of()
    issued = guard.issue(name="a key")
    store.old = True
    ask(guard, issued)
    assert guard.show(issued.id).usage is None
    assert guard.usage([issued.id]) == {}
    assert guard.list() == (issued.key,)
    with pytest.raises(InputError, match="unused_for"):
        guard.list(unused_for="1d")
    guard.engine.recorder.record()
    store.old = False
    for _ in range(3):
        assert ask(guard, issued).identity.key_id == issued.id
        ask(guard, issued, method="nonsense")
        guard.engine.recorder.record()
    assert used(guard, issued) == (0, 0)
    (line,) = (line for line in caplog.messages if "uses of keys" in line)
    assert line.startswith("uses of keys are not counted: this store does not keep how keys are")
    assert line.endswith("(NotImplementedError)")


def test_nothing_is_counted_where_nobody_wants_it(of, store):
    """``usage_every=0``: no thread, and nothing is written."""
    guard = of(background=True, usage_every=0)
    issued = guard.issue(name="a key")
    before = threads()
    for _ in range(3):
        ask(guard, issued)
    guard.disable(issued.id)
    ask(guard, issued)
    assert threads() == before
    guard.close()
    assert store.recorded == []


def test_numbers_in_memory_are_bounded(of, monkeypatch, caplog, store):
    """However many keys are used while the store is away: those kept longest are lost, and told."""
    monkeypatch.setattr(counting, "NOTED_MAX", 2)
    monkeypatch.setattr(counting, "KEYS_MAX", 3)
    guard = of()
    keys = [guard.issue(name="a key") for _ in range(8)]
    store.away = True
    for each in keys:
        ask(guard, each)
        ask(guard, each)
        assert len(guard.engine.counts._noted) < 4  # noqa: SLF001 - it must not grow
        assert len(guard.engine.counts._tallies) <= 3  # noqa: SLF001 - the same
    guard.engine.recorder.record()
    store.away = False
    guard.engine.recorder.record()
    recorded = [used(guard, each)[0] for each in keys]
    assert recorded[-3:] == [2, 2, 2]
    assert caplog.messages[-1].endswith(f"lost meanwhile: {16 - sum(recorded)}")


def test_request_goes_on_where_no_thread_can_be_had(of, monkeypatch):
    """It is no reason to refuse anybody; what is counted is recorded at the end."""

    def refuse(_thread):
        message = "can't start new thread"
        raise RuntimeError(message)

    guard = of(background=True, usage_every=0.01)
    issued = guard.issue(name="a key")
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        for _ in range(3):
            assert ask(guard, issued).identity.key_id == issued.id
    guard.close()
    assert used(guard, issued) == (3, 0)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_forked_child_counts_its_own_alone(tmp_path):
    """What the parent counted the parent records; both add up."""
    guard = Guard.from_settings(database=str(tmp_path / "keys.db"), usage_every=3_600)
    issued = guard.issue(name="a key")
    for _ in range(5):
        ask(guard, issued)
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            for _ in range(3):
                ask(guard, issued)
            guard.close()
            status = 0
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert used(guard, issued) == (3, 0)
    ask(guard, issued)
    guard.close()
    assert used(guard, issued) == (9, 0)
    guard.close()


def test_recording_changes_nothing(of, store):
    """What is stored of keys, and what other processes are told of it, is the same after it."""
    guard = of()
    issued = guard.issue(name="a key")
    ask(guard, issued)
    guard.revoke(issued.id)
    before = store.perform(Sync(0)), store.perform(ListNodes())
    guard.engine.recorder.record()
    assert used(guard, issued) == (1, 0)
    assert (store.perform(Sync(0)), store.perform(ListNodes())) == before
    assert ask(guard, issued).reason == "revoked"


def test_end_waits_for_a_store_no_longer_than_it_may(of, monkeypatch):
    """Whoever stops a server is not kept by a store that hangs."""
    monkeypatch.setattr("keybound.recording.LAST_WITHIN", 0.1)
    hangs = threading.Event()
    guard = of(background=True, usage_every=3_600)
    issued = guard.issue(name="a key")
    ask(guard, issued)
    take = guard.engine.counts.take

    def slow(since):
        hangs.wait(20)
        return take(since)

    monkeypatch.setattr(guard.engine.counts, "take", slow)
    begun = time.monotonic()
    guard.close()
    assert time.monotonic() - begun < 10
    hangs.set()
    wait_until(lambda: used(guard, issued) == (1, 0))
