"""The first tables."""

from __future__ import annotations

from alembic import op
from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKeyConstraint,
    Identity,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    String,
    UniqueConstraint,
)

revision = "0001"
down_revision = None


def _text(length: int) -> String:
    return String(length).with_variant(String(length, collation="C"), "postgresql")


def upgrade() -> None:
    """Make all tables but ``keybound_versions``, which Alembic makes."""
    counter = BigInteger().with_variant(Integer, "sqlite")
    op.create_table(
        "keybound_meta",
        Column("id", Integer, autoincrement=False, nullable=False),
        Column("rev", counter, nullable=False),
        Column("tag", LargeBinary(16), nullable=False),
        Column("epoch", LargeBinary(16), nullable=False),
        Column("installation", LargeBinary(16), nullable=False),
        Column("fingerprint", _text(64)),
        PrimaryKeyConstraint("id", name="keybound_meta_pkey"),
        CheckConstraint("id = 1", name="keybound_meta_one_row"),
    )
    op.create_table(
        "keybound_nodes",
        Column("id", _text(24), nullable=False),
        Column("kind", _text(16), nullable=False),
        Column("body", LargeBinary, nullable=False),
        Column("rev", counter, nullable=False),
        Column("digest", LargeBinary(64)),
        Column("tenant", _text(256)),
        Column("parent", _text(24)),
        PrimaryKeyConstraint("id", name="keybound_nodes_pkey"),
        UniqueConstraint("digest", name="keybound_nodes_digest_key"),
    )
    op.create_index("keybound_nodes_kind", "keybound_nodes", ["kind", "id"])
    op.create_index("keybound_nodes_tenant", "keybound_nodes", ["tenant", "kind", "id"])
    op.create_index("keybound_nodes_parent", "keybound_nodes", ["parent", "kind", "id"])
    op.create_table(
        "keybound_edges",
        Column("node", _text(24), nullable=False),
        Column("above", _text(24), nullable=False),
        PrimaryKeyConstraint("node", "above", name="keybound_edges_pkey"),
        ForeignKeyConstraint(["node"], ["keybound_nodes.id"], name="keybound_edges_node_fkey"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "keybound_changes",
        Column("id", counter, Identity(), nullable=False),
        Column("rev", counter),
        Column("node", _text(24), nullable=False),
        PrimaryKeyConstraint("id", name="keybound_changes_pkey"),
    )
    op.create_index("keybound_changes_rev", "keybound_changes", ["rev"])
    op.create_table(
        "keybound_revisions",
        Column("rev", counter, autoincrement=False, nullable=False),
        Column("tag", LargeBinary(16), nullable=False),
        PrimaryKeyConstraint("rev", name="keybound_revisions_pkey"),
    )
