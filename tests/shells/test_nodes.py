"""Nodes that are dead, missing, unreadable or out of reach: nothing passes them."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from keybound import Limits, Reason, Route
from keybound.core.limits import Clause
from keybound.core.limits.dimensions import DIMENSIONS, register
from keybound.stores import open_store
from tests.shells.sites import Site, authorization, limits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@dataclass(frozen=True)
class Whim(Clause):
    """A dimension of a site that does with a request whatever the key says."""

    dimension = "whim"

    whim: str

    @classmethod
    def parse(cls, value: object, /) -> Whim:
        """Read anything."""
        return cls(str(value))

    def permits(self, facts: Any, now: float, /) -> Any:
        """Do what was asked for."""
        return WHIMS[self.whim](facts, now)

    def covers(self, other: Clause, /) -> bool:
        """Return whether it is the same whim."""
        return self == other

    def reason(self, _facts: Any, _now: float, /) -> Any:
        """Return a reason of its own, or what it was told to."""
        return REASONS.get(self.whim, Reason.OUTSIDE_TIME_WINDOW)

    def describe(self) -> str:
        """Return it."""
        return self.whim

    def dump(self) -> Any:
        """Return it; one cannot once it is stored."""
        if self.whim in UNDUMPABLE:
            raising()
        return self.whim


async def waiting(*_: Any) -> bool:
    """Return true, but only to those who wait."""
    return True


def raising(*_: Any) -> bool:
    """Fail."""
    message = "a bug in a dimension"
    raise ZeroDivisionError(message)


WHIMS: dict[str, Callable[..., Any]] = {
    "permit": lambda *_: True,
    "refuse": lambda *_: False,
    "none": lambda *_: None,
    "one": lambda *_: 1,
    "text": lambda *_: "True",
    "unawaited": lambda *_: waiting,
    "raise": raising,
}

REASONS: dict[str, Any] = {
    "no reason": None,
    "reason in text": "outside_time_window",
    "reason of rates": Reason.RATE_LIMITED,
    "reason of quotas": Reason.QUOTA_EXCEEDED,
    "reason of stores": Reason.STORE_UNAVAILABLE,
    "reason of credentials": Reason.MISSING_CREDENTIALS,
    "reason of a kind": object(),
}
WHIMS |= dict.fromkeys(REASONS, lambda *_: False)

UNDUMPABLE: set[str] = set()
"""Whims that fail to say what they are stored as."""


@pytest.fixture
def whims() -> Iterator[None]:
    """Let the dimension be known for one test."""
    register(Whim)
    yield
    del DIMENSIONS["whim"]


@pytest.mark.parametrize("verb", ["disable", "revoke"])
@pytest.mark.parametrize("node", ["key", "parent", "parent of the parent", "group"])
def test_dead_node_stops_every_key_below(make: Callable[..., Site], verb: str, node: str):
    """Disabling or revoking any node of the chain ends the next request of the key."""
    site = make()
    group = site.guard.create_group(name="group").node.id
    grand = site.issue(name="grand")
    parent = site.issue(name="parent", parent=grand.id)
    key = site.issue(parent=parent.id, groups=[group])
    assert site.request(key=key).status == 200
    victims = {"key": key.id, "parent": parent.id, "parent of the parent": grand.id, "group": group}
    getattr(site.guard, verb)(victims[node])
    answer = site.request(key=key)
    assert answer.status == 401
    explained = site.guard.explain_denial(answer.denial)
    assert explained.reason == f"{verb}d"
    assert explained.step is not None
    assert explained.step.node == victims[node]
    assert len(site.served) == 1


def test_node_that_is_enabled_again_works_again(make: Callable[..., Site]):
    """Suspending is not for ever."""
    site = make()
    key = site.issue()
    site.guard.disable(key.id)
    assert site.request(key=key).status == 401
    site.guard.enable(key.id)
    assert site.request(key=key).status == 200


def test_narrowing_a_node_holds_at_once(make: Callable[..., Site]):
    """What a group, a parent or the key itself loses is lost to the next request."""
    site = make()
    group = site.guard.create_group(name="group").node.id
    key = site.issue(groups=[group])
    assert site.request("POST", key=key).status == 200
    site.guard.restrict(group, {"read_only": True})
    assert site.request("POST", key=key).status == 403
    assert site.request("GET", key=key).status == 200
    site.guard.restrict(key.id, {"networks": "10.0.0.0/8"})
    assert site.request("GET", key=key).status == 403


@pytest.mark.parametrize(
    "members",
    [{"groups": ("group_gone",)}, {"parent": "key_gone"}],
    ids=["group", "parent"],
)
def test_missing_node_counts_as_revoked(make: Callable[..., Site], members: Any):
    """A key whose group or parent is not there any more is dead."""
    site = make()
    answer = site.request(key=site.plant(**members))
    assert answer.status == 401
    assert site.guard.explain_denial(answer.denial).reason is Reason.REVOKED


def test_cycle_is_a_corrupt_record(make: Callable[..., Site]):
    """A chain that returns to its key cannot be evaluated, so it is nobody's key."""
    site = make()
    site.plant(node_id="key_a", parent="key_b")
    value = site.plant(node_id="key_b", parent="key_a")
    answer = site.request(key=value)
    assert answer.status == 503
    assert site.served == []


