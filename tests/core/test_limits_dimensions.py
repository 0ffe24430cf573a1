"""Tenants, methods, reads, scopes, models and lifetimes: what each permits, and what it refuses."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from math import nan

import pytest

from keybound.core.errors import LimitError
from keybound.core.facts import RequestFacts
from keybound.core.limits import (
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
    parse_tenant,
)
from keybound.core.reasons import Reason

GET = RequestFacts(method="GET", path="/", access="read")


def about(tenant: str | None) -> RequestFacts:
    """Return a request about a tenant."""
    return RequestFacts(method="GET", path="/", tenant=tenant)


def test_the_deepest_tenant_has_thirty_two_segments():
    """Below that no pattern reaches, not even one that covers all that is beneath."""
    deepest = "/".join(["a"] * 32)
    for pattern in ("*", "a", "*/a"):
        limits = Limits(tenants=pattern)
        assert limits.permits(about(deepest), 0.0)
        assert not limits.permits(about(f"{deepest}/a"), 0.0)


@pytest.mark.parametrize(
    ("patterns", "inside", "outside"),
    [
        ("acme", ["acme", "acme/100"], ["acmee", "ACME", "R1/acme", "*", "acme ", "", None]),
        ("R1/acme", ["R1/acme", "R1/acme/100"], ["R1", "R1/other", "R1/*", "acme"]),
        ("*/acme", ["R1/acme", "R2/acme/100", "*/acme"], ["acme", "R1", "R1/R2/acme", "/acme"]),
        ("R1/*/100", ["R1/acme/100", "R1/*/100/x"], ["R1/acme", "R1/acme/200", "R1//100"]),
        ("*", ["acme", "R1/acme", "*", "*/*"], ["", "/", "acme/", "/acme", "a//b", None]),
        ("*", [], ["..", "acme/..", "./acme", "~", "R1/~"]),
        ("acme", [], ["acme/", "acme//x", "acme/.."]),
        ("*/*", ["R1/acme"], ["acme"]),
        ("acme, R1/acme", ["acme", "R1/acme/1"], ["R1"]),
        ([], [], ["acme", None]),
    ],
)
def test_a_tenant_pattern_covers_the_tenant_and_all_beneath(
    patterns: object, inside: list[str], outside: list[str | None]
):
    """Segment by segment; a tenant that a request calls ``*`` is only that name."""
    limits = Limits.read({"tenants": patterns})
    assert [name for name in inside if not limits.permits(about(name), 0.0)] == []
    assert [name for name in outside if limits.permits(about(name), 0.0)] == []


def test_a_key_for_headers_alone_is_refused_elsewhere():
    """Queries are logged and cookies are sent by themselves."""
    (clause,) = Limits(header_only=True)
    assert clause.permits(GET, 0.0)
    elsewhere = RequestFacts(method="GET", path="/", access="read", in_header=False)
    assert not clause.permits(elsewhere, 0.0)
    assert clause.reason(elsewhere, 0.0) is Reason.CREDENTIAL_NOT_ALLOWED
    assert Limits(header_only=True).describe() == {"header_only": "in a header only"}
    assert Limits(header_only=True).dump() == {"header_only": [True]}


def test_every_tenant_is_a_clause_of_its_own():
    """Leaving tenants out means the home tenant, so ``*`` must be said, and is kept."""
    (clause,) = Limits(tenants="*")
    assert isinstance(clause, Tenants)
    assert clause.dump() == ["*"]
    assert clause.describe() == "*"


def test_a_request_without_a_tenant_has_its_own_reason():
    """The operator sees whether a route forgets the tenant or names another."""
    (clause,) = Limits(tenants="acme")
    assert clause.reason(about("other"), 0.0) is Reason.TENANT_MISMATCH
    assert clause.reason(about(None), 0.0) is Reason.TENANT_UNRESOLVED
    assert clause.reason(about(""), 0.0) is Reason.TENANT_UNRESOLVED


@pytest.mark.parametrize(
    ("pattern", "problem", "fix"),
    [
        ("/acme", "an empty segment", "write 'acme'"),
        ("acme/", "an empty segment", "write 'acme'"),
        ("R1//acme", "an empty segment", "write 'R1/acme'"),
        ("/", "an empty segment", "write the tenant's name"),
        ("~", "the segment '~'", "write the tenant's name"),
        ("R1/..", "the segment '..'", "write the tenant's name"),
        ("./acme", "the segment '.'", "write the tenant's name"),
        ("ac*", "inside a segment", "'*' stands for one whole segment"),
        ("R1/**", "inside a segment", "'*' stands for one whole segment"),
        ("ac me", "a blank", "without it"),
        ("acme\u202e", "invisible", "without it"),
        ("acme\u038b", "invisible", "without it"),  # no character is assigned to this code point
    ],
)
def test_a_tenant_pattern_that_names_nothing_is_an_error(pattern: str, problem: str, fix: str):
    """A pattern must be readable in one way, by people too."""
    with pytest.raises(LimitError, match=problem) as caught:
        Tenants.parse([pattern])
    assert caught.value.field == "tenants"
    assert fix in caught.value.fix


def test_one_tenant_is_a_name_and_no_pattern():
    """A home tenant is a place, not a set of places."""
    assert parse_tenant(" R1/acme ") == "R1/acme"
    for value in ("*", "*/acme", "R1//acme", "~", "", "a,b", "a b", None, 7):
        with pytest.raises(LimitError) as caught:
            parse_tenant(value)
        assert caught.value.field == "tenant"
        assert caught.value.fix


@pytest.mark.parametrize(
    ("ceiling", "below", "covered"),
    [
        ("acme", "acme/100, acme", True),
        ("acme/100", "acme", False),
        ("*", "acme, R1/*", True),
        ("R1/acme", "R1/*", False),
        ("*/acme", "R1/acme, */acme/100", True),
        ("*/acme", "*", False),
        ("R1", [], True),
    ],
)
def test_tenants_are_covered_by_pattern(ceiling: object, below: object, covered: bool):  # noqa: FBT001
    """Also tenants that do not exist yet."""
    assert Limits.read({"tenants": ceiling}).covers(Limits.read({"tenants": below})) is covered


def test_methods_are_compared_to_the_letter():
    """Methods are case-sensitive, and a method nobody knows is just not listed."""
    (clause,) = Limits(methods="GET, WEBSOCKET")
    assert clause.permits(GET, 0.0)
    for method in ("get", "POST", "GET ", "*", ""):
        denied = RequestFacts(method=method, path="/")
        assert not clause.permits(denied, 0.0)
        assert clause.reason(denied, 0.0) is Reason.METHOD_NOT_ALLOWED
    assert clause.describe() == "GET, WEBSOCKET"
    assert clause.covers(Methods(frozenset({"GET"})))
    assert not clause.covers(Methods(frozenset({"POST"})))


@pytest.mark.parametrize(
    ("name", "problem", "fix"),
    [
        ("get", "not upper case", "write 'GET'"),
        ("Post", "not upper case", "write 'POST'"),
        ("GE T", "is no method", "GET, POST"),
        ("GET\n", "is no method", "GET, POST"),
        ("G\u00cbT", "is no method", "GET, POST"),
        ("P*", "is no method", "GET, POST"),
        ("(GET)", "is no method", "GET, POST"),
    ],
)
def test_a_method_that_is_no_token_is_an_error(name: str, problem: str, fix: str):
    """Beside ``*`` too: a list is read to its end."""
    for value in ([name], [name, "*"]):
        with pytest.raises(LimitError, match=problem) as caught:
            Methods.parse(value)
        assert caught.value.field == "methods"
        assert fix in caught.value.fix


def test_read_only_permits_what_the_route_calls_a_read():
    """A POST search may be a read, and a GET with a side effect a write."""
    (clause,) = Limits(read_only=True)
    search = RequestFacts(method="POST", path="/search", access="read")
    export = RequestFacts(method="GET", path="/export", access="write")
    assert clause.permits(search, 0.0)
    assert not clause.permits(export, 0.0)
    assert clause.reason(export, 0.0) is Reason.METHOD_NOT_ALLOWED
    assert clause.describe() == "reads only"
    assert clause == ReadOnly()


def asking(*scopes: str) -> RequestFacts:
    """Return a request whose route asks for scopes."""
    return RequestFacts(method="GET", path="/", scopes=scopes)


def test_scopes_are_granted_one_by_one():
    """A route is reached with all scopes that it asks for, and one that asks for none is."""
    clause = Scopes.parse("rest, ui")
    assert clause is not None
    assert clause.permits(asking(), 0.0)
    assert clause.permits(asking("rest"), 0.0)
    assert clause.permits(asking("ui", "rest"), 0.0)
    assert not clause.permits(asking("rest", "admin"), 0.0)
    assert clause.reason(asking("admin"), 0.0) is Reason.INSUFFICIENT_SCOPE
    assert clause.grants("rest")
    assert not clause.grants("admin")
    assert clause.widened() is clause


def test_a_star_among_the_scopes_grants_nothing_until_the_site_says_so():
    """It is stored as written; only `widened` makes it all, and only that covers all."""
    star, rest = Scopes(frozenset({"*"})), Scopes(frozenset({"rest"}))
    assert not star.permits(asking("rest"), 0.0)
    assert not star.grants("rest")
    assert not star.covers(rest)
    wide = star.widened()
    assert wide.permits(asking("rest", "admin"), 0.0)
    assert wide.grants("rest")
    assert wide.covers(rest)
    assert wide.covers(star)
    assert wide.covers(wide)
    assert not star.covers(wide)
    assert not wide.covers(ReadOnly())
    assert wide.dump() == ["*"]
    limits = Limits(scopes=["*"], methods="GET")
    assert not limits.permits(asking("rest"), 0.0)
    assert limits.with_wildcard_scopes().permits(asking("rest"), 0.0)
    assert limits.with_wildcard_scopes().of("methods") == limits.of("methods")


@pytest.mark.parametrize("name", ["a b", 'a"b', "a\\b", "caf\u00e9", "a\x7f", "a\n"])
def test_a_scope_that_is_no_token_is_an_error(name: str):
    """RFC 6749 section 3.3: a scope can stand in a challenge without being quoted away."""
    with pytest.raises(LimitError, match="is no scope") as caught:
        Scopes.parse([name])
    assert caught.value.field == "scopes"
    assert "ASCII" in caught.value.fix


def using(model: str | None, access: str = "read") -> RequestFacts:
    """Return a request that reads or writes a model."""
    return RequestFacts(
        method="GET", path="/", model=model, access="write" if access == "write" else "read"
    )


@pytest.mark.parametrize(
    ("models", "allowed", "denied"),
    [
        (
            {"invoice": "read", "message": "write"},
            [("invoice", "read"), ("message", "read"), ("message", "write")],
            [("invoice", "write"), ("other", "read"), ("*", "read"), ("", "read"), (None, "read")],
        ),
        ("message", [("message", "write")], [("Message", "read")]),
        ("invoice:read", [("invoice", "read")], [("invoice", "write"), ("invoice:read", "read")]),
        (
            "*:read, message",
            [("any", "read"), ("message", "write"), ("*", "read")],
            [("any", "write"), ("*", "write"), (None, "read")],
        ),
        (
            {"*": "write", "invoice": "read"},
            [("any", "write")],
            [("invoice", "write"), ("", "read")],
        ),
        ("llama3:8b", [("llama3:8b", "write")], [("llama3", "read")]),
        ("llama3:8b:read", [("llama3:8b", "read")], [("llama3:8b", "write")]),
        ({"a:read": "read"}, [("a:read", "read")], [("a", "read"), ("a:read", "write")]),
        ({}, [], [("invoice", "read"), (None, "read")]),
    ],
)
def test_a_model_is_granted_to_read_or_to_write(
    models: object, allowed: list[tuple[str | None, str]], denied: list[tuple[str | None, str]]
):
    """Write implies read, a name's own entry wins over ``*``, and no model passes no limit."""
    limits = Limits.read({"models": models})
    assert [entry for entry in allowed if not limits.permits(using(*entry), 0.0)] == []
    assert [entry for entry in denied if limits.permits(using(*entry), 0.0)] == []


