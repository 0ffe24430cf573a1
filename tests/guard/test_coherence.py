"""Several guards on one store: a change made by one holds for all, in the promised time."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
import time

import pytest

from keybound import Guard, Limits, Reason, Settings
from keybound.clocks import SystemClock
from keybound.core.decision import Allowed, Denied
from keybound.core.errors import RecordCorruptError, StoreUnavailableError
from keybound.core.keys import ENTROPY_BYTES
from keybound.engine import Engine
from keybound.sparing import PAUSE
from keybound.stores.memory import MemoryStore
from keybound.testing import FakeClock


class FailingStore(MemoryStore):
    """A store in memory that can be cut off; what it answers is the real store's answer."""

    def __init__(self):
        """Start reachable."""
        super().__init__()
        self.error = None
        self.asked = 0

    def perform(self, effect):
        """Fail if cut off, else answer."""
        self.asked += 1
        if self.error is not None:
            raise self.error
        return super().perform(effect)


@pytest.fixture
def store():
    """Return a store that can be cut off."""
    return FailingStore()


@pytest.fixture
def clock():
    """Return a clock that is told the time."""
    return FakeClock()


@pytest.fixture
def make(store, clock):
    """Return a function that makes guards on the one store, under the one clock."""
    return lambda **settings: Guard(
        Engine(Settings(database="memory://", **settings), store, clock, background=False)
    )


def ask(guard, issued):
    """Return the decision on a request with an issued key."""
    return guard.authorize("GET", "/", None, b"Bearer " + issued.secret.reveal().encode())


def test_two_processes_see_each_others_changes_within_sync_every(tmp_path):
    """A key revoked by another process on the same file is refused here within ``sync_every``."""
    database = str(tmp_path / "keys.db")
    guard = Guard.from_settings(database=database, sync_every=0.5)
    issued = guard.issue(name="CI")
    assert isinstance(ask(guard, issued), Allowed)
    script = "Guard.from_settings(database=sys.argv[1]).revoke(sys.argv[2])"
    command = [sys.executable, "-c", f"import sys; from keybound import Guard; {script}"]
    subprocess.run([*command, database, issued.id], check=True, timeout=60)
    done = time.monotonic()
    while isinstance(ask(guard, issued), Allowed):
        assert time.monotonic() - done < 1.0, "not seen within sync_every"
        time.sleep(0.01)
    guard.close()


def test_a_warm_key_is_decided_without_asking_the_store(make, store):
    """Once known, a key costs no question to the store, whatever it asks for."""
    guard = make()
    issued = guard.issue(name="CI")
    ask(guard, issued)
    asked = store.asked
    for path in ("/", "/a", "/b", "/"):
        guard.authorize("GET", path, "10.0.0.1", b"Bearer " + issued.secret.reveal().encode())
    assert store.asked == asked


def test_a_guard_that_is_cut_off_serves_until_the_bound_and_then_answers_503(make, store, clock):
    """Known keys live for ``revoke_within`` without the store, never longer, and then it is 503."""
    guard = make(revoke_within=5)
    issued = guard.issue(name="CI")
    assert isinstance(ask(guard, issued), Allowed)
    store.error = StoreUnavailableError("cut off")
    clock.advance(seconds=4.9)
    assert isinstance(ask(guard, issued), Allowed)
    clock.advance(seconds=0.2)
    assert ask(guard, issued).reason is Reason.STORE_UNAVAILABLE
    store.error = None
    clock.advance(seconds=PAUSE)
    assert isinstance(ask(guard, issued), Allowed)


def test_a_revocation_elsewhere_is_never_missed_past_the_bound(make, clock):
    """Without any background sync, the first request after the bound finds the revocation."""
    here, there = make(), make()
    issued = there.issue(name="CI")
    assert isinstance(ask(here, issued), Allowed)
    there.revoke(issued.id)
    clock.advance(seconds=5.1)
    assert ask(here, issued).reason is Reason.REVOKED


