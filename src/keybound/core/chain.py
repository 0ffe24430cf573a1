"""The nodes that a request must pass, compiled into one ordered list of checks.

A chain is the key, its parents, and the groups of all of them. It is evaluated, never flattened:
every node is alive and permits the request, or the request is refused and the node is named.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from math import isinf
from typing import TYPE_CHECKING, Final, NamedTuple, NoReturn

from keybound.core.errors import LimitError, RecordCorruptError
from keybound.core.identity import EveryScope, Grants, Identity, freeze
from keybound.core.limits import (
    Clause,
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
from keybound.core.reasons import Reason

if TYPE_CHECKING:
    from collections.abc import Mapping

    from keybound.core.facts import RequestFacts
    from keybound.core.limits import Json

_IDENTITIES_MAX = 64

CHAIN_MAX = 32
"""Nodes of the longest chain; a longer one, or one that returns to its key, is corrupt."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainPolicy:
    """What the site's settings mean for every chain.

    ``tenancy``: requests are about tenants, so a key without a home tenant reaches none.
    ``wildcard_scopes``: a granted scope ``*`` is every scope.
    """

    tenancy: bool = False
    wildcard_scopes: bool = False


@dataclass(frozen=True, slots=True)
class State(Clause):
    """The first check of every node: it exists, is enabled and was not revoked."""

    dimension = "state"

    enabled: bool
    revoked: bool

    @classmethod
    def parse(cls, _value: object, /) -> NoReturn:
        """Refuse: a state is no limit that anybody writes."""
        raise LimitError("state", "is not a limit", fix="enable, disable or revoke the node")

    def permits(self, _facts: RequestFacts, _now: float, /) -> bool:
        """Return whether the node is alive."""
        return self.enabled and not self.revoked

    def reason(self, _facts: RequestFacts, _now: float, /) -> Reason:
        """Return ``revoked`` before ``disabled``: it is the one that stays."""
        return Reason.REVOKED if self.revoked else Reason.DISABLED

    def covers(self, other: Clause, /) -> bool:
        """Return whether the other is the same state."""
        return self == other

    def describe(self) -> str:
        """Return the state in one word."""
        return "revoked" if self.revoked else "enabled" if self.enabled else "disabled"

    def dump(self) -> Json:
        """Return the two members."""
        return {"enabled": self.enabled, "revoked": self.revoked}


_STEADY = frozenset(
    {State, Lifetime, Tenants, Networks, Methods, ReadOnly, Scopes, Models, Unreadable}
)
"""Clauses whose answer depends on the request's facts and their own lifetime, and nothing else."""


class Check(NamedTuple):
    """One clause of one node of a chain."""

    node: str
    kind: str
    clause: Clause


