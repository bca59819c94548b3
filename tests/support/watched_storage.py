"""A SQLite database whose writer can be watched."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

from penstock.storage.database import Storage


class WatchedStorage(Storage):
    """A SQLite file, and what its writer does."""

    def __init__(self, path: Path, *, lock_seconds: float = 60.0) -> None:
        super().__init__(path, lock_seconds=lock_seconds)
        self.statements: list[str] = []
        """The statements of the writer's connection."""

    def connect_sqlite(self, lock_seconds: float | None = None) -> sqlite3.Connection:
        """The writer's connection, which can be asked for its settings as well."""
        self.connection = super().connect_sqlite(lock_seconds)
        self.connection.set_trace_callback(self.statements.append)
        return self.connection

    def waits_for_disk(self) -> bool:
        """Whether the last commit of the writer waited until it was on disk."""
        [level] = self.connection.execute("PRAGMA synchronous").fetchone()
        return bool(level == 2)

    def count(self, start: str) -> int:
        """How many statements of the writer began with ``start``."""
        return sum(statement.startswith(start) for statement in self.statements)

    async def wait_for(self, start: str) -> None:
        """Wait until the writer has begun a statement that begins with ``start``."""
        async with asyncio.timeout(60):
            while not self.count(start):
                await asyncio.sleep(0.001)
