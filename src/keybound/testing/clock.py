"""A clock that stands still until it is told otherwise."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

START = datetime(2026, 1, 1, tzinfo=UTC)


class FakeClock:
    """Both clocks of a guard; sleeping moves them, so that nothing in a test waits."""

    def __init__(self, start: datetime = START) -> None:
        """Stand at ``start``."""
        self._wall = start.timestamp()
        self._boot = 1_000.0

    def boot(self) -> float:
        """Return seconds that never go back."""
        return self._boot

    def wall(self) -> float:
        """Return POSIX time, UTC."""
        return self._wall

    def sleep(self, seconds: float) -> None:
        """Let that much time pass at once."""
        self.advance(seconds=seconds)

    async def asleep(self, seconds: float) -> None:
        """Let that much time pass at once."""
        self.advance(seconds=seconds)

    def advance(self, *, days: float = 0, hours: float = 0, seconds: float = 0) -> None:
        """Let time pass on both clocks."""
        passed = timedelta(days=days, hours=hours, seconds=seconds).total_seconds()
        self._wall += passed
        self._boot += passed

    @property
    def now(self) -> datetime:
        """The time it is, aware UTC."""
        return datetime.fromtimestamp(self._wall, UTC)