def test_a_request_without_a_model_has_its_own_reason():
    """The operator sees whether a route forgets the model or the key does."""
    (clause,) = Limits(models="message")
    assert clause.reason(using("other"), 0.0) is Reason.MODEL_NOT_ALLOWED
    assert clause.reason(using(None), 0.0) is Reason.MODEL_UNRESOLVED
    assert clause.reason(using(""), 0.0) is Reason.MODEL_UNRESOLVED


@pytest.mark.parametrize("models", ["*", "*:write", {"*": "write"}, ["*"]])
def test_writing_every_model_is_no_clause(models: object):
    """That is what leaving models out means."""
    assert Limits.read({"models": models}) == Limits()


def test_models_are_described_and_stored_by_name():
    """Tables show the access; the store keeps the mapping."""
    (clause,) = Limits(models="message, *:read, llama3:8b:read")
    assert clause.describe() == "* (read), llama3:8b (read), message (write)"
    assert clause.dump() == {"*": "read", "llama3:8b": "read", "message": "write"}


@pytest.mark.parametrize(
    ("models", "problem", "fix"),
    [
        ("invoice:", "lacks a part", "name:read"),
        (":read", "lacks a part", "name:read"),
        ("invoice:Read", "neither 'read' nor 'write'", "in lower case"),
        ({"invoice": "rw"}, "neither 'read' nor 'write'", "leave the name out"),
        ({"invoice": True}, "neither 'read' nor 'write'", "leave the name out"),
        ({"invoice": None}, "neither 'read' nor 'write'", "leave the name out"),
        ({"invoice": ["read"]}, "neither 'read' nor 'write'", "leave the name out"),
        ({"": "read"}, "an empty member", "remove it"),
        ({7: "read"}, "of type int", "write it as text"),
        ({"a,b": "read"}, "a comma", "separate"),
        ({"a b": "read"}, "a blank", "without it"),
        ("inv*", "inside a name", "alone"),
        ("a:read, a:write", "given read and write", "write it once"),
        ({str(number): "read" for number in range(1_001)}, "1001 members", "1000"),
    ],
)
def test_models_that_can_be_read_two_ways_are_errors(models: object, problem: str, fix: str):
    """A misspelt access must not become part of a name, nor a list a wish."""
    with pytest.raises(LimitError, match=problem) as caught:
        Models.parse(models)
    assert caught.value.field == "models"
    assert fix in caught.value.fix


