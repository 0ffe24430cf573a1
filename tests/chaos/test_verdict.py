"""The verdict on a run finds what is wrong, and takes nobody's slowness for it."""

from __future__ import annotations

import pytest

from tests.chaos.changes import KINDS, Change
from tests.chaos.faults import FAULTS, NOTHING
from tests.chaos.records import ACCEPTED, CUT, LAYOUT, SILENT, UNDECIDED, Seen, read
from tests.chaos.report import table
from tests.chaos.running import Window
from tests.chaos.schedule import MANY, schedule
from tests.chaos.verdict import effects, violations, wavering

BOUND = 5.0
KEY, OTHER = 7, 8


def change(
    asked: float, answered: float, *, accepted: bool = False, keys: tuple[int, ...] = (KEY,)
) -> Change:
    """Return a change."""
    return Change(
        fault="nothing",
        aim=None,
        full_load=False,
        kind="disable",
        keys=keys,
        accepted=accepted,
        asked=asked,
        answered=answered,
        rev=1,
        committed=answered - 0.1,
        attempts=1,
        announced=False,
    )


def seen(
    status: int, began: float, decided: float | None = None, *, key: int = KEY, pid: int = 1
) -> Seen:
    """Return a request, which a worker was at from ``began`` to ``decided``."""
    decided = began if decided is None else decided
    return Seen(key, 0, status, pid, began - 100, began, decided, decided + 100)


ENDED = [change(10.0, 10.5)]
BACK = [change(10.0, 10.5), change(20.0, 20.5, accepted=True)]


@pytest.mark.parametrize(
    ("changes", "answer"),
    [
        ([], seen(401, 1.0)),
        ([], seen(403, 1.0)),
        ([], seen(500, 1.0)),
        ([], seen(404, 1.0)),
        (ENDED, seen(401, 9.0, 9.9)),
        (ENDED, seen(ACCEPTED, 15.6)),
        (ENDED, seen(ACCEPTED, 15.6, 99.0)),
        (ENDED, seen(500, 12.0)),
        (BACK, seen(ACCEPTED, 15.6, 19.9)),
        (BACK, seen(401, 25.6)),
    ],
)
def test_what_nothing_explains_is_found(changes: list[Change], answer: Seen):
    """A refused good key, an accepted one that ended too long ago, and what is no decision."""
    (found,) = violations([answer], changes, bound=BOUND)
    assert found.seen is answer
    assert f"said {answer.status} for key {KEY}" in str(found)
    assert violations([answer._replace(key=OTHER)], changes) == [] or answer.status != ACCEPTED


@pytest.mark.parametrize(
    ("changes", "answer"),
    [
        ([], seen(ACCEPTED, 1.0)),
        ([], seen(UNDECIDED, 1.0)),
        ([], seen(CUT, 1.0)),
        ([], seen(SILENT, 1.0)),
        (ENDED, seen(401, 9.0, 10.0)),
        (ENDED, seen(ACCEPTED, 15.4)),
        (ENDED, seen(403, 15.6)),
        (BACK, seen(ACCEPTED, 15.6, 20.0)),
        (BACK, seen(401, 15.6, 20.0)),
        (BACK, seen(401, 25.4)),
        (BACK, seen(ACCEPTED, 20.2)),
    ],
)
def test_what_may_be_right_is_no_violation(changes: list[Change], answer: Seen):
    """As long as any order of what was noted explains an answer, it is not held against anybody."""
    assert violations([answer], changes, bound=BOUND) == []


def test_effect_lies_between_the_last_old_and_the_first_new_answer():
    """Of all keys of a change the slowest counts, by when a worker took a request up."""
    ended = change(10.0, 10.5, keys=(KEY, OTHER))
    records = [
        seen(ACCEPTED, 10.4),
        seen(401, 10.6, key=OTHER),
        seen(ACCEPTED, 10.7, 11.9),
        seen(UNDECIDED, 10.75),
        seen(401, 10.8),
        seen(401, 10.9),
    ]
    (one, two) = effects(records, [ended], workers=2)
    assert [one.old, one.new] == pytest.approx([0.3, 0.4])
    assert (one.worker, two.worker, two.old, two.new) == (0, 1, 0.0, None)


