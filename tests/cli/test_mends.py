"""Edits that admit a refused request admit nothing else that was refused."""

from __future__ import annotations

import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keybound.core.errors import LimitError
from keybound.core.facts import RequestFacts, pack_address
from keybound.core.limits import Clause, Limits, Unreadable
from keybound.core.mends import mend_of
from keybound.core.reasons import Reason

ADDRESSES = ["10.0.0.1", "10.0.0.2", "10.0.1.1", "192.168.0.1", "2001:db8::1", "2001:db8::2"]
NETWORKS = [*ADDRESSES, "10.0.0.0/24", "10.0.0.0/8", "0.0.0.0/0", "2001:db8::/64", "*"]
TENANTS = ["a", "a/b", "a/c", "b", "*/b", "*"]
MODELS = [f"{name}:{access}" for name in ("a", "b", "*") for access in ("read", "write")]


def networks() -> st.SearchStrategy[Limits]:
    """Networks with exclusions."""
    excluded = st.lists(st.sampled_from([f"!{each}" for each in NETWORKS[:-1]]), max_size=2)
    allowed = st.lists(st.sampled_from(NETWORKS), min_size=1, max_size=3)
    return st.tuples(allowed, excluded).map(lambda each: Limits(networks=[*each[0], *each[1]]))


def models() -> st.SearchStrategy[Limits]:
    """Models, each name once."""
    named = st.lists(st.sampled_from(MODELS), max_size=3, unique_by=lambda each: each[0])
    return named.map(lambda names: Limits(models=names))


def facts() -> st.SearchStrategy[RequestFacts]:
    """Requests about everything that the limits here are about."""
    return st.builds(
        RequestFacts,
        method=st.sampled_from(["GET", "POST"]),
        path=st.just("/"),
        address=st.sampled_from([pack_address(text) for text in ADDRESSES]),
        tenant=st.sampled_from(["a", "a/b", "a/c", "a/b/c", "b", "c/b"]),
        model=st.sampled_from(["a", "b", "c"]),
        access=st.sampled_from(["read", "write"]),
        scopes=st.lists(st.sampled_from(["x", "y"]), unique=True).map(tuple),
    )


ANY = st.one_of(
    networks(),
    models(),
    st.lists(st.sampled_from(TENANTS)).map(lambda names: Limits(tenants=names)),
    st.lists(st.sampled_from(["GET", "POST"])).map(lambda names: Limits(methods=names)),
    st.lists(st.sampled_from(["x", "y"])).map(lambda names: Limits(scopes=names)),
)


def edited(line: str, clauses: list[Clause]) -> Limits:
    """Return the limits that a printed command leaves."""
    words = shlex.split(line)
    assert words[:3] == ["keybound", "update", "key_1"]
    flags, values = words[3::2], words[4::2]
    assert set(flags) <= {"--tenant", "--network", "--method", "--scope", "--model"}
    return Limits.read({clauses[0].dimension: values})


@given(st.lists(ANY, min_size=1, max_size=8), facts(), st.lists(facts(), max_size=8))
def test_edit_admits_the_request_and_nothing_beyond_it(
    drawn: list[Limits], request: RequestFacts, others: list[RequestFacts]
):
    """What all clauses permitted stays permitted, the request joins, and nothing unlike it does."""
    first = next((limits for limits in drawn if limits.clauses), None)
    if first is None:
        return
    dimension = first.clauses[0].dimension
    clauses = [each for limits in drawn for each in limits.of(dimension)]
    if all(each.permits(request, 0) for each in clauses):
        return
    refused = next(each for each in clauses if not each.permits(request, 0))
    line = mend_of("key_1", clauses, request, refused.reason(request, 0), 0.0)
    after = edited(line, clauses)
    assert after.permits(request, 0)
    for other in others:
        before = all(each.permits(other, 0) for each in clauses)
        if after.permits(other, 0) and not before:
            assert alike(dimension, other, request)


def alike(dimension: str, one: RequestFacts, other: RequestFacts) -> bool:
    """Say whether a limit that names what one request needs names it for the other as well."""
    if dimension == "networks":
        return one.address == other.address
    if dimension == "methods":
        return one.method == other.method
    if dimension == "models":
        return one.model == other.model
    if dimension == "scopes":  # scopes of the request join those that are granted
        return bool(set(one.scopes) & set(other.scopes))
    return f"{one.tenant}/".startswith(f"{other.tenant}/")


def test_unreadable_clause_is_not_overwritten_by_a_guess():
    """Beside a clause that cannot be read, no edit is proposed that would drop it unseen."""
    (readable,) = Limits(networks="10.0.0.0/8").clauses
    unreadable = Unreadable.of("networks", {"strange": True})
    request = RequestFacts(method="GET", path="/", address=pack_address("192.168.0.1"))
    line = mend_of("key_1", [readable, unreadable], request, Reason.NETWORK_NOT_ALLOWED, 0.0)
    assert "replace the limit" in line


@pytest.mark.parametrize(
    ("limits", "reason", "words"),
    [
        (Limits(tenants="a"), Reason.TENANT_MISMATCH, "naming more for tenants"),
        (Limits(read_only=True), Reason.METHOD_NOT_ALLOWED, "--no-read-only"),
        (Limits(header_only=True), Reason.CREDENTIAL_NOT_ALLOWED, "--no-header-only"),
        (
            Limits(hours="mon 08:00-18:00 Asia/Tokyo"),
            Reason.OUTSIDE_TIME_WINDOW,
            (
                "wait, or keybound update key_1 --hours 'mon 08:00-18:00 Asia/Tokyo'"
                " --hours 'thu 09:00-10:00 Asia/Tokyo'"
            ),
        ),
        (
            Limits(hours=[]),
            Reason.OUTSIDE_TIME_WINDOW,
            "keybound update key_1 --hours 'thu 00:00-01:00 UTC'",
        ),
    ],
)
def test_edit_without_a_request_names_the_limit(limits: Limits, reason: Reason, words: str):
    """When only the denial is known, the edit says as much as can be said."""
    assert words in mend_of("key_1", limits.clauses, None, reason, 0.0)


def test_tenant_that_no_limit_can_name_has_no_edit():
    """A request about a tenant with an odd name is not mended by a command that would fail."""
    request = RequestFacts(method="GET", path="/", tenant="a//b")
    line = mend_of("key_1", Limits(tenants="a").clauses, request, Reason.TENANT_MISMATCH, 0.0)
    assert line.startswith("none: ")
    with pytest.raises(LimitError):
        Limits(tenants="a//b")
