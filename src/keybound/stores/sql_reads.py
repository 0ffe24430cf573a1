"""How reading effects are answered in SQL: each from one snapshot, a whole chain in one statement.

Handlers run on a synchronous connection inside a transaction that is begun for them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, inspect, select, true
from sqlalchemy.exc import NoResultFound

from keybound.core.chain import CHAIN_MAX
from keybound.core.effects import (
    CHANGES_MAX,
    Change,
    Effect,
    Head,
    Installation,
    ListNodes,
    LoadByDigest,
    Loaded,
    LoadNode,
    Row,
    Sync,
    SyncAnswer,
)
from keybound.core.errors import RecordCorruptError, StoreError
from keybound.stores import rules
from keybound.stores.schema import SCHEMA, changes, edges, meta, nodes, revisions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from sqlalchemy import Connection, Select

_HEAD = select(meta.c.rev, meta.c.tag, meta.c.epoch)
_HEAD_AND_KNOWN = _HEAD.add_columns(revisions.c.tag.label("known")).select_from(
    meta.outerjoin(revisions, revisions.c.rev == bindparam("since"))
)
_CHANGES = (
    select(changes.c.rev, changes.c.node)
    .where(changes.c.rev > bindparam("since"))
    .order_by(changes.c.rev.desc(), changes.c.id.desc())
    .limit(CHANGES_MAX)
)
_TAGS = (
    select(revisions.c.rev, revisions.c.tag)
    .where(revisions.c.rev > bindparam("since"))
    .order_by(revisions.c.rev.desc())
    .limit(CHANGES_MAX)
)


def _with_everything_above(found: Select[str]) -> Select[*tuple[Any, ...]]:
    """Read the head and whole chains at once; a cycle ends, for a node is walked through once.

    One node more than a chain may have is enough to see that it is too long.
    """
    chain = found.cte("chain", recursive=True)
    above = select(edges.c.above).join(chain, edges.c.node == chain.c.id)
    walk = select(chain.union(above).c.id).limit(CHAIN_MAX + 1).subquery("walk")
    return select(
        meta.c.rev.label("head"),
        meta.c.tag,
        meta.c.epoch,
        walk.c.id,
        nodes.c.rev,
        nodes.c.digest,
        nodes.c.body,
    ).select_from(meta.outerjoin(walk, true()).outerjoin(nodes, nodes.c.id == walk.c.id))


_LOAD_BY_DIGEST = _with_everything_above(
    select(nodes.c.id).where(nodes.c.digest.in_(bindparam("digests", expanding=True)))
)
_LOAD_NODE = _with_everything_above(select(nodes.c.id).where(nodes.c.id == bindparam("node")))
_LIST = select(nodes.c.id, nodes.c.rev, nodes.c.digest, nodes.c.body).order_by(nodes.c.id)


def read_head(connection: Connection) -> Head:
    """Return where the store stands."""
    rev, tag, epoch = connection.execute(_HEAD).one()
    return rules.read_head(_location(connection), rev=rev, tag=tag, epoch=epoch)


def read_installation(connection: Connection) -> Installation | None:
    """Return what was installed, if anything; raise ``StoreError`` if it is not ours to use."""
    location = _location(connection)
    tables = inspect(connection).get_table_names()
    if meta.name not in tables:
        if not tables:
            return None
        msg = f"{location}: belongs to another program (it has a table {min(tables)}): "
        msg += "choose another file with the setting `database` (KEYBOUND_DATABASE)"
        raise StoreError(msg)
    # Apart from the rest: a newer version may have other columns besides.
    version = connection.execute(select(meta.c.schema)).scalar_one()
    rules.check_version(location, version, known=SCHEMA)
    found = connection.execute(select(meta.c.installation, meta.c.fingerprint)).one()
    return rules.read_installation(location, found.installation, found.fingerprint)


def _sync(connection: Connection, effect: Sync) -> SyncAnswer:
    since = {"since": effect.since}
    location = _location(connection)
    now = connection.execute(_HEAD_AND_KNOWN, since).one()
    head = rules.read_head(location, rev=now.rev, tag=now.tag, epoch=now.epoch)
    known = [] if now.known is None else [(effect.since, now.known)]
    if head.rev <= effect.since:
        return SyncAnswer(head=head, changes=(), tags=_tags(location, known))
    newest = [
        Change(rules.read_value(location, rev, int), rules.read_value(location, node, str))
        for rev, node in connection.execute(_CHANGES, since)
    ]
    tags = _tags(location, [*known, *connection.execute(_TAGS, since)])
    return SyncAnswer(head=head, changes=tuple(reversed(newest)), tags=tags)


def _tags(location: str, rows: Iterable[Sequence[object]]) -> dict[int, bytes]:
    read = rules.read_value
    return {read(location, rev, int): read(location, tag, bytes) for rev, tag in rows}


def _load_by_digest(connection: Connection, effect: LoadByDigest) -> Loaded:
    head, rows = _load(connection, _LOAD_BY_DIGEST, {"digests": effect.digests})
    asked = set(effect.digests)
    found = [name for name, row in rows.items() if row is not None and row.digest in asked]
    if len(found) > 1:
        msg = f"{', '.join(sorted(found))} are all found by one credential"
        raise RecordCorruptError(msg)
    return Loaded(head=head, key=found[0] if found else None, rows=rows)


def _load_node(connection: Connection, effect: LoadNode) -> Loaded:
    head, rows = _load(connection, _LOAD_NODE, {"node": effect.node})
    return Loaded(head=head, key=effect.node if rows else None, rows=rows)


def _load(
    connection: Connection, statement: Select[*tuple[Any, ...]], values: dict[str, object]
) -> tuple[Head, dict[str, Row | None]]:
    found = connection.execute(statement, values).all()
    if not found:
        raise NoResultFound
    rows: dict[str, Row | None] = {}
    for _, _, _, name, rev, digest, record in found:
        if name is not None:  # without a key, the head stands alone
            rows[name] = None if rev is None else rules.read_row(name, record, rev, digest)
    rev, tag, epoch = found[0][:3]
    return rules.read_head(_location(connection), rev=rev, tag=tag, epoch=epoch), rows


def _list_nodes(connection: Connection, effect: ListNodes) -> tuple[Row, ...]:
    statement = _LIST.where(nodes.c.kind == effect.kind, nodes.c.id > effect.after)
    if effect.tenant is not None:
        statement = statement.where(nodes.c.tenant == effect.tenant)
    if effect.parent is not None:
        statement = statement.where(nodes.c.parent == effect.parent)
    found = connection.execute(statement.limit(effect.limit))
    return tuple(rules.read_row(name, record, rev, digest) for name, rev, digest, record in found)


def _location(connection: Connection) -> str:
    return str(connection.get_execution_options()["location"])


READS: dict[type[Effect[Any]], Callable[[Connection, Any], Any]] = {
    ListNodes: _list_nodes,
    LoadByDigest: _load_by_digest,
    LoadNode: _load_node,
    Sync: _sync,
}
"""Effects that change nothing, with their handlers."""
