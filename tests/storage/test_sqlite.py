"""SQLite in threads: transactions are isolated, end when their caller is cancelled, and share connections."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from pathlib import Path

import pytest
from sqlalchemy import Connection, text

from penstock.errors import StorageError
from penstock.storage.database import Storage

_INSERT = text("INSERT INTO journal VALUES (x'00', x'00')")
_COUNT = text("SELECT count(*) FROM journal")


async def _count(storage: Storage) -> int:
    async with storage.reading() as session:
        return int(await session.fetch_value(_COUNT))


class _Work:
    """A function for a session that takes until it is released."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.released = threading.Event()

    def __call__(self, connection: Connection) -> None:
        connection.execute(_COUNT)
        self.begun.set()
        self.released.wait(60)

    async def wait_until_begun(self) -> None:
        await asyncio.to_thread(self.begun.wait, 60)


async def test_a_transaction_that_reads_sees_one_state_of_the_database(tmp_path: Path) -> None:
    async with Storage(tmp_path / "a.db") as storage:
        async with storage.reading() as reader:
            before = await reader.fetch_value(_COUNT)
            async with storage.session() as writer:
                await writer.execute(_INSERT)
            during = await reader.fetch_value(_COUNT)

        assert (before, during, await _count(storage)) == (0, 0, 1)


async def test_a_cancelled_read_leaves_a_connection_that_works(tmp_path: Path) -> None:
    async with Storage(tmp_path / "a.db") as storage:
        work = _Work()

        async def read() -> None:
            async with storage.reading() as session:
                await session.run_sync(work)

        task = asyncio.create_task(read())
        await work.wait_until_begun()
        task.cancel()
        work.released.set()
        with pytest.raises(asyncio.CancelledError):
            await task

        async with storage.session() as session:
            await session.execute(_INSERT)
        assert await _count(storage) == 1


async def test_a_cancelled_write_is_rolled_back_even_when_its_end_is_cancelled_too(tmp_path: Path) -> None:
    async with Storage(tmp_path / "a.db", lock_seconds=60) as storage:
        work = _Work()

        async def write() -> None:
            async with storage.session() as session:
                await session.execute(_INSERT)
                await session.run_sync(work)

        task = asyncio.create_task(write())
        await work.wait_until_begun()
        for _ in range(2):
            task.cancel()
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        with pytest.raises(asyncio.CancelledError):
            await task
        work.released.set()

        async with storage.session() as session:  # waits until the first has released its lock
            assert await session.fetch_value(_COUNT) == 0


async def test_closing_waits_for_a_cancelled_transaction_to_end(tmp_path: Path) -> None:
    storage = await Storage(tmp_path / "a.db").open()
    work = _Work()

    async def write() -> None:
        async with storage.session() as session:
            await session.execute(_INSERT)
            await session.run_sync(work)

    task = asyncio.create_task(write())
    await work.wait_until_begun()
    for _ in range(2):
        task.cancel()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    closing = asyncio.create_task(storage.aclose())
    await asyncio.sleep(0)
    work.released.set()
    await closing

    other = sqlite3.connect(tmp_path / "a.db", timeout=0, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    assert other.execute("SELECT count(*) FROM journal").fetchone() == (0,)
    other.close()


async def test_more_transactions_than_connections_take_turns(tmp_path: Path) -> None:
    async with Storage(tmp_path / "a.db") as storage:

        async def read(number: int) -> int:
            async with storage.reading() as session:
                first = await session.fetch_value(text("SELECT :n"), {"n": number})
                second = await session.fetch_value(text("SELECT :n"), {"n": number})
                return int(first + second)

        assert await asyncio.gather(*map(read, range(200))) == list(range(0, 400, 2))


async def test_statements_of_one_transaction_run_one_after_another(tmp_path: Path) -> None:
    async with Storage(tmp_path / "a.db") as storage, storage.session() as session:
        await asyncio.gather(
            *(session.execute(text(f"INSERT INTO journal VALUES (x'{n:02x}', x'00')")) for n in range(20))
        )

        assert await session.fetch_value(_COUNT) == 20


async def test_a_transaction_that_fails_is_rolled_back(tmp_path: Path) -> None:
    async with Storage(tmp_path / "a.db") as storage:

        async def write() -> None:
            async with storage.session() as session:
                await session.execute(_INSERT)
                await session.execute(text("SELECT * FROM nowhere"))

        with pytest.raises(StorageError, match="refused: no such table: nowhere"):
            await write()

        assert await _count(storage) == 0


async def test_a_session_can_not_be_used_after_its_end(tmp_path: Path) -> None:
    async with Storage(tmp_path / "a.db") as storage:
        async with storage.reading() as session:
            assert await session.fetch_first(text("SELECT 1 AS one")) == (1,)

        with pytest.raises(StorageError, match="session has ended"):
            await session.fetch_value(_COUNT)


async def test_a_transaction_that_is_open_when_the_database_is_closed_fails(tmp_path: Path) -> None:
    storage = await Storage(tmp_path / "a.db").open()

    async def write() -> None:
        async with storage.session() as session:
            await session.execute(_INSERT)
            await storage.aclose()

    with pytest.raises(StorageError, match="closed before this transaction ended"):
        await write()

    await storage.aclose()
    async with Storage(tmp_path / "a.db") as storage:
        assert await _count(storage) == 0


async def test_a_closed_database_leaves_no_thread_behind(tmp_path: Path) -> None:
    before = set(threading.enumerate())

    async with Storage(tmp_path / "a.db") as storage:
        await asyncio.gather(*(_count(storage) for _ in range(5)))
    with pytest.raises(StorageError, match="cannot be opened"):
        await Storage(tmp_path).open()

    left = [thread for thread in set(threading.enumerate()) - before if "sqlite" in thread.name]
    for thread in left:
        await asyncio.to_thread(thread.join, 60)
    assert not any(thread.is_alive() for thread in left)


async def test_every_commit_waits_for_the_disk(tmp_path: Path) -> None:
    async with Storage(tmp_path / "a.db") as storage, storage.session() as session:
        assert await session.fetch_value(text("PRAGMA synchronous")) == 2
