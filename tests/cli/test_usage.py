"""What people and scripts see of how keys are used."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from keybound.cli.nodes import ago
from keybound.core.effects import EVERYTHING, RecordUsage, UsageRow
from keybound.stores import open_store

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.cli.conftest import Ran

DAY = timedelta(days=1)


@pytest.fixture
def record(folder: Path) -> Callable[..., datetime]:
    """Record what a server would have of a key, so many days ago."""

    def call(key: str, days: float, uses: int = 0, refusals: int = 0) -> datetime:
        at = datetime.now(UTC) - days * DAY
        moment = at.timestamp()
        row = UsageRow(
            key,
            moment,
            uses,
            refusals,
            moment if uses else None,
            moment if refusals else None,
        )
        store = open_store(str(folder / "keybound.db"))
        store.perform(RecordUsage((row,)))
        store.close()
        return at

    return call


def issue(site: Callable[..., Ran], name: str) -> str:
    """Issue a key and return its id."""
    return str(site(f"issue --name {name} --tenant acme --json").data["id"])


def test_show_says_when_a_key_was_last_used(
    site: Callable[..., Ran], record: Callable[..., datetime]
):
    """For people how long ago, for scripts exactly when; of a group nothing."""
    key = issue(site, "a")
    record(EVERYTHING, 50)
    at = record(key, 3.5, uses=1_234)
    refused = record(key, 2.5, refusals=1)
    shown = site(f"show {key}").out
    assert re.search(r"last used +\S+Z \(3d ago\), 1,234 times", shown)
    assert re.search(r"last refused +\S+Z \(2d ago\), 1 times", shown)
    usage = site(f"show {key} --json").data["usage"]
    assert (usage["uses"], usage["refusals"]) == (1_234, 1)
    assert datetime.fromisoformat(usage["last_used_at"]) == at
    assert datetime.fromisoformat(usage["last_refused_at"]) == refused
    never = site(f"show {issue(site, 'b')}").out
    assert re.search(r"last used +never, since \d{4}-", never)
    group = site("groups create g --json").data["id"]
    assert site(f"show {group} --json").data["usage"] is None
    assert "last used" not in site(f"show {group}").out


def test_list_says_so_of_every_key(site: Callable[..., Ran], record: Callable[..., datetime]):
    """In a column, on 80 columns."""
    used, unused = issue(site, "a"), issue(site, "b")
    at = record(used, 12.25, uses=2)
    lines = site("list").out.splitlines()
    assert all(len(line) <= 80 for line in lines)
    assert any(used in line and "12d ago" in line for line in lines)
    assert any(unused in line and "never" in line for line in lines)
    data = {key["id"]: key["usage"] for key in site("list --json").data}
    assert datetime.fromisoformat(data[used]["last_used_at"]) == at
    assert data[unused]["last_used_at"] is None
    site("groups create g")
    assert [group["usage"] for group in site("groups list --json").data] == [None]


def test_unused_keys_are_found(site: Callable[..., Ran], record: Callable[..., datetime]):
    """Those that nobody used for so long, as far as anything was counted."""
    used, unused = issue(site, "a"), issue(site, "b")
    record(EVERYTHING, 100)
    record(used, 5, uses=1)
    record(unused, 95, uses=1)
    assert [key["id"] for key in site("list --unused-for 90d --json").data] == [unused]
    assert unused in site("list --unused-for 90d").out
    both = [key["id"] for key in site("list --unused-for 4d --json").data]
    assert both == sorted([used, unused])
    wrong = site("list --unused-for soon --json")
    assert (wrong.status, wrong.error["kind"]) == (2, "input")
    assert "unused_for" in wrong.error["message"]


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (None, "never"),
        (-5, "now"),
        (0.9, "now"),
        (1, "1s ago"),
        (59.9, "59s ago"),
        (60, "1m ago"),
        (3_599, "59m ago"),
        (3_600, "1h ago"),
        (86_399, "23h ago"),
        (86_400, "1d ago"),
        (400 * 86_400, "400d ago"),
    ],
)
def test_moments_are_told_by_how_long_ago_they_are(seconds: float | None, said: str):
    """In the largest unit that fits."""
    now = 1_780_000_000.0
    at = None if seconds is None else datetime.fromtimestamp(now - seconds, UTC)
    assert ago(at, now) == said
