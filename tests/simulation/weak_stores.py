"""Stores that break what the protocol asks of a store, each in one way."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from keybound.core.effects import Change, LoadByDigest, Loaded, Sync, SyncAnswer
from tests.simulation.store import SimulatedStore

if TYPE_CHECKING:
    from keybound.core.effects import Effect


class HalfPrunedStore(SimulatedStore):
    """Prunes its log by rows."""

    def perform(self, effect: Effect[Any]) -> Any:
        """Keep the newest rows of the log, whatever revision they belong to."""
        answer = super().perform(effect)
        del self._changes[:-3]
        return answer


class ReplicatedStore(SimulatedStore):
    """Answers syncs from a replica."""

    def perform(self, effect: Effect[Any]) -> Any:
        """Answer syncs from a replica that lags by one revision."""
        answer = super().perform(effect)
        if isinstance(effect, Sync) and effect.since < answer.head.rev - 1:
            rev = answer.head.rev - 1
            changes = tuple(Change(*each) for each in answer.changes if each[0] <= rev)
            tags = {each: tag for each, tag in answer.tags.items() if each <= rev}
            head = answer.head._replace(rev=rev, tag=tags.get(rev, b""))
            return SyncAnswer(head=head, changes=changes, tags=tags)
        return answer


class TwoStatementStore(SimulatedStore):
    """Reads a row and its revision in two snapshots."""

    _before: Loaded | None = None

    def perform(self, effect: Effect[Any]) -> Any:
        """Answer a load with the rows of an earlier one of the same key, and the head of now."""
        answer = super().perform(effect)
        if isinstance(effect, LoadByDigest):
            before, self._before = self._before, answer
            if before is not None and before.key == answer.key:
                return Loaded(head=answer.head, key=before.key, rows=before.rows)
        return answer
