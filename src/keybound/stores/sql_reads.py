"""How reading effects are answered in SQL: each from one snapshot, a whole chain in one statement.

Handlers run on a synchronous connection inside a transaction that is begun for them.
"""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    BigInteger,
    Integer,
    LargeBinary,
    String,
    and_,
    bindparam,
    cast,
    exists,
    inspect,
    literal_column,
    null,
    or_,
    select,
    true,
    union_all,
)
from sqlalchemy.exc import NoResultFound

from keybound.core.chain import CHAIN_MAX
from keybound.core.effects import (
    CHANGES_MAX,
    Change,
    Effect,
    Installation,
    ListNodes,
    LoadByDigest,
    Loaded,
    LoadNode,
    LogHead,
    ReadUsage,
    Row,
    Sync,
    SyncAnswer,
    absence_id,
)
from keybound.core.errors import RecordCorruptError, StoreError
from keybound.stores import rules
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
from keybound.stores.sql_usage import read_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from sqlalchemy import ColumnElement, Connection, Select
    from sqlalchemy import Row as FoundRow

    from keybound.stores.databases import Database

_HEAD = select(meta.c.rev, meta.c.tag, meta.c.epoch)


_NOTHING: dict[str, ColumnElement[Any]] = {
    "rev": cast(null(), BigInteger).label("rev"),
    "node": cast(null(), String).label("node"),
    "tag": cast(null(), LargeBinary).label("tag"),
    "epoch": cast(null(), LargeBinary).label("epoch"),
}


def _part(number: int, *columns: ColumnElement[Any]) -> Select[*tuple[Any, ...]]:
    """Select the rows of one part of a sync; what a part does not have is null."""
    given = {column.key: column for column in columns}
    padded = [given.get(name, nothing) for name, nothing in _NOTHING.items()]
    return select(literal_column(str(number), Integer).label("part"), *padded)


_HEAD_PART, _KNOWN_PART, _CHANGES_PART, _TAGS_PART, _UNSTAMPED_PART = range(5)
_SINCE = bindparam("since", type_=BigInteger)
_NEWEST_CHANGES = (
    _part(_CHANGES_PART, changes.c.rev, changes.c.node)
    .where(changes.c.rev > _SINCE)
    .order_by(changes.c.rev.desc(), changes.c.id.desc())
    .limit(CHANGES_MAX)
    .subquery()
)
_NEWEST_TAGS = (
    _part(_TAGS_PART, revisions.c.rev, revisions.c.tag)
    .where(revisions.c.rev > _SINCE)
    .order_by(revisions.c.rev.desc())
    .limit(CHANGES_MAX)
    .subquery()
)
_UNSTAMPED = (
    _part(_UNSTAMPED_PART, changes.c.node).where(changes.c.rev.is_(None)).limit(1).subquery()
)
_SYNC = union_all(
    _part(_HEAD_PART, meta.c.rev, meta.c.tag, meta.c.epoch),
    _part(_KNOWN_PART, revisions.c.rev, revisions.c.tag).where(revisions.c.rev == _SINCE),
    select(_NEWEST_CHANGES),
    select(_NEWEST_TAGS),
    select(_UNSTAMPED),
)
"""Everything that a sync answers, in one statement: one snapshot and one round trip."""


_ANY_UNSTAMPED = exists(select(changes.c.id).where(changes.c.rev.is_(None)))


def _with_everything_above(found: Select[str]) -> Select[*tuple[Any, ...]]:
    """Read the head and whole chains at once; a cycle ends, for a node is walked through once.

    One node more than a chain may have is enough to see that it is too long.
    """
    chain = found.cte("chain", recursive=True)
    above = select(edges.c.above).join(chain, edges.c.node == chain.c.id)
    walk = select(chain.union(above).c.id).limit(CHAIN_MAX + 1).subquery("walk")
    unstamped = select(changes.c.id).where(
        changes.c.rev.is_(None),
        or_(changes.c.node == walk.c.id, changes.c.node.in_(bindparam("names", expanding=True))),
    )
    return select(
        meta.c.rev.label("head"),
        meta.c.tag,
        meta.c.epoch,
        walk.c.id,
        nodes.c.rev,
        nodes.c.digest,
        nodes.c.body,
        # The first is answered once, and nearly always with no.
        and_(_ANY_UNSTAMPED, exists(unstamped.correlate(walk))).label("unstamped"),
    ).select_from(meta.outerjoin(walk, true()).outerjoin(nodes, nodes.c.id == walk.c.id))


_LOAD_BY_DIGEST = _with_everything_above(
    select(nodes.c.id).where(nodes.c.digest.in_(bindparam("digests", expanding=True)))
)
_LOAD_NODE = _with_everything_above(select(nodes.c.id).where(nodes.c.id == bindparam("node")))
_LIST = select(nodes.c.id, nodes.c.rev, nodes.c.digest, nodes.c.body).order_by(nodes.c.id)


def read_head(connection: Connection) -> LogHead:
    """Return where the store stands."""
    rev, tag, epoch = connection.execute(_HEAD).one()
    return rules.read_head(_location(connection), rev=rev, tag=tag, epoch=epoch)


