"""In which hours of the week a key may be used, by the wall clock of a zone."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from math import floor
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from keybound.core.limits.clause import EVERY, Clause, entries
from keybound.core.limits.hours_text import (
    EVERY_MINUTE,
    FIELD,
    Window,
    read_window,
    split_windows,
)
from keybound.core.reasons import Reason

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Self

    from keybound.core.facts import RequestFacts
    from keybound.core.limits.clause import Json


@dataclass(frozen=True, slots=True)
class Hours(Clause):
    """It must be within one of these windows, whose start is inside and whose end is not.

    The wall clock decides: an hour that it shows twice is inside twice, and one that it skips
    never comes.
    """

    dimension = FIELD
    choices = "write '*' for always, [] for never"

    windows: frozenset[Window]
    weeks: Mapping[str, int] = field(init=False, repr=False, compare=False)
    clocks: tuple[tuple[ZoneInfo, int], ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Add up the minutes of a week in each zone, so that a request costs a look at a clock."""
        weeks: dict[str, int] = {}
        for window in self.windows:
            weeks[window.zone] = weeks.get(window.zone, 0) | window.minutes
        clocks = tuple([(ZoneInfo(zone), minutes) for zone, minutes in weeks.items()])
        object.__setattr__(self, "weeks", weeks)
        object.__setattr__(self, "clocks", clocks)

    @classmethod
    def parse(cls, value: object, /) -> Self | None:
        """Read windows such as ``mon-fri 08:00-18:00 Europe/Zurich``, as text or list.

        ``*`` among them is no clause.
        """
        items = entries(cls.dimension, value, split=split_windows)
        windows = frozenset([read_window(item) for item in items if item != EVERY])
        return None if EVERY in items else cls(windows)

    @staticmethod
    def around(now: float, zone: ZoneInfo | None) -> str:
        """Return the window of an hour that ``now`` lies in, for a zone, or else for UTC."""
        local = datetime.fromtimestamp(floor(now), zone or UTC)
        starts, zone_name = local.hour * 60, "UTC" if zone is None else zone.key
        return str(Window((local.weekday(),), starts, starts + 60, zone_name))

    def permits(self, _facts: RequestFacts, now: float, /) -> bool:
        """Say whether ``now`` lies within a window."""
        second = floor(now)  # a datetime of a fraction is rounded, so that it may be too late
        for zone, minutes in self.clocks:
            local = datetime.fromtimestamp(second, zone)
            if minutes >> (local.weekday() * 24 + local.hour) * 60 + local.minute & 1:
                return True
        return False

    def covers(self, other: Clause, /) -> bool:
        """Say whether the other's minutes are all among these of the same zone; or these are all.

        How two zones lie to each other may be changed by law, so that nothing is said of that.
        """
        if not isinstance(other, Hours):
            return False
        return EVERY_MINUTE in self.weeks.values() or all(
            not minutes & ~self.weeks.get(zone, 0) for zone, minutes in other.weeks.items()
        )

    def holds(self, now: float, /) -> tuple[float, float]:
        """Return the minute of ``now``, in which nothing changes.

        Zones are off UTC by whole minutes, and change by whole minutes at one (since 1972).
        """
        second = floor(now)
        begins = second - second % 60
        return float(begins), float(begins + 60)

    def reason(self, _facts: RequestFacts, _now: float, /) -> Reason:
        """Return the one reason there is."""
        return Reason.OUTSIDE_TIME_WINDOW

    def describe(self) -> str:
        """Return the windows in order."""
        return ", ".join(map(str, sorted(self.windows))) or "never"

    def dump(self) -> Json:
        """Return the windows in order."""
        return [str(window) for window in sorted(self.windows)]
