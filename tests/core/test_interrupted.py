"""A thread that is interrupted anywhere, as by a signal, leaves nothing to rely on."""

from __future__ import annotations

import sys
from itertools import count
from linecache import getline

import pytest

from keybound.caches import local, packed
from keybound.caches.local import LocalCache
from keybound.core import fence
from keybound.core.fence import Applied
from tests.core.test_local_cache import BOUND, START, holds, keep, sync, tag

WATCHED = {each.__file__ for each in (local, packed, fence)}


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