def read_version(connection: Connection) -> str | None:
    """Return the version of the tables, ``None`` where there are none yet.

    Raises ``StoreError`` if the database is not ours to use.
    """
    location = _location(connection)
    database: Database = connection.get_execution_options()["database"]
    tables = set(inspect(connection).get_table_names())
    ours = tables & set(metadata.tables)
    if not ours:
        if tables and not database.shared:
            msg = f"{location}: belongs to another program (it has a table {min(tables)}): "
            msg += database.elsewhere
            raise StoreError(msg)
        return None
    if versions.name not in ours:
        msg = f"{location}: is incomplete (it has a table {min(ours)}, but no {versions.name}): "
        msg += f"restore a backup of it, {database.elsewhere}"
        raise StoreError(msg)
    version = connection.execute(select(versions.c.version_num)).scalar()
    return rules.read_value(location, version, str)


def read_installation(connection: Connection) -> Installation | None:
    """Return what was installed, if anything; raise ``StoreError`` if it is not ours to use."""
    version = read_version(connection)
    if version is None:
        return None
    location = _location(connection)
    rules.check_version(location, version, known=SCHEMA)
    found = connection.execute(select(meta.c.installation, meta.c.fingerprint)).one_or_none()
    if found is None:  # tables alone, as `keybound db upgrade` makes them
        return None
    return rules.read_installation(location, found.installation, found.fingerprint)


def _sync(connection: Connection, effect: Sync) -> SyncAnswer:
    location = _location(connection)
    rows = connection.execute(_SYNC, {"since": effect.since}).all()
    heads, known, changed, tagged, unstamped = (
        [row for row in rows if row.part == part] for part in range(5)
    )
    if not heads:
        raise NoResultFound
    head = rules.read_head(location, rev=heads[0].rev, tag=heads[0].tag, epoch=heads[0].epoch)
    if head.rev <= effect.since:
        tags = _tags(location, known)
        return SyncAnswer(head=head, changes=(), tags=tags, unstamped=bool(unstamped))
    newest = [
        Change(rules.read_value(location, row.rev, int), rules.read_value(location, row.node, str))
        for row in changed
    ]
    return SyncAnswer(
        head=head,
        changes=tuple(sorted(newest, key=attrgetter("rev"))),
        tags=_tags(location, [*known, *tagged]),
        unstamped=bool(unstamped),
    )


def _tags(location: str, rows: Iterable[FoundRow[Any]]) -> dict[int, bytes]:
    read = rules.read_value
    return {read(location, row.rev, int): read(location, row.tag, bytes) for row in rows}


def _load_by_digest(connection: Connection, effect: LoadByDigest) -> Loaded:
    names = [absence_id(digest) for digest in effect.digests]
    head, rows, unstamped = _load(
        connection, _LOAD_BY_DIGEST, {"digests": effect.digests, "names": names}
    )
    asked = set(effect.digests)
    found = [name for name, row in rows.items() if row is not None and row.digest in asked]
    if len(found) > 1:
        msg = f"{', '.join(sorted(found))} are all found by one credential"
        raise RecordCorruptError(msg)
    return Loaded(head=head, key=found[0] if found else None, rows=rows, unstamped=unstamped)


def _load_node(connection: Connection, effect: LoadNode) -> Loaded:
    values: dict[str, object] = {"node": _storable(effect.node), "names": ()}
    head, rows, unstamped = _load(connection, _LOAD_NODE, values)
    return Loaded(head=head, key=effect.node if rows else None, rows=rows, unstamped=unstamped)


def _load(
    connection: Connection, statement: Select[*tuple[Any, ...]], values: dict[str, object]
) -> tuple[LogHead, dict[str, Row | None], bool]:
    found = connection.execute(statement, values).all()
    if not found:
        raise NoResultFound
    rows: dict[str, Row | None] = {}
    for _, _, _, name, rev, digest, record, _ in found:
        if name is not None:  # without a key, the head stands alone
            rows[name] = None if rev is None else rules.read_row(name, record, rev, digest)
    rev, tag, epoch = found[0][:3]
    head = rules.read_head(_location(connection), rev=rev, tag=tag, epoch=epoch)
    return head, rows, any(row[-1] for row in found)


def _list_nodes(connection: Connection, effect: ListNodes) -> tuple[Row, ...]:
    statement = _LIST.where(
        nodes.c.kind == effect.kind, nodes.c.id > effect.after.partition("\0")[0]
    )
    if effect.tenant is not None:
        statement = statement.where(nodes.c.tenant == _storable(effect.tenant))
    if effect.parent is not None:
        statement = statement.where(nodes.c.parent == _storable(effect.parent))
    found = connection.execute(statement.limit(effect.limit)).all()
    return tuple(rules.read_row(name, record, rev, digest) for name, rev, digest, record in found)


def _storable(text: str) -> str:
    """Return text that can be asked about: what has a zero character in it is stored nowhere.

    PostgreSQL does not even take it.
    """
    return "" if "\0" in text else text


def _location(connection: Connection) -> str:
    return str(connection.get_execution_options()["location"])


READS: dict[type[Effect[Any]], Callable[[Connection, Any], Any]] = {
    ListNodes: _list_nodes,
    LoadByDigest: _load_by_digest,
    LoadNode: _load_node,
    ReadUsage: read_rows,
    Sync: _sync,
}
"""Effects that change nothing, with their handlers."""
