"""How stored keys and groups change and end, as generators of effects.

Every change is one revision of the store, taken in one transaction in which everything that it
was decided on is checked again. Nothing is half done, and nobody's change is overwritten unseen.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from keybound.core.announcing import names_of
from keybound.core.ceilings import check_edit
from keybound.core.effects import (
    Commit,
    HostCommit,
    LoadNode,
    Put,
    ReadClock,
    ReadEntropy,
    Row,
    Sleep,
    Uninterrupted,
    ask,
)
from keybound.core.errors import ConflictError, NotFoundError
from keybound.core.nodes import APIKey, StoredNode, encode_node
from keybound.core.stamping import TAG_BYTES, load_stamped, stamp

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from keybound.core.announcing import Announcer
    from keybound.core.edits import Edit
    from keybound.core.effects import Loaded, LogHead, Steps
    from keybound.core.keys import KeyFormat, Peppers
    from keybound.core.terms import ChainPolicy

ATTEMPTS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """What the settings mean for changes; ``settle_for`` is the bound, in seconds.

    ``announcer`` tells other workers, where there is a shared cache. Within the transaction of a
    host, ``joins`` takes the names of what is changed.
    """

    format: KeyFormat
    peppers: Peppers
    policy: ChainPolicy
    settle_for: float
    raise_floors: Callable[[Iterable[str], LogHead], None]
    announcer: Announcer | None = None
    joins: Callable[[Iterable[str]], None] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """A committed change: no worker accepts what it ended after ``effective_by``.

    That is counted by the bound of whoever made it, which all workers must have as well.
    ``announced`` says whether other workers were also told at once, by a shared cache that took
    the message; ``node`` is the key or group as the change left it. In the transaction of a host
    there is neither a revision nor such a moment: both are known once the host has committed.
    """

    node: StoredNode
    rev: int | None
    announced: bool
    effective_by: datetime | None


def edit(
    site: Site,
    node_id: str,
    change: Edit,
    *,
    if_revision: int | None = None,
    wait: bool = False,
    dry_run: bool = False,
) -> Steps[Receipt]:
    """Change a node as ``change`` says, from what is stored at that very moment.

    Raises ``NotFoundError``, ``ConflictError`` when ``if_revision`` is not the node's last one,
    and what ``change`` raises. ``wait`` returns when the change holds everywhere.
    """
    for _ in range(ATTEMPTS):
        loaded = yield from load(node_id)
        row = _row(loaded, node_id)
        if if_revision is not None and row.rev != if_revision:
            msg = f"{node_id} is at revision {row.rev}, not {if_revision}: read it again"
            raise ConflictError(msg)
        now = yield from read_now()
        node = change(row.node, now)
        encode_node(node)
        ceilings = {name: found for name, found in loaded.rows.items() if found and name != node_id}
        if isinstance(node, APIKey) and isinstance(row.node, APIKey) and node != row.node:
            check_edit(node, row.node, ceilings, site.policy)
        if dry_run or node == row.node:
            if wait and not dry_run:  # somebody else may have made the same change just now
                yield from ask(Sleep(site.settle_for))
            return _receipt(site, node, row.rev, now)
        checked = tuple((name, found.rev) for name, found in ceilings.items())
        try:
            put = Put(node=node, expected=row.rev)
            receipt = yield from commit(
                site, put, ceilings=checked, digest=row.digest, above=tuple(ceilings)
            )
        except ConflictError:
            continue
        if wait:
            yield from ask(Sleep(site.settle_for))
        return receipt
    msg = f"{node_id} is being changed by others all the time: try again"
    raise ConflictError(msg)


def show(node_id: str) -> Steps[Loaded]:
    """Return a node and everything above it. Raises ``NotFoundError``."""
    loaded = yield from load(node_id)
    _row(loaded, node_id)
    return loaded


def load(node_id: str) -> Steps[Loaded]:
    """Return a node, if there is one, and everything above it."""
    return (yield from load_stamped(LoadNode(node_id)))


def read_now() -> Steps[datetime]:
    """Return the time, aware UTC."""
    moment = yield from ask(ReadClock())
    return datetime.fromtimestamp(moment.wall, UTC)


def commit(
    site: Site,
    put: Put,
    *,
    ceilings: tuple[tuple[str, int], ...] = (),
    digest: bytes | None = None,
    above: Sequence[str] = (),
) -> Steps[Receipt]:
    """Write one node, fence it in this process at once, and tell the others.

    ``digest`` is what it is stored under already, and ``above`` the ids above it. Once begun, all
    of this is done, also when whoever asked for it is gone.
    """
    tag = yield from ask(ReadEntropy(TAG_BYTES))
    change = Commit(puts=(put,), ceilings=ceilings, tag=tag)
    digest = digest if put.digest is None else put.digest
    if site.joins is not None:
        yield from ask(HostCommit(change))
        site.joins(names_of(put.node.id, digest))
        return _receipt(site, put.node, None, None)
    return (yield from ask(Uninterrupted(_commit(site, change, digest, above))))


def _commit(
    site: Site, change: Commit, digest: bytes | None, above: Sequence[str]
) -> Steps[Receipt]:
    (put,) = change.puts
    head = yield from ask(change)
    site.raise_floors(names_of(put.node.id, digest), head)
    now = yield from read_now()
    announced = False
    if site.announcer is not None:
        at = now.timestamp()
        announced = yield from site.announcer.announce(
            put, head, committed_at=at, digest=digest, above=above
        )
    return _receipt(site, put.node, head.rev, now, announced=announced)


def settle(site: Site, names: Iterable[str]) -> Steps[tuple[Receipt, ...]]:
    """Stamp what a host has committed, fence it in this process, and tell the others.

    What is told of each node is what is stored by now, not what was meant to be written.
    """
    names = tuple(dict.fromkeys(names))
    head = yield from stamp()
    site.raise_floors(names, head)
    now = yield from read_now()
    receipts: list[Receipt] = []
    for name in names:
        loaded = yield from load(name)
        row = loaded.rows.get(name)
        if row is not None:  # otherwise it was undone, or is the name of an absence
            announced = yield from _announce_again(site, row, loaded, now)
            receipts.append(_receipt(site, row.node, row.rev, now, announced=announced))
    return tuple(receipts)


def _announce_again(site: Site, row: Row, loaded: Loaded, now: datetime) -> Steps[bool]:
    """Tell the others of a node as it was read."""
    if site.announcer is None:
        return False
    put = Put(node=row.node, expected=row.rev)
    above = tuple(name for name in loaded.rows if name != row.node.id)
    at = now.timestamp()
    return (
        yield from site.announcer.announce(
            put, loaded.head, committed_at=at, digest=row.digest, above=above
        )
    )


def _receipt(
    site: Site, node: StoredNode, rev: int | None, now: datetime | None, *, announced: bool = False
) -> Receipt:
    if now is None or site.joins is not None:
        return Receipt(node=node, rev=None, announced=False, effective_by=None)
    settled = now + timedelta(seconds=site.settle_for)
    return Receipt(node=node, rev=rev, announced=announced, effective_by=settled)


def _row(loaded: Loaded, node_id: str) -> Row:
    row = loaded.rows.get(node_id)
    if row is None:
        raise NotFoundError(node_id)
    return row
