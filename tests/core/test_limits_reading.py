"""How limits are written: null, missing, empty and all are four things, and nothing is guessed."""

from __future__ import annotations

from datetime import datetime

import pytest

from keybound.core.errors import InputError, KeyboundError, LimitError
from keybound.core.facts import RequestFacts
from keybound.core.limits import Lifetime, Limits, Unreadable, stored

FACTS = RequestFacts(
    method="GET", path="/", address=0x0A000001, tenant="acme", model="invoice", access="read"
)
LISTS = ("tenants", "networks", "methods", "scopes", "models")


def permits(limits: Limits) -> bool:
    """Return what the limits answer to a request that resolves everything."""
    return limits.permits(FACTS, 0.0)


def test_nothing_written_permits_everything():
    """No limits are no limit, and say so."""
    limits = Limits()
    assert permits(limits)
    assert list(limits) == []
    assert limits.describe() == {}
    assert repr(limits) == "Limits()"


@pytest.mark.parametrize("dimension", LISTS)
@pytest.mark.parametrize("empty", [[], (), set(), frozenset(), "[]", " [] "])
def test_an_empty_list_is_none(dimension: str, empty: object):
    """``[]`` is never all, in whatever shape it comes."""
    facts = RequestFacts(
        method="GET",
        path="/",
        address=0x0A000001,
        tenant="acme",
        model="invoice",
        scopes=("rest",),
    )
    limits = Limits.read({dimension: empty})
    assert not limits.permits(facts, 0.0)
    assert limits.describe() == {dimension: "none"}
    assert limits == Limits.read({dimension: []})


@pytest.mark.parametrize("dimension", ["networks", "methods", "models", "hours"])
@pytest.mark.parametrize("everything", ["*", ["*"], " * "])
def test_a_star_is_the_same_as_nothing_written(dimension: str, everything: object):
    """``*`` is the other spelling of absent, also beside other members."""
    assert Limits.read({dimension: everything}) == Limits()


@pytest.mark.parametrize("dimension", ["not_before", "expires_at"])
def test_a_star_opens_a_moment(dimension: str):
    """``*`` leaves a lifetime open, as leaving it out does."""
    assert Limits.read({dimension: "*"}) == Limits()


@pytest.mark.parametrize(
    ("dimension", "choices", "written"),
    [
        *(
            (each, "write '*' for all, [] for none", ["*", []])
            for each in LISTS
            if each != "scopes"
        ),
        ("scopes", "write [] for none", [[]]),
        ("hours", "write '*' for always, [] for never", ["*", []]),
        ("read_only", "write true or false", [True, False]),
        ("header_only", "write true or false", [True, False]),
        ("not_before", "write '*' for always", ["*"]),
        ("expires_at", "write '*' for always", ["*"]),
    ],
)
def test_null_is_an_error_that_names_every_way_out(
    dimension: str, choices: str, written: list[object]
):
    """Null could mean all or none, so it means neither; what the error names can be written."""
    with pytest.raises(LimitError, match="is null; ") as caught:
        Limits.read({dimension: None})
    assert (caught.value.field, caught.value.fix) == (dimension, f"leave it out, or {choices}")
    for each in written:
        Limits.read({dimension: each})


@pytest.mark.parametrize("dimension", LISTS)
@pytest.mark.parametrize("value", [True, False, 0, 1, 1.5, b"acme", object()])
def test_other_types_are_not_read(dimension: str, value: object):
    """Nothing is coerced to a list."""
    with pytest.raises(LimitError, match=f"is of type {type(value).__name__}") as caught:
        Limits.read({dimension: value})
    assert caught.value.field == dimension
    assert caught.value.fix


@pytest.mark.parametrize("dimension", LISTS)
@pytest.mark.parametrize("member", [True, 0, 1, 167772161, 1.5, None, b"acme", ["acme"]])
def test_members_that_are_no_text_are_not_read(dimension: str, member: object):
    """Nothing is coerced to text: ``ip_address(True)`` is not a network."""
    with pytest.raises(LimitError, match="has a member that is of type") as caught:
        Limits.read({dimension: [member]})
    assert caught.value.field == dimension
    assert caught.value.fix == "write it as text"


@pytest.mark.parametrize("dimension", LISTS)
@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("", "an empty member"),
        (" ", "an empty member"),
        (["A", ""], "an empty member"),
        ("A,", "an empty member"),
        ("A,,B", "an empty member"),
        (["A,B"], "a comma"),
        (["A" * 257], "257 characters"),
        (["A"] * 1_001, "1001 members"),
        (",".join(["A"] * 1_001), "1001 members"),
        ("A\u00a0", "has|is"),
        ("A\x1f", "has|is"),
        ("A\n", "has|is"),
        ("A B", "has|is"),
        ("A\u200bB", "has|is"),
        ("A\ud800", "has|is"),
    ],
)
def test_members_that_cannot_be_meant_are_errors(dimension: str, value: object, problem: str):
    """Too many, too long, empty, or with characters that `str.strip` would have eaten."""
    with pytest.raises(LimitError, match=problem) as caught:
        Limits.read({dimension: value})
    assert caught.value.field == dimension
    assert caught.value.fix
    assert len(str(caught.value)) < 300
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("dimension", "text", "members"),
    [
        ("tenants", " acme ,\tR1/acme,acme", ["acme", "R1/acme"]),
        ("networks", "10.0.0.0/8 , !10.1.2.3", ("!10.1.2.3", "10.0.0.0/8", "10.0.0.0/8")),
        ("methods", "GET,POST", {"POST", "GET"}),
        ("scopes", "rest, ui", frozenset({"ui", "rest"})),
        ("models", "invoice:read,message", ["message:write", "invoice:read", " message "]),
    ],
)
def test_text_with_commas_is_a_list(dimension: str, text: str, members: object):
    """Blanks, order and duplicates do not matter."""
    assert Limits.read({dimension: text}) == Limits.read({dimension: members})


