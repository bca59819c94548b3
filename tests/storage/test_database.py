"""Opening a database: where it is, and the message when it cannot be used."""

from __future__ import annotations

import asyncio
import re
import sqlite3
from pathlib import Path

import pytest

from penstock.entities import RecordId
from penstock.errors import StorageError
from penstock.storage import jobs, pipelines, records
from penstock.storage.database import Storage
from penstock.storage.entities import NewRecord, StoredPipeline
from penstock.storage.journal import DurableJournal
from penstock.storage.writer import Writer


@pytest.mark.row("A210")
async def test_a_database_and_its_folder_are_created_when_missing(tmp_path: Path) -> None:
    path = tmp_path / "some" / "where" / "records.db"

    async with Storage(path):
        assert path.exists()

    assert sqlite3.connect(path).execute("PRAGMA journal_mode").fetchone() == ("wal",)


@pytest.mark.row("A210")
async def test_the_settings_say_where_the_database_is(tmp_path: Path) -> None:
    async with Storage() as storage:
        assert storage.path == Path("data/test_qa_records.db")

    assert (tmp_path / "data" / "test_qa_records.db").exists()


async def test_a_new_database_can_be_opened_twice_at_the_same_time(where: str | Path) -> None:
    first, second = await asyncio.gather(Storage(where).open(), Storage(where).open())

    async with first.session() as session:
        await pipelines.save_pipeline(session, "P", {})
    async with second.session() as session:
        assert len(await pipelines.list_pipelines(session)) == 1
    await first.aclose()
    await second.aclose()


@pytest.mark.row("A216")
async def test_a_database_in_memory_lasts_as_long_as_the_storage(tmp_path: Path) -> None:
    async with Storage(":memory:") as storage:
        async with storage.session() as session:
            pipeline_id = await pipelines.save_pipeline(session, "P", {"name": "P"})
            job_id = await jobs.create_job(session, pipeline_id, 1)
        async with Writer(storage) as writer, DurableJournal(storage, writer) as journal:
            await writer.save_record(NewRecord(job_id, pipeline_id, RecordId(0), {}, "x"))
            await journal.save(b"k" * 16, b"v")
            found = await journal.find(b"k" * 16)
            writer.update_job(job_id, progress=0.5)

        async def read() -> float:
            async with storage.reading() as session:
                return (await jobs.get_job(session, job_id)).progress

        progress = await asyncio.gather(read(), read())
        outputs = [record.output async for record in records.stream_records(storage)]

    assert (found, list(progress), outputs) == (b"v", [0.5, 0.5], ["x"])
    assert list(tmp_path.iterdir()) == []


async def test_a_file_that_is_not_a_database_is_refused_and_not_changed(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("these are my notes\n" * 100)

    with pytest.raises(StorageError, match="is not a SQLite database"):
        await Storage(path).open()

    assert path.read_text() == "these are my notes\n" * 100


async def test_a_damaged_database_is_reported_as_damaged(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    async with Storage(path):
        pass
    content = bytearray(path.read_bytes())
    content[100:6000] = b"\xff" * 5900
    path.write_bytes(content)

    with pytest.raises(StorageError, match="damaged"):
        await Storage(path).open()


async def test_a_path_that_is_a_folder_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="cannot be opened"):
        await Storage(tmp_path).open()


async def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(StorageError, match=r"The folder .*file cannot be made"):
        await Storage(tmp_path / "file" / "a.db").open()


async def test_a_lock_held_too_long_by_another_process_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    async with Storage(path, lock_seconds=0.05) as storage:
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")

        async def write() -> None:
            async with storage.session() as session:
                await pipelines.save_pipeline(session, "P", {})

        with pytest.raises(StorageError, match=r"locked for 0.05 seconds"):
            await write()
        async with storage.reading() as session:  # a reader does not wait
            assert await pipelines.list_pipelines(session) == []
        other.execute("ROLLBACK")
        await write()
        other.close()


async def test_an_unreachable_server_is_named_without_its_password() -> None:
    with pytest.raises(StorageError, match="Cannot reach the database") as caught:
        await Storage("postgres://me:secret@127.0.0.1:1/db").open()

    assert "secret" not in str(caught.value)


async def test_a_database_that_is_not_open_is_refused_with_advice(tmp_path: Path) -> None:
    storage = Storage(tmp_path / "a.db")

    with pytest.raises(StorageError, match="not open"):
        await _list_pipelines(storage)


async def _list_pipelines(storage: Storage) -> list[StoredPipeline]:
    async with storage.reading() as session:
        return await pipelines.list_pipelines(session)


async def test_a_transaction_that_raises_is_rolled_back(storage: Storage) -> None:
    async def fail() -> None:
        async with storage.session() as session:
            await pipelines.save_pipeline(session, "P", {"name": "P"})
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await fail()

    async with storage.reading() as session:
        assert await pipelines.list_pipelines(session) == []


@pytest.mark.parametrize(
    ("message", "sentence"),
    [
        ("attempt to write a readonly database", "cannot be written; check who may write"),
        ("database or disk is full", "no room left on the disk"),
        ("could not extend file: No space left on device", "no room left on the disk"),
        ("database disk image is malformed", "damaged"),
        ("something else\nwith details", "refused: something else$"),
    ],
)
def test_a_driver_error_becomes_a_sentence(tmp_path: Path, message: str, sentence: str) -> None:
    error = Storage(tmp_path / "a.db").explain(sqlite3.OperationalError(message))

    assert re.search(sentence, error.message)
    assert error.detail == {"database": str(tmp_path / "a.db"), "error": message.splitlines()[0]}
