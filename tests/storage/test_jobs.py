"""Jobs: created, changed, listed, found again."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from penstock.entities import JobStatus, RecordId, RecordStatus, Usage
from penstock.errors import NotFoundError, StorageError
from penstock.storage import jobs, pipelines, records
from penstock.storage.database import Storage
from penstock.storage.entities import NewRecord

DEFINITION = {"name": "P", "blocks": [{"type": "A", "config": {}}], "constraints": {"max_total_tokens": 25}}


@pytest.mark.row("A180")
async def test_an_unknown_job_is_not_found(storage: Storage) -> None:
    async with storage.session() as session:
        with pytest.raises(NotFoundError, match=r"^pipeline not found$"):
            await jobs.create_job(session, 1, 5)
        with pytest.raises(NotFoundError, match=r"^job not found$"):
            await jobs.get_job(session, 1)
        assert await jobs.find_job(session, "key") is None


@pytest.mark.row("A42", "A171", "A175", "A213", "A218")
async def test_the_fields_of_a_job_survive_a_restart_and_unknown_ones_are_ignored(where: str | Path) -> None:
    usage = Usage(21, 9, 0, 3, None, 1.5, 2.5)
    done = datetime(2026, 1, 2, 3, 4, 5, 678, UTC)
    async with Storage(where) as storage, storage.session() as session:
        pipeline_id = await pipelines.save_pipeline(session, "P", DEFINITION)
        job_id = await jobs.create_job(
            session, pipeline_id, 3, run_key="k", source={"path": "s"}, options=[1]
        )
        changed = await jobs.update_job(
            session,
            job_id,
            status=JobStatus.STOPPED,
            progress=0.6,
            current_seed=2,
            records_generated=3,
            records_failed=1,
            current_block="A",
            current_step="Block 1/2",
            usage=usage,
            error="Constraint exceeded: max_total_tokens",
            completed_at=done,
            no_such_field=1,
            id=77,
        )
        nothing = await jobs.update_job(session, job_id, no_such_field=1)
        missing = await jobs.update_job(session, 99, status="running")

    async with Storage(where) as storage, storage.reading() as session:
        job = await jobs.get_job(session, job_id)
        found = await jobs.find_job(session, "k")

    assert (changed, nothing, missing) == (True, True, False)
    assert found == job
    assert (job.source, job.options) == ({"path": "s"}, [1])
    shown = job.to_dict()
    del shown["started_at"], shown["created_at"]
    assert shown == {
        "id": job_id,
        "pipeline_id": pipeline_id,
        "pipeline_version": 1,
        "status": "stopped",
        "progress": 0.6,
        "current_seed": 2,
        "total_seeds": 3,
        "current_block": "A",
        "current_step": "Block 1/2",
        "records_generated": 3,
        "records_failed": 1,
        "error": "Constraint exceeded: max_total_tokens",
        "usage": usage.to_dict(),
        "completed_at": "2026-01-02T03:04:05.000678Z",
    }


@pytest.mark.row("A179")
async def test_the_last_ten_jobs_are_listed_newest_first(storage: Storage, job_id: int) -> None:
    async with storage.session() as session:
        other = await pipelines.save_pipeline(session, "Q", DEFINITION)
        ids = [await jobs.create_job(session, 1, 1, JobStatus.RUNNING) for _ in range(12)]
        others = [await jobs.create_job(session, other, 1)]

        assert [job.id for job in await jobs.list_jobs(session)] == [*others, *ids[:-10:-1]]
        assert [job.id for job in await jobs.list_jobs(session, pipeline_id=other)] == others
        queued = await jobs.list_jobs(session, limit=None, statuses=[JobStatus.QUEUED, JobStatus.PAUSED])
        assert [job.id for job in queued] == [*others, job_id]


async def test_the_usage_of_a_job_is_the_sum_over_all_its_records(storage: Storage, job_id: int) -> None:
    def record(seed: int, cost: float | None, status: RecordStatus = RecordStatus.PENDING) -> NewRecord:
        usage = Usage(7, 3, 1, 2, cost, 10.0 + seed, 11.0 + seed, 1)
        return NewRecord(job_id, 1, RecordId(seed), {}, usage=usage, status=status)

    async with storage.session() as session:
        empty = await jobs.usage_of_job(session, job_id)
        await records.save_record(session, record(0, 0.25))
        await records.save_record(session, record(1, 0.5, RecordStatus.FAILED))
        known = await jobs.usage_of_job(session, job_id)
        await records.save_record(session, record(2, None))
        unknown = await jobs.usage_of_job(session, job_id)

    assert empty == Usage()
    assert known == Usage(14, 6, 2, 4, 0.75, 10.0, 12.0, 2)
    assert unknown == Usage(21, 9, 3, 6, None, 10.0, 13.0, 3)


async def test_a_record_of_an_unknown_job_is_refused(storage: Storage, job_id: int) -> None:
    with pytest.raises(StorageError, match=r"(?i)foreign key"):
        async with storage.session() as session:
            await records.save_record(session, NewRecord(job_id + 5, 1, RecordId(0), {}))


async def test_a_job_is_found_by_its_output_file(storage: Storage, job_id: int) -> None:
    async with storage.session() as session:
        path = '/data/50%_of "it"/ü.jsonl'
        first = await jobs.create_job(session, 1, 1, options={"output": path, "limit": 3})
        await jobs.create_job(session, 1, 1, options={"output": "/data/other.jsonl"})

        found = await jobs.find_job_by_output(session, path)
        absent = await jobs.find_job_by_output(session, "/data/50")

    assert found is not None
    assert found.id == first
    assert absent is None
