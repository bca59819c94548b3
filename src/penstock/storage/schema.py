"""Makes the tables of a new database, and upgrades those of an older one."""

from __future__ import annotations

from sqlalchemy import Connection, inspect, text

from penstock.storage.tables import metadata

HEAD = "0004"
"""The migration that ``tables`` stands for; a test compares it with ``migrations/``."""

_UPGRADE_LOCK = 0x70656E73746F636B  # "penstock"
_VERSION_TABLE = """
    CREATE TABLE alembic_version (
        version_num VARCHAR(32) NOT NULL, CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
    )
"""


def find_revision(connection: Connection) -> str | None:
    """The newest migration that the database has; None when it has no version."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()


def make_or_upgrade(connection: Connection, name: str) -> None:
    """Bring the database called ``name`` to the present layout, inside the caller's transaction.

    Raises StorageError when a newer penstock wrote it.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _UPGRADE_LOCK})
    else:
        # An upgrade moves rows into new tables: foreign keys must not follow the renamed old ones.
        connection.exec_driver_sql("PRAGMA defer_foreign_keys=ON")
    found = find_revision(connection)
    if found == HEAD:  # another process did it while this one waited for the lock
        return
    if found is None and not set(inspect(connection).get_table_names()) & set(metadata.tables):
        metadata.create_all(connection)
        connection.execute(text(_VERSION_TABLE))
        connection.execute(text("INSERT INTO alembic_version VALUES (:head)"), {"head": HEAD})
        return
    from penstock.storage.migrations import upgrade

    upgrade(connection, found, name)
