"""The laws of the lattice, over random limits of every dimension and random requests."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from ipaddress import IPv4Address, IPv6Address, ip_network
from itertools import product
from typing import get_args

from hypothesis import given
from hypothesis import strategies as st

from keybound.core.facts import IPV6_BASE, Access, RequestFacts, pack_address
from keybound.core.limits import (
    DIMENSIONS,
    HeaderOnly,
    Hours,
    Lifetime,
    Limits,
    Methods,
    Models,
    Networks,
    ReadOnly,
    Scopes,
    Tenants,
)
from keybound.testing.laws import DimensionLaws, request_facts

SEGMENTS = ("a", "b", "*")
PATTERNS = ["/".join(parts) for size in (1, 2, 3) for parts in product(SEGMENTS, repeat=size)]
NETWORKS = [
    *("10.0.0.0/28", "10.0.0.0/29", "10.0.0.8/29", "10.0.0.4/30", "10.0.0.6/31", "10.0.0.7"),
    *("10.0.0.0/8", "::/0", "::/124", "::8/125", "::3", "::ffff:10.0.0.5", "0.0.0.0/0", "*"),
]


def moment(seconds: float) -> datetime:
    """Return the moment so many seconds after the epoch."""
    return datetime.fromtimestamp(seconds, UTC)


def lifetime(first: int, length: int, shape: str) -> dict[str, object]:
    """Return a lifetime that is open on one side, or on none."""
    moments: dict[str, object] = {}
    if shape != "until":
        moments["not_before"] = moment(first)
    if shape != "from":
        moments["expires_at"] = moment(first + length).isoformat()
    return moments


def with_lifetime(keywords: dict[str, object], moments: dict[str, object] | None) -> Limits:
    """Return the limits of keywords, and of a lifetime if there is one."""
    return Limits.read(keywords | (moments or {}))


TENANTS = st.lists(st.sampled_from(PATTERNS), max_size=4)
METHODS = st.sets(st.sampled_from(["GET", "POST", "PUT", "WEBSOCKET", "*"]), max_size=3)
SWITCH = st.booleans()
SCOPES = st.sets(st.sampled_from(["a", "b", "*"]))
MODELS = st.dictionaries(st.sampled_from(["a", "b", "*"]), st.sampled_from(["read", "write"]))
# Times of the tests here are of the first minute of 1970, a Thursday, or of a week in 2026.
HOURS = st.lists(
    st.builds(
        "{} {} {}".format,
        st.sampled_from(["daily", "thu", "wed,thu", "fri-mon", "sun"]),
        st.sampled_from(
            ["00:00-24:00", "00:00-12:00", "01:30-02:30", "23:00-00:01", "20:00-02:00"]
        ),
        st.sampled_from(["UTC", "Europe/Zurich", "Australia/Lord_Howe"]),
    ),
    max_size=4,
)
SPRING = datetime(2026, 3, 27, tzinfo=UTC).timestamp()
MOMENTS = st.integers(0, 40).map(lambda half: half / 2) | st.integers(0, 10 * 24 * 12).map(
    lambda fives: SPRING + fives * 300
)
LIFETIMES = st.builds(
    lifetime, st.integers(0, 15), st.integers(1, 15), st.sampled_from(["from", "until", "both"])
)


@st.composite
def network_lists(draw: st.DrawFn) -> list[str]:
    """Return allowed networks with exclusions inside and beside them."""
    allowed = draw(st.lists(st.sampled_from(NETWORKS), max_size=4))
    excluded = draw(st.lists(st.sampled_from(NETWORKS[:-1]), max_size=3)) if allowed else []
    return [*allowed, *(f"!{network}" for network in excluded)]


class TestTenants(DimensionLaws):
    """Tenants keep the laws."""

    dimension = Tenants
    values = TENANTS


class TestNetworks(DimensionLaws):
    """Networks keep the laws."""

    dimension = Networks
    values = network_lists()


class TestMethods(DimensionLaws):
    """Methods keep the laws."""

    dimension = Methods
    values = METHODS


class TestReadOnly(DimensionLaws):
    """Read-only keeps the laws."""

    dimension = ReadOnly
    values = SWITCH


class TestHeaderOnly(DimensionLaws):
    """Header-only keeps the laws."""

    dimension = HeaderOnly
    values = SWITCH


class TestHours(DimensionLaws):
    """Hours keep the laws, in the weeks in which the clocks of two zones are changed."""

    dimension = Hours
    values = HOURS
    facts = st.just(RequestFacts(method="GET", path="/"))
    moments = MOMENTS


class TestScopes(DimensionLaws):
    """Scopes keep the laws."""

    dimension = Scopes
    values = SCOPES


class TestModels(DimensionLaws):
    """Models keep the laws."""

    dimension = Models
    values = MODELS


class TestLifetime(DimensionLaws):
    """Lifetimes keep the laws."""

    dimension = Lifetime
    values = LIFETIMES


KEYWORDS = st.fixed_dictionaries(
    {},
    optional={
        "tenants": TENANTS,
        "networks": network_lists(),
        "methods": METHODS,
        "read_only": SWITCH,
        "header_only": SWITCH,
        "hours": HOURS,
        "scopes": SCOPES,
        "models": MODELS,
    },
)
LIMITS = st.builds(with_lifetime, KEYWORDS, st.none() | LIFETIMES)
CHAINS = st.lists(LIMITS, max_size=3)
NOW = st.integers(0, 40).map(lambda half: half / 2)


def met(chain: list[Limits]) -> Limits:
    """Return what a list of limits makes together."""
    result = Limits()
    for limits in chain:
        result = result.meet(limits)
    return result


def test_every_built_in_dimension_is_held_to_the_laws():
    """A dimension of ours cannot be added without a class above."""
    held = {laws.dimension.dimension for laws in DimensionLaws.__subclasses__()}
    assert set(DIMENSIONS) <= held


@given(CHAINS, request_facts(), NOW)
def test_a_request_passes_the_meet_of_a_chain_if_it_passes_every_node(
    chain: list[Limits], facts: RequestFacts, now: float
):
    """The chain may be evaluated node by node."""
    each = all(limits.permits(facts, now) for limits in chain)
    assert met(chain).permits(facts, now) is each


@given(CHAINS, CHAINS, request_facts(), NOW)
def test_limits_that_cover_others_permit_what_they_permit(
    ceilings: list[Limits], chain: list[Limits], facts: RequestFacts, now: float
):
    """What issuing checks once, holds for every request."""
    ceiling, below = met(ceilings), met(chain)
    if ceiling.covers(below) and below.permits(facts, now):
        assert ceiling.permits(facts, now)
    assert ceiling.covers(below) is (not below.exceeds(ceiling))
    assert ceiling.covers(ceiling.meet(below))


@given(LIMITS, LIMITS, LIMITS)
def test_meet_is_commutative_associative_and_idempotent(one: Limits, two: Limits, three: Limits):
    """The same clauses are the same limits, in whatever order they came."""
    assert one.meet(two) == two.meet(one)
    assert hash(one.meet(two)) == hash(two.meet(one))
    assert one.meet(two).meet(three) == one.meet(two.meet(three))
    assert one.meet(one) == one == one.meet(Limits())


@given(CHAINS)
def test_stored_limits_are_read_back_equal(chain: list[Limits]):
    """Nothing is lost or widened on the way through JSON."""
    limits = met(chain)
    again = Limits.load(json.loads(json.dumps(limits.dump())))
    assert again == limits
    assert again.dump() == limits.dump()
    assert repr(again) == repr(limits)


@given(CHAINS)
def test_the_repr_of_limits_makes_them(chain: list[Limits]):
    """What a person copies from a log or a shell is the same limits."""
    limits = met(chain)
    assert eval(repr(limits), {"Limits": Limits}) == limits  # noqa: S307 -- our own text


@given(CHAINS)
def test_clauses_come_in_the_order_of_the_table(chain: list[Limits]):
    """Cheap and harmless first, the same for every key."""
    places = [Limits.check_order(clause.dimension) for clause in met(chain)]
    assert places == sorted(places)


@given(network_lists(), network_lists())
def test_networks_cover_exactly_what_they_contain(one: list[str], two: list[str]):
    """For networks `covers` is no guess: it is inclusion, address by address."""
    ceiling, below = Networks.parse(one), Networks.parse(two)
    if ceiling is None or below is None:
        return
    # Every network of these tests starts or ends at one of these, or between two of them.
    world = [
        *range(0x0A000000 - 1, 0x0A000000 + 17),
        *(0, 0x0AFFFFFF, 0x0B000000, 0xFFFFFFFF),
        *range(IPV6_BASE, IPV6_BASE + 17),
        IPV6_BASE * 2 - 1,
    ]
    requests = [RequestFacts(method="GET", path="/", address=address) for address in world]
    contained = all(ceiling.permits(facts, 0) for facts in requests if below.permits(facts, 0))
    assert ceiling.covers(below) is contained


@given(TENANTS, TENANTS)
def test_tenants_cover_exactly_what_they_name(one: list[str], two: list[str]):
    """A pattern is covered if every tenant of it is, also those that nobody wrote."""
    ceiling, below = Tenants.parse(one), Tenants.parse(two)
    assert ceiling is not None
    assert below is not None
    names = [
        "/".join(parts) for size in (1, 2, 3) for parts in product(("a", "b", "z"), repeat=size)
    ]
    requests = [RequestFacts(method="GET", path="/", tenant=name) for name in names]
    contained = all(ceiling.permits(facts, 0) for facts in requests if below.permits(facts, 0))
    assert ceiling.covers(below) is contained


@given(TENANTS, request_facts().map(lambda facts: facts.tenant or "a"))
def test_tenants_permit_what_the_patterns_say(patterns: list[str], tenant: str):
    """The same, said in another way: a segment is any text without a slash."""
    clause = Tenants.parse(patterns)
    assert clause is not None
    said = any(
        re.fullmatch(
            "/".join("[^/]+" if part == "*" else re.escape(part) for part in pattern.split("/"))
            + "(/[^/]+)*",
            tenant,
        )
        for pattern in patterns
    )
    assert clause.permits(RequestFacts(method="GET", path="/", tenant=tenant), 0) is said


@given(network_lists(), st.ip_addresses(network="10.0.0.0/28") | st.ip_addresses(network="::/124"))
def test_networks_permit_what_the_standard_library_says(
    members: list[str], address: IPv4Address | IPv6Address
):
    """The compiled edges agree with asking one network after the other."""
    texts = [member.replace("::ffff:", "") for member in members]
    families = ["0.0.0.0/0", "::/0"]
    allowed = [text for text in texts if text[0] != "!" and text != "*"]
    excluded = [text[1:] for text in texts if text[0] == "!"]
    said = any(
        address in ip_network(text) for text in allowed + families * ("*" in texts)
    ) and not any(address in ip_network(text) for text in excluded)
    facts = RequestFacts(method="GET", path="/", address=pack_address(str(address)))
    assert Limits(networks=members).permits(facts, 0) is (said or ("*" in texts and not excluded))


def test_models_cover_exactly_what_they_grant():
    """A model that nobody named counts too; tried with every grant to two names and ``*``."""
    clauses = [
        clause
        for grants in product((None, "read", "write"), repeat=3)
        if (clause := Models.parse({n: g for n, g in zip("ab*", grants, strict=True) if g}))
    ]
    requests = [
        RequestFacts(method="GET", path="/", model=model, access=access)
        for model, access in product(("a", "b", "z"), get_args(Access))
    ]
    for ceiling, below in product(clauses, repeat=2):
        contained = all(ceiling.permits(facts, 0) for facts in requests if below.permits(facts, 0))
        assert ceiling.covers(below) is contained
