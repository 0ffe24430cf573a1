"""How keys are used: handed over to the store in batches, and read from it.

None of it is part of a record or of a decision. Each number is handed over at most once: where
nobody can tell whether it was recorded, it counts as lost.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol, cast

from keybound.core.effects import (
    EVERYTHING,
    USAGE_ROWS_MAX,
    ReadClock,
    ReadUsage,
    RecordUsage,
    UsageRow,
    ask,
)
from keybound.core.errors import InputError, KeyboundError, UnsureError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from keybound.core.effects import Effect, ListNodes, Row, Steps
    from keybound.core.nodes import StoredNode

PAGE = USAGE_ROWS_MAX - 1
"""Keys that are asked about at once: one more row says since when all of them are counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What is recorded of a key: requests that it let in and that it was refused, moments in UTC.

    ``counted_since`` is when this store began to count, ``None`` where it has not yet.
    """

    uses: int = 0
    refusals: int = 0
    last_used_at: datetime | None = None
    last_refused_at: datetime | None = None
    counted_since: datetime | None = None


class Counted(Protocol):
    """What a worker counted and has not handed over; each call is atomic for threads."""

    begun: bool
    """Whether it was told to the store that counting has begun."""

    def take(self, since: float) -> list[UsageRow]:
        """Return all of it, in order of ids, and keep none."""
        ...

    def give_back(self, rows: Sequence[UsageRow]) -> None:
        """Keep what was taken and not recorded."""
        ...

    def lose(self, rows: Sequence[UsageRow]) -> None:
        """Take note that nobody can tell whether these were recorded."""
        ...


class UncountedError(KeyboundError):
    """The store keeps no usage: it is of a time before there was any."""


def hand_over(counted: Counted) -> Steps[None]:
    """Record what was counted, in as many transactions as it takes.

    Raises ``StoreError``, having kept all that was surely not recorded, and ``UncountedError``.
    """
    now = (yield from ask(ReadClock())).wall
    rows = counted.take(now)
    done = 0
    try:
        if rows and not counted.begun:
            yield from _record((UsageRow(EVERYTHING, now),))
            counted.begun = True
        while done < len(rows):
            batch = tuple(rows[done : done + USAGE_ROWS_MAX])
            done += len(batch)  # whoever interrupts this leaves it open what became of them
            try:
                yield from _record(batch)
            except UnsureError:
                counted.lose(batch)
                raise
            except KeyboundError:
                done -= len(batch)
                raise
    finally:
        counted.give_back(rows[done:])


def _record(rows: tuple[UsageRow, ...]) -> Steps[None]:
    if (yield from _known(RecordUsage(rows))) != len(rows):
        raise _uncounted()


def read_usage(keys: Sequence[str]) -> Steps[dict[str, Usage]]:
    """Return the usage of each of the keys. Raises ``StoreError`` and ``UncountedError``."""
    found: dict[str, Usage] = {}
    for start in range(0, len(keys), PAGE):
        part = keys[start : start + PAGE]
        answer = yield from _known(ReadUsage((EVERYTHING, *part)))
        if not isinstance(answer, dict):
            raise _uncounted()
        rows = cast("dict[str, UsageRow]", answer)
        whole = rows.get(EVERYTHING)
        since = None if whole is None else whole.since
        found |= {key: _usage(rows.get(key), since) for key in part}
    return found


def list_unused(effect: ListNodes, unused_for: float) -> Steps[tuple[Row, ...]]:
    """Return the keys among those asked for that nobody used for so many seconds.

    Revoked ones are none of them. Since when a key is unused is when it was last used, or else
    when it or the counting began. Raises ``InputError`` where the store keeps no usage.
    """
    before = (yield from ask(ReadClock())).wall - unused_for
    found: list[Row] = []
    after = effect.after
    while True:
        rows = yield from ask(replace(effect, after=after, limit=PAGE))
        try:
            usage = yield from read_usage([row.node.id for row in rows])
        except UncountedError as error:
            raise InputError("unused_for", str(error), fix="leave it out") from None
        for row in rows:
            since = unused_since(row.node, usage[row.node.id])
            if row.node.revoked_at is None and since is not None and since.timestamp() <= before:
                found.append(row)
        if len(rows) < PAGE or len(found) >= effect.limit:
            return tuple(found[: effect.limit])
        after = rows[-1].node.id


def unused_since(node: StoredNode, usage: Usage) -> datetime | None:
    """Return from when on a key is known not to have been used, if anything is known of that."""
    if usage.last_used_at is not None or usage.counted_since is None:
        return usage.last_used_at
    return max(node.created_at, usage.counted_since)


def _known(effect: Effect[Any]) -> Steps[object]:
    """Ask a store that may be of a time before these effects: it may raise or answer anything."""
    try:
        return (yield from ask(effect))
    except KeyboundError:
        raise
    except Exception as error:
        raise _uncounted() from error


def _uncounted() -> UncountedError:
    return UncountedError("this store does not keep how keys are used")


def _usage(row: UsageRow | None, since: float | None) -> Usage:
    counted_since = _moment(since)
    if row is None:
        return Usage(counted_since=counted_since)
    return Usage(
        uses=row.uses,
        refusals=row.refusals,
        last_used_at=_moment(row.used_at),
        last_refused_at=_moment(row.refused_at),
        counted_since=counted_since,
    )


def _moment(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
