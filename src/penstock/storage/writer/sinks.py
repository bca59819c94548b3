"""Where groups are written: each in one transaction, one after another."""

from __future__ import annotations

import asyncio
import sqlite3
from abc import abstractmethod
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Self

from sqlalchemy import update
from sqlalchemy.dialects import sqlite

from penstock.errors import StorageError
from penstock.lifecycle import AsyncResource
from penstock.storage.database import Storage
from penstock.storage.records.rows import NEW_COLUMNS
from penstock.storage.records.seed_fields import SEED_FIELD_COLUMNS
from penstock.storage.tables import jobs
from penstock.storage.writer.group import Group
from penstock.storage.writer.statements import (
    CALL_COLUMNS,
    ManyRowInsert,
    compile_update,
    insert_call,
    insert_record,
    insert_seed_fields,
)

_SURVIVE_KILL = "PRAGMA synchronous=NORMAL"
"""Commits do not wait for the disk: a power cut may take the last of them."""
_SURVIVE_POWER_CUT = "PRAGMA synchronous=FULL"
"""Commits wait for the disk."""


class Sink(AsyncResource):
    """Writes groups."""

    @abstractmethod
    async def write(self, group: Group) -> None:
        """Write the group in one transaction."""


def make_sink(storage: Storage) -> Sink:
    """The fastest sink for the database."""
    return SessionSink(storage) if storage.path is None else SqliteSink(storage)


class SessionSink(Sink):
    """Writes through sessions of ``storage``, for PostgreSQL and databases in memory."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        insert: Any = sqlite.insert
        if storage.is_postgres:
            from sqlalchemy.dialects import postgresql

            insert = postgresql.insert
        self._record = insert_record(insert)
        self._call = insert_call(insert)
        self._seed_fields = insert_seed_fields(insert)

    async def open(self) -> Self:
        """Nothing to do: the storage is open."""
        return self

    async def aclose(self) -> None:
        """Nothing to do: the storage stays open."""

    async def write(self, group: Group) -> None:
        """Write the group in one transaction."""
        async with self._storage.session() as session:
            if group.seed_fields:
                fields = [
                    dict(zip(SEED_FIELD_COLUMNS, (*key, value), strict=True))
                    for key, value in group.seed_fields.items()
                ]
                await session.execute(self._seed_fields, fields)
            if group.records:
                rows = [dict(zip(NEW_COLUMNS, row, strict=True)) for row in group.records]
                await session.execute(self._record, rows)
            if group.calls:
                calls = [dict(zip(CALL_COLUMNS, call, strict=True)) for call in group.calls]
                await session.execute(self._call, calls)
            for job_id, values in group.updates.items():
                await session.execute(update(jobs).where(jobs.c.id == job_id).values(values))


class SqliteSink(Sink):
    """Writes to a SQLite file through the driver, in one trip to one thread a group.

    SQLAlchemy compiles the statements; running each through it would cost more than SQLite does.
    """

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._record = ManyRowInsert(insert_record(sqlite.insert), NEW_COLUMNS)
        self._call = ManyRowInsert(insert_call(sqlite.insert), CALL_COLUMNS)
        self._seed_fields = ManyRowInsert(insert_seed_fields(sqlite.insert), SEED_FIELD_COLUMNS)
        self._thread: ThreadPoolExecutor | None = None
        self._connection: sqlite3.Connection | None = None

    async def open(self) -> Self:
        """Connect."""
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="penstock-writer")
        try:
            await self._run(self._connect)
        except BaseException:
            self._thread.shutdown(wait=False)
            raise
        return self

    async def aclose(self) -> None:
        """Close the connection."""
        if self._thread is not None:
            await self._run(self._disconnect)
            self._thread.shutdown()
            self._thread = None

    async def write(self, group: Group) -> None:
        """Write the group in one transaction, and wait for the disk unless it has only calls."""
        await self._run(self._write, group)

    async def _run(self, function: Callable[..., None], *arguments: Any) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, function, *arguments)

    def _connect(self) -> None:
        self._connection = self._storage.connect_sqlite()

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _write(self, group: Group) -> None:
        connection = self._connection
        if connection is None:
            raise StorageError("The writer is closed.")
        self._storage.check_file()
        connection.execute(_SURVIVE_KILL if group.has_only_calls else _SURVIVE_POWER_CUT)
        connection.execute("BEGIN IMMEDIATE")
        try:
            fields = [(*key, value) for key, value in group.seed_fields.items()]
            self._seed_fields.insert(connection, fields)
            self._record.insert(connection, group.records)
            self._call.insert(connection, group.calls)
            for job_id, values in group.updates.items():
                connection.execute(*compile_update(job_id, values))
            connection.execute("COMMIT")
            self._storage.check_file()
        except BaseException:
            if connection.in_transaction:  # SQLite rolls back by itself when the disk is full
                connection.execute("ROLLBACK")
            raise
