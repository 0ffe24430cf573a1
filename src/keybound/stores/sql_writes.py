"""How changing effects are answered in SQL: each in one transaction that others wait for.

Handlers run on a synchronous connection inside a transaction that is begun for them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, delete, insert, inspect, select, update

from keybound.core.effects import (
    Commit,
    Effect,
    Installation,
    LogHead,
    OpenStore,
    RecordUsage,
    ReplaceEpoch,
    SetFingerprint,
)
from keybound.core.nodes import APIKey, encode_node
from keybound.stores.rules import check_commit, forgets_through, logged, originate
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

_TURN = select(meta.c.rev).with_for_update()
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
    read_head(connection)  # counting on from what is no number would begin at 1 again
    # Before all else: whoever holds this row is the only one who changes anything.
    connection.execute(update(meta).values(rev=meta.c.rev + 1, tag=effect.tag))
    head = read_head(connection)
    _check(connection, effect)
    for put in effect.puts:
        _write(connection, put, head.rev)
    _insert(connection, changes, [{"rev": head.rev, "node": name} for name in logged(effect)])
    connection.execute(insert(revisions), {"rev": head.rev, "tag": head.tag})
    forgotten = forgets_through(head.rev, connection.get_execution_options()["history_max"])
    if forgotten is not None:
        connection.execute(delete(changes).where(changes.c.rev <= forgotten))
        connection.execute(delete(revisions).where(revisions.c.rev <= forgotten))
    return head


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
        connection.execute(update(nodes).where(nodes.c.id == node.id), values)
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
}
"""Effects that change something, with their handlers."""
