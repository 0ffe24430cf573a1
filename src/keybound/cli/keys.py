"""``keybound issue``, ``list`` and ``show``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Group
from rich.panel import Panel
from rich.text import Text

from keybound.cli.installation import MAKE_SECRET, UNPROTECTED
from keybound.cli.nodes import COLUMNS, node_card, node_data, row, usage_data
from keybound.cli.options import (
    Home,
    LimitOptions,
    Metadata,
    NodeID,
    Rights,
    read_home,
    read_metadata,
    read_rights,
)
from keybound.cli.render import Whole, console, table
from keybound.cli.session import Session
from keybound.core.nodes import APIKey

if TYPE_CHECKING:
    from keybound.core.issuing import IssuedKey
    from keybound.core.limits import Limits
    from keybound.guard import Guard
    from keybound.options import IssueOptions, ListOptions

ONCE = "This is the key. It is shown now and never again: only its digest is stored."
_FRAME = 4


def issue(
    session: Session,
    limits: LimitOptions,
    *,
    name: Annotated[str, typer.Option(help="What people call the key.")],
    home: Home = None,
    owner: Annotated[str | None, typer.Option(help="Whose key it is.")] = None,
    role: Annotated[str | None, typer.Option(help="A name for the application.")] = None,
    parent: Annotated[
        str | None, typer.Option(metavar="ID", help="A key that this one never exceeds.")
    ] = None,
    group: Annotated[
        list[str] | None, typer.Option(metavar="ID", help="A group it belongs to; repeat for more.")
    ] = None,
    right: Rights = None,
    metadata: Metadata = None,
) -> None:
    """Make a key and print it once.

    A single plain --tenant without --home names its home too; otherwise --tenant is a limit alone.
    """
    with session.guard(create=True) as guard:
        values = limits.values(guard.engine.clock.wall())
        tenant = limits.only_tenant if home is None else read_home(home)
        if home is None and tenant is not None:
            del values["tenants"]  # a key without this limit may act in its home
        options: IssueOptions = {
            "name": name,
            "tenant": tenant,
            "owner": owner,
            "role": role,
            "limits": values,
            "parent": parent,
            "groups": group or [],
            "rights": read_rights(right or []),
            "metadata": read_metadata(metadata or []),
        }
        issued = guard.issue(**options)
        _advise(session, guard, issued.key.limits)
        _print_once(session, issued, guard.engine.clock.wall())


def list_nodes(
    session: Session,
    *,
    kind: Annotated[str, typer.Option(metavar="key|group", help="What to list.")] = "key",
    home: Annotated[str | None, typer.Option(metavar="NAME", help="Only of this tenant.")] = None,
    parent: Annotated[
        str | None, typer.Option(metavar="ID", help="Only what this key is the parent of.")
    ] = None,
    after: Annotated[str, typer.Option(metavar="ID", help="Go on after this id.")] = "",
    limit: Annotated[int, typer.Option(metavar="N", help="At most so many.")] = 100,
    unused_for: Annotated[
        str | None,
        typer.Option(metavar="90d", help="Only keys that nobody used for so long."),
    ] = None,
) -> None:
    """List keys, or groups, by id; --json prints all about them."""
    if kind not in {"key", "group"}:
        raise typer.BadParameter("write key or group", param_hint="--kind")
    wanted: ListOptions = {"kind": kind, "after": after, "limit": limit}
    if home is not None:
        wanted["tenant"] = home
    if parent is not None:
        wanted["parent"] = parent
    if unused_for is not None:
        wanted["unused_for"] = unused_for
    with session.guard() as guard:
        found = guard.list(**wanted)
        usage = guard.usage([node.id for node in found if isinstance(node, APIKey)])
        now = guard.engine.clock.wall()
    rows = [row(node, now, usage.get(node.id)) for node in found]
    data = [{**node_data(node, now), "usage": usage_data(usage.get(node.id))} for node in found]
    session.out.result(data, table(COLUMNS, rows, last_cut=True))
    if len(found) == limit:
        session.out.note(f"there may be more: --after {found[-1].id}")


def show(session: Session, node: NodeID) -> None:
    """Show everything that is stored about a key or group; the key itself is not."""
    with session.guard() as guard:
        shown = guard.show(node)
        now = guard.engine.clock.wall()
    data = {
        **node_data(shown.node, now),
        "revision": shown.rev,
        "above": list(shown.above),
        "usage": usage_data(shown.usage),
    }
    session.out.result(data, node_card(shown.node, now, rev=shown.rev, usage=shown.usage))


def _print_once(session: Session, issued: IssuedKey, now: float) -> None:
    """Print the key; besides the demo, nothing else in this package does."""
    key = issued.secret.reveal()
    data = {**node_data(issued.key, now), "revision": issued.receipt.rev, "key": key}
    details = node_card(issued.key, now)
    if console(sys.stdout).width < len(key) + _FRAME:  # a frame would break the key
        session.out.result(data, Whole(key), ONCE, "", details)
        return
    content = Group(Text(key, style="bold"), ONCE, "", details)
    session.out.result(data, Panel(content, title="key issued", title_align="left"))


def _advise(session: Session, guard: Guard, limits: Limits) -> None:
    if guard.settings.secret is None:
        session.out.warn(f"{UNPROTECTED}; make one: {MAKE_SECRET}")
    # Routes that a framework declares are known to the application alone.
    if limits.of("models") and not any(route.names_models for route in guard.engine.table.routes):
        text = "no route here names a model, and a key limited to models is refused without one"
        session.out.warn(text)
