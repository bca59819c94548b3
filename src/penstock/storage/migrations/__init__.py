"""The steps from older layouts of the database to the present one; Alembic is only imported to take them."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from penstock.errors import StorageError


def get_config() -> Config:
    """Alembic's configuration; it needs no file."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    return config


def upgrade(connection: Connection, found: str | None, name: str) -> None:
    """Bring the database to the present layout, inside the caller's transaction."""
    config = get_config()
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if found is not None and found not in known:
        raise StorageError(
            f"{name} was written by a newer penstock; upgrade penstock to open it.",
            detail={"database": name, "revision": found},
        )
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
