"""Space of deleted records is given back to the file system."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import pytest

from penstock.entities import JobStatus, RecordId
from penstock.jobs.deletions import delete_all_records
from penstock.settings import Settings
from penstock.storage import jobs, pipelines, records
from penstock.storage.database import Storage
from penstock.storage.entities import NewRecord
from penstock.storage.space import give_back_space
from penstock.storage.writer import Writer
from support.queues import open_queue
from support.records import read_all


async def _fill(storage: Storage, count: int) -> None:
    async with storage.session() as session:
        pipeline_id = await pipelines.save_pipeline(session, "P", {"name": "P"})
        job_id = await jobs.create_job(session, pipeline_id, count, JobStatus.COMPLETED)
    async with Writer(storage) as writer:
        await asyncio.gather(
            *(
                writer.save_record(NewRecord(job_id, pipeline_id, RecordId(seed), {"n": seed}, "text " * 400))
                for seed in range(count)
            )
        )


def _sizes(path: Path) -> tuple[int, int]:
    return path.stat().st_size, path.with_name(f"{path.name}-wal").stat().st_size


@pytest.mark.parametrize("is_old", [False, True])
async def test_the_file_and_its_log_become_smaller_after_a_deletion(tmp_path: Path, is_old: bool) -> None:
    path = tmp_path / "a.db"
    if is_old:  # made by an earlier version, which could not give anything back
        connection = sqlite3.connect(path)
        connection.execute("PRAGMA page_size=8192")
        connection.execute("PRAGMA auto_vacuum=NONE")
        connection.execute("CREATE TABLE other (x)")
        connection.close()
    async with Storage(path) as storage:
        await _fill(storage, 2_000)
        async with storage.session() as session:
            await records.delete_matching(session, records.RecordFilter(statuses=()))
            job = await jobs.get_job(session, 1)
        before = sum(_sizes(path))

        if is_old:
            assert await give_back_space(storage, is_idle=lambda: False) == "busy"
        outcome = await give_back_space(storage, is_idle=lambda: True)

        after, log = _sizes(path)
        assert (outcome, log) == ("done", 0)
        assert after < before / 10
        assert job.total_seeds == 2_000
        await _fill(storage, 3)
        assert len(await read_all(storage)) == 3


async def test_others_write_between_the_steps(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    async with Storage(path) as storage, Writer(storage) as writer:
        await _fill(storage, 3_000)
        async with storage.session() as session:
            await records.delete_records(session)
        giving = asyncio.create_task(give_back_space(storage, is_idle=lambda: False))
        written = 0
        while not giving.done():
            written += 1
            await writer.save_record(NewRecord(1, 1, RecordId(written), {}))
        assert await giving in {"done", "busy"}

        assert written >= 2
        assert len(await read_all(storage)) == written


async def test_the_service_gives_back_what_a_deletion_frees(settings: Settings) -> None:
    async with open_queue(settings) as queue:
        storage = queue.runtime.storage
        assert storage.path is not None
        await _fill(storage, 1_500)
        deleted = await delete_all_records(queue)
        async with asyncio.timeout(60):
            while sum(_sizes(storage.path)) > 1_000_000:
                await asyncio.sleep(0.02)

    assert deleted == 1_500
