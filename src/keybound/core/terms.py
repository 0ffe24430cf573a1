"""What limits come to under a site's policy, worked out once for all nodes that share them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from keybound.core.identity import EveryScope, Grants
from keybound.core.limits import (
    Clause,
    HeaderOnly,
    Lifetime,
    Limits,
    Methods,
    Models,
    Networks,
    ReadOnly,
    Scopes,
    Tenants,
    Unreadable,
)
from keybound.core.nodes import APIKey, StoredNode
from keybound.core.rights import REPORT_ONLY

if TYPE_CHECKING:
    from collections.abc import Iterable

TERMS_MAX = 16_384
"""Terms that the same limits may come to, one for each tenant whose keys have them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainPolicy:
    """What the site's settings mean for every chain.

    ``tenancy``: requests are about tenants, so a key without a home tenant reaches none.
    ``wildcard_scopes``: a granted scope ``*`` is every scope.
    """

    tenancy: bool = False
    wildcard_scopes: bool = False


_STEADY = frozenset({HeaderOnly, Tenants, Networks, Methods, ReadOnly, Scopes, Models, Unreadable})
"""Clauses, besides lifetimes, whose answer depends on the facts of the request and nothing else."""


class Terms(Struct, frozen=True, eq=False):
    """All limits but lifetimes: clauses in their order, and what an identity says of them.

    ``owners`` say for each clause the place of the node that it is of. ``fleeting`` are those whose
    answer to the same request may change by itself. ``reports``: some node only reports, so that
    an identity is not held to its scopes, models and reading; ``granted`` are the scopes all the
    same.
    """

    clauses: tuple[Clause, ...]
    owners: tuple[int, ...]
    fleeting: tuple[Clause, ...]
    reports: bool
    read_only: bool
    limited_in_models: bool
    granted: frozenset[str]
    auth: Grants
    scopes: tuple[Scopes, ...]
    models: tuple[Models, ...]

    @classmethod
    def of(
        cls, owned: Iterable[tuple[Clause, int]], reporting: frozenset[int] = frozenset()
    ) -> Terms:
        """Work out what clauses, each with the place of its node, come to together.

        Nodes at the places ``reporting`` only report.
        """
        ordered = sorted(owned, key=_place)
        clauses = tuple([clause for clause, _ in ordered])
        binding = tuple([clause for clause, place in ordered if place not in reporting])
        scopes = _of_scopes(binding)
        return cls(
            clauses=clauses,
            owners=tuple([owner for _, owner in ordered]),
            fleeting=tuple([clause for clause in clauses if type(clause) not in _STEADY]),
            reports=bool(reporting),
            read_only=any(isinstance(clause, ReadOnly) for clause in binding),
            limited_in_models=any(isinstance(clause, Models) for clause in clauses),
            granted=_granted(_of_scopes(clauses)),
            auth=_auth(scopes, every=bool(reporting) and not scopes),
            scopes=scopes,
            models=tuple([clause for clause in binding if isinstance(clause, Models)]),
        )


def terms_of(node: StoredNode | None, policy: ChainPolicy) -> Terms:
    """Return what a node's limits come to: one object for all nodes that have the same."""
    if node is None:
        return _NOTHING
    tenant = node.tenant if isinstance(node, APIKey) else _NO_KEY
    compiled = node.limits.compiled
    reports = REPORT_ONLY in node.rights
    key = tenant, policy.tenancy, policy.wildcard_scopes, reports
    known: Terms | None = compiled.get(key)
    if known is None:
        if len(compiled) >= TERMS_MAX:
            compiled.clear()
        clauses = effective_limits(node, policy).clauses
        known = compiled[key] = Terms.of(
            [(clause, 0) for clause in clauses if not isinstance(clause, Lifetime)],
            frozenset({0} if reports else ()),
        )
    return known


@lru_cache(maxsize=1_024)
def merged(terms: tuple[Terms, ...]) -> Terms:
    """Return what the terms of several nodes come to; each is told from all others by itself."""
    return Terms.of(
        [(clause, place) for place, each in enumerate(terms) for clause in each.clauses],
        frozenset([place for place, each in enumerate(terms) if each.reports]),
    )


def _place(owned: tuple[Clause, int]) -> int:
    return Limits.check_order(owned[0].dimension)


def effective_limits(node: StoredNode, policy: ChainPolicy) -> Limits:
    """Return a node's limits with what absence means for its kind written out.

    A key without scopes has none; a key without tenants has its home tenant.
    """
    limits = node.limits
    if isinstance(node, APIKey):
        limited = {clause.dimension for clause in limits.clauses}
        if "tenants" not in limited and (node.tenant is not None or policy.tenancy):
            limits = limits.meet(_home_of(node.tenant))
        if "scopes" not in limited:
            limits = limits.meet(_NO_SCOPES)
    if policy.wildcard_scopes:
        limits = limits.with_wildcard_scopes()
    return limits


_NO_KEY: Final = object()
_NO_SCOPES: Final = Limits(scopes=[])


@lru_cache(maxsize=1_024)
def _home_of(tenant: str | None) -> Limits:
    """Return the limits of a key that names no tenants; few tenants have most keys."""
    return Limits(tenants=[] if tenant is None else [tenant])


def _auth(scopes: tuple[Scopes, ...], *, every: bool) -> Grants:
    granted = _granted(scopes)
    if not (granted or every):
        return _AUTHENTICATED
    names = ("authenticated", *sorted(granted))
    return Grants(EveryScope(names) if all(clause.wide for clause in scopes) else names)


_AUTHENTICATED: Final = Grants(("authenticated",))


def _of_scopes(clauses: Iterable[Clause]) -> tuple[Scopes, ...]:
    return tuple([clause for clause in clauses if isinstance(clause, Scopes)])


def _granted(scopes: tuple[Scopes, ...]) -> frozenset[str]:
    if len(scopes) == 1:
        return scopes[0].names
    named = {name for clause in scopes for name in clause.names}
    return frozenset(name for name in named if all(clause.grants(name) for clause in scopes))


_NOTHING: Final = Terms.of(())
