"""How keys were used."""

from __future__ import annotations

from alembic import op
from sqlalchemy import BigInteger, Column, Double, Integer, PrimaryKeyConstraint, String

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Make the table, with nothing in it: counting begins now."""
    counter = BigInteger().with_variant(Integer, "sqlite")
    op.create_table(
        "keybound_usage",
        Column(
            "id",
            String(24).with_variant(String(24, collation="C"), "postgresql"),
            nullable=False,
        ),
        Column("since", Double, nullable=False),
        Column("uses", counter, nullable=False),
        Column("refusals", counter, nullable=False),
        Column("used_at", Double),
        Column("refused_at", Double),
        PrimaryKeyConstraint("id", name="keybound_usage_pkey"),
    )
