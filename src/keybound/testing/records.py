"""Records for tests: keys and groups of which a test says only what it is about."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from keybound.core.effects import Commit, LoadNode, Put
from keybound.core.limits import Limits
from keybound.core.nodes import APIKey, Group

if TYPE_CHECKING:
    from keybound.core.effects import Loaded, LogHead, Row
    from keybound.core.nodes import StoredNode
    from keybound.stores import Store

_MADE_AT = datetime(2026, 1, 1, tzinfo=UTC)


def a_key(node_id: str, **members: Any) -> APIKey:  # noqa: ANN401 - any member of a key
    """Return a key without limits that is alive, but for these members."""
    plain: dict[str, Any] = {
        "name": "a key",
        "tenant": None,
        "limits": Limits(),
        "enabled": True,
        "revoked_at": None,
        "created_at": _MADE_AT,
        "metadata": {},
        "hint": "kb_live_abcd",
        "environment": "live",
        "owner": None,
        "role": None,
        "parent": None,
        "groups": (),
        "rights": (),
        "issued_by": None,
    }
    return APIKey(id=node_id, **(plain | members))


def a_group(node_id: str, **members: Any) -> Group:  # noqa: ANN401 - any member of a group
    """Return a group without limits that is alive, but for these members."""
    plain: dict[str, Any] = {
        "name": "a group",
        "tenant": None,
        "limits": Limits(),
        "enabled": True,
        "revoked_at": None,
        "created_at": _MADE_AT,
        "metadata": {},
    }
    return Group(id=node_id, **(plain | members))


def a_digest(number: int) -> bytes:
    """Return a digest that is that of no other number."""
    return number.to_bytes(32, "big")


def new(node: StoredNode, digest: bytes | None = None) -> Put:
    """Return the put of a node that must not exist yet."""
    return Put(node=node, expected=None, digest=digest)


def commit(store: Store, *puts: Put, ceilings: tuple[tuple[str, int], ...] = ()) -> LogHead:
    """Write nodes as one revision with a random tag."""
    tag = secrets.token_bytes(16)
    return store.perform(Commit(puts=puts, ceilings=ceilings, tag=tag))


def load(store: Store, node_id: str) -> Loaded:
    """Return a node and everything above it."""
    return store.perform(LoadNode(node_id))


def row_of(store: Store, node_id: str) -> Row:
    """Return a node that must be there, with the revision that last changed it."""
    row = load(store, node_id).rows[node_id]
    assert row is not None
    return row
