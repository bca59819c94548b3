"""A job that the service runs: errors, waiting for the database or the lock, times and live progress."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from sqlalchemy import text

from penstock.entities import JobStatus
from penstock.jobs.queue import JobQueue
from penstock.jobs.runtime import open_runtime
from penstock.settings import Settings
from penstock.storage import jobs, pipelines
from penstock.storage.job_locks import lock_job
from penstock.testing import ModelServer, refusal
from support.queues import (
    ASK,
    count_made,
    finish,
    open_queue,
    seed_file,
    status_of,
    submit,
    waits_for_database,
)
from support.runs import FILL_DISK, FREE_DISK, execute, until


@pytest.fixture
async def queue(settings: Settings) -> AsyncIterator[JobQueue]:
    """A queue that is open for the whole test."""
    async with open_queue(settings) as opened:
        yield opened


@pytest.mark.row("A177")
async def test_a_job_whose_block_no_longer_exists_fails_and_names_it(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_runtime(settings) as runtime:
        queue = JobQueue(runtime)
        job_id = await submit(queue, 1)
        async with runtime.storage.session() as session:
            await session.execute(
                text("UPDATE pipeline_versions SET definition = replace(definition, 'TextGen', 'Gone')")
            )
        async with queue:
            await finish(queue)
            job = await queue.read(job_id)

    assert job.status is JobStatus.FAILED
    assert job.error is not None
    assert "GoneerATOR".lower() in job.error.lower()
    assert job.completed_at is not None
    assert f"Job {job_id}: {job.error}" in caplog.text


async def test_a_job_that_another_process_holds_is_left_to_it(settings: Settings, model: ModelServer) -> None:
    async with open_runtime(settings) as runtime:
        queue = JobQueue(runtime)
        job_id = await submit(queue, 2)
        async with lock_job(runtime.storage, job_id), queue:
            await asyncio.sleep(0.5)
            held = await status_of(queue, job_id)
        calls = len(model.requests)
    async with open_queue(settings) as queue:
        await finish(queue)
        after = await status_of(queue, job_id)

    assert (held, calls) == (JobStatus.QUEUED, 0)
    assert after is JobStatus.COMPLETED


async def test_the_caller_of_a_job_is_known_after_a_restart(settings: Settings) -> None:
    reported: list[tuple[object, ...]] = []
    async with open_runtime(settings) as runtime:
        async with runtime.storage.session() as session:
            pipeline_id = await pipelines.save_pipeline(session, "P", {"name": "P", "blocks": [ASK]})
        queue = JobQueue(runtime)
        await queue.submit(pipeline_id, "seeds.json", seed_file(1), caller={"traceparent": "00-1-2-01"})
    async with (
        open_runtime(settings) as runtime,
        JobQueue(runtime, lambda name, _, *caller: reported.append((name, *caller))) as queue,
    ):
        await finish(queue)

    assert reported == [("P", {"traceparent": "00-1-2-01"})]


async def test_a_job_waits_for_its_database_and_continues_by_itself(
    queue: JobQueue, model: ModelServer, settings: Settings
) -> None:
    model.latency = 0.01
    await execute(settings, FILL_DISK)
    job_id = await submit(queue, 5)
    await until(lambda: waits_for_database(queue, job_id))
    waiting = await queue.read(job_id)

    await execute(settings, FREE_DISK)
    await finish(queue)

    assert waiting.status is JobStatus.RUNNING
    assert waiting.error is not None
    assert "room" in waiting.error
    job = await queue.read(job_id)
    assert (job.status, job.records_generated, job.error) == (JobStatus.COMPLETED, 5, None)
    assert len(model.requests) == 5


async def test_a_job_can_be_cancelled_while_it_waits_for_its_database(
    queue: JobQueue, settings: Settings
) -> None:
    await execute(settings, FILL_DISK)
    job_id = await submit(queue, 5)
    await until(lambda: waits_for_database(queue, job_id))

    await queue.cancel(job_id)

    job = await queue.read(job_id)
    assert (job.status, job.records_generated) == (JobStatus.CANCELLED, 0)
    assert queue.find_running(job_id) is None


@pytest.mark.row("A175")
async def test_the_start_of_a_job_does_not_move_when_it_is_resumed(
    queue: JobQueue, model: ModelServer
) -> None:
    model.hold_after = 2
    job_id = await submit(queue, 4)
    await until(lambda: count_made(queue, job_id) == 2)
    running = await queue.read(job_id)
    await queue.pause(job_id)
    model.release()
    await until(lambda: queue.find_running(job_id) is None)

    await queue.resume(job_id)
    await finish(queue)

    job = await queue.read(job_id)
    assert job.status is JobStatus.COMPLETED
    assert job.started_at == running.started_at


async def test_the_start_of_a_job_is_when_it_began_to_run_and_not_when_it_was_queued(
    queue: JobQueue, model: ModelServer
) -> None:
    model.hold_after = 0
    await submit(queue, 1)
    second = await submit(queue, 1)
    await until(lambda: model.in_flight > 0)
    await asyncio.sleep(0.02)
    model.release()
    await finish(queue)

    job = await queue.read(second)
    assert job.started_at > job.created_at


async def test_the_seconds_of_a_job_are_those_of_all_its_runs(queue: JobQueue, settings: Settings) -> None:
    job_id = await submit(queue, 2, constraints={"max_total_tokens": 5})
    await finish(queue)
    await execute(settings, "UPDATE jobs SET usage = json_set(usage, '$.execution_time', 70)")
    job = await queue.read(job_id)
    async with queue.runtime.storage.session() as session:
        await pipelines.update_pipeline(session, job.pipeline_id, "P", {"name": "P", "blocks": [ASK]})

    await queue.resume(job_id)
    await finish(queue)

    job = await queue.read(job_id)
    assert job.status is JobStatus.COMPLETED
    assert job.usage is not None
    assert 70 <= job.usage["execution_time"] < 130


@pytest.mark.row("D16")
async def test_a_job_that_was_retried_goes_back_to_its_missing_records_when_it_is_resumed(
    queue: JobQueue, model: ModelServer
) -> None:
    model.answer = lambda body: refusal(400) if body["messages"][-1]["content"] == "q 0" else "fine"
    job_id = await submit(queue, 3, constraints={"max_total_tokens": 5})
    await finish(queue)
    stopped = await queue.read(job_id)
    model.answer = lambda _: "fixed"
    async with queue.runtime.storage.session() as session:
        await pipelines.update_pipeline(session, stopped.pipeline_id, "P", {"name": "P", "blocks": [ASK]})

    await queue.retry(job_id)
    await finish(queue)
    retried = await queue.read(job_id)
    await queue.resume(job_id)
    await finish(queue)

    assert (stopped.records_generated, stopped.records_failed) == (1, 1)
    assert (retried.status, retried.records_generated, retried.records_failed) == (JobStatus.PAUSED, 2, 0)
    assert (await queue.read(job_id)).records_generated == 3


async def test_a_job_that_another_process_works_on_is_tried_again_until_it_is_free(
    settings: Settings, model: ModelServer
) -> None:
    async with open_runtime(settings) as runtime:
        queue = JobQueue(runtime)
        job_id = await submit(queue, 2)
        async with lock_job(runtime.storage, job_id):
            await queue.open()
            await until(lambda: queue.find_running(job_id) is not None)
            await until(lambda: queue.find_running(job_id) is None)
        await finish(queue)
        job = await queue.read(job_id)
        await queue.aclose()

    assert (job.status, job.records_generated) == (JobStatus.COMPLETED, 2)


async def test_a_job_whose_seeds_are_gone_fails(queue: JobQueue, settings: Settings) -> None:
    async with open_runtime(settings) as runtime:
        closed = JobQueue(runtime)
        job_id = await submit(closed, 1)
    await execute(settings, "DELETE FROM seed_files")

    async with open_queue(settings) as opened:
        await finish(opened)
        job = await opened.read(job_id)

    assert (job.status, job.error) == (JobStatus.FAILED, f"The seeds of job {job_id} are gone.")
    assert job.completed_at is not None


async def test_the_live_job_is_ahead_of_its_row(queue: JobQueue, model: ModelServer) -> None:
    model.hold_after = 3
    job_id = await submit(queue, 5)
    await until(lambda: count_made(queue, job_id) == 3)
    async with queue.runtime.storage.reading() as session:
        row = await jobs.get_job(session, job_id)

    live, listed = await queue.read(job_id), queue.with_live_progress(row)

    assert live.status is JobStatus.RUNNING
    assert live.records_generated == listed.records_generated == 3
    model.release()


async def test_a_running_job_has_the_status_that_was_asked_for_until_it_reaches_it(
    queue: JobQueue, model: ModelServer
) -> None:
    model.hold_after = 1
    job_id = await submit(queue, 50)
    await until(lambda: count_made(queue, job_id) == 1)

    await queue.pause(job_id)
    running = queue.find_running(job_id)
    target = running.target_status if running else None
    status = await status_of(queue, job_id)
    model.release()
    await until(lambda: queue.find_running(job_id) is None)

    assert (status, target) == (JobStatus.RUNNING, JobStatus.PAUSED)
    assert await status_of(queue, job_id) is JobStatus.PAUSED
