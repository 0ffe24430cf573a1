"""What stands between requests and a store that does not answer: they are refused at once.

It only ever refuses. Without it each key that is not in memory would wait for as long as the store
may take, and all of them together would keep whoever finds out that it answers again from asking.
Changes are never refused here: who revokes a key wants it tried.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from keybound.breaker import Breaker
from keybound.clocks import jitter
from keybound.core.effects import LoadByDigest, OpenStore, Sync
from keybound.core.errors import StoreBusyError, StoreError, StoreUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from keybound.core.effects import Effect
    from keybound.drivers import Perform

T = TypeVar("T")

SPARED: frozenset[type[Effect[Any]]] = frozenset({LoadByDigest, OpenStore, Sync})
"""What requests ask of a store, and what tells whether it answers. A change does not: that may
wait for the change of another, which is no fault of the store."""

PAUSE = 1.0
"""Seconds, less some by chance, until a request tries again where nothing else does."""

TRIED_WITHIN = 10.0
"""Seconds after which whoever tries is not waited for any more. A store answers or fails sooner."""


class Prober(Protocol):
    """What asks the store again and again by itself, as ``Syncer`` does."""

    interval: float

    @property
    def runs(self) -> bool:
        """Whether it does so in this process by now."""
        ...

    def wake(self) -> None:
        """Let it ask at once."""
        ...


class Sparing:
    """Whether a store answers, and who may ask it meanwhile; safe for threads.

    One failure to answer is enough, unless something that was asked later was answered. From then
    on nobody asks for a request until an answer came, to whoever probes. That is the background's
    sync; without it, and if nothing is heard of that for long, one request at a time.
    """

    def __init__(self, now: Callable[[], float], prober: Prober | None) -> None:
        """Take the store for one that answers; ``now`` is seconds that never go back."""
        self._now = now
        self._prober = prober
        self._breaker = Breaker()
        self._answered = float("-inf")
        self._why = ""

    @contextmanager
    def turn(self) -> Generator[bool]:
        """Let a request ask in this block, and say whether it is the one that finds out.

        Raises ``StoreUnavailableError`` at once where the store does not answer.
        """
        tries = self._breaker.open
        if tries and not self._breaker.admits(self._now(), within=TRIED_WITHIN):
            raise self._refusal()
        try:
            yield tries
        finally:
            if tries:  # whatever became of that, also when it was interrupted
                self._breaker.wait(self._now(), self._rest())

    def ask(self, effect: Effect[T], perform: Perform, *, tries: bool) -> T:
        """Answer one effect of ``SPARED``, and note whether the store did.

        Unless it ``tries``, it is refused when the store has failed since its turn began.
        """
        if self._breaker.open and not tries:
            raise self._refusal()
        begun = self._now()
        try:
            answer: T = perform(effect)
        except StoreBusyError:  # that is about this process
            raise
        except StoreUnavailableError as error:
            self._failed(begun, error)
            raise
        except StoreError:  # it answered, though nothing good
            self._worked(begun)
            raise
        self._worked(begun)
        return answer

    def _failed(self, begun: float, error: StoreUnavailableError) -> None:
        if begun < self._answered:
            return
        self._why = str(error)
        if self._breaker.fail(self._now(), rest=self._rest()) and self._prober is not None:
            self._prober.wake()

    def _worked(self, begun: float) -> None:
        self._answered = max(self._answered, begun)
        self._breaker.work()

    def _rest(self) -> float:
        if self._prober is not None and self._prober.runs:  # then a request need not wait for it
            return self._prober.interval + TRIED_WITHIN
        return PAUSE * jitter(0.5)

    def _refusal(self) -> StoreUnavailableError:
        # In the same words, so that the operator is told once.
        return StoreUnavailableError(self._why)
