"""What a request costs besides time: memory, questions to the store, and names in Redis."""

from __future__ import annotations

import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.security.cases import Case
    from tests.security.worlds import Place

PAGE = 4_096
WRITTEN_WITHIN = 30.0


def about_redis(case: Case) -> bool:
    """Return whether a case is about how much is in Redis."""
    return any(each.startswith("redis_") for each in case.expected.also)


@contextmanager
def measured(place: Place) -> Iterator[dict[str, float]]:
    """Yield what there is more of afterwards: of Redis where there is one, and a case asks."""
    costs: dict[str, float] = {}
    before = _now(place)
    yield costs
    costs |= {name: number - before[name] for name, number in _now(place).items()}


def _now(place: Place) -> dict[str, float]:
    resident = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * PAGE
    found: dict[str, float] = {
        "rss_growth_mb": resident / 1_000_000,
        "store_reads": place.store.loads,
    }
    if place.redis is not None and about_redis(place.case):
        _wait_until_written(place)
        found["redis_keys_growth"] = float(str(place.redis.client.dbsize()))
    return found


def _wait_until_written(place: Place) -> None:
    """Wait until all that was offered to Redis is there, or was dropped."""
    shared = place.engine.performer.shared
    assert shared is not None
    offers = shared.link.offers
    offers.close()
    ends = time.monotonic() + WRITTEN_WITHIN
    while offers._works:  # noqa: SLF001 - nobody else has to know
        assert time.monotonic() < ends, "what was offered to Redis is not written"
        time.sleep(0.0005)