class Chain:
    """A key and every node above it, with everything computed that does not depend on a request.

    ``checks`` are in the order of the decision. Between ``begins`` and ``ends`` (POSIX seconds)
    no lifetime changes, so that a decision taken inside holds until ``ends`` when ``steady``.
    """

    __slots__ = (
        "_identities",
        "_models",
        "_scopes",
        "begins",
        "checks",
        "ends",
        "home",
        "key",
        "nodes",
        "steady",
    )

    def __init__(
        self, key: APIKey, above: Mapping[str, StoredNode | None], policy: ChainPolicy
    ) -> None:
        """Compile ``key`` and the nodes ``above`` it; a missing node counts as revoked.

        Raises ``RecordCorruptError`` for a cycle or a chain of more than ``CHAIN_MAX`` nodes.
        """
        self.key = key
        self.home = key.tenant
        self.nodes = _ordered(key, above)
        alive: list[Check] = []  # the state and the lifetimes of each node, node by node
        rest: list[Check] = []
        lives: list[Lifetime] = []
        steady = True
        for node_id, node in self.nodes.items():
            kind = kind_of(node_id, node)
            alive.append(Check(node_id, kind, _REVOKED if node is None else _state(node)))
            for clause in () if node is None else effective_limits(node, policy):
                check = Check(node_id, kind, clause)
                steady = steady and type(clause) in _STEADY
                if isinstance(clause, Lifetime):
                    lives.append(clause)
                    alive.append(check)
                else:
                    rest.append(check)
        if len(rest) > 1:
            rest.sort(key=_place)
        self.checks = (*alive, *rest)
        self.begins = max([life.begins for life in lives], default=float("-inf"))
        self.ends = min([life.ends for life in lives], default=float("inf"))
        self.steady = steady
        self._identities: dict[str | None, Identity] = {}
        clauses = [check.clause for check in rest]
        self._scopes = tuple([clause for clause in clauses if isinstance(clause, Scopes)])
        self._models = tuple([clause for clause in clauses if isinstance(clause, Models)])

    def identity(self, request_tenant: str | None) -> Identity:
        """Return who is calling, for a request about this tenant; one object for many requests."""
        known = self._identities.get(request_tenant)
        if known is None:
            if len(self._identities) >= _IDENTITIES_MAX:
                self._identities.clear()
            known = self._identities[request_tenant] = self._identity(request_tenant)
        return known

    def _identity(self, request_tenant: str | None) -> Identity:
        key = self.key
        granted = _granted(self._scopes)
        auth = _AUTHENTICATED
        if granted:
            names = ("authenticated", *sorted(granted))
            every = all(clause.wide for clause in self._scopes)
            auth = Grants(EveryScope(names) if every else names)
        return Identity(
            key_id=key.id,
            name=key.name,
            tenant=key.tenant,
            request_tenant=request_tenant,
            owner=key.owner,
            role=key.role,
            groups=key.groups,
            scopes=granted,
            read_only=any(type(check.clause) is ReadOnly for check in self.checks),
            environment=key.environment,
            expires_at=None if isinf(self.ends) else datetime.fromtimestamp(self.ends, UTC),
            metadata=freeze(key.metadata) if key.metadata else _NO_METADATA,
            auth=auth,
            _scopes=self._scopes,
            _models=self._models,
        )


def _granted(scopes: tuple[Scopes, ...]) -> frozenset[str]:
    if len(scopes) == 1 and not scopes[0].wide:
        return scopes[0].names
    named = {name for clause in scopes for name in clause.names}
    return frozenset(name for name in named if all(clause.grants(name) for clause in scopes))


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


_AUTHENTICATED: Final = Grants(("authenticated",))
_NO_METADATA: Final = freeze({})
_NO_SCOPES: Final = Limits(scopes=[])


@lru_cache(maxsize=1_024)
def _home_of(tenant: str | None) -> Limits:
    """Return the limits of a key that names no tenants; few tenants have most keys."""
    return Limits(tenants=[] if tenant is None else [tenant])


def kind_of(node_id: str, node: StoredNode | None) -> str:
    """Return ``key`` or ``group``, of a missing node by its id."""
    return node.kind if node is not None else node_id.partition("_")[0]


def _ordered(key: APIKey, above: Mapping[str, StoredNode | None]) -> dict[str, StoredNode | None]:
    """Walk up breadth first: nearest ceilings first."""
    ordered: dict[str, StoredNode | None] = {key.id: key}
    queue = list(key.above)
    for node_id in queue:
        if node_id == key.id:
            msg = f"{key.id} stands above itself"
            raise RecordCorruptError(msg)
        if node_id in ordered:
            continue
        if len(ordered) >= CHAIN_MAX:
            msg = f"{key.id} has more than {CHAIN_MAX} nodes above it"
            raise RecordCorruptError(msg)
        node = ordered[node_id] = above.get(node_id)
        queue.extend(node.above if node is not None else ())
    return ordered


def _state(node: StoredNode) -> State:
    return _STATES[node.enabled, node.revoked_at is not None]


def _place(check: Check) -> int:
    return Limits.check_order(check.clause.dimension)


_STATES: Final = {
    (enabled, revoked): State(enabled, revoked)
    for enabled in (False, True)
    for revoked in (False, True)
}
_REVOKED: Final = _STATES[False, True]
