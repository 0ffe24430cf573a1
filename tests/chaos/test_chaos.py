"""The claim, on real servers, while whatever they stand on fails."""

from __future__ import annotations

import faulthandler
import re
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from tests.chaos import records
from tests.chaos.faults import FAULTS
from tests.chaos.place import FLEET, Place, Spec
from tests.chaos.plugin import CHANGES, PROPERTY
from tests.chaos.report import summary, table
from tests.chaos.running import Run
from tests.chaos.schedule import schedule
from tests.chaos.verdict import effects, violations, wavering

if TYPE_CHECKING:
    from pathlib import Path

    from tests.chaos.schedule import Episode
    from tests.services.postgres import Servers
    from tests.services.redis_fleets import Watched

SHOWN = 10


@pytest.fixture(autouse=True)
def _takes_long(pytestconfig: pytest.Config):
    """Give more changes than usual more time than a test has that may hang."""
    if pytestconfig.getoption("--changes") > CHANGES:
        faulthandler.cancel_dump_traceback_later()


def test_nothing_is_accepted_after_the_bound_whatever_fails(
    own_postgres: Servers,
    tmp_path: Path,
    pytestconfig: pytest.Config,
    record_property,
):
    """And a good key is accepted or not decided on, but never refused; and all recover."""
    changes, faults = map(pytestconfig.getoption, ("--changes", "--faults"))
    place = Place(own_postgres.start(), tmp_path)
    seed = pytestconfig.getoption("--chaos-seed")
    check(place, seed, schedule(seed, changes, len(FLEET), faults), record_property)


def test_nothing_is_accepted_after_the_bound_when_sentinels_fail_over(
    own_postgres: Servers,
    watched: Watched,
    tmp_path: Path,
    pytestconfig: pytest.Config,
    record_property,
):
    """The same where Sentinels say which Redis it is; with more changes than usual."""
    if pytestconfig.getoption("--changes") <= CHANGES:
        pytest.skip("takes long: pytest tests/chaos --changes 100")
    changes = pytestconfig.getoption("--changes") // 10
    faults = [name for name, fault in FAULTS.items() if fault.watched]
    place = Place(own_postgres.start(), tmp_path, watched=watched)
    seed = pytestconfig.getoption("--chaos-seed")
    check(place, seed, schedule(seed, changes, len(FLEET), faults), record_property)


def check(place: Place, seed: int, episodes: list[Episode], record_property) -> None:
    """Let a schedule happen, hand its table on, and fail for what was wrong."""
    with place:
        run = Run(place)
        run.play(episodes)
    seen = list(records.read(place.client.records))
    kinds = [str(worker.spec) for worker in place.workers]
    found = effects(seen, run.changes, len(kinds))
    lines = [
        *table(kinds, run.good, seen, run.windows, found),
        *summary(seed, run.changes, run.windows, found, wavering(seen, run.changes)),
        *said(place),
    ]
    record_property(PROPERTY, "\n".join(lines))
    wrong = violations(seen, run.changes)
    assert not wrong, f"seed {seed}, {len(wrong)} wrong: " + "\n".join(map(str, wrong[:SHOWN]))


def test_worker_that_keeps_no_bound_is_found(own_postgres: Servers, tmp_path: Path):
    """The same run fails a worker whose lease is longer than it says, once it is cut off."""
    weaker = {"revoke_within": "60", "sync_every": "1"}
    with Place(own_postgres.start(), tmp_path, [Spec("uvicorn")], weaker=weaker) as place:
        run = Run(place)
        run.play(schedule(1, 2, 1, ["both cut off, one worker"]))
    wrong = violations(records.read(place.client.records), run.changes)
    assert {each.seen.status for each in wrong} == {records.ACCEPTED}


def said(place: Place) -> list[str]:
    """Return what the workers wrote, counted: what is written for every request would show."""
    counted = Counter(
        (worker.spec.kind, re.sub(r"\d{2,}", "0", line.strip()))
        for worker in place.workers
        for line in worker.said
        if "INFO" not in line
    )
    return [f"{count:6} x {kind}: {line[:200]}" for (kind, line), count in counted.most_common(25)]
