"""Group commit: what is acknowledged is on disk, whatever happens next."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy.exc import IntegrityError

from penstock.entities import JobStatus, RecordId, RecordStatus, Usage
from penstock.errors import SerializationError, StorageError
from penstock.storage import jobs, pipelines
from penstock.storage.database import Storage
from penstock.storage.entities import NewRecord
from penstock.storage.journal import DurableJournal
from penstock.storage.writer import Writer
from support.records import read_all
from support.watched_storage import WatchedStorage

New = Callable[..., NewRecord]


async def test_an_acknowledged_record_can_be_read_by_others(
    where: str | Path, writer: Writer, new_record: New
) -> None:
    await asyncio.gather(*(writer.save_record(new_record(seed)) for seed in range(100)))

    async with Storage(where) as other:
        read = await read_all(other)

    assert sorted(record.identity or () for record in read) == [(seed, 0, "") for seed in range(100)]
    assert read[0].trace == list(new_record((read[0].identity or RecordId(0)).seed).trace)


async def test_a_record_is_never_written_twice(storage: Storage, writer: Writer, new_record: New) -> None:
    await writer.save_record(new_record(1, "first"))

    await asyncio.gather(*(writer.save_record(new_record(1, "again")) for _ in range(3)))

    assert [record.output for record in await read_all(storage)] == ["first"]


@pytest.mark.parametrize("status", [RecordStatus.PENDING, RecordStatus.FAILED])
async def test_a_failed_record_is_replaced_when_it_is_retried(
    storage: Storage, writer: Writer, new_record: New, status: RecordStatus
) -> None:
    spent = Usage(7, 3, 1, 2, 0.25, 10.0, 11.0, 0)
    failed = new_record(1, "", status=RecordStatus.FAILED, error={"error": "no"}, attempts=6, usage=spent)
    await writer.save_record(failed)
    [before] = await read_all(storage)

    again = Usage(7, 3, 0, 2, 0.5, 20.0, 21.0, 1)
    await writer.save_record(new_record(1, "good", status=status, usage=again))

    [record] = await read_all(storage)
    assert (record.id, record.status, record.output, record.error) == (before.id, status, "good", None)
    assert (record.cause, record.attempts, record.created_at) == (None, 1, before.created_at)
    assert record.usage == Usage(14, 6, 1, 4, 0.75, 10.0, 21.0, 1)


async def test_progress_is_written_with_the_next_group_and_the_latest_value_wins(
    storage: Storage, writer: Writer, job_id: int, new_record: New
) -> None:
    for number in range(100):
        writer.update_job(job_id, records_generated=number, status=JobStatus.RUNNING, nonsense=1)
    writer.update_job(job_id, usage=Usage(1, 2), completed_at=1767225600.0)
    writer.update_job(job_id + 7, records_generated=1)

    await writer.save_record(new_record(1))

    async with storage.reading() as session:
        job = await jobs.get_job(session, job_id)
    assert (job.records_generated, job.status, job.usage) == (99, "running", Usage(1, 2).to_dict())
    assert job.to_dict()["completed_at"] == "2026-01-01T00:00:00.000000Z"


async def test_progress_is_written_even_without_a_record(
    storage: Storage, writer: Writer, job_id: int
) -> None:
    writer.update_job(job_id, progress=0.5)

    async with asyncio.timeout(20):
        while True:
            async with storage.reading() as session:
                if (await jobs.get_job(session, job_id)).progress == 0.5:
                    break
            await asyncio.sleep(0.02)


async def test_closing_writes_what_is_left(storage: Storage, job_id: int, new_record: New) -> None:
    async with Writer(storage) as writer:
        waiting = [asyncio.create_task(writer.save_record(new_record(seed))) for seed in range(20)]
        await asyncio.sleep(0)
        writer.update_job(job_id, progress=1.0)

    await asyncio.gather(*waiting)
    async with storage.reading() as session:
        assert (await jobs.get_job(session, job_id)).progress == 1.0
    assert len(await read_all(storage)) == 20
    with pytest.raises(StorageError, match="writer is closed"):
        await writer.save_record(new_record(99))
    with pytest.raises(StorageError, match="writer is closed"):
        await writer.flush()


async def test_closing_writes_what_arrived_while_a_group_was_being_written(watched: WatchedStorage) -> None:
    other = sqlite3.connect(str(watched.path), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    writer = await Writer(watched).open()
    first = asyncio.create_task(writer.save_record(NewRecord(1, 1, RecordId(1), {})))
    await watched.wait_for("BEGIN IMMEDIATE")
    second = asyncio.create_task(writer.save_record(NewRecord(1, 1, RecordId(2), {})))
    await asyncio.sleep(0)
    writer.update_job(1, progress=0.75)
    closing = asyncio.create_task(writer.aclose())
    await asyncio.sleep(0)
    other.execute("ROLLBACK")
    other.close()

    await asyncio.gather(first, second, closing)

    async with watched.reading() as session:
        assert (await jobs.get_job(session, 1)).progress == 0.75
    assert [record.identity for record in await read_all(watched)] == [RecordId(1), RecordId(2)]


async def test_closing_writes_progress_that_nobody_waits_for(watched: WatchedStorage) -> None:
    async with Writer(watched) as writer:
        writer.update_job(1, progress=0.75)

    async with watched.reading() as session:
        assert (await jobs.get_job(session, 1)).progress == 0.75


async def test_a_closed_writer_has_no_connection_and_no_thread(watched: WatchedStorage) -> None:
    async with Writer(watched) as writer:
        await writer.save_record(NewRecord(1, 1, RecordId(1), {}))

    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        watched.connection.execute("SELECT 1")
    assert not await _threads_that_stay()


async def test_a_writer_that_cannot_be_opened_leaves_no_thread(tmp_path: Path) -> None:
    async with Storage(tmp_path / "a.db") as storage:
        (tmp_path / "a.db").unlink()
        (tmp_path / "a.db").mkdir()

        with pytest.raises(StorageError, match="was replaced by another file"):
            await Writer(storage).open()
        assert not await _threads_that_stay()


async def _threads_that_stay() -> list[str]:
    """The names of the writers' threads that are still there after some seconds."""
    threads = [thread for thread in threading.enumerate() if thread.name.startswith("penstock-writer")]
    for thread in threads:
        await asyncio.to_thread(thread.join, 10)
    return [thread.name for thread in threads if thread.is_alive()]


