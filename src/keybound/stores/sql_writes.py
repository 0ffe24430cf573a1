"""How changing effects are answered in SQL: each in one transaction that others wait for.

Handlers run on a synchronous connection inside a transaction that is begun for them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, delete, insert, inspect, select, update

from keybound.core.effects import (
    Commit,
    Effect,
    HostCommit,
    Installation,
    LogHead,
    OpenStore,
    RecordUsage,
    ReplaceEpoch,
    SetFingerprint,
    Stamp,
)
from keybound.core.errors import ConflictError
from keybound.core.nodes import APIKey, encode_node
from keybound.stores.rules import (
    check_commit,
    forgets_through,
    logged,
    originate,
    unstamped_rev,
)
from keybound.stores.schema import (
    SCHEMA,
    changes,
    edges,
    meta,
    metadata,
    nodes,
    revisions,
    versions,
)
from keybound.stores.sql_reads import read_head
from keybound.stores.sql_usage import record_usage

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from sqlalchemy import Connection, Table

    from keybound.core.effects import Put

_KNOWN = select(nodes.c.id, nodes.c.rev, nodes.c.digest).where(
    nodes.c.id.in_(bindparam("names", expanding=True))
    | nodes.c.digest.in_(bindparam("digests", expanding=True))
)

_LOCK = (
    select(nodes.c.id)
    .where(nodes.c.id.in_(bindparam("names", expanding=True)))
    .order_by(nodes.c.id)
    .with_for_update(key_share=True)
)
"""Waits for hosts which write the same nodes, as long as nobody else waits for that."""

_TURN = select(meta.c.rev).with_for_update()
_STAMP_CHANGES = update(changes).where(changes.c.rev.is_(None)).values(rev=bindparam("next"))
_STAMPED = select(changes.c.node).where(changes.c.rev == bindparam("next"))
_FREE = (
    select(nodes.c.id)
    .where(nodes.c.id.in_(_STAMPED))
    .with_for_update(key_share=True, skip_locked=True, of=nodes)
)
_STAMP_NODES = update(nodes).where(nodes.c.id.in_(_FREE)).values(rev=bindparam("next"))
"""Not those that a host is writing: nobody may wait for a host, and it gives them another version
anyway. Where it does not commit, the one below zero stays, which tells versions apart as well."""

_NAMED = select(revisions.c.rev).where(revisions.c.tag == bindparam("tag"))


def install(connection: Connection, effect: OpenStore) -> Installation:
    """Make the tables, unless they are there, and begin at revision 0."""
    if not inspect(connection).has_table(meta.name):
        metadata.create_all(connection, checkfirst=False)
        connection.execute(insert(versions), {"version_num": SCHEMA})
    origin = originate(effect.entropy)
    connection.execute(insert(meta), {"id": 1, "rev": 0, "fingerprint": None, **origin._asdict()})
    connection.execute(insert(revisions), {"rev": 0, "tag": origin.tag})
    return Installation(origin.installation, None)


def made(connection: Connection, effect: Commit) -> LogHead | None:
    """Return the head that this very commit left, if it was made.

    Waits for the end of a commit under way: whoever lost its connection may still be making it.
    """
    connection.execute(_TURN)
    rev = connection.execute(_NAMED, {"tag": effect.tag}).scalar()
    return None if rev is None else LogHead(rev, effect.tag, read_head(connection).epoch)


def _commit(connection: Connection, effect: Commit) -> LogHead:
    written = [put.node.id for put in effect.puts if put.expected is not None]
    connection.execute(_LOCK, {"names": written})
    head = _next(connection, effect.tag)
    _write_all(connection, effect, head.rev)
    _insert(connection, changes, [{"rev": head.rev, "node": name} for name in logged(effect)])
    _remember(connection, head)
    return head


def host_commit(connection: Connection, effect: HostCommit) -> None:
    """Write within the transaction of a host, whose connection this is."""
    commit = effect.commit
    _write_all(connection, commit, unstamped_rev(commit.tag))
    _insert(connection, changes, [{"rev": None, "node": name} for name in logged(commit)])


def _stamp(connection: Connection, effect: Stamp) -> LogHead:
    connection.execute(_TURN)
    head = read_head(connection)
    stamped = connection.execute(_STAMP_CHANGES, {"next": head.rev + 1}).rowcount
    if not stamped:
        return head
    head = _next(connection, effect.tag)
    connection.execute(_STAMP_NODES, {"next": head.rev})
    _remember(connection, head)
    return head


def _next(connection: Connection, tag: bytes) -> LogHead:
    """Take the next revision: whoever holds this row is the only one who does."""
    read_head(connection)  # counting on from what is no number would begin at 1 again
    connection.execute(update(meta).values(rev=meta.c.rev + 1, tag=tag))
    return read_head(connection)


def _remember(connection: Connection, head: LogHead) -> None:
    """Note the name of a revision, and forget those of long ago with what they changed."""
    connection.execute(insert(revisions), {"rev": head.rev, "tag": head.tag})
    forgotten = forgets_through(head.rev, connection.get_execution_options()["history_max"])
    if forgotten is not None:
        connection.execute(delete(changes).where(changes.c.rev <= forgotten))
        connection.execute(delete(revisions).where(revisions.c.rev <= forgotten))


def _write_all(connection: Connection, effect: Commit, rev: int) -> None:
    _check(connection, effect)
    for put in effect.puts:
        _write(connection, put, rev)


def _check(connection: Connection, effect: Commit) -> None:
    names = {put.node.id for put in effect.puts} | {name for name, _ in effect.ceilings}
    digests = {put.digest for put in effect.puts if put.digest is not None}
    known = connection.execute(_KNOWN, {"names": list(names), "digests": list(digests)}).all()
    check_commit(
        effect,
        revs={name: rev for name, rev, _ in known},
        owners={digest: name for name, _, digest in known if digest is not None},
    )


def _write(connection: Connection, put: Put, rev: int) -> None:
    node = put.node
    values: dict[str, object] = {
        "kind": node.kind,
        "body": encode_node(node),
        "rev": rev,
        "tenant": node.tenant,
        "parent": node.parent if isinstance(node, APIKey) else None,
    }
    if put.digest is not None:
        values["digest"] = put.digest
    if put.expected is None:
        connection.execute(insert(nodes), {"id": node.id, **values})
    else:
        # A host may have written it since it was looked at, and committed while this waited.
        unchanged = nodes.c.id == node.id, nodes.c.rev == put.expected
        if connection.execute(update(nodes).where(*unchanged), values).rowcount != 1:
            msg = f"{node.id} was just changed by somebody else: read it again"
            raise ConflictError(msg)
        connection.execute(delete(edges).where(edges.c.node == node.id))
    rows = [{"node": node.id, "above": above} for above in dict.fromkeys(node.above)]
    _insert(connection, edges, rows)


def _insert(connection: Connection, table: Table, rows: Sequence[Mapping[str, object]]) -> None:
    if rows:  # to SQLAlchemy, no rows are one row of defaults
        connection.execute(insert(table), rows)


def _set_fingerprint(connection: Connection, effect: SetFingerprint) -> None:
    connection.execute(update(meta).values(fingerprint=effect.fingerprint))


def _replace_epoch(connection: Connection, effect: ReplaceEpoch) -> bytes:
    seen = meta.c.epoch == effect.seen
    connection.execute(update(meta).where(seen).values(epoch=effect.new))
    return read_head(connection).epoch


WRITES: dict[type[Effect[Any]], Callable[[Connection, Any], Any]] = {
    Commit: _commit,
    RecordUsage: record_usage,
    ReplaceEpoch: _replace_epoch,
    SetFingerprint: _set_fingerprint,
    Stamp: _stamp,
}
"""Effects that change something, with their handlers."""
