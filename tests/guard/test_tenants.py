"""Requests about "my own" tenant, decided with the routes of a site."""

from __future__ import annotations

import pytest

from keybound import Guard, Limits, Reason, Route
from keybound.core.decision import Allowed

ROUTES = [
    Route("/me", tenant="~"),
    Route("/domains/{domain}", tenant="{domain}"),
    Route("/domains/{domain}/users/{user}", tenant="{domain}/{user}"),
]


@pytest.mark.parametrize(
    ("home", "path", "decided"),
    [
        ("acme/100", "/me", "acme/100"),
        ("acme/100", "/domains/~", "acme/100"),
        ("acme/100", "/domains/~/users/~", "acme/100"),
        ("acme/100", "/domains/acme/users/~", "acme/100"),
        ("acme/100", "/domains/~/users/200", Reason.TENANT_MISMATCH),
        ("acme/100", "/domains/globex/users/~", Reason.TENANT_MISMATCH),
        ("acme", "/domains/~/users/200", "acme/200"),
        ("acme", "/domains/~/users/~", Reason.TENANT_UNRESOLVED),
        (None, "/domains/~/users/100", Reason.TENANT_UNRESOLVED),
        (None, "/me", Reason.TENANT_UNRESOLVED),
    ],
)
def test_a_tilde_of_the_path_is_the_callers_own(home: str | None, path: str, decided: object):
    """A segment of it is the same segment of the home; explain says the same."""
    guard = Guard.from_settings(database="memory://", routes=ROUTES)
    issued = guard.issue(
        name="k", tenant=home, limits=Limits() if home else Limits(tenants=["acme", "globex"])
    )
    raw = b"Bearer " + issued.secret.reveal().encode()
    decision = guard.authorize("GET", path, None, raw)
    told = guard.explain(issued.id, "GET", path)
    if isinstance(decision, Allowed):
        assert (decision.identity.request_tenant, told.facts.tenant) == (decided, decided)
    else:
        assert (decision.reason, told.reason) == (decided, decided)
    guard.close()
