"""The log of denials: one line of JSON for many, which says everything and repeats nobody."""

from __future__ import annotations

import json
import logging
import re
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from keybound import Guard, Limits, Reason, Settings, denial_log
from keybound.core.chain import Check
from keybound.core.decision import Denied
from keybound.core.limits import Clause
from keybound.core.reasons import LIMIT_REASONS
from keybound.core.refusals import REFUSALS
from keybound.denial_log import EVENTS, LOGGED_EVERY, DenialLog
from keybound.engine import Engine
from keybound.stores.memory import MemoryStore
from keybound.testing import FakeClock
from tests.canary import is_enabled

if TYPE_CHECKING:
    from collections.abc import Iterator

    from keybound.core.refusals import RefusalResponse

MEMBERS = ["event", "reason", "status", "key", "node", "limit", "id", "total", "suppressed"]
CLAUSE = next(iter(Limits(methods=["GET"])))
DENIED = Denied(Reason.METHOD_NOT_ALLOWED, key="key_1", check=Check("group_1", "group", CLAUSE))


@pytest.fixture
def clock() -> FakeClock:
    """Return a clock that is told the time."""
    return FakeClock()


@pytest.fixture
def guard(clock: FakeClock) -> Guard:
    """Return a guard in memory, under that clock."""
    settings = Settings(database="memory://")
    return Guard(Engine(settings, MemoryStore(), clock, background=False))


class Undumpable(Clause):
    """A limit of a site's own that cannot even say what it is."""

    dimension = "undumpable"

    @classmethod
    def parse(cls, _value: object, /) -> Undumpable:
        """Return one."""
        return cls()

    def permits(self, _facts: object, _now: float, /) -> bool:
        """Permit nothing."""
        return False

    def covers(self, _other: Clause, /) -> bool:
        """Cover nothing."""
        return False

    def reason(self, _facts: object, _now: float, /) -> Reason:
        """Return a reason."""
        return Reason.LIMIT_INVALID

    def describe(self) -> str:
        """Return a text."""
        return "?"

    def dump(self) -> Any:
        """Fail."""
        msg = "a secret text"
        raise OSError(msg)


