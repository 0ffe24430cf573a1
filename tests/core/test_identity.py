"""Identities: what an application gets, which only ever narrows and cannot be edited."""

from __future__ import annotations

import copy
import pickle
from datetime import UTC, datetime
from typing import Any

import pytest

from keybound.core.chain import Chain
from keybound.core.identity import NO_GRANTS, NOBODY, EveryScope, freeze
from keybound.core.limits import Limits
from keybound.core.terms import ChainPolicy
from keybound.testing.records import a_group, a_key


def identity(limits=None, group=None, **policy):
    """Return the identity of a key in a group."""
    key = a_key(
        "key_1",
        name="CI",
        groups=("group_1",),
        limits=limits or Limits(),
        metadata={"plan": {"tags": ["x"]}},
    )
    above = {"group_1": a_group("group_1", limits=group or Limits())}
    return Chain(key, above, ChainPolicy(**policy)).identity("acme")


def test_scopes_are_those_that_no_node_takes_away():
    """The key's own, cut by every node above it."""
    found = identity(Limits(scopes=["a", "b"]), Limits(scopes=["b", "c"]))
    assert found.scopes == {"b"}
    assert [found.has_scope(name) for name in "abc"] == [False, True, False]
    assert found.auth.scopes == ("authenticated", "b")
    assert identity().scopes == frozenset()


@pytest.mark.parametrize(("wide", "granted"), [(False, False), (True, True)])
def test_a_star_is_every_scope_only_where_the_site_says_so(wide, granted):
    """For the application and for Starlette's ``requires`` alike."""
    found = identity(Limits(scopes=["*"]), wildcard_scopes=wide)
    assert found.has_scope("anything") is granted
    assert ("anything" in found.auth.scopes) is granted
    cut = identity(Limits(scopes=["*"]), Limits(scopes=["a"]), wildcard_scopes=wide)
    assert not cut.has_scope("b")
    assert "b" not in cut.auth.scopes


@pytest.mark.parametrize(
    ("limits", "group", "may"),
    [
        (None, None, ["item:read", "item:write", "order:read", "order:write"]),
        (Limits(models={"order": "read"}), None, ["order:read"]),
        (None, Limits(read_only=True), ["item:read", "order:read"]),
        (Limits(models={"order": "write"}), Limits(models={"order": "read"}), ["order:read"]),
        (Limits(models={"order": "write"}), Limits(models={"item": "write"}), []),
    ],
    ids=str,
)
def test_models_are_those_that_every_node_permits(limits, group, may):
    """An application may ask about any model, and gets the answer of the whole chain."""
    found = identity(limits, group)
    asked = [
        f"{model}:{access}"
        for model in ("item", "order")
        for access in ("read", "write")
        if found.permits(model=model, access=access)
    ]
    assert asked == may
    assert found.permits(model="order") is ("order:write" in may), "write unless said otherwise"


def test_an_identity_cannot_be_changed():
    """One object serves many requests, so nobody writes into it."""
    found = identity()
    with pytest.raises(AttributeError, match="immutable"):
        found.owner = "me"
    with pytest.raises(TypeError):
        found.metadata["plan"]["tags"] = ()
    assert found.metadata == {"plan": {"tags": ("x",)}}


def test_an_identity_is_a_user_as_starlette_asks():
    """And nobody is one that is not authenticated."""
    found = identity()
    assert (found.is_authenticated, found.display_name, found.identity) == (True, "CI", "key_1")
    assert (NOBODY.is_authenticated, NOBODY.display_name, NOBODY.identity) == (False, "", "")
    assert NO_GRANTS.scopes == ()


def test_what_is_frozen_reads_the_same():
    """JSON of any depth: objects as proxies, lists as tuples, the rest as it is."""
    value = {"a": [1, {"b": [None, True]}], "c": "x"}
    frozen = freeze(value)
    assert frozen == {"a": (1, {"b": (None, True)}), "c": "x"}
    value["c"] = "y"
    assert frozen["c"] == "x"


def test_every_scope_contains_any_name_and_lists_those_granted():
    """Membership is wide, what is shown is not."""
    every = EveryScope(("authenticated", "*"))
    assert "anything" in every
    assert list(every) == ["authenticated", "*"]


def test_an_identity_shows_what_the_application_may_know():
    """Whoever prints one sees its members, and none of the clauses behind them."""
    shown = repr(identity(Limits(scopes=["a"], models={"order": "read"})))
    assert shown.startswith("Identity(key_id='key_1', name='CI', ")
    assert "scopes=frozenset({'a'})" in shown
    assert "metadata=" in shown
    assert "order" not in shown
    assert "auth=" not in shown


@pytest.mark.parametrize(
    "moment", ["2030-01-01T00:00:00.123456Z", "9999-12-31T23:59:59Z", "9999-12-31T23:59:59.999999Z"]
)
def test_any_moment_that_a_key_may_end_at_is_told(moment):
    """The last of all, too, with which many say that there is none."""
    found = identity(Limits(expires_at=moment))
    assert found.expires_at == datetime.fromisoformat(moment)
    assert found.expires_at.tzinfo is UTC
    assert identity().expires_at is None
    assert repr(found)


LIKE: dict[str, Any] = {
    "scopes": ["a"],
    "models": {"order": "read"},
    "expires_at": "2030-01-01T00:00:00Z",
}
UNLIKE: list[dict[str, Any]] = [
    {"scopes": ["b"]},
    {"models": {"order": "write"}},
    {"models": "*"},
    {"expires_at": "2031-01-01T00:00:00Z"},
    {"read_only": True},
]


def test_identities_are_equal_if_all_that_can_be_seen_of_them_is():
    """Whichever objects that is read from."""
    one, same = identity(Limits(**LIKE)), identity(Limits(**LIKE))
    assert one is not same
    assert (one == same, one != same, hash(one) == hash(same)) == (True, False, True)
    assert one != one.key_id
    for members in UNLIKE:
        assert one != identity(Limits(**(LIKE | members)))


def test_an_identity_is_its_own_copy_and_leaves_no_process():
    """What it says was checked for one request, and holds for no other."""
    found = identity()
    assert copy.deepcopy({"user": found})["user"] is found
    assert copy.copy(found) == found
    with pytest.raises(TypeError, match="key_id"):
        pickle.dumps(found)
