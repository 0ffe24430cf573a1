"""Stores that break what the protocol asks of a store, each in one way."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from keybound.core.effects import Change, Commit, LoadByDigest, Loaded, Sync, SyncAnswer
from keybound.core.errors import ConflictError
from tests.simulation.store import SimulatedStore

if TYPE_CHECKING:
    from keybound.core.effects import Effect
    from tests.simulation.store import Backup


class HalfPrunedStore(SimulatedStore):
    """Prunes its log by rows."""

    def perform(self, effect: Effect[Any]) -> Any:
        """Keep the newest rows of the log, whatever revision they belong to."""
        answer = super().perform(effect)
        del self._changes[:-3]
        return answer


class SequencedStore(SimulatedStore):
    """Takes revisions from a sequence: every other commit gets one below what is there already.

    So it is with transactions that take a number each and commit in another order.
    """

    _skipped: int | None = None

    def perform(self, effect: Effect[Any]) -> Any:
        """Commit at the next revision but one, and then at the one that was left out."""
        top = self._head
        if not isinstance(effect, Commit) or top is None:
            return super().perform(effect)
        skipped = self._skipped
        self._head = top._replace(rev=top.rev + 1 if skipped is None else skipped - 1)
        try:
            made = super().perform(effect)
        except ConflictError:
            self._head = top
            raise
        if skipped is None:
            self._skipped = made.rev - 1
        else:
            self._head, self._skipped = top, None
            self._changes.sort(key=lambda change: change.rev)
            self._tags = dict(sorted(self._tags.items()))
        return made

    def restore(self, backup: Backup) -> None:
        """Lose what was left out as well."""
        super().restore(backup)
        self._skipped = None


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
