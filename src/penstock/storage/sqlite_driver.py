"""SQLite for an event loop, one hop a statement.

aiosqlite makes four trips to its thread for each statement, and three more to begin and end a transaction.
While a job keeps the loop busy every trip waits for its turn, so a read took nine turns. Here a statement and
all of its rows are one trip, and a transaction that only reads begins and ends without any.

``connect`` gives what SQLAlchemy's aiosqlite dialect expects of a connection, and no more.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Self, TypeVar

_Result = TypeVar("_Result")

BEGIN_READING = "BEGIN"
"""Begins a transaction without touching the file yet; one that may write begins with BEGIN IMMEDIATE."""


async def connect(*arguments: Any, **options: Any) -> Connection:
    """A connection with a thread of its own; the arguments are those of ``sqlite3.connect``."""
    connection = Connection()
    options |= {"check_same_thread": False, "isolation_level": None}
    try:
        await connection.open(*arguments, **options)
    except BaseException:
        connection.stop()
        raise
    return connection


class Connection:
    """A SQLite connection whose statements run one after another in its thread."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="penstock-sqlite")
        self._connection: sqlite3.Connection | None = None
        self._latest: Future[Any] | None = None
        self._only_reads = False

    @property
    def isolation_level(self) -> None:
        """None: transactions begin when a statement says so."""
        return None

    async def open(self, *arguments: Any, **options: Any) -> None:
        """Connect."""
        self._connection = await self.run(lambda: sqlite3.connect(*arguments, **options))

    async def run(self, function: Callable[[], _Result]) -> _Result:
        """Call ``function`` in the thread."""
        self._latest = future = self._thread.submit(function)
        return await asyncio.wrap_future(future)

    @property
    def _busy(self) -> bool:
        """Whether something is at work in the thread: it may be, even though who asked for it has gone."""
        return self._latest is not None and not self._latest.done()

    async def execute(self, cursor: Cursor, statement: str, parameters: Sequence[Any]) -> None:
        """Run the statement and take all of its rows along."""
        if statement == BEGIN_READING and not self._busy:
            self._open_connection.execute(statement)
            self._only_reads = True
            return
        await self.run(lambda: cursor.fill(self._open_connection.execute(statement, parameters)))

    async def executemany(self, cursor: Cursor, statement: str, rows: Sequence[Sequence[Any]]) -> None:
        """Run the statement for each row of parameters."""
        await self.run(lambda: cursor.fill(self._open_connection.executemany(statement, rows)))

    def cursor(self) -> Cursor:
        """What a statement is run with."""
        return Cursor(self)

    async def commit(self) -> None:
        """Commit what was begun, if anything was."""
        await self._end(sqlite3.Connection.commit)

    async def rollback(self) -> None:
        """Roll back what was begun, if anything was."""
        await self._end(sqlite3.Connection.rollback)

    async def _end(self, how: Callable[[sqlite3.Connection], None]) -> None:
        only_reads, self._only_reads = self._only_reads, False
        if not self._busy:
            if not self._open_connection.in_transaction:
                return
            if only_reads:
                how(self._open_connection)
                return
        await self.run(lambda: how(self._open_connection))

    async def create_function(self, *arguments: Any, **options: Any) -> None:
        """Make a function known to SQL."""
        await self.run(lambda: self._open_connection.create_function(*arguments, **options))

    async def close(self) -> None:
        """Let go of the file and the thread."""
        if self._connection is not None:
            try:
                await self.run(self._connection.close)
            finally:
                self._connection = None
                self._thread.shutdown(wait=False)

    def stop(self) -> None:
        """Let go of both when nobody can wait."""
        connection, self._connection = self._connection, None
        if connection is not None:
            self._thread.submit(connection.close)
        self._thread.shutdown(wait=False)

    @property
    def _open_connection(self) -> sqlite3.Connection:
        if self._connection is None:
            raise sqlite3.OperationalError("no active connection")
        return self._connection


class Cursor:
    """A statement's rows and what is known of them."""

    def __init__(self, connection: Connection) -> None:
        self.description: Any = None
        self.rowcount = -1
        self.lastrowid: int | None = None
        self.arraysize = 1
        self._connection = connection
        self._rows: list[Any] = []

    async def __aenter__(self) -> Self:
        return self

    async def execute(self, statement: str, parameters: Sequence[Any] = ()) -> None:
        """Run the statement."""
        await self._connection.execute(self, statement, parameters)

    async def executemany(self, statement: str, rows: Sequence[Sequence[Any]]) -> None:
        """Run the statement for each row of parameters."""
        await self._connection.executemany(self, statement, rows)

    def fill(self, cursor: sqlite3.Cursor) -> None:
        """Take over all that the driver's cursor has; called in the thread."""
        self._rows = cursor.fetchall()
        self.description, self.rowcount = cursor.description, cursor.rowcount
        self.lastrowid = cursor.lastrowid
        cursor.close()

    async def fetchall(self) -> list[Any]:
        """The rows."""
        return self._rows

    async def close(self) -> None:
        """Nothing is left to close."""
