"""``keybound groups``: sets of keys that share limits and a state."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from keybound.cli.commands import command
from keybound.cli.keys import list_nodes
from keybound.cli.nodes import node_card, receipt_data
from keybound.cli.options import (
    Home,
    LimitOptions,
    Metadata,
    Rights,
    read_home,
    read_metadata,
    read_rights,
)
from keybound.cli.session import Session

if TYPE_CHECKING:
    from keybound.options import GroupOptions

groups = typer.Typer(
    name="groups",
    help="Make groups; show, update, disable and all other commands take their ids.",
)


@command(groups)
def create(
    session: Session,
    name: Annotated[str, typer.Argument(metavar="NAME", help="What people call the group.")],
    limits: LimitOptions,
    *,
    home: Home = None,
    right: Rights = None,
    metadata: Metadata = None,
) -> None:
    """Make a group; its limits and its state hold for every key in it."""
    with session.guard(create=True) as guard:
        options: GroupOptions = {
            "name": name,
            "tenant": None if home is None else read_home(home),
            "limits": limits.values(guard.engine.clock.wall()),
            "rights": read_rights(right or []),
            "metadata": read_metadata(metadata or []),
        }
        receipt = guard.create_group(**options)
        now = guard.engine.clock.wall()
    data = receipt_data(receipt, now)
    session.out.result(data, f"created: {receipt.node.id}", node_card(receipt.node, now))


@command(groups, name="list")
def list_groups(
    session: Session,
    *,
    home: Annotated[str | None, typer.Option(metavar="NAME", help="Only of this tenant.")] = None,
    after: Annotated[str, typer.Option(metavar="ID", help="Go on after this id.")] = "",
    limit: Annotated[int, typer.Option(metavar="N", help="At most so many.")] = 100,
) -> None:
    """List groups by id; --json prints all about them."""
    list_nodes(session, kind="group", home=home, after=after, limit=limit)
