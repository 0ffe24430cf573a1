"""Terms: what limits come to for a node, and for several together."""

from __future__ import annotations

import pytest

from keybound.core.limits import Hours, Limits, Models, Scopes
from keybound.core.terms import ChainPolicy, effective_limits, merged, terms_of
from keybound.testing.records import a_group, a_key

PLAIN = ChainPolicy()
NARROW = Limits(scopes=["a"], read_only=True, models={"m": "read"})


@pytest.mark.parametrize(
    ("tenant", "limits", "tenancy", "tenants"),
    [
        ("acme", Limits(), False, "acme"),
        ("acme", Limits(), True, "acme"),
        (None, Limits(), True, "none"),
        (None, Limits(), False, None),
        ("acme", Limits(tenants="globex"), True, "globex"),
        (None, Limits(tenants="globex"), False, "globex"),
    ],
)
def test_a_key_that_names_no_tenants_has_its_home(tenant, limits, tenancy, tenants):
    """Without one it has none where requests are about tenants, and elsewhere no such limit."""
    key = a_key("key_1", tenant=tenant, limits=limits)
    assert effective_limits(key, ChainPolicy(tenancy=tenancy)).describe().get("tenants") == tenants


def test_a_key_that_names_no_scopes_has_none():
    """One that names some has those, and a group that names none leaves them as they are."""
    assert effective_limits(a_key("key_1"), PLAIN) == Limits(scopes=[])
    assert effective_limits(a_key("key_1", limits=Limits(scopes="a")), PLAIN) == Limits(scopes="a")
    assert effective_limits(a_group("group_1", tenant="acme"), PLAIN) == Limits()


def test_an_identity_is_held_to_what_binds_it():
    """Its scopes are those that are granted, and no others."""
    terms = terms_of(a_key("key_1", limits=NARROW), PLAIN)
    (scopes,), (models,) = NARROW.of("scopes"), NARROW.of("models")
    assert (terms.reports, terms.read_only, terms.limited_in_models) == (False, True, True)
    assert (terms.scopes, terms.models) == ((scopes,), (models,))
    assert terms.granted == {"a"}
    assert terms.auth.scopes == ("authenticated", "a")
    assert "b" not in terms.auth.scopes


def test_an_identity_is_not_held_to_what_only_reports():
    """To whoever asks, every scope is there; which ones were granted is said all the same."""
    terms = terms_of(a_key("key_1", limits=NARROW, rights=("report_only",)), PLAIN)
    assert (terms.reports, terms.read_only, terms.limited_in_models) == (True, False, True)
    assert (terms.scopes, terms.models) == ((), ())
    assert terms.granted == {"a"}
    assert "b" in terms.auth.scopes
    none = terms_of(a_key("key_2", rights=("report_only",)), PLAIN)
    assert none.granted == frozenset()
    assert "b" in none.auth.scopes


def test_what_names_no_scopes_grants_none():
    """A group alone, and a key that has none: whoever calls is known, and that is all."""
    for node in (a_group("group_1"), a_key("key_1"), None):
        assert terms_of(node, PLAIN).auth.scopes == ("authenticated",)
        assert "a" not in terms_of(node, PLAIN).auth.scopes


@pytest.mark.parametrize(
    ("reporting", "granted", "known", "places"),
    [((), {"b"}, ("b",), {Scopes: 2, Models: 1}), ((0,), {"b"}, ("b", "c"), {Scopes: 1})],
    ids=str,
)
def test_nodes_together_grant_what_each_of_them_does(reporting, granted, known, places):
    """One that only reports is left out of what binds, and not of what was granted."""
    limits = Limits(scopes="a,b", models="m"), Limits(scopes="b,c")
    nodes = [
        a_group(f"group_{at}", limits=each, rights=("report_only",) if at in reporting else ())
        for at, each in enumerate(limits)
    ]
    terms = merged(tuple(terms_of(node, PLAIN) for node in nodes))
    assert terms.granted == granted
    assert terms.auth.scopes == ("authenticated", *known)
    assert {type(each): len(kept) for kept in (terms.scopes, terms.models) for each in kept} == (
        places
    )
    assert [
        (each.dimension, owner) for each, owner in zip(terms.clauses, terms.owners, strict=True)
    ] == [
        ("scopes", 0),
        ("scopes", 1),
        ("models", 0),
    ]


def test_only_an_answer_that_changes_by_itself_is_fleeting():
    """That of the hours does, and that of a dimension of a site's own may."""
    limits = Limits(
        tenants="a",
        networks="::1",
        methods="GET",
        read_only=True,
        scopes="a",
        models="m",
        header_only=True,
        hours="daily 08:00-18:00 UTC",
    ).meet(Limits.load({"geo": [["CH"]]}))
    terms = terms_of(a_key("key_1", limits=limits), PLAIN)
    assert [type(clause) for clause in terms.fleeting] == [Hours]
    assert {*terms.clauses} == {*limits}
