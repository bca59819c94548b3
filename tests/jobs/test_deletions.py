"""Deleting and ending jobs at the very moment when they end or begin again."""

from __future__ import annotations

import asyncio

import pytest

from penstock.entities import JobStatus, RecordStatus
from penstock.errors import ConflictError
from penstock.jobs.deletions import delete_all_records
from penstock.settings import Settings
from penstock.storage import jobs, records
from penstock.testing import ModelServer
from support.queues import count_made, finish, open_queue, status_of, submit
from support.runs import until


async def test_records_are_not_deleted_while_a_job_runs_or_waits(
    settings: Settings, model: ModelServer
) -> None:
    model.hold_after = 2
    async with open_queue(settings) as queue:
        running, waiting = await submit(queue, 4), await submit(queue, 2)
        await until(lambda: count_made(queue, running) == 2)
        with pytest.raises(ConflictError, match=rf"Job ({running}|{waiting}) has not ended"):
            await delete_all_records(queue)
        model.release()
        await finish(queue)
        done = [await queue.read(job_id) for job_id in (running, waiting)]
        deleted = await delete_all_records(queue)

    assert [(job.status, job.records_generated) for job in done] == [("completed", 4), ("completed", 2)]
    assert deleted == 6


async def test_a_retry_and_a_deletion_at_the_same_time_leave_no_job_paused(
    settings: Settings, model: ModelServer
) -> None:
    async with open_queue(settings) as queue:
        job_id = await submit(queue, 6)
        await finish(queue)
        for _ in range(5):
            async with queue.runtime.storage.session() as session:
                await records.set_status(session, records.RecordFilter(), RecordStatus.FAILED)
            await asyncio.gather(
                queue.retry(job_id), delete_all_records(queue), queue.retry(job_id), return_exceptions=True
            )
            await finish(queue)
            status = await status_of(queue, job_id)
            async with queue.runtime.storage.reading() as session:
                kept = sum((await jobs.count_records(session, job_id)).values())
            assert status is JobStatus.COMPLETED
            if not kept:
                break


async def test_a_job_that_is_cancelled_never_ends_as_completed(settings: Settings) -> None:
    settings = settings.model_copy(update={"max_running_jobs": 4})
    outcomes: list[tuple[bool, JobStatus]] = []
    async with open_queue(settings) as queue:
        made = [await submit(queue, 3) for _ in range(24)]

        async def cancel(job_id: int, turns: int) -> None:
            for _ in range(turns):
                await asyncio.sleep(0)
            try:
                await queue.cancel(job_id)
            except ConflictError:
                outcomes.append((False, await status_of(queue, job_id)))
            else:
                outcomes.append((True, await status_of(queue, job_id)))

        await asyncio.gather(*(cancel(job_id, 40 * number) for number, job_id in enumerate(made)))
        await finish(queue)
        final = [await status_of(queue, job_id) for job_id in made]

    assert {status for accepted, status in outcomes if accepted} <= {JobStatus.CANCELLED}
    assert {status for accepted, status in outcomes if not accepted} <= {JobStatus.COMPLETED}
    assert JobStatus.RUNNING not in final
