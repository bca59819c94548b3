"""Jobs wait, run, rest, end and go on, whatever happens to the process."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from sqlalchemy import text

from penstock.entities import JobStatus, RecordStatus
from penstock.errors import BadInputError, BlockNotFoundError, ConflictError, NotFoundError
from penstock.jobs.queue import JobQueue
from penstock.jobs.runtime import open_runtime
from penstock.settings import Settings
from penstock.storage import pipelines
from penstock.storage.job_locks import lock_job
from support.model_server import ModelServer, refusal
from support.runs import FULL_DISK, ROOM_AGAIN, execute, read_records, until

ASK = {"type": "TextGenerator", "config": {"user_prompt": "q {{ n }}"}}
ASK_AGAIN = {"type": "TextGenerator", "config": {"user_prompt": "again {{ n }}"}}


@asynccontextmanager
async def open_queue(settings: Settings) -> AsyncIterator[JobQueue]:
    """The queue of a process."""
    async with open_runtime(settings) as runtime, JobQueue(runtime) as queue:
        yield queue


@pytest.fixture
async def queue(settings: Settings) -> AsyncIterator[JobQueue]:
    """A queue that is open for the whole test."""
    async with open_queue(settings) as opened:
        yield opened


def seed_file(count: int) -> bytes:
    """An upload of ``count`` seeds."""
    return json.dumps([{"metadata": {"n": n}} for n in range(count)]).encode()


async def submit(queue: JobQueue, count: int, *blocks: dict[str, Any], **definition: Any) -> int:
    """Queue a job of ``count`` seeds over a new pipeline."""
    steps: Sequence[dict[str, Any]] = blocks or [ASK]
    async with queue.runtime.storage.session() as session:
        pipeline_id = await pipelines.save_pipeline(
            session, "P", {"name": "P", "blocks": list(steps), **definition}
        )
    return await queue.submit(pipeline_id, "seeds.json", seed_file(count))


async def status_of(queue: JobQueue, job_id: int) -> JobStatus:
    """How the job stands."""
    return (await queue.read(job_id)).status


async def save_outcome(queue: JobQueue) -> None:
    """Wait until nothing is queued or running."""
    async with asyncio.timeout(30):
        await queue.wait_until_idle()


def answers(queue: JobQueue, job_id: int) -> int:
    """How many records the running job has made."""
    running = queue.find_running(job_id)
    return 0 if running is None or running.progress is None else running.progress.made


def in_trouble(queue: JobQueue, job_id: int) -> bool:
    """Whether the job waits for its database."""
    running = queue.find_running(job_id)
    return running is not None and running.storage_error is not None


@pytest.mark.row("A155", "A173")
async def test_a_job_runs_to_its_end(queue: JobQueue, settings: Settings) -> None:
    job_id = await submit(queue, 5)

    await save_outcome(queue)

    job = await queue.read(job_id)
    assert (job.status, job.records_generated, job.progress) == (JobStatus.COMPLETED, 5, 1.0)
    assert job.completed_at is not None
    assert {record.metadata["n"] for record in await read_records(settings)} == {0, 1, 2, 3, 4}


@pytest.mark.row("A164", "A184")
async def test_jobs_wait_for_the_slot_and_go_in_the_order_of_asking(
    queue: JobQueue, model: ModelServer
) -> None:
    model.latency = 0.05
    ids = [await submit(queue, 3) for _ in range(3)]
    await until(lambda: queue.find_running(ids[0]) is not None)

    waiting = [await status_of(queue, job_id) for job_id in ids[1:]]
    await save_outcome(queue)

    assert waiting == [JobStatus.QUEUED, JobStatus.QUEUED]
    ends = [(await queue.read(job_id)).completed_at for job_id in ids]
    assert None not in ends
    assert ends == sorted(end for end in ends if end)


@pytest.mark.row("A164")
async def test_as_many_jobs_run_at_once_as_the_setting_allows(settings: Settings, model: ModelServer) -> None:
    model.latency = 0.2
    async with open_queue(settings.model_copy(update={"max_running_jobs": 2})) as queue:
        for _ in range(3):
            await submit(queue, 2)
        await until(lambda: model.in_flight > 0)

        running = [running.job_id for running in queue.list_running()]
        await save_outcome(queue)

    assert running == [2, 1]


@pytest.mark.row("A165", "A158", "A169")
async def test_what_cannot_run_is_refused_before_anything_is_queued(queue: JobQueue) -> None:
    async with queue.runtime.storage.session() as session:
        blocks = [{"type": "Nowhere"}]
        unknown = await pipelines.save_pipeline(session, "P", {"name": "P", "blocks": blocks})
        splitting = await pipelines.save_pipeline(
            session, "M", {"name": "M", "blocks": [{"type": "MarkdownMultiplierBlock"}]}
        )

    with pytest.raises(NotFoundError):
        await queue.submit(99, "seeds.json", seed_file(1))
    with pytest.raises(BlockNotFoundError):
        await queue.submit(unknown, "seeds.json", seed_file(1))
    with pytest.raises(BadInputError):
        await queue.submit(splitting, "seeds.json", seed_file(1))
    with pytest.raises(BadInputError):
        await queue.submit(splitting, "seeds.json", b"{bad")
    with pytest.raises(NotFoundError):
        await queue.read(1)


@pytest.mark.row("A181", "A182", "D13")
async def test_a_cancelled_job_ends_at_once_and_cannot_be_cancelled_again(
    queue: JobQueue, model: ModelServer, settings: Settings
) -> None:
    model.latency = 0.05
    job_id = await submit(queue, 200)
    await until(lambda: answers(queue, job_id) >= 1)

    await queue.cancel(job_id)

    job = await queue.read(job_id)
    assert job.status is JobStatus.CANCELLED
    assert job.completed_at is not None
    assert job.progress < 1.0
    assert job.records_generated == len(await read_records(settings)) < 200
    with pytest.raises(ConflictError):
        await queue.cancel(job_id)
    assert await queue.read(job_id) == job


@pytest.mark.row("A181")
async def test_a_job_that_waits_can_be_cancelled(queue: JobQueue, model: ModelServer) -> None:
    model.latency = 0.1
    first, second = await submit(queue, 1), await submit(queue, 1)
    await until(lambda: model.in_flight > 0)

    await queue.cancel(second)
    await save_outcome(queue)

    assert await status_of(queue, first) is JobStatus.COMPLETED
    assert await status_of(queue, second) is JobStatus.CANCELLED
    assert len(model.requests) == 1


@pytest.mark.row("A183")
async def test_what_is_not_there_cannot_be_changed(queue: JobQueue) -> None:
    for change in (queue.cancel, queue.pause, queue.resume, queue.retry):
        with pytest.raises(NotFoundError):
            await change(99)


@pytest.mark.row("D13")
async def test_a_job_that_has_ended_is_left_as_it_is(queue: JobQueue) -> None:
    job_id = await submit(queue, 1)
    await save_outcome(queue)
    before = await queue.read(job_id)

    for change in (queue.cancel, queue.pause, queue.resume, queue.retry):
        with pytest.raises(ConflictError):
            await change(job_id)

    assert await queue.read(job_id) == before


@pytest.mark.row("D14")
async def test_a_job_rests_and_goes_on_without_asking_twice(
    queue: JobQueue, model: ModelServer, settings: Settings
) -> None:
    model.latency = 0.02
    job_id = await submit(queue, 150, ASK, ASK_AGAIN)
    await until(lambda: answers(queue, job_id) >= 5)

    await queue.pause(job_id)
    await until(lambda: queue.find_running(job_id) is None)
    rested = await queue.read(job_id)
    await queue.resume(job_id)
    await save_outcome(queue)

    assert rested.status is JobStatus.PAUSED
    assert 5 <= rested.records_generated < 150
    assert await status_of(queue, job_id) is JobStatus.COMPLETED
    assert len({record.identity for record in await read_records(settings)}) == 150
    assert len(model.requests) == 300


@pytest.mark.row("D14")
async def test_a_job_that_runs_when_the_process_ends_is_finished_by_the_next(
    settings: Settings, model: ModelServer
) -> None:
    model.latency = 0.02
    async with open_queue(settings) as queue:
        job_id = await submit(queue, 200, ASK, ASK_AGAIN)
        await until(lambda: answers(queue, job_id) >= 20)
    asked = len(model.requests)
    left = len(await read_records(settings))

    async with open_queue(settings) as queue:
        await save_outcome(queue)
        job = await queue.read(job_id)

    assert 20 <= left < 200
    assert job.status is JobStatus.COMPLETED
    assert (job.records_generated, job.progress) == (200, 1.0)
    assert len({record.identity for record in await read_records(settings)}) == 200
    assert asked < 400
    assert len(model.requests) <= 400 + settings.llm_concurrency
    assert len({body["messages"][-1]["content"] for body in model.bodies}) == 400


@pytest.mark.row("D14")
async def test_a_queue_that_closes_before_its_job_is_ready_leaves_it_for_the_next(
    settings: Settings, model: ModelServer
) -> None:
    model.latency = 0.1
    async with open_queue(settings) as queue:
        job_id = await submit(queue, 300)
        await until(lambda: queue.find_running(job_id) is not None)
    asked = len(model.requests)

    async with open_queue(settings) as queue:
        interrupted = await status_of(queue, job_id)
        await queue.cancel(job_id)

    assert asked < 300
    assert not interrupted.ended


@pytest.mark.row("D16")
async def test_failed_records_are_made_again_alone(queue: JobQueue, model: ModelServer) -> None:
    model.answer = lambda body: refusal(400) if body["messages"][-1]["content"] == "q 2" else "fine"
    job_id = await submit(queue, 4)
    await save_outcome(queue)
    before = await queue.read(job_id)
    model.answer = lambda _: "mended"

    count = await queue.retry(job_id)
    await save_outcome(queue)

    job = await queue.read(job_id)
    assert (before.records_generated, before.records_failed) == (3, 1)
    assert count == 1
    assert (job.status, job.records_generated, job.records_failed) == (JobStatus.COMPLETED, 4, 0)
    assert len(model.requests) == 5


@pytest.mark.row("D16")
async def test_retrying_a_job_that_rests_does_not_make_it_look_finished(
    queue: JobQueue, model: ModelServer, settings: Settings
) -> None:
    model.latency = 0.02
    model.answer = lambda body: refusal(400) if body["messages"][-1]["content"] == "q 0" else "fine"
    job_id = await submit(queue, 150)
    await until(lambda: answers(queue, job_id) >= 5)
    await queue.pause(job_id)
    await until(lambda: queue.find_running(job_id) is None)
    model.answer = lambda _: "mended"

    await queue.retry(job_id)
    await save_outcome(queue)
    retried = await queue.read(job_id)
    await queue.resume(job_id)
    await save_outcome(queue)

    assert retried.status is JobStatus.PAUSED
    assert retried.records_failed == 0
    assert retried.progress < 1.0
    assert (await queue.read(job_id)).records_generated == 150
    assert all(record.status is RecordStatus.PENDING for record in await read_records(settings))


@pytest.mark.row("A50", "D15")
async def test_a_stopped_job_goes_on_when_its_limit_was_raised(queue: JobQueue, model: ModelServer) -> None:
    job_id = await submit(queue, 5, constraints={"max_total_tokens": 25})
    await save_outcome(queue)
    stopped = await queue.read(job_id)
    raised = {"name": "P", "blocks": [ASK], "constraints": {"max_total_tokens": -1}}
    async with queue.runtime.storage.session() as session:
        await pipelines.update_pipeline(session, stopped.pipeline_id, "P", raised)

    await queue.resume(job_id)
    await save_outcome(queue)

    assert (stopped.status, stopped.records_generated) == (JobStatus.STOPPED, 3)
    assert stopped.error == "Constraint exceeded: max_total_tokens"
    job = await queue.read(job_id)
    assert (job.status, job.records_generated, job.error) == (JobStatus.COMPLETED, 5, None)
    assert len(model.requests) == 5


@pytest.mark.row("A177")
async def test_a_job_whose_block_has_gone_fails_and_says_why(settings: Settings) -> None:
    async with open_runtime(settings) as runtime:
        queue = JobQueue(runtime)
        job_id = await submit(queue, 1)
        async with runtime.storage.session() as session:
            await session.execute(
                text("UPDATE pipeline_versions SET definition = replace(definition, 'TextGen', 'Gone')")
            )
        async with queue:
            await save_outcome(queue)
            job = await queue.read(job_id)

    assert job.status is JobStatus.FAILED
    assert job.error is not None
    assert "GoneerATOR".lower() in job.error.lower()


async def test_a_job_that_another_process_holds_is_left_to_it(settings: Settings, model: ModelServer) -> None:
    async with open_runtime(settings) as runtime:
        queue = JobQueue(runtime)
        job_id = await submit(queue, 2)
        async with lock_job(runtime.storage, job_id), queue:
            await asyncio.sleep(0.5)
            held = await status_of(queue, job_id)
        asked = len(model.requests)
    async with open_queue(settings) as queue:
        await save_outcome(queue)
        after = await status_of(queue, job_id)

    assert (held, asked) == (JobStatus.QUEUED, 0)
    assert after is JobStatus.COMPLETED


async def test_a_job_waits_for_its_database_and_goes_on_by_itself(
    queue: JobQueue, model: ModelServer, settings: Settings
) -> None:
    model.latency = 0.01
    await execute(settings, FULL_DISK)
    job_id = await submit(queue, 5)
    await until(lambda: in_trouble(queue, job_id))
    troubled = await queue.read(job_id)

    await execute(settings, ROOM_AGAIN)
    await save_outcome(queue)

    assert troubled.status is JobStatus.RUNNING
    assert troubled.error is not None
    assert "room" in troubled.error
    job = await queue.read(job_id)
    assert (job.status, job.records_generated, job.error) == (JobStatus.COMPLETED, 5, None)
    assert len(model.requests) == 5


async def test_a_job_that_waits_for_its_database_can_still_end(queue: JobQueue, settings: Settings) -> None:
    await execute(settings, FULL_DISK)
    job_id = await submit(queue, 5)
    await until(lambda: in_trouble(queue, job_id))

    await queue.cancel(job_id)

    job = await queue.read(job_id)
    assert (job.status, job.records_generated) == (JobStatus.CANCELLED, 0)
    assert queue.find_running(job_id) is None


async def test_the_queue_itself_waits_for_its_database(
    queue: JobQueue, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    await execute(settings, "ALTER TABLE jobs RENAME TO lost")
    queue._wake.set()
    await until(lambda: "The queue waits for its database" in caplog.text)
    await execute(settings, "ALTER TABLE lost RENAME TO jobs")

    job_id = await submit(queue, 2)
    await save_outcome(queue)

    assert await status_of(queue, job_id) is JobStatus.COMPLETED
