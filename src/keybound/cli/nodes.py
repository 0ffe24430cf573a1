"""Keys and groups as they are printed: one form for scripts, rows and cards for people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from keybound.cli.render import card, cut, deadline, moment, to_seconds
from keybound.core.limits import Lifetime
from keybound.core.nodes import APIKey, StoredNode, encode_node

if TYPE_CHECKING:
    from datetime import datetime

    from rich.table import Table

    from keybound.core.lifecycle import Receipt
    from keybound.core.usage import Usage

COLUMNS = ("id", "name", "tenant", "state", "used", "limits")

_NAME_MAX, _TENANT_MAX = 16, 10
_UNITS = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}


def node_data(node: StoredNode, now: float) -> dict[str, Any]:
    """Return a node as it is stored, which holds no secret, with its state in one word."""
    record: dict[str, Any] = msgspec.json.decode(encode_node(node))
    del record["record"]
    record.setdefault("rights", [])  # a group without any is stored without a word of them
    return {"id": node.id, "kind": node.kind, "state": state_of(node, now), **record}


def receipt_data(receipt: Receipt, now: float, *, dry_run: bool = False) -> dict[str, Any]:
    """Return what a change did, for scripts: the node as it is now, and when that holds."""
    return {
        "id": receipt.node.id,
        "revision": receipt.rev,
        "dry_run": dry_run,
        "announced": receipt.announced,
        "effective_by": deadline(receipt.effective_by),
        "node": node_data(receipt.node, now),
    }


def state_of(node: StoredNode, now: float) -> str:
    """Return the state of a node in one word; the states of nodes above it do not count."""
    lives = [clause for clause in node.limits if isinstance(clause, Lifetime)]
    states = (
        (node.revoked_at is not None, "revoked"),
        (not node.enabled, "disabled"),
        (any(now >= life.ends for life in lives), "expired"),
        (any(now < life.begins for life in lives), "not yet"),
    )
    return next((word for holds, word in states if holds), "active")


def usage_data(usage: Usage | None) -> dict[str, Any] | None:
    """Return how a key was used, exactly, for scripts; nothing where nothing can be known."""
    return None if usage is None else msgspec.to_builtins(usage)


def row(node: StoredNode, now: float, usage: Usage | None = None) -> tuple[str, ...]:
    """Return one line of a list: a cell for each of ``COLUMNS``."""
    name, tenant = cut(node.name, _NAME_MAX), cut(node.tenant or "-", _TENANT_MAX)
    used = "-" if usage is None else ago(usage.last_used_at, now)
    return (node.id, name, tenant, state_of(node, now), used, _short(node))


def ago(at: datetime | None, now: float) -> str:
    """Return how long ago something last was, in the largest unit of which it is one at least."""
    if at is None:
        return "never"
    passed = now - at.timestamp()
    for unit, seconds in _UNITS.items():
        if passed >= seconds:
            return f"{passed // seconds:.0f}{unit} ago"
    return "now"


def node_card(
    node: StoredNode, now: float, *, rev: int | None = None, usage: Usage | None = None
) -> Table:
    """Return all that is stored about a node, for people."""
    pairs: list[tuple[str, str | None]] = [
        ("id", node.id),
        ("name", node.name),
        ("state", state_of(node, now)),
        ("tenant", node.tenant),
    ]
    if isinstance(node, APIKey):
        pairs += [
            ("starts with", node.hint),
            ("environment", node.environment),
            ("owner", node.owner),
            ("role", node.role),
            ("parent", node.parent),
            ("groups", _listed(node.groups)),
            ("issued by", node.issued_by),
        ]
    pairs.append(("rights", _listed(node.rights)))
    pairs += [(name, to_seconds(text)) for name, text in node.limits.describe().items()]
    if not node.limits.clauses:
        pairs.append(("limits", "none"))
    pairs += [
        ("metadata", msgspec.json.encode(node.metadata).decode() if node.metadata else None),
        ("created", moment(node.created_at)),
        ("revoked", moment(node.revoked_at) if node.revoked_at else None),
        ("last used", _last(usage, "used", now)),
        ("last refused", _last(usage, "refused", now)),
        ("revision", None if rev is None else str(rev)),
    ]
    return card(pairs)


def _last(usage: Usage | None, what: str, now: float) -> str | None:
    if usage is None:
        return None
    last = usage.last_used_at if what == "used" else usage.last_refused_at
    times = usage.uses if what == "used" else usage.refusals
    if last is not None:
        return f"{moment(last)} ({ago(last, now)}), {times:,} times"
    since = usage.counted_since
    return "never" if since is None else f"never, since {moment(since)}"


def _short(node: StoredNode) -> str:
    words = {"read_only": "reads only", "header_only": "in a header only"}
    return "; ".join(
        words.get(name, f"{name} {to_seconds(text)}")
        for name, text in node.limits.describe().items()
    )


def _listed(names: tuple[str, ...]) -> str | None:
    return ", ".join(names) or None