@pytest.mark.parametrize(
    ("ceiling", "below", "covered"),
    [
        ("a, b:read", "a:read", True),
        ("a:read", "a", False),
        ("*:read", "a:read, b:read", True),
        ("*:read", "a", False),
        ("a", "*:read", False),
        ({"*": "write", "a": "read"}, "*:read", True),
        ({"*": "write", "a": "read"}, {"*": "read", "a": "write"}, False),
        ("a", [], True),
    ],
)
def test_models_are_covered_name_by_name(ceiling: object, below: object, covered: bool):  # noqa: FBT001
    """Models that nobody named count too."""
    assert Limits.read({"models": ceiling}).covers(Limits.read({"models": below})) is covered


START, END = datetime(2030, 1, 1, tzinfo=UTC), datetime(2030, 6, 1, 12, 30, tzinfo=UTC)


def test_a_lifetime_has_its_first_moment_and_not_its_last():
    """``not_before <= now < expires_at``."""
    (clause,) = Limits(not_before=START, expires_at=END)
    first, last = START.timestamp(), END.timestamp()
    assert [clause.permits(GET, now) for now in (first - 0.001, first, last - 0.001, last)] == [
        False,
        True,
        True,
        False,
    ]
    assert clause.reason(GET, first - 1) is Reason.NOT_YET_VALID
    assert clause.reason(GET, last) is Reason.EXPIRED
    assert not clause.permits(GET, nan)