@pytest.mark.parametrize("record", [b"", b"{}", b"\xff", b'{"kind":"key"}', b"[" * 70_000])
def test_corrupt_record_is_unavailable(shape: str, tmp_path: Path, record: bytes):
    """A record that cannot be read exactly is a 503, never a key without limits."""
    database = str(tmp_path / "keys.db")
    site = Site(shape, open_store(database))
    key = site.issue()
    with closing(sqlite3.connect(database)) as file, file:
        file.execute("UPDATE keybound_nodes SET body = ?", (record,))
    answer = site.request(key=key)
    assert answer.status == 503
    assert answer.all("retry-after") == ["1"]
    site.guard.close()


@pytest.mark.parametrize(
    "stored",
    [
        {"geo": ["CH"]},
        {"networks": ["10.0.0.0/99"]},
        {"networks": None},
        {"read_only": ["yes"]},
        {"methods": "GET"},
        {"lifetime": [{"expires_at": "soon"}]},
    ],
    ids=str,
)
def test_limit_that_cannot_be_read_permits_nothing(make: Callable[..., Site], stored: Any):
    """A stored limit of a dimension or form that this program does not know is not skipped."""
    site = make()
    answer = site.request(key=site.plant(limits=limits(stored)))
    assert answer.status == 403
    assert answer.problem["reason"] == "limit_invalid"
    assert site.served == []


@pytest.mark.usefixtures("whims")
@pytest.mark.parametrize("whim", WHIMS)
def test_dimension_of_a_site_permits_only_by_true(make: Callable[..., Site], whim: str):
    """A dimension that raises, or answers anything but ``True``, denies."""
    site = make()
    key = site.issue(limits=Limits(whim=whim))
    answer = site.request(key=key)
    if whim == "permit":
        assert answer.status == 200
        return
    assert answer.status == 403
    unusable = whim == "raise" or whim in REASONS
    expected = "limit_invalid" if unusable else "outside_time_window"
    assert answer.problem["reason"] == expected
    assert site.served == []


@pytest.mark.usefixtures("whims")
@pytest.mark.parametrize("whim", ["refuse", "raise", "no reason"])
def test_dimension_of_a_site_that_cannot_be_sealed_refuses_all_the_same(
    make: Callable[..., Site], whim: str
):
    """A refusal whose id cannot be made from the clause is a refusal still, and no failure."""
    site = make()
    key = site.issue(limits=Limits(whim=whim))
    UNDUMPABLE.add(whim)
    try:
        answer = site.request(key=key)
        written = site.request("POST", key=key)
    finally:
        UNDUMPABLE.clear()
    assert {answer.status, written.status} <= {403, 503}
    assert site.guard.explain_denial(answer.denial).reason in {
        Reason.LIMIT_INVALID,
        Reason.STORE_UNAVAILABLE,
    }
    assert site.served == []


@pytest.mark.usefixtures("whims")
def test_dimension_of_a_site_is_asked_every_time(make: Callable[..., Site]):
    """What depends on more than the request is never remembered."""
    site = make()
    key = site.issue(limits=Limits(whim="permit"))
    assert site.request(key=key).status == 200
    before = WHIMS["permit"]
    WHIMS["permit"] = WHIMS["refuse"]
    try:
        assert site.request(key=key).status == 403
    finally:
        WHIMS["permit"] = before


def test_wildcard_scope_is_every_scope_where_the_site_says_so(make: Callable[..., Site]):
    """``*`` grants every scope with the setting, to the key and no further than its groups."""
    site = make(wildcard_scopes=True, routes=[Route("/reports", scopes="reports")])
    key = site.issue(limits=Limits(scopes=["*"]))
    assert site.request(path="/reports", key=key).status == 200
    assert site.served[0]["keybound"].has_scope("anything")
    group = site.guard.create_group(name="group", limits={"scopes": ["ui"]}).node.id
    narrowed = site.issue(limits=Limits(scopes=["*"]), groups=[group])
    assert site.request(path="/reports", key=narrowed).status == 403


def test_store_out_of_reach_is_unavailable_and_never_a_bad_key(make: Callable[..., Site]):
    """A key that cannot be looked up may be good: 503 with ``Retry-After``, and not a 401."""
    site = make()
    key = site.issue()
    site.store.reachable = False
    answer = site.request(key=key)
    assert answer.status == 503
    assert answer.all("retry-after") == ["1"]
    assert answer.all("www-authenticate") == []
    assert "reason" not in answer.problem
    site.store.reachable = True
    site.clock.advance(seconds=1)  # it is left alone for so long at most
    assert site.request(key=key).status == 200


def test_known_key_works_without_the_store_for_as_long_as_promised(make: Callable[..., Site]):
    """What was read is relied on for ``revoke_within``, and not a moment longer."""
    site = make(revoke_within=5)
    key = site.issue()
    assert site.request(key=key).status == 200
    site.store.reachable = False
    site.clock.advance(seconds=5)
    assert site.request(key=key).status == 200
    site.clock.advance(seconds=0.001)
    assert site.request(key=key).status == 503
    assert len(site.served) == 2


def test_refusal_needs_no_store(make: Callable[..., Site]):
    """What is no key is refused without asking, even when nobody could answer."""
    site = make()
    site.store.reachable = False
    assert site.request().status == 401
    assert site.request(headers=authorization(b"Bearer nonsense")).status == 401
    assert site.store.asked == 0
