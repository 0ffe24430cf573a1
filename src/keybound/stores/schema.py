"""The tables of a SQL store. What is decided on is in the records; columns only find them.

Whoever changes them adds a migration that does the same to a store that is there, and counts
``SCHEMA`` on; a test compares the two.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Double,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
)

from keybound.core.nodes import NODE_ID_MAX

SCHEMA = "0002"
"""The version of these tables: the newest migration. A store of a higher one is not touched."""

metadata = MetaData(
    naming_convention={  # without names SQLite could not let go of them in a later migration
        "ck": "%(table_name)s_%(constraint_name)s",
        "fk": "%(table_name)s_%(column_0_name)s_fkey",
        "ix": "%(table_name)s_%(column_0_name)s",
        "pk": "%(table_name)s_pkey",
        "uq": "%(table_name)s_%(column_0_name)s_key",
    }
)


def _text(length: int) -> String:
    """Return text that is compared and ordered by code points, whatever a database's locale is."""
    return String(length).with_variant(String(length, collation="C"), "postgresql")


_counter = BigInteger().with_variant(Integer, "sqlite")  # SQLite counts up only INTEGER itself
_node_id = _text(NODE_ID_MAX)
_random = LargeBinary(16)

versions = Table(
    "keybound_versions",
    metadata,
    Column("version_num", String(32), nullable=False),
    PrimaryKeyConstraint("version_num", name="keybound_versions_pkc"),
)
"""One row, kept by Alembic: the last migration that these tables went through."""

meta = Table(
    "keybound_meta",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("rev", _counter, nullable=False),
    Column("tag", _random, nullable=False),
    Column("epoch", _random, nullable=False),
    Column("installation", _random, nullable=False),
    Column("fingerprint", _text(64)),
    CheckConstraint("id = 1", name="one_row"),
)
"""One row. Who changes anything updates it first, so that revisions are in order of commits."""

nodes = Table(
    "keybound_nodes",
    metadata,
    Column("id", _node_id, primary_key=True),
    Column("kind", _text(16), nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("rev", _counter, nullable=False),
    Column("digest", LargeBinary(64), unique=True),
    Column("tenant", _text(256)),
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
    # An identity needs no rights of its own on PostgreSQL; SQLite knows none and needs none.
    Column("id", _counter, Identity(), primary_key=True),
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

usage = Table(
    "keybound_usage",
    metadata,
    Column("id", _node_id, primary_key=True),
    Column("since", Double, nullable=False),
    Column("uses", _counter, nullable=False),
    Column("refusals", _counter, nullable=False),
    Column("used_at", Double),
    Column("refused_at", Double),
)
"""How keys were used; moments are POSIX seconds. No decision reads it, and no revision counts it.

It refers to no node, so that who writes it waits for nobody who changes one.
"""