class Kept(logging.Handler):
    """Keeps what is logged."""

    def __init__(self) -> None:
        """Keep nothing yet."""
        super().__init__()
        self.records: list[Any] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one record."""
        self.records.append(record)

    @property
    def lines(self) -> list[dict[str, Any]]:
        """The lines, read as JSON."""
        return [json.loads(record.getMessage()) for record in self.records]


@pytest.fixture
def kept() -> Iterator[Kept]:
    """Return what is logged of denials."""
    handler, level = Kept(), denial_log.logger.level
    denial_log.logger.addHandler(handler)
    denial_log.logger.setLevel(logging.INFO)
    yield handler
    denial_log.logger.setLevel(level)
    denial_log.logger.removeHandler(handler)


def denial_of(answer: RefusalResponse) -> str:
    """Return the id in an answer."""
    return dict(answer.headers)["keybound-denial"]


def test_a_line_is_json_with_members_in_one_order(guard: Guard, kept: Kept):
    """A program can read the line, and a handler that formats itself finds the same beside it."""
    answer = guard.refuse(DENIED)
    (line,) = kept.lines
    assert list(line) == MEMBERS
    assert line == {
        "event": "refused",
        "reason": "method_not_allowed",
        "status": 403,
        "key": "key_1",
        "node": "group_1",
        "limit": "methods",
        "id": denial_of(answer),
        "total": 1,
        "suppressed": 0,
    }
    (record,) = kept.records
    assert (record.name, record.levelname) == ("keybound.denials", "INFO")
    assert dict(record.keybound) == line
    assert record.getMessage().isascii()
    assert len(record.getMessage().splitlines()) == 1


def test_page_shows_the_line_and_every_reason():
    """Whoever reads the page knows what to expect of a line, and of an answer."""
    page = (Path(__file__).parents[2] / "docs" / "refusals.md").read_text(encoding="utf-8")
    (shown,) = re.findall(r'^{"event":.*}$', page, re.MULTILINE)
    assert list(json.loads(shown)) == MEMBERS
    words = set(re.findall(r"`([a-z_]+)`", page))
    assert {*MEMBERS, *EVENTS} <= words
    for reason in Reason:
        if REFUSALS[reason].status != 429:  # no limit of ours has it yet
            assert {reason.value, REFUSALS[reason].problem} <= words
    assert f"every {LOGGED_EVERY:g} seconds" in page
    assert f"{denial_log.PAIRS_MAX:,} keys and reasons" in page


@pytest.mark.parametrize("reason", Reason)
def test_every_denial_has_a_line(guard: Guard, kept: Kept, reason: Reason):
    """Without a key and without a check too."""
    guard.refuse(Denied(reason))
    (line,) = kept.lines
    assert (line["reason"], line["status"]) == (reason.value, REFUSALS[reason].status)
    assert (line["key"], line["node"], line["limit"]) == (None, None, None)


def test_ids_that_are_odd_stay_within_their_line(guard: Guard, kept: Kept):
    """A node that some application named is one member, whatever its characters."""
    odd = 'a"b\r\n\x1b[2J\x7f\u2028%s{0}é'
    guard.refuse(Denied(Reason.DISABLED, key=odd, check=Check(odd, "group", CLAUSE)))
    (record,) = kept.records
    said = record.getMessage()
    assert said.isascii()
    assert said.isprintable()
    assert (kept.lines[0]["key"], kept.lines[0]["node"]) == (odd, odd)


def test_a_flood_is_a_line_at_once_and_one_now_and_then(guard: Guard, clock: FakeClock, kept: Kept):
    """Clients choose how many requests are refused, and not how much is written about them."""
    for _ in range(100):
        guard.refuse(DENIED)
    clock.advance(seconds=LOGGED_EVERY - 0.1)
    guard.refuse(DENIED)
    assert [(line["total"], line["suppressed"]) for line in kept.lines] == [(1, 0)]
    clock.advance(seconds=0.1)
    last = guard.refuse(DENIED)
    guard.refuse(DENIED)
    assert [(line["total"], line["suppressed"]) for line in kept.lines] == [(1, 0), (102, 100)]
    assert kept.lines[-1]["id"] == denial_of(last)
    clock.advance(seconds=3 * LOGGED_EVERY)
    guard.refuse(DENIED)
    assert (kept.lines[-1]["total"], kept.lines[-1]["suppressed"]) == (104, 1)


def test_each_key_and_reason_has_lines_of_its_own(guard: Guard, kept: Kept):
    """A flood about one key hides nothing about another; without a key the reason alone counts."""
    denials = [
        Denied(Reason.REVOKED, key="key_1"),
        Denied(Reason.REVOKED, key="key_2"),
        Denied(Reason.EXPIRED, key="key_1"),
        Denied(Reason.UNKNOWN_KEY),
        Denied(Reason.MISSING_CREDENTIALS),
    ]
    for denied in denials * 3:
        guard.refuse(denied)
    assert [(line["key"], line["reason"]) for line in kept.lines] == [
        (denied.key, denied.reason.value) for denied in denials
    ]
    totals = guard.engine.refuser.totals()
    assert totals == {(denied.key, denied.reason): 3 for denied in denials}


def test_totals_are_kept_where_nothing_is_logged(guard: Guard, clock: FakeClock):
    """Whoever turned the log off can count all the same."""
    for _ in range(5):
        guard.refuse(DENIED)
        clock.advance(seconds=LOGGED_EVERY)
    assert guard.engine.refuser.totals() == {("key_1", Reason.METHOD_NOT_ALLOWED): 5}


def test_memory_is_bounded_and_the_longest_silent_is_forgotten(
    clock: FakeClock, monkeypatch: pytest.MonkeyPatch
):
    """However many keys are refused; who is still refused is remembered, with its total."""
    monkeypatch.setattr(denial_log, "PAIRS_MAX", 3)
    log = DenialLog("refused", clock.boot)
    denials = [Denied(Reason.REVOKED, key=f"key_{number}") for number in range(4)]
    for denied in denials[:3]:
        assert log.count(denied) == (1, 0)
    clock.advance(seconds=LOGGED_EVERY)
    assert log.count(denials[0]) == (2, 0)
    assert log.count(denials[3]) == (1, 0)
    assert {key: total for (key, _), total in log.totals().items()} == {
        "key_2": 1,
        "key_0": 2,
        "key_3": 1,
    }
    assert log.count(denials[1]) == (1, 0), "as if it was the first"


def test_threads_lose_no_denial_and_write_one_line(clock: FakeClock):
    """Each of many at once is counted, and the line is due for one of them."""
    log, due = DenialLog("refused", clock.boot), []
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)

    def count() -> None:
        due.extend([found for _ in range(500) if (found := log.count(DENIED)) is not None])

    threads = [threading.Thread(target=count) for _ in range(8)]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert due == [(1, 0)]
    assert log.totals() == {("key_1", Reason.METHOD_NOT_ALLOWED): 4_000}


def test_what_is_not_written_is_not_formatted(
    guard: Guard, kept: Kept, monkeypatch: pytest.MonkeyPatch
):
    """A flood costs counting, and no formatting."""
    guard.refuse(DENIED)
    monkeypatch.setattr(json, "dumps", lambda *_, **__: pytest.fail("formatted"))
    guard.refuse(DENIED)
    kept.setLevel(logging.CRITICAL)
    denial_log.logger.setLevel(logging.WARNING)
    monkeypatch.setattr(logging.Logger, "isEnabledFor", is_enabled)
    guard.refuse(Denied(Reason.UNKNOWN_KEY))


def test_a_handler_that_fails_keeps_nobody_from_an_answer(guard: Guard, kept: Kept):
    """The denial is answered as it would be."""

    def fail(_record: object) -> bool:
        msg = "the disk is full"
        raise OSError(msg)

    kept.addFilter(fail)
    assert guard.refuse(DENIED).status == 403


@pytest.mark.parametrize("reason", sorted(LIMIT_REASONS))
def test_id_in_a_line_is_the_one_that_explains(guard: Guard, kept: Kept, reason: Reason):
    """Whoever reads the log opens the id, and finds the same reason and key."""
    guard.refuse(Denied(reason, key="key_1", check=Check("group_1", "group", CLAUSE)))
    sealed = guard.engine.refuser.unseal(kept.lines[0]["id"])
    assert (sealed.reason, sealed.key) == (reason, "key_1")


# ------------------------------------------------------------------------------------ only reports


def test_what_would_be_refused_is_logged_alike(guard: Guard, clock: FakeClock, kept: Kept):
    """As an event of its own, at the same pace, and it counts as no refusal."""
    refuser = guard.engine.refuser
    for _ in range(10):
        refuser.report(DENIED)
    clock.advance(seconds=LOGGED_EVERY)
    refuser.report(DENIED)
    guard.refuse(DENIED)
    assert [(line["event"], line["total"], line["suppressed"]) for line in kept.lines] == [
        ("would_refuse", 1, 0),
        ("would_refuse", 11, 9),
        ("refused", 1, 0),
    ]
    assert list(kept.lines[0]) == MEMBERS
    assert refuser.unseal(kept.lines[0]["id"]).reason is Reason.METHOD_NOT_ALLOWED
    assert refuser.totals() == {("key_1", Reason.METHOD_NOT_ALLOWED): 1}
    assert refuser.totals("would_refuse") == {("key_1", Reason.METHOD_NOT_ALLOWED): 11}


def test_report_that_fails_stops_no_request(guard: Guard, caplog: pytest.LogCaptureFixture):
    """What was to be let through is, and the operator is told without a foreign text."""
    denied = Denied(Reason.LIMIT_INVALID, key="key_1", check=Check("key_1", "key", Undumpable()))
    guard.engine.refuser.report(denied)
    assert "cannot report a denial: OSError" in caplog.text
    assert "a secret text" not in caplog.text


def test_refusal_whose_clause_cannot_be_sealed_is_a_503(
    guard: Guard, caplog: pytest.LogCaptureFixture
):
    """It is a denial all the same, and is counted as what it became."""
    denied = Denied(Reason.LIMIT_INVALID, key="key_1", check=Check("key_1", "key", Undumpable()))
    assert guard.refuse(denied).status == 503
    assert guard.engine.refuser.totals() == {(None, Reason.STORE_UNAVAILABLE): 1}
    assert "a secret text" not in caplog.text
