"""SQLite in a thread: what SQLAlchemy's dialect may count on."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import pytest
from sqlalchemy import text

from penstock.errors import StorageError
from penstock.storage.database import Storage
from penstock.storage.sqlite_driver import connect

_COUNT_FOR_LONG = """
    WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 3000000)
    SELECT count(*) FROM numbers
"""


async def test_a_transaction_that_reads_sees_one_state_of_the_database(tmp_path: Path) -> None:
    async with Storage(tmp_path / "a.db") as storage:
        count = text("SELECT count(*) FROM journal")
        async with storage.reading() as reader:
            before = (await reader.execute(count)).scalar_one()
            async with storage.session() as writer:
                await writer.execute(text("INSERT INTO journal VALUES (x'00', x'00')"))
            during = (await reader.execute(count)).scalar_one()
        async with storage.reading() as reader:
            after = (await reader.execute(count)).scalar_one()

        assert (before, during, after) == (0, 0, 1)


async def test_a_read_that_is_given_up_leaves_a_connection_that_works(tmp_path: Path) -> None:
    async with Storage(tmp_path / "a.db") as storage:

        async def count() -> None:
            async with storage.reading() as session:
                await session.execute(text(_COUNT_FOR_LONG))

        task = asyncio.create_task(count())
        await asyncio.sleep(0.02)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

        async with storage.session() as session:
            await session.execute(text("INSERT INTO journal VALUES (x'00', x'00')"))
        async with storage.reading() as session:
            assert (await session.execute(text("SELECT count(*) FROM journal"))).scalar_one() == 1


async def test_more_readers_than_connections_take_turns(tmp_path: Path) -> None:
    async with Storage(tmp_path / "a.db") as storage:

        async def read(number: int) -> int:
            async with storage.reading() as session:
                return int((await session.execute(text("SELECT :n"), {"n": number})).scalar_one())

        assert await asyncio.gather(*map(read, range(200))) == list(range(200))


async def test_a_transaction_that_fails_is_taken_back(tmp_path: Path) -> None:
    async with Storage(tmp_path / "a.db") as storage:

        async def write() -> None:
            async with storage.session() as session:
                await session.execute(text("INSERT INTO journal VALUES (x'00', x'00')"))
                await session.execute(text("SELECT * FROM nowhere"))

        with pytest.raises(StorageError, match="refused: no such table: nowhere"):
            await write()

        async with storage.reading() as session:
            assert (await session.execute(text("SELECT count(*) FROM journal"))).scalar_one() == 0


async def test_a_connection_that_was_closed_says_so_and_can_be_closed_again(tmp_path: Path) -> None:
    connection = await connect(str(tmp_path / "a.db"))
    cursor = connection.cursor()
    await cursor.execute("SELECT 1 AS one")

    assert (await cursor.fetchall(), cursor.description[0][0]) == ([(1,)], "one")
    await connection.close()
    await connection.close()
    with pytest.raises(sqlite3.OperationalError, match="no active connection"):
        await cursor.execute("BEGIN")


async def test_a_file_that_cannot_be_opened_leaves_no_thread_behind(tmp_path: Path) -> None:
    with pytest.raises(sqlite3.OperationalError, match="unable to open"):
        await connect(str(tmp_path / "missing" / "a.db"))