@pytest.mark.parametrize("clock_jumped", ["boot", "wall"])
def test_a_jump_of_either_clock_ends_the_lease(make, store, clock, clock_jumped):
    """A suspended machine and a corrected clock both make a guard ask again."""
    guard = make()
    issued = guard.issue(name="CI")
    ask(guard, issued)
    store.error = StoreUnavailableError("cut off")
    setattr(clock, f"_{clock_jumped}", getattr(clock, f"_{clock_jumped}") + 60)
    assert ask(guard, issued).reason is Reason.STORE_UNAVAILABLE


def test_a_grace_for_outages_extends_the_bound_and_is_part_of_it(make, store, clock):
    """With ``stale_grace``, known keys are served longer, and receipts say so."""
    guard = make(stale_grace=60)
    issued = guard.issue(name="CI")
    ask(guard, issued)
    receipt = guard.update(issued.id, name="new")
    assert receipt.effective_by.timestamp() == pytest.approx(clock.wall() + 65)
    ask(guard, issued)
    store.error = StoreUnavailableError("cut off")
    clock.advance(seconds=30)
    assert isinstance(ask(guard, issued), Allowed)
    clock.advance(seconds=40)
    assert ask(guard, issued).reason is Reason.STORE_UNAVAILABLE


def test_a_flood_of_strangers_ends_at_the_process(make, store, clock, caplog):
    """Beyond ``unknown_keys_max`` a second the store is not asked; whoever is known is served."""
    guard = make(unknown_keys_max=10)
    issued, late = guard.issue(name="CI"), guard.issue(name="late")
    ask(guard, issued)

    def stranger(number):
        key = guard.engine.format.generate(bytes([number]) * ENTROPY_BYTES)
        return guard.authorize("GET", "/", None, b"Bearer " + key.reveal().encode())

    asked = store.asked
    reasons = [stranger(number).reason for number in range(30)]
    assert reasons == [Reason.UNKNOWN_KEY] * 10 + [Reason.STORE_UNAVAILABLE] * 20
    assert guard.authorize("GET", "/", None, b"Bearer rubbish").reason is not None
    assert store.asked == asked + 10
    assert stranger(0).reason is Reason.UNKNOWN_KEY
    assert isinstance(ask(guard, issued), Allowed)
    refused = ask(guard, late)  # nobody can tell it from a stranger
    assert dict(guard.refuse(refused).headers)["retry-after"] == "1"
    assert guard.refuse(refused).status == 503
    assert store.asked == asked + 10
    assert caplog.text.count("unknown_keys_max") == 1
    guard.engine.use_routes([])  # which forgets who is known, not what was asked
    assert stranger(40).reason is Reason.STORE_UNAVAILABLE
    clock.advance(seconds=1)
    assert isinstance(ask(guard, late), Allowed)
    assert stranger(40).reason is Reason.UNKNOWN_KEY


def test_strangers_of_one_process_cost_another_nothing(make):
    """Each has its own budget; and without a limit there is none."""
    one, other = make(unknown_keys_max=1), make(unknown_keys_max=0)
    keys = [one.engine.format.generate(bytes([n]) * ENTROPY_BYTES) for n in range(50)]
    raws = [b"Bearer " + key.reveal().encode() for key in keys]
    assert one.authorize("GET", "/", None, raws[0]).reason is Reason.UNKNOWN_KEY
    assert one.authorize("GET", "/", None, raws[1]).reason is Reason.STORE_UNAVAILABLE
    for raw in raws:
        assert other.authorize("GET", "/", None, raw).reason is Reason.UNKNOWN_KEY


def test_an_unknown_key_is_remembered_and_known_as_soon_as_it_is_issued(make, store):
    """A flood with one unknown key asks the store once; issuing that key ends the memory."""
    guard, other = make(), make()
    key = other.engine.format.generate(bytes(range(32)))
    raw = b"Bearer " + key.reveal().encode()
    assert guard.authorize("GET", "/", None, raw).reason is Reason.UNKNOWN_KEY
    asked = store.asked
    for _ in range(10):
        assert guard.authorize("GET", "/", None, raw).reason is Reason.UNKNOWN_KEY
    assert store.asked == asked


