"""Which process works on a job, and what another process has asked it to do."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add the two columns; no process works on a job of an older layout."""
    op.add_column("jobs", sa.Column("holder", sa.Text()))
    op.add_column("jobs", sa.Column("requested", sa.Text()))
