"""Limits as a whole: order, repr, ceilings, changes, storing, and dimensions of a site's own."""

from __future__ import annotations

import asyncio
import json
import pickle
from dataclasses import FrozenInstanceError, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from keybound.core.errors import LimitError
from keybound.core.facts import RequestFacts
from keybound.core.limits import DIMENSIONS, Clause, Limits, Methods, Unreadable, register
from keybound.core.reasons import Reason

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Self

    from keybound.core.limits import Json

GET = RequestFacts(method="GET", path="/", access="read", address=0x0A000001, tenant="acme")
END = datetime(2030, 6, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Geo(Clause):
    """Countries, by the first segment of the path: a dimension as a site would write it."""

    dimension = "geo"

    countries: frozenset[str]

    @classmethod
    def parse(cls, value: object, /) -> Self | None:
        """Read a list of codes; trust nothing."""
        assert isinstance(value, list), "a list"
        if value == ["*"]:
            return None
        return cls(frozenset(str(code) for code in value))

    def permits(self, facts: RequestFacts, now: float, /) -> bool:
        """Say whether the path begins with a country."""
        return now >= 0 and facts.path[1:3] in self.countries

    def covers(self, other: Clause, /) -> bool:
        """Say whether the other's countries are all here."""
        return isinstance(other, Geo) and other.countries <= self.countries

    def reason(self, _facts: RequestFacts, _now: float, /) -> Reason:
        """Return the nearest reason."""
        return Reason.NETWORK_NOT_ALLOWED

    def describe(self) -> str:
        """Return the codes."""
        return ", ".join(sorted(self.countries)) or "none"

    def dump(self) -> Json:
        """Return the codes."""
        return sorted(self.countries)


@pytest.fixture
def table() -> Iterator[dict[str, type[Clause]]]:
    """The table of dimensions, put back afterwards."""
    before = dict(DIMENSIONS)
    yield DIMENSIONS
    DIMENSIONS.clear()
    DIMENSIONS.update(before)


@pytest.fixture
def geo(table: dict[str, type[Clause]]) -> type[Geo]:
    """A registered dimension of a site's own."""
    register(Geo)
    assert list(table)[-1] == "geo"
    return Geo


def test_clauses_come_in_the_order_of_the_check():
    """However they were written: cheap and harmless first."""
    limits = Limits(
        models="a",
        hours="daily 08:00-18:00 UTC",
        scopes="a",
        read_only=True,
        methods="GET",
        networks="::1",
        tenants="a",
        header_only=True,
    ).meet(Limits(expires_at=END))
    order = [
        *("lifetime", "header_only", "tenants", "networks", "methods", "read_only", "scopes"),
        *("hours", "models"),
    ]
    assert [clause.dimension for clause in limits] == order
    assert [name for name in sorted(DIMENSIONS, key=Limits.check_order) if name in order] == order
    assert Limits.check_order("unknown") > Limits.check_order("models")
    assert list(limits.describe()) == order


def test_limits_are_values():
    """Equal by their clauses, hashable, frozen, and as good as new after a copy."""
    limits = Limits(methods=["GET", "POST"], networks="10.0.0.0/8, !10.1.2.3")
    assert limits == Limits(networks=["!10.1.2.3", "10.0.0.0/8"], methods="POST,GET")
    assert len({limits, Limits(networks="10.0.0.0/8,!10.1.2.3", methods="GET,POST")}) == 1
    assert limits != Limits(methods="GET")
    assert limits != "Limits()"
    assert pickle.loads(pickle.dumps(limits)) == limits  # noqa: S301 -- our own bytes
    with pytest.raises(FrozenInstanceError):
        setattr(limits, "clauses", ())  # noqa: B010 -- both type checkers refuse the assignment


def test_the_repr_is_the_expression():
    """Narrowing twice shows twice."""
    limits = Limits(read_only=True, networks=["10.0.0.0/8"])
    assert repr(limits) == "Limits(networks=['10.0.0.0/8'], read_only=True)"
    twice = limits.meet(Limits(networks="10.1.0.0/16", expires_at=END))
    assert repr(twice) == (
        "Limits(expires_at='2030-06-01T00:00:00Z', networks=['10.0.0.0/8'], read_only=True)"
        ".meet(Limits(networks=['10.1.0.0/16']))"
    )
    assert twice.describe()["networks"] == "10.0.0.0/8; and 10.1.0.0/16"


def test_exceeding_names_the_clauses_of_the_ceiling():
    """The error can say what is allowed and what was asked."""
    ceiling = Limits(networks="10.0.0.0/8", methods="GET", read_only=True)
    asked = Limits(networks="10.1.0.0/16", methods="GET,POST")
    assert [clause.describe() for clause in asked.exceeds(ceiling)] == ["GET", "reads only"]
    assert not ceiling.covers(asked)
    assert ceiling.covers(asked.meet(ceiling))
    assert Limits().covers(asked)
    assert asked.exceeds(Limits()) == ()


def test_limits_have_a_size():
    """Narrowing again and again is refused before a record is too large."""
    limits = Limits.of_clauses(Methods(frozenset({f"M{number}"})) for number in range(64))
    assert limits.meet(limits) == limits
    with pytest.raises(LimitError, match="65 clauses, the most is 64") as caught:
        limits.meet(Limits(methods="GET"))
    assert caught.value.fix


def test_a_change_replaces_the_named_dimensions_alone():
    """A replaced dimension forgets all its clauses; every other stays."""
    limits = Limits(methods="GET", networks="10.0.0.0/8").meet(Limits(methods="GET,POST"))
    assert limits.replaced({}) == limits
    assert limits.replaced({"methods": Limits(methods="PUT")}) == Limits(
        methods="PUT", networks="10.0.0.0/8"
    )
    assert limits.replaced({"methods": Limits()}) == Limits(networks="10.0.0.0/8")
    assert limits.replaced({"read_only": Limits(read_only=True)}) == limits.meet(
        Limits(read_only=True)
    )


def test_a_change_of_one_moment_keeps_the_other():
    """The two moments are two keywords and one lifetime."""
    start, later = datetime(2030, 1, 1, tzinfo=UTC), datetime(2031, 1, 1, tzinfo=UTC)
    limits = Limits(not_before=start, expires_at=later).meet(Limits(expires_at=END))
    longer = limits.replaced({"expires_at": Limits(expires_at=later)})
    assert longer == Limits(not_before=start, expires_at=later)
    assert limits.replaced({"expires_at": Limits()}) == Limits(not_before=start)
    assert limits.replaced({"not_before": Limits()}) == Limits(expires_at=END)
    assert limits.replaced({"not_before": Limits(), "expires_at": Limits()}) == Limits()
    with pytest.raises(LimitError, match="expires_at: is not after not_before"):
        limits.replaced({"not_before": Limits(not_before=END)})


def test_one_moment_does_not_mend_an_unreadable_lifetime():
    """Only a lifetime that is written whole replaces one that cannot be read."""
    broken = Limits.load({"lifetime": [{"expires_at": "soon"}]})
    half = broken.replaced({"expires_at": Limits(expires_at=END)})
    assert not half.permits(GET, 0.0)
    whole = broken.replaced({"expires_at": Limits(expires_at=END), "not_before": Limits()})
    assert whole == Limits(expires_at=END)


@pytest.mark.parametrize(
    "stored",
    [
        {"geo": [["CH"]]},
        {"networks": ["*"]},
        {"networks": ["10.0.0.1/8"]},
        {"networks": [None]},
        {"networks": [["10.0.0.0/8"], 7]},
        {"networks": []},
        {"networks": {}},
        {"networks": "10.0.0.0/8"},
        {"networks": ["10.0.0.0/8"]},
        {"models": ["invoice"]},
        {"scopes": ["*"]},
        {"networks": None},
        {"read_only": [False]},
        {"read_only": True},
        {"tenants": [["~"]]},
        {"models": [{"*": "write"}]},
        {"lifetime": [{}]},
        {"header_only": [False]},
        {"hours": ["*"]},
        {"hours": [["mon 08:00-18:00 Atlantis/Zurich"]]},
        {"hours": [["mon 08:00-18:00 ../../UTC"]]},
        {"hours": [["mon 08:00-18:00"]]},
        {"expires_at": ["2030-01-01T00:00:00Z"]},
        {"": [[]]},
    ],
)
def test_a_stored_limit_that_cannot_be_read_denies(stored: dict[str, object]):
    """Unknown, unreadable, empty or not a list: never skipped, and stored again as it was."""
    limits = Limits.load(stored)
    (dimension,) = stored
    assert not limits.permits(GET, 0.0)
    (clause,) = [clause for clause in limits if isinstance(clause, Unreadable)]
    assert clause.reason(GET, 0.0) is Reason.LIMIT_INVALID
    assert clause.dimension == dimension
    assert "unreadable" in limits.describe()[dimension]
    assert f"{dimension}=<unreadable>" in repr(limits)
    again = Limits.load(json.loads(json.dumps(limits.dump())))
    assert again == limits
    if len(limits.clauses) == 1:
        assert limits.dump() == stored


def test_an_unreadable_limit_stays_one_beside_others():
    """What was no list of clauses must not become a readable member of one."""
    broken = Limits.load({"networks": "10.0.0.0/8"})
    mixed = broken.meet(Limits(networks="10.0.0.0/9", methods="GET"))
    again = Limits.load(mixed.dump())
    assert again.dump() == {"networks": "10.0.0.0/8", "methods": [["GET"]]}
    assert not again.permits(GET, 0.0)


def test_an_unreadable_limit_covers_itself_alone():
    """Nobody knows what it means."""
    one, two = Limits.load({"geo": [["CH"]]}), Limits.load({"geo": [["DE"]]})
    readable = Limits(networks="10.0.0.0/8")
    unreadable = Limits.load({"networks": [7]})
    assert one.covers(one)
    assert not one.covers(two)
    assert not readable.covers(unreadable)
    assert not unreadable.covers(readable)
    assert unreadable.covers(unreadable.meet(readable))
    with pytest.raises(LimitError, match="cannot be written"):
        Unreadable.parse(["CH"])


@pytest.mark.parametrize("stored", [None, [], "{}", 7, {7: []}, {None: []}])
def test_what_is_no_mapping_of_names_is_not_loaded(stored: object):
    """That is a corrupt record, which the caller reports as one."""
    with pytest.raises(LimitError, match="restore the record"):
        Limits.load(stored)


def test_what_is_no_json_is_unreadable_by_its_type():
    """Loading never raises for the content of a dimension, whatever it is."""
    endless: list[object] = []
    endless.append(endless)
    for value in ({1, 2}, endless, {(1, 2): 3}, object()):
        limits = Limits.load({"networks": [value]})
        assert not limits.permits(GET, 0.0)
        assert limits.dump() == {"networks": [f"<{type(value).__name__}>"]}


def test_nothing_stored_is_no_limit():
    """An empty mapping is what `Limits()` is stored as."""
    assert Limits().dump() == {}
    assert Limits.load({}) == Limits()


@pytest.mark.usefixtures("geo")
def test_a_dimension_of_a_site_works_like_a_built_in_one():
    """Keyword, check, ceiling, description, store: all by registering the class."""
    limits = Limits(geo=["CH", "DE"], methods="GET")
    assert limits.permits(RequestFacts(method="GET", path="/CH"), 0.0)
    assert not limits.permits(RequestFacts(method="GET", path="/FR"), 0.0)
    assert limits.describe() == {"methods": "GET", "geo": "CH, DE"}
    assert repr(limits) == "Limits(methods=['GET'], geo=['CH', 'DE'])"
    assert limits.covers(Limits(geo=["CH"], methods="GET"))
    assert not limits.covers(Limits(geo=["FR"], methods="GET"))
    assert Limits.load(limits.dump()) == limits
    assert Limits.read({"geo": ["*"]}) == Limits()
    with pytest.raises(LimitError, match=r"geo: is null; leave it out$"):
        Limits(geo=None)


@pytest.mark.usefixtures("geo")
def test_a_dimension_of_a_site_that_fails_to_read_denies():
    """Its `parse` may raise what it likes at stored content."""
    assert not Limits.load({"geo": ["CH"]}).permits(GET, 0.0)


def test_a_limit_stored_by_another_process_is_read_once_the_dimension_is_known(
    table: dict[str, type[Clause]],
):
    """Unknown here is not lost: it denies, is kept, and works where it is registered."""
    stored = Limits.load({"geo": [["CH"]]}).dump()
    register(Geo)
    assert table["geo"] is Geo
    assert Limits.load(stored) == Limits(geo=["CH"])


@pytest.mark.parametrize("answer", [None, 1, "yes", object(), [True]])
def test_only_true_permits(geo: type[Geo], monkeypatch: pytest.MonkeyPatch, answer: object):
    """A dimension that forgets to answer denies."""
    monkeypatch.setattr(geo, "permits", lambda *_: answer)
    assert Limits(geo=["CH"]).permits(RequestFacts(method="GET", path="/CH"), 0.0) is False


def test_a_dimension_that_must_be_awaited_denies(geo: type[Geo], monkeypatch: pytest.MonkeyPatch):
    """A coroutine is true in Python, and no answer."""
    started = []

    async def later() -> bool:
        return True

    def permits(*_: object) -> object:
        started.append(later())
        return started[-1]

    monkeypatch.setattr(geo, "permits", permits)
    assert Limits(geo=["CH"]).permits(RequestFacts(method="GET", path="/CH"), 0.0) is False
    assert asyncio.run(started[0]) is True


def test_a_ceiling_that_does_not_answer_true_is_exceeded(
    geo: type[Geo], monkeypatch: pytest.MonkeyPatch
):
    """Unsure is no."""
    monkeypatch.setattr(geo, "covers", lambda *_: 1)
    assert not Limits(geo=["CH"]).covers(Limits(geo=["CH"]))


def test_a_dimension_reads_clauses_of_its_own_only(geo: type[Geo], monkeypatch: pytest.MonkeyPatch):
    """What `parse` returns is what the table says, or nothing."""
    monkeypatch.setattr(geo, "parse", lambda _: Methods(frozenset()))
    with pytest.raises(LimitError, match="is read as Methods; return Geo from its parse"):
        Limits(geo=["CH"])
    assert not Limits.load({"geo": [["CH"]]}).permits(GET, 0.0)


@pytest.mark.usefixtures("table")
@pytest.mark.parametrize(
    ("base", "members", "problem"),
    [
        (Geo, {"dimension": None}, "no usable dimension"),
        (Geo, {"dimension": "Geo"}, "no usable dimension"),
        (Geo, {"dimension": "my geo"}, "no usable dimension"),
        (Geo, {"dimension": ""}, "no usable dimension"),
        (Geo, {"dimension": "networks"}, "is a dimension already"),
        (Geo, {"dimension": "expires_at"}, "is a dimension already"),
        (Geo, {"dimension": "other", "__hash__": None}, "not hashable"),
        (Clause, {"dimension": "other"}, "lacks covers, describe, dump, parse, permits, reason"),
        (Clause, {}, "no usable dimension"),
    ],
)
def test_a_dimension_that_cannot_work_is_refused_at_registration(
    base: type[Clause], members: dict[str, object], problem: str
):
    """At start, where somebody sees it, and not at the first request."""
    before = dict(DIMENSIONS)
    with pytest.raises(LimitError, match=problem) as caught:
        register(type("Other", (base,), members))
    assert caught.value.fix
    assert before == DIMENSIONS


@pytest.mark.usefixtures("geo")
def test_registering_the_same_dimension_again_changes_nothing():
    """Modules may be imported by two entry points."""
    assert register(Geo) is Geo
