"""``keybound restrict``, ``update``, ``enable``, ``disable`` and ``revoke``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from keybound.cli.exits import Ended, Exit
from keybound.cli.nodes import node_card, receipt_data
from keybound.cli.options import (
    ChangeFlags,
    Home,
    LimitOptions,
    Metadata,
    NodeID,
    Rights,
    read_home,
    read_metadata,
    read_rights,
)
from keybound.cli.render import deadline
from keybound.cli.session import Session
from keybound.core.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable

    from keybound.core.lifecycle import Receipt
    from keybound.guard import Guard
    from keybound.options import UpdateOptions

_NONE = "[]"


def restrict(session: Session, node: NodeID, limits: LimitOptions, change: ChangeFlags) -> None:
    """Narrow a key or group; nothing it may not do now can become permitted."""

    def act(guard: Guard) -> Receipt:
        values = limits.values(guard.engine.clock.wall())
        if not values:
            raise InputError("limits", "are not given", fix="for example --read-only")
        return guard.restrict(node, values, **change.options())

    _change(session, change, "restricted", act)


def update(
    session: Session,
    node: NodeID,
    limits: LimitOptions,
    change: ChangeFlags,
    *,
    name: Annotated[str | None, typer.Option(help="What people call it.")] = None,
    home: Home = None,
    owner: Annotated[str | None, typer.Option(help="Whose key it is; '[]' is nobody's.")] = None,
    role: Annotated[str | None, typer.Option(help="A name for the application.")] = None,
    right: Rights = None,
    metadata: Metadata = None,
) -> None:
    """Change members, and replace the limits that are named; '*' takes a limit away."""
    members: UpdateOptions = {}
    if name is not None:
        members["name"] = name
    if home is not None:
        members["tenant"] = read_home(home)
    if owner is not None:
        members["owner"] = None if owner == _NONE else owner
    if role is not None:
        members["role"] = None if role == _NONE else role
    if right:
        members["rights"] = read_rights(right)
    if metadata:
        members["metadata"] = read_metadata(metadata)

    def act(guard: Guard) -> Receipt:
        values = limits.values(guard.engine.clock.wall())
        if not (values or members):
            raise InputError("update", "changes nothing", fix="for example --name or --network")
        options: UpdateOptions = {**members, "limits": values, **change.options()}
        return guard.update(node, **options)

    _change(session, change, "updated", act)


def enable(session: Session, node: NodeID, change: ChangeFlags) -> None:
    """Let a disabled key or group live again."""
    _change(session, change, "enabled", lambda guard: guard.enable(node, **change.options()))


def disable(session: Session, node: NodeID, change: ChangeFlags) -> None:
    """Suspend a key or group, and with it every key below."""
    _change(session, change, "disabled", lambda guard: guard.disable(node, **change.options()))


def revoke(session: Session, node: NodeID, change: ChangeFlags) -> None:
    """End a key or group for ever, and with it every key below."""

    def act(guard: Guard) -> Receipt:
        if not change.dry_run:
            _confirm(session, guard, node)
        return guard.revoke(node, **change.options())

    _change(session, change, "revoked", act)


def _confirm(session: Session, guard: Guard, node: str) -> None:
    named = guard.show(node).node
    question = f"Revoke {named.kind} {named.id} ({named.name}) for ever?"
    if not session.confirm(question):
        session.out.note("nothing was changed")
        raise Ended(Exit.NO)


def _change(
    session: Session, change: ChangeFlags, done: str, act: Callable[[Guard], Receipt]
) -> None:
    with session.guard() as guard:
        receipt = act(guard)
        now = guard.engine.clock.wall()
        shares = guard.engine.shared is not None
    node = receipt.node
    if change.dry_run:
        said = f"would be {done}, nothing was written: {node.id}"
    else:
        told = f"{'' if receipt.announced else 'not '}announced, " if shares else ""
        by = "" if change.wait else f" by {deadline(receipt.effective_by)}"
        said = f"{done}: {node.id} at revision {receipt.rev}, {told}holds everywhere{by}"
    data = receipt_data(receipt, now, dry_run=change.dry_run)
    session.out.result(data, said, node_card(node, now))
