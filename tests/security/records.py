"""Keys and groups as a store holds them, also such as no verb of keybound would ever write.

A limit that reads is stored as keybound stores it. One that does not read is stored as the case
has it, since that is what the case is about: whatever wrote it, nothing may be permitted by it.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec

from keybound.core.effects import Put
from keybound.core.errors import LimitError
from keybound.core.limits import Limits
from keybound.core.nodes import RECORD_MAX, APIKey, Group
from keybound.testing.records import a_group, a_key

if TYPE_CHECKING:
    from collections.abc import Mapping

BASE: dict[str, Any] = {"tenant": "acme", "scopes": ["chat"]}
"""What every key of a case is, unless the case says otherwise."""

_LIMITS = {"ips": "networks", "models": "models", "methods": "methods", "hours": "hours"}

_MEMBERS = frozenset(
    {"id", "v", "tenant", "all_tenants", "enabled", "not_before", "expires_at", "read_only"}
    | {"ips", "ips_deny", "models", "methods", "scopes", "groups", "parent", "owner", "hours"}
    | {"restrictions", "custom", "revoked", "revoked_at", "name", "tenants", "role"}
    | {"created_at", "created_by", "description", "label", "last_used_at", "metadata"}
)
"""Members that are known. Any other one is taken for a limit that keybound does not have: a record
with one is a record with an unknown limit.
"""


class FutureKey(APIKey, frozen=True, kw_only=True, tag="key/999"):
    """A key as a later version might write it."""


class FutureGroup(Group, frozen=True, kw_only=True, tag="group/999"):
    """A group of that version."""


def key_of(name: str, members: Mapping[str, Any], *, above: Mapping[str, Any]) -> APIKey:
    """Return the record of a key, as odd as the case has it.

    ``above`` names the groups that stand for its tenant and its owner, where the case has them.
    """
    given = BASE | dict(members)
    groups = given.get("groups") or ()
    if isinstance(groups, list | tuple):
        groups = (*groups, *above.get("groups", ()))
    record = a_key(
        name,
        name=given.get("name", "a key"),
        tenant=None if given["tenant"] == "*" else given["tenant"],
        limits=limits_of(given),
        enabled=given.get("enabled", True),
        revoked_at=_revoked(given),
        owner=given.get("owner"),
        role=given.get("role"),
        parent=given.get("parent"),
        groups=groups,
    )
    return record if _is_of_today(given) else FutureKey(**_fields(record))


def _fields(record: msgspec.Struct) -> dict[str, Any]:
    return {name: getattr(record, name) for name in record.__struct_fields__}


def _is_of_today(members: Mapping[str, Any]) -> bool:
    version = members.get("v", 1)
    return version == 1 and not isinstance(version, bool)


def group_of(name: str, members: Mapping[str, Any]) -> Group:
    """Return the record of a group, or of a tenant or an owner, which a group stands for."""
    record = a_group(
        name,
        limits=limits_of(members),
        enabled=members.get("enabled", True),
        revoked_at=_revoked(members),
    )
    return record if _is_of_today(members) else FutureGroup(**_fields(record))


def _revoked(members: Mapping[str, Any]) -> Any:
    at = members.get("revoked_at")
    return at if at is not None else _REVOKED_AT if members.get("revoked") else None


def is_odd(members: Mapping[str, Any]) -> bool:
    """Return whether a record of these members cannot be read exactly, so that it opens nothing."""
    _, odd = _limits(BASE | dict(members))
    texts = [members.get(name, "") for name in ("tenant", "owner", "parent", "name")]
    return (
        odd
        or not _is_of_today(members)
        or not isinstance(members.get("enabled", True), bool)
        or not _are_names(members.get("groups"))
        or not all(isinstance(each, str | dict | None) for each in texts)
    )


def _are_names(groups: object) -> bool:
    listed = isinstance(groups, list | tuple) and all(isinstance(each, str) for each in groups)
    return groups is None or listed


def limits_of(members: Mapping[str, Any]) -> Any:
    """Return what is stored as the limits of a node; a store takes it for limits."""
    stored, _ = _limits(members)
    return stored


def _limits(members: Mapping[str, Any]) -> tuple[dict[str, Any], bool]:
    stored: dict[str, Any] = {}
    odd = False
    for dimension, value in _values(members).items():
        moments = dimension == "lifetime"
        try:
            _check_stored(dimension, value)
            stored |= Limits.read(value if moments else {dimension: value}).dump()
        except LimitError:
            odd = True
            stored[dimension] = [value]
    return stored, odd


_WRITTEN = frozenset({"tenants", "hours"})
"""Limits that this module itself writes as text: of others, text is not how they are stored."""


def _check_stored(dimension: str, value: object) -> None:
    """Raise ``LimitError`` for what people may write, and no store ever holds."""
    if isinstance(value, str) and dimension not in _WRITTEN:
        raise LimitError(dimension, "is text", fix="a list is what is stored")


def _values(members: Mapping[str, Any]) -> dict[str, Any]:
    """Return the limits that members are about, as people write them."""
    values: dict[str, Any] = {
        dimension: members[name]
        for name, dimension in _LIMITS.items()
        if members.get(name) is not None
    }
    if members.get("scopes") is not None:
        values["scopes"] = members["scopes"]
    if "read_only" in members:
        values["read_only"] = members["read_only"]
    if members.get("ips_deny"):
        values["networks"] = networks_of(members)
    moments = {name: members[name] for name in _MOMENTS if members.get(name) is not None}
    if moments:
        values["lifetime"] = moments
    if members.get("all_tenants") or members.get("tenant") == "*":
        values["tenants"] = "*"
    if members.get("tenants") is not None:
        values["tenants"] = members["tenants"]
    values |= {name: members[name] for name in members.keys() - _MEMBERS}
    for name in ("restrictions", "custom"):
        given = members.get(name)
        if given is not None:
            values |= given if isinstance(given, dict) else {name: given}
    return values


def networks_of(members: Mapping[str, Any]) -> Any:
    """Return networks that are permitted but for those that are not."""
    permitted, refused = members.get("ips"), members["ips_deny"]
    permitted = ["0.0.0.0/0", "::/0"] if permitted is None else permitted
    if not (isinstance(permitted, list) and isinstance(refused, list)):
        return {"permitted": permitted, "refused": refused}  # which reads as nothing
    return [*permitted, *(f"!{each}" for each in refused)]


_MOMENTS = ("not_before", "expires_at")
_REVOKED_AT = datetime(2026, 1, 1, tzinfo=UTC)


def plain(put: Put) -> Put:
    """Return a put that every store takes: what columns are made of is text, whatever the record.

    No record is longer than what a store takes, either. The same one where it is so already.
    """
    node = put.node
    odd: dict[str, Any] = {
        name: None
        for name in ("tenant", "parent")
        if not isinstance(getattr(node, name, None), str | None)
    }
    if not _are_names(getattr(node, "groups", None)):
        odd["groups"] = ()
    if len(written(node)) > RECORD_MAX:
        odd["limits"] = {}
    return replace(put, node=msgspec.structs.replace(node, **odd)) if odd else put


def written(node: APIKey | Group) -> bytes:
    """Return a record, however long it is."""
    return msgspec.json.encode(node)


def puts(
    keys: Mapping[str, Mapping[str, Any]],
    groups: Mapping[str, Mapping[str, Any]],
    digests: Mapping[str, bytes],
    *,
    above: Mapping[str, Mapping[str, Any]],
) -> list[Put]:
    """Return what writes these nodes into a store that has none of them."""
    made = [Put(node=group_of(name, each), expected=None) for name, each in groups.items()]
    for name, each in keys.items():
        node = key_of(name, each, above=above.get(name, {}))
        made.append(Put(node=node, expected=None, digest=digests[name]))
    return made
