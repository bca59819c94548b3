"""A table for the fields of a seed that a multiplier took apart; older rows keep them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from penstock.storage.tables import BigInt

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "seed_fields",
        sa.Column("job_id", BigInt, autoincrement=False, nullable=False),
        sa.Column("seed", BigInt, autoincrement=False, nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["job_id"], ["jobs.id"], name="fk_seed_fields_job_id_jobs", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("job_id", "seed", name="pk_seed_fields"),
    )
