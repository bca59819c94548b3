"""Which records of a job were in a block when its process died."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add the column; no death of an earlier version is known."""
    op.add_column("jobs", sa.Column("deaths", sa.Text()))
