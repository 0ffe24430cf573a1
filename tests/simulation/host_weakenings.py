"""Every way to neglect what hosts commit without a revision."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from keybound.core import lifecycle
from keybound.core.effects import LoadByDigest, Stamp, Sync, SyncAnswer, ask
from tests.simulation.store import SimulatedStore

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest

    from keybound.core.effects import Effect, LogHead, Steps

    HostWeakening = Callable[[pytest.MonkeyPatch], type[SimulatedStore]]


class _Unnoticed(SimulatedStore):
    """Says of nothing that it has no revision."""

    def perform(self, effect: Effect[Any]) -> Any:
        """Answer as if every change had one."""
        answer = super().perform(effect)
        if isinstance(effect, Sync | LoadByDigest):
            return replace(answer, unstamped=False)
        return answer


class _UnnoticedByLoads(SimulatedStore):
    """Says so to syncs alone."""

    def perform(self, effect: Effect[Any]) -> Any:
        """Answer loads as if every change had a revision."""
        answer = super().perform(effect)
        return replace(answer, unstamped=False) if isinstance(effect, LoadByDigest) else answer


class _ReadOnce(SimulatedStore):
    """Gives the sync after a stamp what the one before it was given."""

    _before: SyncAnswer | None = None

    def perform(self, effect: Effect[Any]) -> Any:
        """Answer a sync that found something without a revision twice the same."""
        before = self._before
        if isinstance(effect, Sync) and before is not None:
            self._before = None
            return replace(before, unstamped=False)
        answer = super().perform(effect)
        if isinstance(effect, Sync) and answer.unstamped:
            self._before = answer
        return answer


def no_stamping(_patch: pytest.MonkeyPatch) -> type[SimulatedStore]:
    """Nobody but the host itself stamps what it committed."""
    return _Unnoticed


def loads_do_not_stamp(_patch: pytest.MonkeyPatch) -> type[SimulatedStore]:
    """What is loaded counts as of a revision that it has not."""
    return _UnnoticedByLoads


def stamped_but_not_read_again(_patch: pytest.MonkeyPatch) -> type[SimulatedStore]:
    """A sync stamps what it found, and then takes in what it was answered before."""
    return _ReadOnce


def host_changes_unfenced(patch: pytest.MonkeyPatch) -> type[SimulatedStore]:
    """Where the host runs, its own changes are learnt of from the next sync."""

    def stamped() -> Steps[LogHead]:
        return (yield from ask(Stamp(bytes(16))))

    patch.setattr(lifecycle, "settle", lambda _site, _names: stamped())
    return SimulatedStore


HOST_WEAKENINGS: tuple[HostWeakening, ...] = (
    no_stamping,
    loads_do_not_stamp,
    stamped_but_not_read_again,
    host_changes_unfenced,
)