def test_what_is_no_key_never_reaches_the_store(make, store):
    """Garbage costs no I/O: form, prefix, length and checksum are checked first."""
    guard = make()
    guard.open()
    asked = store.asked
    for garbage in (b"Bearer x", b"Bearer kb_live_" + b"a" * 38, b"Basic abc", b"", b"\xff" * 9):
        assert isinstance(guard.authorize("GET", "/", None, garbage), Denied)
    assert store.asked == asked


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (StoreUnavailableError, Reason.STORE_UNAVAILABLE),
        (RecordCorruptError, Reason.RECORD_CORRUPT),
        (ZeroDivisionError, Reason.STORE_UNAVAILABLE),
        (OSError, Reason.STORE_UNAVAILABLE),
    ],
)
def test_whatever_fails_is_a_503_and_never_an_allow(make, store, error, reason, caplog):
    """Any failure of the store, foreseen or not, denies, and is told to the operator."""
    guard = make()
    issued = guard.issue(name="CI")
    store.error = error("what is wrong")
    denied = ask(guard, issued)
    assert denied.reason is reason
    assert guard.refuse(denied).status == 503
    assert "cannot decide" in caplog.text


def test_operator_is_told_once_a_minute_of_what_fails_every_request(make, store, clock, caplog):
    """Clients choose how many requests there are, and do not fill a disk with them."""
    guard = make()
    issued = guard.issue(name="CI")
    store.error = StoreUnavailableError("down")
    for passed, told in ((0, 1), (59, 1), (2, 2), (29, 2)):
        clock.advance(seconds=passed)
        for _ in range(3):
            assert isinstance(ask(guard, issued), Denied)
        assert caplog.text.count("cannot decide: down") == told
    store.error = RecordCorruptError("torn")
    clock.advance(seconds=PAUSE)
    assert isinstance(ask(guard, issued), Denied)
    assert "cannot decide: torn" in caplog.text
    caplog.clear()
    for number in range(200):
        store.error = StoreUnavailableError(f"down at {number}")
        assert isinstance(ask(guard, issued), Denied)
    assert caplog.text.count("cannot decide") < 100


def test_threads_agree_and_a_revocation_holds_for_all_of_them():
    """Eight threads on one guard see a key live and then dead, and never alive again."""
    guard = Guard(Engine(Settings(database="memory://"), MemoryStore(), SystemClock()))
    issued = guard.issue(name="CI", limits=Limits(methods=["GET"]))
    revoked, wrong = threading.Event(), []

    def requests():
        dead = False
        for _ in range(2_000):
            was_revoked = revoked.is_set()
            allowed = isinstance(ask(guard, issued), Allowed)
            if allowed and (dead or was_revoked):
                wrong.append("accepted after it was refused")
            dead = dead or not allowed

    threads = [threading.Thread(target=requests) for _ in range(8)]
    for thread in threads:
        thread.start()
    guard.revoke(issued.id)
    revoked.set()
    for thread in threads:
        thread.join()
    assert wrong == []
    guard.close()


def test_a_guard_that_nobody_uses_any_more_takes_its_thread_along(tmp_path):
    """The background sync holds no guard alive."""
    guard = Guard.from_settings(database=str(tmp_path / "keys.db"), sync_every=0.05)
    guard.issue(name="CI")
    thread = next(t for t in threading.enumerate() if t.name == "keybound-sync")
    guard.engine.store.close()
    del guard
    gc.collect()
    thread.join(timeout=5)
    assert not thread.is_alive()


def test_both_guards_of_a_process_share_one_cache(make, store):
    """A key that the blocking guard knows is known to the awaiting one, and a change to both."""
    import asyncio

    guard = make()
    issued = guard.issue(name="CI")
    ask(guard, issued)
    asked = store.asked
    twin = guard.to_async()
    raw = b"Bearer " + issued.secret.reveal().encode()
    assert isinstance(twin.decide("GET", "/", None, raw), Allowed)
    assert store.asked == asked
    asyncio.run(twin.revoke(issued.id))
    assert ask(guard, issued).reason is Reason.REVOKED
    assert twin.to_sync().engine is guard.engine
