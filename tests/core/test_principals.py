"""Whoever an authenticator knows: a chain of one, that is decided like every other."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from keybound.core.decision import Allowed, decide
from keybound.core.errors import InputError
from keybound.core.facts import RequestFacts
from keybound.core.limits import Limits
from keybound.core.principals import Authenticate, Principal
from keybound.core.reasons import Reason
from keybound.core.terms import ChainPolicy
from tests.core.heads import FakeHead

NOW = datetime(2026, 1, 2, tzinfo=UTC)


def decided(principal, *, tenancy=False, now=NOW, **facts):
    """Decide a request of somebody."""
    plain = {"method": "GET", "path": "/", "access": "read", "tenant": "acme"}
    asked = RequestFacts(**plain | facts)
    return decide(principal.chain(ChainPolicy(tenancy=tenancy)), asked, now.timestamp())


def test_identity_says_who_it_is():
    """And nothing that only keys have."""
    principal = Principal(
        id="bob", name="Bob", tenant="acme", owner="u_1", role="staff", metadata={"plan": "free"}
    )
    decision = decided(principal)
    assert isinstance(decision, Allowed)
    identity = decision.identity
    assert (identity.key_id, identity.name, identity.tenant) == ("bob", "Bob", "acme")
    assert (identity.owner, identity.role, identity.groups) == ("u_1", "staff", ())
    assert (identity.scopes, identity.environment) == (frozenset(), "")
    assert identity.metadata == {"plan": "free"}


def test_limits_are_those_of_a_key():
    """Scopes by name, and without tenants its own one alone."""
    bob = Principal(id="bob", tenant="acme", limits=Limits(scopes="rest", methods="GET"))
    assert isinstance(decided(bob, scopes=("rest",)), Allowed)
    assert decided(bob, scopes=("ui",)).reason is Reason.INSUFFICIENT_SCOPE
    assert decided(bob, method="PUT").reason is Reason.METHOD_NOT_ALLOWED
    assert isinstance(decided(bob, tenancy=True, tenant="acme"), Allowed)
    assert decided(bob, tenancy=True, tenant="evil").reason is Reason.TENANT_MISMATCH
    assert decided(Principal(id="x"), scopes=("rest",)).reason is Reason.INSUFFICIENT_SCOPE


def test_end_is_the_earlier_one():
    """Of what it says itself and of what its limits say."""
    sooner, later = NOW + timedelta(hours=1), NOW + timedelta(hours=2)
    for principal in (
        Principal(id="bob", expires_at=sooner),
        Principal(id="bob", expires_at=later, limits=Limits(expires_at=sooner)),
        Principal(id="bob", expires_at=sooner, limits=Limits(expires_at=later)),
    ):
        decision = decided(principal)
        assert isinstance(decision, Allowed)
        assert decision.identity.expires_at == sooner
        assert decision.ends <= sooner.timestamp()
        assert decided(principal, now=sooner).reason is Reason.EXPIRED


@pytest.mark.parametrize(
    "members",
    [
        {"id": ""},
        {"id": "a\nb"},
        {"id": "x" * 1_000},
        {"id": 7},
        {"id": "key_0123456789abcdef"},
        {"id": "group_partners"},
        {"id": "bob", "owner": ""},
        {"id": "bob", "role": "a\nb"},
        {"id": "bob", "expires_at": datetime(2030, 1, 1)},  # noqa: DTZ001 - which it must not be
        {"id": "bob", "metadata": {"a": 1j}},
    ],
    ids=str,
)
def test_what_cannot_be_relied_on_is_refused(members):
    """Where it is made, so that the one who makes it hears of it."""
    with pytest.raises(InputError):
        Principal(**members)


def test_effect_shows_nothing_of_a_request():
    """Whoever reports an error shows effects."""
    head = FakeHead((("authorization", b"secret"),))
    assert "secret" not in repr(Authenticate(head))