async def test_a_writer_can_be_opened_again(watched: WatchedStorage) -> None:
    writer = Writer(watched)
    async with writer:
        await writer.save_record(NewRecord(1, 1, RecordId(1), {}))
    async with writer:
        await writer.save_record(NewRecord(1, 1, RecordId(2), {}))

    assert len(await read_all(watched)) == 2


async def test_a_writer_that_was_not_opened_is_refused_with_advice(watched: WatchedStorage) -> None:
    writer = Writer(watched)

    with pytest.raises(StorageError, match="use `async with Writer"):
        await writer.save_call(b"k" * 16, b"")
    await writer.aclose()


_SAVES = {
    "record": lambda writer: writer.save_record(NewRecord(1, 1, RecordId(1), {})),
    "call": lambda writer: writer.save_call(b"k" * 16, b""),
    "flush": lambda writer: writer.flush(),
}


@pytest.mark.parametrize("save", _SAVES)
async def test_progress_waits_for_what_is_saved_next_which_does_not_wait(
    watched: WatchedStorage, save: str
) -> None:
    async with Writer(watched, update_delay=600) as writer:
        async with asyncio.timeout(60):
            await _SAVES[save](writer)
            before = watched.count("BEGIN")
            writer.update_job(1, progress=0.75)
            await asyncio.sleep(0.1)
            waited = watched.count("BEGIN") == before
            await _SAVES[save](writer)

    assert waited
    async with watched.reading() as session:
        assert (await jobs.get_job(session, 1)).progress == 0.75