def test_a_lifetime_may_be_open():
    """One moment is enough, and says which."""
    (after,) = Limits(not_before=START)
    (before,) = Limits(expires_at=END)
    assert after.permits(GET, 1e12)
    assert before.permits(GET, -1e12)
    assert after.describe() == "from 2030-01-01T00:00:00Z"
    assert before.describe() == "until 2030-06-01T12:30:00Z"
    both = Limits(not_before=START, expires_at=END)
    assert both.describe() == {"lifetime": "from 2030-01-01T00:00:00Z until 2030-06-01T12:30:00Z"}
    assert repr(before) == f"Lifetime(not_before=None, expires_at={END!r})"


@pytest.mark.parametrize(
    "text",
    [
        "2030-06-01T12:30:00Z",
        "2030-06-01t12:30:00z",
        "2030-06-01 12:30:00+00:00",
        "2030-06-01T14:30:00+02:00",
        "2030-06-01T12:30:00.000000-00:00",
        "2030-06-01T12:30:00.0Z",
    ],
)
def test_a_moment_is_the_same_in_every_zone_and_spelling(text: str):
    """RFC 3339, as people and programs write it."""
    assert Limits(expires_at=text) == Limits(expires_at=END)
    zone = timezone(timedelta(hours=-5))
    assert Limits(expires_at=END.astimezone(zone)) == Limits(expires_at=END)


def test_a_moment_keeps_its_microseconds():
    """What is stored is what was asked for."""
    (clause,) = Limits(expires_at="2030-06-01T12:30:00.000001Z")
    assert clause.dump() == {"expires_at": "2030-06-01T12:30:00.000001Z"}