def test_request_during_a_change_says_nothing_of_the_one_before():
    """It may have been decided after either of them."""
    (first, second) = effects([seen(401, 12.0), seen(ACCEPTED, 19.9, 20.6)], BACK, workers=1)
    assert (first.old, second.old) == (0.0, 0.0)
    assert first.new == pytest.approx(1.6)
    assert second.new is None
    assert wavering([seen(401, 12.0), seen(ACCEPTED, 19.9, 20.6)], BACK) == []


def test_slow_request_counts_where_it_was_sent():
    """What began during a fault is a figure of that fault, whenever it ends."""
    windows = [window(0.0, 10.0), window(20.0, 30.0)]
    slow, quick = seen(200, 0.0)._replace(sent=9.0, received=25.0), seen(200, 0.0, key=KEY)
    quick = quick._replace(sent=21.0, received=21.5)
    lines = table(["uvicorn"], range(KEY, KEY + 1), [quick, slow], windows, [])
    assert [line.split("uvicorn")[1].split()[:2] for line in lines[2:4]] == [["1", "1"]] * 2
    between = quick._replace(sent=15.0)
    assert len(table(["uvicorn"], range(KEY + 1), [between], windows, [])) == 3


def window(began: float, ended: float) -> Window:
    """Return when some fault was there."""
    fault = NOTHING if began else "Redis killed"
    return Window(
        fault=fault, aim=None, full_load=False, began=began, ended=ended, recovered_after=0.0
    )


def test_process_that_knew_better_is_pointed_out():
    """But not another process, nor one that may have decided both at once."""
    refused, again = seen(401, 11.0, 11.1), seen(ACCEPTED, 11.2)
    assert wavering([refused, again], ENDED) == [again]
    assert wavering([refused, again._replace(pid=2)], ENDED) == []
    assert wavering([refused, again._replace(began=11.05)], ENDED) == []
    assert wavering([again, refused._replace(began=11.3, decided=11.3)], ENDED) == []


def test_records_are_read_as_they_were_written(tmp_path):
    """All of a request, with its moments to the last bit."""
    one = Seen(1, 2, 200, 4_000_000, 1.1, 2.2, 3.3, 4.4)
    (tmp_path / "records").write_bytes(LAYOUT.pack(*one) + LAYOUT.pack(*one._replace(key=3)))
    assert list(read(tmp_path / "records")) == [one, one._replace(key=3)]


@pytest.mark.parametrize("changes", [1, 50, MANY, 1_000])
def test_schedule_is_made_of_its_seed(changes: int):
    """The same seed is the same schedule, with exactly as many changes, and every fault."""
    episodes = schedule(3, changes, 4)
    assert episodes == schedule(3, changes, 4)
    assert episodes != schedule(4, changes, 4)
    planned = [planned for episode in episodes for planned in episode.changes]
    assert len(planned) == changes
    met = {episode.fault for episode in episodes}
    if changes >= 50:
        assert met == {
            name
            for name, fault in FAULTS.items()
            if fault.essential or (changes >= MANY and not fault.watched)
        }
        assert {each.kind for each in planned} == set(KINDS)
        assert len({episode.aim for episode in episodes}) == 4
    assert any(episode.full_load for episode in episodes) is (changes >= MANY)


def test_schedule_of_some_faults_has_no_others():
    """Whoever looks for a cause tries one fault alone."""
    episodes = schedule(3, 10, 4, ["Redis killed"])
    assert {episode.fault for episode in episodes} == {"Redis killed"}
    assert sum(len(episode.changes) for episode in episodes) == 10
