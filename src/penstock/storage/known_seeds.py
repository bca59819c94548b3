"""Whether an earlier run has read a seed file through, asked before the database is opened."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

_QUERY = "SELECT 1 FROM jobs WHERE total_seeds > 0 AND source LIKE ? LIMIT 1"
_WAIT_SECONDS = 1.0


def is_known_digest(database: Path, digest: str) -> bool:
    """Whether a job in the SQLite file has seeds with that digest, which its run has counted.

    False when the file cannot tell: then the seeds are read once more.
    """
    if not database.is_file():
        return False
    try:
        uri = f"{database.absolute().as_uri()}?mode=ro"
        with closing(sqlite3.connect(uri, uri=True, timeout=_WAIT_SECONDS)) as connection:
            return connection.execute(_QUERY, (f'%"digest":"{digest}"%',)).fetchone() is not None
    except (sqlite3.Error, ValueError):
        return False
