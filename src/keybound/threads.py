"""Threads of our own. A system may have none left for us, which is no reason to refuse anybody.

None is begun under a lock. Under gevent to begin one lets other greenlets run, and who of them then
waits for a lock of another kind, made before gevent came, keeps all of them waiting, for ever.
"""

from __future__ import annotations

import threading
from threading import Thread
from typing import TYPE_CHECKING, TypeVarTuple

if TYPE_CHECKING:
    from collections.abc import Callable

Ts = TypeVarTuple("Ts")


def begin(work: Callable[[*Ts], object], *arguments: *Ts, name: str) -> Thread | None:
    """Do this in a thread that no process waits for at its end, and return that.

    ``None`` if there is none to be had, as under a limit of the system's: whoever wants it does
    without for now, and tries again at the next occasion.
    """
    thread = Thread(target=work, args=arguments, name=name, daemon=True)
    return thread if _starts(thread) else None


class Signal:
    """What a thread is told. It is made with the thread, since locks are made for its kind."""

    def __init__(self) -> None:
        """Tell nothing yet."""
        self.stop = threading.Event()
        self.wake = threading.Event()


class OneThread:
    """At most one thread that does some work, from ``start`` until ``stop``.

    It belongs to the process that started it: a forked child makes its own. Where no thread can be
    had, the next ``start`` tries again.
    """

    def __init__(self, *, name: str) -> None:
        """Start nothing yet."""
        self._name = name
        self._thread: Thread | None = None
        self._signal = Signal()
        self._lock = threading.RLock()  # a signal's handler may stop what is being started

    @property
    def runs(self) -> bool:
        """Whether this process has the thread, or is about to."""
        thread = self._thread
        return thread is not None and (thread.is_alive() or thread.ident is None)

    def start(self, work: Callable[[Signal, *Ts], object], *arguments: *Ts) -> bool:
        """Do this in the thread, which gets a new signal first; return whether it is begun here."""
        signal = Signal()
        thread = Thread(target=work, args=(signal, *arguments), name=self._name, daemon=True)
        with self._lock:
            if self.runs:
                return False
            self._thread, self._signal = thread, signal
        try:
            return _starts(thread)
        finally:
            if thread.ident is None:  # or it would always be taken for one that is about to run
                self._forget(thread)

    def stop(self) -> Thread | None:
        """Let the thread end, and return it, if it runs; it may be started again."""
        with self._lock:
            thread, self._thread = self._thread, None
            self._signal.stop.set()
            self._signal.wake.set()
        return thread if thread is not None and thread.is_alive() else None

    def wake(self) -> None:
        """Tell it to hurry."""
        self._signal.wake.set()

    def _forget(self, thread: Thread) -> None:
        with self._lock:
            if self._thread is thread:
                self._thread = None


def _starts(thread: Thread) -> bool:
    try:
        thread.start()
    except RuntimeError:
        return False
    return True
