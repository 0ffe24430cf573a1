"""A key never does more than the keys above it: refused early, naming where it exceeds.

Groups are no ceilings here: a child is in all groups of its parent, and each is checked on every
request.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from keybound.core.errors import ExceedsCeilingError
from keybound.core.limits import Limits
from keybound.core.nodes import APIKey
from keybound.core.rights import REPORT_ONLY
from keybound.core.terms import effective_limits

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from keybound.core.effects import Row
    from keybound.core.terms import ChainPolicy


def check_ceilings(key: APIKey, ceilings: Mapping[str, Row], policy: ChainPolicy) -> None:
    """Raise ``ExceedsCeilingError`` unless every key above covers this one.

    Its limits and rights, and its home tenant, must lie within theirs; it has the owner and the
    role of its parent, where that has one. It is in all groups of its parent, and may be in more:
    a group only ever narrows.
    """
    asked = effective_limits(key, policy)
    home = Limits() if key.tenant is None else Limits(tenants=[key.tenant])
    for row in ceilings.values():
        if not isinstance(row.node, APIKey):
            continue
        above = effective_limits(row.node, policy)
        for clause in asked.exceeds(above):
            mine = " and ".join(own.describe() for own in asked.of(clause.dimension)) or "no limit"
            raise _exceeds(row.node, clause.dimension, clause.describe(), mine)
        if key.tenant is not None and not Limits.of_clauses(above.of("tenants")).covers(home):
            allowed = above.describe().get("tenants", "none")
            raise _exceeds(row.node, "tenant", allowed, key.tenant)
        if not _delegated(key) <= set(row.node.rights):
            raise _exceeds(row.node, "rights", _listed(row.node.rights), _listed(key.rights))
        if row.node.id == key.parent:
            _check_members(key, row.node)


def check_edit(
    node: APIKey, before: APIKey, ceilings: Mapping[str, Row], policy: ChainPolicy
) -> None:
    """Check a changed key, unless its limits only narrowed: that is always welcome."""
    if node.parent is None:
        return
    narrowed = effective_limits(before, policy).covers(effective_limits(node, policy))
    if not narrowed or _members(node) != _members(before):
        check_ceilings(node, ceilings, policy)


def _check_members(key: APIKey, parent: APIKey) -> None:
    for member, allowed, asked in (
        ("owner", parent.owner, key.owner),
        ("role", parent.role, key.role),
    ):
        if allowed is not None and asked != allowed:
            raise _exceeds(parent, member, allowed, asked or "none")


def _members(key: APIKey) -> tuple[object, ...]:
    return key.tenant, key.owner, key.role, key.groups, _delegated(key)


def _delegated(key: APIKey) -> set[str]:
    # To report only is no right to anything that the keys above refuse: they are asked as well.
    return set(key.rights) - {REPORT_ONLY}


def _exceeds(node: APIKey, dimension: str, allowed: str, asked: str) -> ExceedsCeilingError:
    return ExceedsCeilingError(node=node.id, dimension=dimension, allowed=allowed, asked=asked)


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names) or "none"
