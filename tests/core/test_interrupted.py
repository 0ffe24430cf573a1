"""A thread that is interrupted anywhere, as by a signal, leaves nothing to rely on."""

from __future__ import annotations

import random
import signal
import sys
import time
from contextlib import suppress
from itertools import count
from linecache import getline

import pytest

from keybound.caches import local, packed, shelf
from keybound.caches.local import LocalCache
from keybound.caches.packed import PackedKeys
from keybound.core import fence
from keybound.core.chain import Chain
from keybound.core.fence import Applied
from keybound.core.limits import Limits
from keybound.testing.records import a_key
from tests.core.test_local_cache import (
    BOUND,
    POLICY,
    START,
    fill,
    holds,
    keep,
    keep_below,
    miss,
    moment,
    sync,
    tag,
)

WATCHED = {each.__file__ for each in (local, packed, shelf, fence)}


class Interrupted(BaseException):
    """What a handler raises."""


def interrupted(work, *, at, watched=WATCHED):
    """Do some work until the beginning of its line number ``at``; return whether it has one."""
    left = iter(range(at))

    def on_call(frame, _event, _argument):
        return _Lines(left).trace if frame.f_code.co_filename in watched else None

    before = sys.gettrace()
    sys.settrace(on_call)
    try:
        work()
    except Interrupted:
        return True
    finally:
        sys.settrace(before)
    return False


class _Lines:
    """Interrupts a frame at the first line for which nothing is left.

    Not where it jumps back to the line that it is on: from Python 3.12 on, what a tracer raises
    there passes by every handler of the frame, those of ``with`` among them, so that locks stay
    taken (python/cpython#152375). What a signal's handler raises is handled there as anywhere.
    """

    def __init__(self, left):
        self._left = left
        self._line = None

    def trace(self, frame, event, _argument):
        """Take in an event of the frame."""
        if event == "line":
            line, self._line = self._line, frame.f_lineno
            new = line != frame.f_lineno and not _is_with(frame)
            if new and next(self._left, None) is None:
                raise Interrupted
        return self.trace


def _is_with(frame):
    """Return whether a lock is taken or let go here: what signals do, too, comes after that."""
    return getline(frame.f_code.co_filename, frame.f_lineno).lstrip().startswith("with ")


def catch_up(cache, rev, *nodes, at):
    """Sync as a worker does, until there is nothing more to take in."""
    for _ in range(3):
        if sync(cache, rev, *nodes, at=at) is Applied.DONE:
            return
    pytest.fail("it never catches up")


def changed(cache):
    """Take in a sync that says that the key changed."""
    sync(cache, 2, "k", at=1.0)


def everything_changed(cache):
    """Take in one that says so of everything."""
    sync(cache, 2, "*", at=1.0)


def changed_here(cache):
    """Change it here."""
    cache.raise_floors(["k"], tag(2))


def kept_again(cache):
    """Read it once more, of a revision that does not count any more in a moment."""
    keep(cache, "k")


@pytest.mark.parametrize("work", [changed, everything_changed, changed_here, kept_again])
def test_a_revoked_key_ends_whoever_was_interrupted_at_whatever(work):
    """The next sync ends it, though the one before got no further than any one line."""
    for line in count():
        cache = LocalCache(bound=BOUND)
        sync(cache, 1, "first")
        entry = keep(cache, "k")
        stopped = interrupted(lambda cache=cache: work(cache), at=line)
        if cache.leased_for(START.boot, START.wall) > BOUND:  # it got as far as that
            assert not entry.alive
        catch_up(cache, 2, "*" if work is everything_changed else "k", at=2.0)
        found = cache.entries.get(b"k")
        assert not holds(cache, entry, 2.5), line
        assert found is None or not holds(cache, found, 2.5), line
        assert keep(cache, "k", rev=2, at=2.0) is cache.entries[b"k"]
        catch_up(cache, 3, "k", at=3.0)
        assert b"k" not in cache.entries
        if not stopped:
            break
    assert line > 5


def interrupted_at_every_line(make, work):
    """Yield a cache for each line at which work on it is interrupted, and one where it is not."""
    for line in count():
        cache = make()
        stopped = interrupted(lambda cache=cache: work(cache), at=line)
        yield cache
        if not stopped:
            break
    assert line > 5


def outdated():
    """Return a cache in which a key is packed that was changed since."""
    cache = LocalCache(bound=BOUND, size_max=10, compiled_max=2)
    sync(cache, 1, "first")
    keep(cache, "k")
    fill(cache)
    sync(cache, 2, "k", at=1.0)
    assert b"k" in cache._shelf  # noqa: SLF001 - nothing else shows it
    return cache