def test_text_of_a_subclass_is_plain_text_afterwards():
    """A member of an enumeration of strings is stored and shown as what it stands for."""

    class Loud(str):
        __slots__ = ()

        def __repr__(self) -> str:
            return "LOUD"

    limits = Limits(scopes=[Loud("rest")])
    assert repr(limits) == "Limits(scopes=['rest'])"


@pytest.mark.parametrize(
    ("name", "fix"),
    [
        ("network", "did you mean 'networks'?"),
        ("expires", "did you mean 'expires_at'?"),
        ("lifetime", "known are expires_at, header_only, hours, methods, models, networks"),
        ("geo", "known are"),
        ("", "known are"),
    ],
)
def test_an_unknown_limit_names_the_nearest(name: str, fix: str):
    """A misspelt limit must not become no limit."""
    with pytest.raises(LimitError, match="is not a limit") as caught:
        Limits.read({name: ["x"]})
    assert caught.value.field == name
    assert fix in caught.value.fix
    assert isinstance(caught.value, InputError)
    assert isinstance(caught.value, KeyboundError)


def test_keywords_and_a_mapping_read_the_same():
    """`Limits.read` is for values that somebody else typed."""
    assert Limits.read({"methods": "GET", "read_only": True}) == Limits(
        methods="GET", read_only=True
    )


@pytest.mark.parametrize("dimension", ["read_only", "header_only"])
@pytest.mark.parametrize("value", [1, 0, "true", "*", [], "[]"])
def test_a_switch_is_true_or_false_and_nothing_like_it(dimension: str, value: object):
    """A text ``false`` is true in Python, so it is not read."""
    with pytest.raises(LimitError, match=f"{dimension}: is neither true nor false") as caught:
        Limits.read({dimension: value})
    assert caught.value.fix == "write true or false"


def test_a_switch_that_is_off_is_no_clause():
    """Not limited is not narrowed."""
    assert Limits(read_only=False, header_only=False) == Limits()


def test_stored_limits_that_many_keys_share_are_read_once(monkeypatch):
    """What is kept is bounded, and only values that JSON writes in one way are told apart by it."""
    monkeypatch.setattr(stored, "_LOADED_MAX", 2)
    one, other = (Limits.load({"methods": [["GET"]]}) for _ in range(2))
    assert one == other
    assert one.clauses[0] is other.clauses[0]
    for method in ("PUT", "POST", "PATCH"):
        assert Limits.load({"methods": [[method]]}) == Limits(methods=[method])
    assert Limits.load({"methods": [["GET"]]}).clauses[0] is not one.clauses[0]
    for strange in ([b"GET"], [["GET"]], {1: "read"}, float("nan"), 1, None, ("GET",)):
        assert not permits(Limits.load({"models": [strange]}))


@pytest.mark.parametrize(
    ("stored", "permitted"),
    [
        ({"expires_at": "2030-01-01T00:00:00"}, "2029-12-31T09:59:59Z"),
        ({"not_before": "2030-01-01T00:00:00"}, "2030-01-01T12:00:00Z"),
        ({"not_before": "2029-01-01T00:00:00Z", "expires_at": "2030-01-01t00:00:00"}, None),
    ],
    ids=["an end is the soonest", "a beginning is the latest", "both, and in small letters"],
)
def test_stored_moment_without_an_offset_permits_what_it_does_in_every_zone(
    stored: dict[str, str], permitted: str | None
):
    """Somebody else has edited it: nobody's zone is assumed, so the narrowest counts."""
    (life,) = Limits.load({"lifetime": [stored]}).clauses
    assert isinstance(life, Lifetime)
    at = datetime.fromisoformat(permitted or "2029-12-31T09:59:59Z").timestamp()
    facts = RequestFacts(method="GET", path="/")
    assert life.permits(facts, at)
    beyond = -1 if "expires_at" not in stored else 1
    assert not life.permits(facts, at + beyond)


@pytest.mark.parametrize("stored", ["soon", ["2030-01-01"], {"expires_at": 7}, {"when": "now"}])
def test_stored_lifetime_that_is_none_permits_nothing(stored: object):
    """What cannot be read stays what it is."""
    (clause,) = Limits.load({"lifetime": [stored]}).clauses
    assert isinstance(clause, Unreadable)
