"""The nodes that a request must pass, compiled into one ordered list of checks.

A chain is the key, its parents, and the groups of all of them. It is evaluated, never flattened:
every node is alive and permits the request, or the request is refused and the node is named.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, Final, NamedTuple, NoReturn

from keybound.core.errors import LimitError, RecordCorruptError
from keybound.core.identity import Identity
from keybound.core.limits import Clause, Lifetime
from keybound.core.limits.dimensions import BUILT_IN
from keybound.core.nodes import APIKey
from keybound.core.reasons import Reason
from keybound.core.rights import REPORT_ONLY, SOFTENED
from keybound.core.terms import merged, terms_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from keybound.core.facts import RequestFacts
    from keybound.core.limits import Json
    from keybound.core.nodes import StoredNode
    from keybound.core.terms import ChainPolicy

_IDENTITIES_MAX = 64

CHAIN_MAX = 32
"""Nodes of the longest chain; a longer one, or one that comes back to a node, is corrupt."""


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

    @property
    def alive(self) -> bool:
        """Whether the node is."""
        return self.enabled and not self.revoked

    def permits(self, _facts: RequestFacts, _now: float, /) -> bool:
        """Return whether the node is alive."""
        return self.alive

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


class Check(NamedTuple):
    """One clause of one node of a chain."""

    node: str
    kind: str
    clause: Clause


class Chain:
    """A key and every node above it, with everything computed that does not depend on a request.

    ``clauses`` are in the order of the decision, and ``checks`` say whose each of them is. Between
    ``begins`` and ``ends`` (POSIX seconds) no lifetime changes, so that a decision taken inside
    holds until ``ends``, unless a ``fleeting`` clause says less. ``alive``: no node is disabled or
    revoked. All else that is decided depends on the ``terms``, which many chains share.
    """

    __slots__ = (
        "_checks",
        "_identities",
        "alive",
        "begins",
        "clauses",
        "ends",
        "fleeting",
        "home",
        "key",
        "nodes",
        "terms",
    )

    def __init__(
        self, key: APIKey, above: Mapping[str, StoredNode | None], policy: ChainPolicy
    ) -> None:
        """Compile ``key`` and the nodes ``above`` it; a missing node counts as revoked.

        Raises ``RecordCorruptError`` for a cycle or a chain of more than ``CHAIN_MAX`` nodes.
        """
        self.key = key
        self.home = key.tenant
        alone = key.parent is None and not key.groups
        self.nodes: dict[str, StoredNode | None] = {key.id: key} if alone else _ordered(key, above)
        self._checks: tuple[Check, ...] | None = None
        self._identities: dict[str | None, Identity] = {}
        lives = key.limits.lives
        if alone:  # as most keys are
            self.terms = terms_of(key, policy)
            state = _state(key)
            self.alive = state.alive
            self.clauses: tuple[Clause, ...] = (state, *lives, *self.terms.clauses)
        else:
            nodes = self.nodes.values()
            self.terms = merged(tuple([terms_of(node, policy) for node in nodes]))
            states = [_state(node) for node in nodes]
            own: list[Clause] = []  # the state and the lifetimes of each node, node by node
            for state, node in zip(states, nodes, strict=True):
                own += (state, *(() if node is None else node.limits.lives))
            self.alive = all(state.alive for state in states)
            self.clauses = (*own, *self.terms.clauses)
            lives = tuple([clause for clause in own if isinstance(clause, Lifetime)])
        self.fleeting = self.terms.fleeting
        self.begins = max([life.begins for life in lives]) if lives else -inf
        self.ends = min([life.ends for life in lives]) if lives else inf

    @property
    def limited_in_models(self) -> bool:
        """Whether there may be models that some node refuses, be it only to report that.

        Nobody knows what a dimension of a site's own looks at.
        """
        terms = self.terms
        return terms.limited_in_models or any(type(each) not in BUILT_IN for each in terms.fleeting)

    @property
    def checks(self) -> tuple[Check, ...]:
        """The clauses with the nodes that they are of: for who is refused, or asks why."""
        if self._checks is None:
            owners = [(node_id, kind_of(node_id, node)) for node_id, node in self.nodes.items()]
            places: list[int] = []
            for place, node in enumerate(self.nodes.values()):
                places.extend([place] * (1 + len(() if node is None else node.limits.lives)))
            places.extend(self.terms.owners)
            self._checks = tuple(
                [
                    Check(*owners[place], clause)
                    for place, clause in zip(places, self.clauses, strict=True)
                ]
            )
        return self._checks

    def reports(self, check: Check, refused: Reason) -> bool:
        """Return whether that a check refuses is only reported, since its node reports only."""
        if SOFTENED.get(type(check.clause)) is not refused:
            return False
        node = self.nodes[check.node]
        return node is not None and REPORT_ONLY in node.rights

    def identity(self, request_tenant: str | None) -> Identity:
        """Return who is calling, for a request about this tenant; one object for many requests."""
        known = self._identities.get(request_tenant)
        if known is not None:
            return known
        if len(self._identities) >= _IDENTITIES_MAX:
            self._identities.clear()
        terms = self.terms
        identity = Identity(self.key, terms, request_tenant, terms.auth, self.ends)
        self._identities[request_tenant] = identity
        return identity


def kind_of(node_id: str, node: StoredNode | None) -> str:
    """Return ``key`` or ``group``, of a missing node by its id."""
    return node.kind if node is not None else node_id.partition("_")[0]


def _ordered(key: APIKey, above: Mapping[str, StoredNode | None]) -> dict[str, StoredNode | None]:
    """Walk up breadth first: nearest ceilings first."""
    _check_line(key, above)
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


def _check_line(key: APIKey, above: Mapping[str, StoredNode | None]) -> None:
    """Raise where a parent comes again: above a key as well, a cycle has no top that says no."""
    line = {key.id}
    node: StoredNode | None = key
    while isinstance(node, APIKey) and node.parent is not None:
        if node.parent in line:
            msg = f"{node.parent} stands above itself"
            raise RecordCorruptError(msg)
        line.add(node.parent)
        node = above.get(node.parent)


def _state(node: StoredNode | None) -> State:
    return _REVOKED if node is None else _STATES[node.enabled, node.revoked_at is not None]


_STATES: Final = {
    (enabled, revoked): State(enabled, revoked)
    for enabled in (False, True)
    for revoked in (False, True)
}
_REVOKED: Final = _STATES[False, True]
