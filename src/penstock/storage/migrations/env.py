"""What Alembic runs; the connection and its transaction are the caller's."""

from __future__ import annotations

from alembic import context

from penstock.storage.tables import metadata

context.configure(
    connection=context.config.attributes["connection"], target_metadata=metadata, transactional_ddl=False
)
context.run_migrations()
