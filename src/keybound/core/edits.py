"""What a change does to a node, as pure functions from the stored node to the new one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec

from keybound.core.errors import InputError
from keybound.core.limits import Limits, parse_tenant
from keybound.core.nodes import APIKey, StoredNode, check_metadata, check_text
from keybound.core.rights import check_rights
from keybound.core.terms import effective_limits

if TYPE_CHECKING:
    from keybound.core.terms import ChainPolicy

Edit: TypeAlias = Callable[[StoredNode, datetime], StoredNode]
"""From a node and the time to the node that it becomes; raises ``InputError``."""


def restriction(limits: Limits, policy: ChainPolicy) -> Edit:
    """Return the edit that narrows a node; what it already may not do stays that way."""

    def change(node: StoredNode, _now: datetime) -> StoredNode:
        touched = {clause.dimension for clause in limits}
        if "tenants" in touched and isinstance(node, APIKey) and not _has_tenants(node):
            raise InputError(
                "tenants", f"{node.id} has none to narrow, nor a home", fix="use update instead"
            )
        implied = Limits.of_clauses(
            clause for clause in effective_limits(node, policy) if clause.dimension in touched
        )
        return msgspec.structs.replace(node, limits=node.limits.meet(implied).meet(limits))

    return change


def _has_tenants(key: APIKey) -> bool:
    return key.tenant is not None or bool(key.limits.of("tenants"))


def activation(*, enabled: bool) -> Edit:
    """Return the edit that enables or disables a node; a revoked one stays revoked."""

    def change(node: StoredNode, _now: datetime) -> StoredNode:
        if enabled and node.revoked_at is not None:
            raise InputError(node.id, "was revoked, which is for ever", fix="issue a new key")
        return msgspec.structs.replace(node, enabled=enabled)

    return change


def revocation() -> Edit:
    """Return the edit that ends a node for ever."""

    def change(node: StoredNode, now: datetime) -> StoredNode:
        return msgspec.structs.replace(node, revoked_at=node.revoked_at or now)

    return change


def amendment(
    members: Mapping[str, Any],
    limits: Limits | Mapping[str, object],
    *,
    expires_for: float | None = None,
    rights: tuple[str, ...] | None = None,
) -> Edit:
    """Return the edit that sets members, and replaces limits of the named dimensions.

    A limit of ``*`` is taken away; every other dimension stays. Members are those of ``NewKey``.
    ``rights`` are those that the node has from then on.
    Raises ``InputError``.
    """
    checked = {name: _CHECKS[name](value) for name, value in members.items()}

    def change(node: StoredNode, now: datetime) -> StoredNode:
        for name in checked:
            if name not in type(node).__struct_fields__:
                raise InputError(name, f"is not a member of a {node.kind}", fix="leave it out")
        renewed = _replaced(node.limits, limits)
        if expires_for is not None:
            ends = now + timedelta(seconds=expires_for)
            renewed = _replaced(renewed, {"expires_at": ends})
        given = node.rights if rights is None else check_rights(node.kind, rights)
        return msgspec.structs.replace(node, **checked, limits=renewed, rights=given)

    return change


def _replaced(limits: Limits, changes: Limits | Mapping[str, object]) -> Limits:
    """Return limits with those of the named dimensions written anew."""
    if isinstance(changes, Limits):
        touched = {clause.dimension for clause in changes}
        return Limits.of_clauses(c for c in limits if c.dimension not in touched).meet(changes)
    return limits.replaced({name: Limits.read({name: value}) for name, value in changes.items()})


def _optional(check: Callable[[Any], str]) -> Callable[[Any], str | None]:
    return lambda value: None if value is None else check(value)


_CHECKS: dict[str, Callable[[Any], object]] = {
    "name": lambda value: check_text("name", value),
    "tenant": _optional(parse_tenant),
    "owner": _optional(lambda value: check_text("owner", value)),
    "role": _optional(lambda value: check_text("role", value)),
    "metadata": check_metadata,
}
