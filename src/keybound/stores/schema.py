"""The tables of a SQL store. What is decided on is in the records; columns only find them."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
)

from keybound.core.nodes import NODE_ID_MAX

SCHEMA = 1
"""The version of these tables; a store of a higher one is not touched."""

metadata = MetaData()

_counter = BigInteger().with_variant(Integer, "sqlite")  # SQLite counts up only INTEGER itself
_node_id = String(NODE_ID_MAX)
_random = LargeBinary(16)

meta = Table(
    "keybound_meta",
    metadata,
    Column("id", Integer, CheckConstraint("id = 1"), primary_key=True, autoincrement=False),
    Column("schema", Integer, nullable=False),
    Column("rev", _counter, nullable=False),
    Column("tag", _random, nullable=False),
    Column("epoch", _random, nullable=False),
    Column("installation", _random, nullable=False),
    Column("fingerprint", String(64)),
)
"""One row. Who changes anything updates it first, so that revisions are in order of commits."""

nodes = Table(
    "keybound_nodes",
    metadata,
    Column("id", _node_id, primary_key=True),
    Column("kind", String(16), nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("rev", _counter, nullable=False),
    Column("digest", LargeBinary(64), unique=True),
    Column("tenant", String(256)),
    Column("parent", _node_id),
    Index("keybound_nodes_kind", "kind", "id"),
    Index("keybound_nodes_tenant", "tenant", "kind", "id"),
    Index("keybound_nodes_parent", "parent", "kind", "id"),
)
"""``body`` is the record, ``rev`` the revision that last changed it; the rest is for lists."""

edges = Table(
    "keybound_edges",
    metadata,
    Column("node", _node_id, ForeignKey(nodes.c.id), primary_key=True),
    Column("above", _node_id, primary_key=True),
    sqlite_with_rowid=False,
)
"""Which nodes a node stands under, whether they exist or not: a missing one is a denial."""

changes = Table(
    "keybound_changes",
    metadata,
    Column("id", _counter, primary_key=True),
    Column("rev", _counter, index=True),
    Column("node", _node_id, nullable=False),
)
"""The change log. ``rev`` is null in a row that a host's own transaction wrote, until stamped."""

revisions = Table(
    "keybound_revisions",
    metadata,
    Column("rev", _counter, primary_key=True, autoincrement=False),
    Column("tag", _random, nullable=False),
)
"""The random name of each revision, by which a restored store is told from the one it was."""
