"""Jobs and pipelines: created, changed, listed, versioned, gone."""

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


@pytest.mark.row("A144", "A145", "A212", "A217")
async def test_a_pipeline_is_read_as_it_was_saved_and_the_newest_comes_first(storage: Storage) -> None:
    async with storage.session() as session:
        first = await pipelines.save_pipeline(session, "P", DEFINITION, source="# mine\nname: P\n")
        second = await pipelines.save_pipeline(session, "Q", {"name": "Q", "blocks": []})
        read = await pipelines.get_pipeline(session, first)
        listed = await pipelines.list_pipelines(session)

    assert read.to_dict().keys() >= {"id", "name", "definition", "created_at", "validation_config"}
    assert (read.name, read.definition, read.version) == ("P", DEFINITION, 1)
    assert read.source == "# mine\nname: P\n"
    assert [pipeline.id for pipeline in listed] == [second, first]


async def test_a_changed_pipeline_is_a_new_version_and_jobs_keep_theirs(
    storage: Storage, job_id: int
) -> None:
    async with storage.session() as session:
        version = await pipelines.update_pipeline(session, 1, "P2", {"name": "P2", "blocks": []})
        await pipelines.save_validation_config(session, 1, {"field_order": {"primary": ["a"]}})
        now = await pipelines.get_pipeline(session, 1)
        then = await pipelines.get_pipeline(session, 1, version=1)
        versions = await pipelines.list_versions(session, 1)
        job = await jobs.get_job(session, job_id)
        later = await jobs.get_job(session, await jobs.create_job(session, 1, 1))

    assert (version, now.version, now.name) == (2, 2, "P2")
    assert now.validation_config == {"field_order": {"primary": ["a"]}}
    assert (then.version, then.name) == (1, "P")
    assert [entry.version for entry in versions] == [2, 1]
    assert (job.pipeline_version, later.pipeline_version) == (1, 2)


@pytest.mark.row("A146", "A148", "A180")
async def test_what_is_not_there_is_not_found(storage: Storage) -> None:
    async with storage.session() as session:
        with pytest.raises(NotFoundError, match=r"^pipeline not found$"):
            await pipelines.get_pipeline(session, 1)
        with pytest.raises(NotFoundError, match=r"^pipeline not found$"):
            await pipelines.update_pipeline(session, 1, "P", {})
        with pytest.raises(NotFoundError, match=r"^pipeline not found$"):
            await pipelines.list_versions(session, 1)
        with pytest.raises(NotFoundError, match=r"^pipeline not found$"):
            await pipelines.delete_pipeline(session, 1)
        with pytest.raises(NotFoundError, match=r"^pipeline not found$"):
            await pipelines.save_validation_config(session, 1, {})
        with pytest.raises(NotFoundError, match=r"^pipeline not found$"):
            await jobs.create_job(session, 1, 5)
        with pytest.raises(NotFoundError, match=r"^job not found$"):
            await jobs.get_job(session, 1)
        with pytest.raises(NotFoundError, match=r"^job not found$"):
            await jobs.delete_job(session, 1)
        assert await jobs.find_job(session, "key") is None
        assert await pipelines.find_pipeline(session, 1) is None


@pytest.mark.row("A42", "A171", "A175", "A213", "A218")
async def test_a_jobs_fields_survive_a_restart_and_unknown_ones_are_ignored(where: str | Path) -> None:
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
    facts = job.to_dict()
    del facts["started_at"], facts["created_at"]
    assert facts == {
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
async def test_the_last_ten_jobs_come_newest_first(storage: Storage, job_id: int) -> None:
    async with storage.session() as session:
        other = await pipelines.save_pipeline(session, "Q", DEFINITION)
        ids = [await jobs.create_job(session, 1, 1, JobStatus.RUNNING) for _ in range(12)]
        others = [await jobs.create_job(session, other, 1)]

        assert [job.id for job in await jobs.list_jobs(session)] == [*others, *ids[:-10:-1]]
        assert [job.id for job in await jobs.list_jobs(session, pipeline_id=other)] == others
        queued = await jobs.list_jobs(session, limit=None, statuses=[JobStatus.QUEUED, JobStatus.PAUSED])
        assert [job.id for job in queued] == [*others, job_id]


async def test_a_jobs_usage_sums_all_its_records(storage: Storage, job_id: int) -> None:
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


async def test_nothing_of_a_transaction_that_failed_is_kept(storage: Storage) -> None:
    async def fail() -> None:
        async with storage.session() as session:
            await pipelines.save_pipeline(session, "P", DEFINITION)
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await fail()

    async with storage.reading() as session:
        assert await pipelines.list_pipelines(session) == []


async def test_a_record_of_a_job_that_is_not_there_is_refused(storage: Storage, job_id: int) -> None:
    with pytest.raises(StorageError, match=r"(?i)foreign key"):
        async with storage.session() as session:
            await records.save_record(session, NewRecord(job_id + 5, 1, RecordId(0), {}))


async def test_a_job_is_found_by_the_file_that_its_records_go_to(storage: Storage, job_id: int) -> None:
    async with storage.session() as session:
        path = '/data/50%_of "it"/ü.jsonl'
        first = await jobs.create_job(session, 1, 1, options={"output": path, "limit": 3})
        await jobs.create_job(session, 1, 1, options={"output": "/data/other.jsonl"})

        found = await jobs.find_job_by_output(session, path)
        absent = await jobs.find_job_by_output(session, "/data/50")

    assert found is not None
    assert found.id == first
    assert absent is None
