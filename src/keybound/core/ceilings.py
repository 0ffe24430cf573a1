"""A key never does more than the nodes above its parent: refused early, naming where it exceeds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from keybound.core.chain import effective_limits
from keybound.core.errors import ExceedsCeilingError
from keybound.core.nodes import APIKey

if TYPE_CHECKING:
    from collections.abc import Mapping

    from keybound.core.chain import ChainPolicy
    from keybound.core.effects import Row
    from keybound.core.nodes import StoredNode


def check_ceilings(key: APIKey, ceilings: Mapping[str, Row], policy: ChainPolicy) -> None:
    """Raise ``ExceedsCeilingError`` unless every node of the parent's chain covers the key."""
    asked = effective_limits(key, policy)
    for name, row in ceilings.items():
        if name in key.groups:
            continue
        for clause in asked.exceeds(effective_limits(row.node, policy)):
            mine = " and ".join(own.describe() for own in asked.of(clause.dimension)) or "no limit"
            raise ExceedsCeilingError(
                node=name, dimension=clause.dimension, allowed=clause.describe(), asked=mine
            )
        if isinstance(row.node, APIKey) and not set(key.rights) <= set(row.node.rights):
            raise ExceedsCeilingError(
                node=name,
                dimension="rights",
                allowed=", ".join(row.node.rights) or "none",
                asked=", ".join(key.rights),
            )


def check_unless_narrower(
    node: APIKey, before: StoredNode, ceilings: Mapping[str, Row], policy: ChainPolicy
) -> None:
    """Check a change, unless it only narrows: that is welcome even where a ceiling came down."""
    if not effective_limits(before, policy).covers(effective_limits(node, policy)):
        check_ceilings(node, ceilings, policy)