def another_epoch(cache):
    """Take in a sync from another epoch."""
    sync(cache, 2, at=2.0, epoch=b"other")


def went_back(cache):
    """Write to a store that forgot what this worker has seen."""
    cache.raise_floors(["x"], tag(1)._replace(tag=b"lost"))


@pytest.mark.parametrize("forget", [another_epoch, went_back])
def test_floors_that_are_half_forgotten_are_not_passed(forget):
    """Neither by what is packed yet, nor by what a shared cache has."""
    for cache in interrupted_at_every_line(outdated, forget):
        assert cache.find(b"k") is None
        chain = Chain(a_key("k"), {}, POLICY)
        assert not cache.admit(b"k", chain, heads={"k": tag(1)}, proof=None)


def test_a_sync_that_was_interrupted_is_not_what_a_grace_lasts_from():
    """What it was about to end may be alive."""
    entries = []

    def make():
        cache = LocalCache(bound=BOUND, grace=10.0)
        sync(cache, 1, "first")
        entries.append(keep(cache, "k"))
        return cache

    for cache in interrupted_at_every_line(make, lambda cache: sync(cache, 2, "k", at=4.0)):
        cache.extend()
        assert not holds(cache, entries.pop(), BOUND + 10.5)


def test_what_is_half_kept_is_in_nobodys_way():
    """A sync that ends it goes on, and ends the rest."""

    def make():
        cache = LocalCache(bound=BOUND, size_max=10, compiled_max=2)
        sync(cache, 1, "first")
        return cache

    for cache in interrupted_at_every_line(make, lambda cache: keep_below(cache, "k", "group")):
        other = keep(cache, "m")
        assert sync(cache, 2, "k", "m", at=1.0) is Applied.DONE
        assert not other.alive
        assert b"k" not in cache.entries


def test_what_is_half_ended_is_in_nobodys_way(monkeypatch):
    """Room is made by going past it."""
    monkeypatch.setattr(local, "ABSENT_MAX", 3)

    def make():
        cache = LocalCache(bound=BOUND, size_max=10, compiled_max=2)
        sync(cache, 1, "first")
        keep(cache, "k")
        miss(cache, "n")
        return cache

    for cache in interrupted_at_every_line(make, lambda cache: sync(cache, 2, "k", "d:n", at=1.0)):
        catch_up(cache, 2, "k", "d:n", at=1.0)
        for name in ("a", "b", "c", "d"):
            keep(cache, name, rev=2)
            heads = {f"d:{name}": tag(2)}
            assert cache.admit(name.encode() * 2, None, heads=heads, proof=moment(1.0))
        assert len(cache.absent) == 3
        assert len(cache.entries) == 2


def test_whoever_is_interrupted_leaves_no_number_of_something_else():
    """Limits and terms are packed as numbers: no two of them ever come to have the same."""
    reads = Limits(methods=["GET"])
    limits = {"a": reads, "b": Limits(tenants=[]), "c": reads}
    chains = {name: Chain(a_key(name, limits=each), {}, POLICY) for name, each in limits.items()}

    def put(keys, name):
        chain = chains[name]
        keys.put(name.encode(), 1, chain.key, terms=chain.terms)

    for line in count():
        keys = PackedKeys(10)
        done = not interrupted(lambda keys=keys: put(keys, "a"), at=line)
        for name in "bc":
            put(keys, name)
        for name in "bc":
            assert keys.get(name.encode()).key.limits == limits[name]
            assert keys.peek(name.encode()).terms is chains[name].terms
        if done:
            break
    assert line > 20


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="this system has no such timers")
def test_a_signal_leaves_no_lock_taken():
    """Its handler may raise between any two steps of a search."""
    cache = LocalCache(bound=BOUND, size_max=10, compiled_max=2)
    sync(cache, 1, "first")
    names = [b"%d" % number for number in range(8)]
    for name in names:
        keep(cache, name.decode())
    random.seed(1)

    def search():
        # What is raised while something else is let go is lost: such a search ends by itself.
        ends = time.monotonic() + 0.01
        while time.monotonic() < ends:
            for name in names:
                cache.find(name)

    def interrupt(*_):
        raise Interrupted

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        for _ in range(8_000):
            with suppress(Interrupted):
                signal.setitimer(signal.ITIMER_REAL, random.uniform(2e-5, 1e-4))
                search()
                signal.setitimer(signal.ITIMER_REAL, 0)
            assert not cache._lock.locked()  # noqa: SLF001 - whoever syncs would wait for ever
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