async def test_the_waiters_of_a_large_group_go_on_a_few_at_a_time(watched: WatchedStorage) -> None:
    turns: list[int] = []
    turn = 0
    loop = asyncio.get_running_loop()

    def next_turn() -> None:
        nonlocal turn
        turn += 1
        if len(turns) < 40:
            loop.call_soon(next_turn)

    async def save(writer: Writer, seed: int) -> None:
        await writer.save_record(NewRecord(1, 1, RecordId(seed), {}))
        turns.append(turn)

    async with Writer(watched) as writer:
        saving = [asyncio.create_task(save(writer, seed)) for seed in range(40)]
        next_turn()
        await asyncio.gather(*saving)

    assert max(Counter(turns).values()) <= 8
    assert turns == sorted(turns)


async def test_one_bad_record_fails_alone(
    storage: Storage, writer: Writer, job_id: int, new_record: New
) -> None:
    stray = NewRecord(job_id + 50, 1, RecordId(0), {})

    outcomes = await asyncio.gather(
        writer.save_record(new_record(1)),
        writer.save_record(stray),
        writer.save_call(b"k" * 16, b"value"),
        writer.save_record(new_record(2)),
        writer.flush(),
        return_exceptions=True,
    )

    assert [type(outcome) for outcome in outcomes] == [
        type(None),
        SerializationError,
        type(None),
        type(None),
        type(None),
    ]
    assert isinstance(outcomes[1], SerializationError)
    assert isinstance(outcomes[1].__cause__, (sqlite3.IntegrityError, IntegrityError))
    assert len(await read_all(storage)) == 2


async def test_a_cancelled_save_does_not_affect_the_others_of_its_group(
    storage: Storage, writer: Writer, new_record: New
) -> None:
    cancelled = asyncio.create_task(writer.save_record(new_record(1)))
    other = asyncio.create_task(writer.save_record(new_record(2)))
    await asyncio.sleep(0)
    cancelled.cancel()

    await other

    assert len(await read_all(storage)) == 2


async def test_a_lock_that_is_released_in_time_is_waited_for(watched: WatchedStorage) -> None:
    async with Writer(watched) as writer:
        other = sqlite3.connect(str(watched.path), isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        saving = asyncio.create_task(writer.save_record(NewRecord(1, 1, RecordId(1), {})))
        await watched.wait_for("BEGIN IMMEDIATE")
        other.execute("ROLLBACK")
        other.close()
        await saving

    assert len(await read_all(watched)) == 1


async def test_a_lock_that_is_not_released_in_time_is_an_error_and_writing_goes_on_afterwards(
    watched: WatchedStorage,
) -> None:
    async with Storage(str(watched.path), lock_seconds=0.05) as storage, Writer(storage) as writer:
        other = sqlite3.connect(str(watched.path), isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StorageError, match="locked"):
            await writer.save_record(NewRecord(1, 1, RecordId(2), {}))
        other.execute("ROLLBACK")
        other.close()
        await writer.save_record(NewRecord(1, 1, RecordId(2), {}))

    assert len(await read_all(watched)) == 1


async def test_a_database_in_memory_is_written_as_well() -> None:
    async with Storage(":memory:") as storage:
        async with storage.session() as session:
            await pipelines.save_pipeline(session, "P", {"name": "P"})
            await jobs.create_job(session, 1, total_seeds=1)
        async with Writer(storage) as writer, DurableJournal(storage, writer) as journal:
            await writer.save_record(NewRecord(1, 1, RecordId(1), {}, "text"))
            await journal.save(b"k" * 16, b"value")
            writer.update_job(1, progress=0.5)
            await writer.flush()
            call = await journal.find(b"k" * 16)
        async with storage.reading() as session:
            job = await jobs.get_job(session, 1)
        outputs = [record.output for record in await read_all(storage)]

    assert (outputs, call, job.progress) == (["text"], b"value", 0.5)