@pytest.mark.parametrize(
    ("value", "problem", "fix"),
    [
        (datetime(2030, 1, 1), "no time zone", "tzinfo"),  # noqa: DTZ001 -- that is the mistake
        ("2030-01-01T00:00:00", "no offset", "write '2030-01-01T00:00:00Z' if it is UTC"),
        ("2030-01-01", "is no moment", "RFC 3339"),
        ("2030-02-30T00:00:00Z", "is no moment", "RFC 3339"),
        ("2030-01-01T24:00:00Z", "is no moment", "RFC 3339"),
        ("2030-01-01T23:59:60Z", "is no moment", "RFC 3339"),
        ("2030-01-01T00:00:00.1234567Z", "is no moment", "RFC 3339"),
        ("2030-01-01T00:00:00+2:00", "is no moment", "RFC 3339"),
        ("2030-01-01T00:00:00+99:00", "is no moment", "RFC 3339"),
        ("12030-01-01T00:00:00Z", "is no moment", "RFC 3339"),
        ("0000-01-01T00:00:00Z", "is no moment", "RFC 3339"),
        ("\u0662030-01-01T00:00:00Z", "is no moment", "RFC 3339"),
        ("2030-W01-1T00:00:00Z", "is no moment", "RFC 3339"),
        ("20300101T000000Z", "is no moment", "RFC 3339"),
        ("1893456000000", "is no moment", "RFC 3339"),
        ("90d", "is no moment", "RFC 3339"),
        ("", "is no moment", "RFC 3339"),
        ("9999-12-31T23:59:59-01:00", "outside the years", "leave expires_at out"),
        (1893456000, "of type int", "aware datetime"),
        (1893456000.5, "of type float", "aware datetime"),
        (True, "of type bool", "aware datetime"),
        (date(2030, 1, 1), "of type date", "aware datetime"),
        ([], "of type list", "aware datetime"),
    ],
)
def test_what_is_no_exact_moment_is_an_error_with_the_fix(value: object, problem: str, fix: str):
    """A naive moment is another one on every machine, and a number may be milliseconds."""
    with pytest.raises(LimitError, match=problem) as caught:
        Limits.read({"expires_at": value})
    assert caught.value.field == "expires_at"
    assert fix in caught.value.fix


@pytest.mark.parametrize("end", [START, START - timedelta(microseconds=1)])
def test_a_lifetime_that_never_is_is_an_error(end: datetime):
    """A key that can never work was not meant."""
    with pytest.raises(LimitError, match="not after not_before") as caught:
        Limits(not_before=START, expires_at=end)
    assert caught.value.field == "expires_at"
    assert "later" in caught.value.fix


def test_a_lifetime_as_a_whole_is_read_like_its_parts():
    """The store keeps it as one mapping, and a misspelt member is no open end."""
    assert Lifetime.parse({}) is None
    assert Lifetime.parse({"not_before": "*", "expires_at": "*"}) is None
    with pytest.raises(LimitError, match="'expires' is not known; did you mean 'expires_at'"):
        Lifetime.parse({"expires": "2030-01-01T00:00:00Z"})
    with pytest.raises(LimitError, match="of type str"):
        Lifetime.parse("2030-01-01T00:00:00Z")
    with pytest.raises(LimitError, match="expires_at: is null"):
        Lifetime.parse({"expires_at": None})


def test_a_lifetime_covers_what_lies_within():
    """Open ends reach further than any moment."""
    whole, late = Limits(not_before=START), Limits(not_before=END)
    assert whole.covers(late)
    assert not late.covers(whole)
    assert not Limits(expires_at=END).covers(late)
    assert Limits(expires_at=END).covers(Limits(not_before=START, expires_at=END))


def test_no_clause_covers_one_of_another_dimension():
    """Whoever asks that has made a mistake, and unsure is no."""
    clauses = Limits(
        tenants="*",
        networks="*, !::1",
        methods="GET",
        read_only=True,
        models="a",
        scopes="a",
        hours="daily 00:00-24:00 UTC",
        header_only=True,
        expires_at=END,
    ).clauses
    kinds = {Lifetime, HeaderOnly, Tenants, Networks, Methods, ReadOnly, Scopes, Hours, Models}
    assert {type(clause) for clause in clauses} == kinds
    for one in clauses:
        assert [other for other in clauses if one.covers(other)] == [one]
