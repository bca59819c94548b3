"""The service's jobs are queued, run, pause, end and continue, whatever happens to the process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from penstock.entities import JobStatus, RecordStatus
from penstock.errors import BadInputError, BlockNotFoundError, ConflictError, NotFoundError
from penstock.jobs.deletions import ending_pipeline
from penstock.jobs.queue import JobQueue
from penstock.jobs.runs import RunOptions, open_run
from penstock.jobs.runtime import open_runtime
from penstock.settings import Settings
from penstock.storage import jobs, pipelines
from penstock.testing import ModelServer, refusal
from support.queues import (
    ASK,
    ASK_AGAIN,
    count_made,
    finish,
    open_queue,
    seed_file,
    status_of,
    submit,
)
from support.runs import build, execute, numbered, read_job, read_records, run, until


@pytest.fixture
async def queue(settings: Settings) -> AsyncIterator[JobQueue]:
    """A queue that is open for the whole test."""
    async with open_queue(settings) as opened:
        yield opened


@pytest.mark.row("A155", "A173")
async def test_a_job_runs_to_its_end(queue: JobQueue, settings: Settings) -> None:
    job_id = await submit(queue, 5)

    await finish(queue)

    job = await queue.read(job_id)
    assert (job.status, job.records_generated, job.progress) == (JobStatus.COMPLETED, 5, 1.0)
    assert (job.total_seeds, job.current_seed) == (5, 5)
    assert job.source["seeds"] == "seeds.json"
    assert job.completed_at is not None
    assert {record.metadata["n"] for record in await read_records(settings)} == {0, 1, 2, 3, 4}


async def test_a_job_that_may_start_is_running_when_its_submission_returns(
    queue: JobQueue, model: ModelServer
) -> None:
    model.hold_after = 0
    first = await submit(queue, 1)
    second = await submit(queue, 1)

    assert [running.job_id for running in queue.list_running()] == [first]
    assert [await status_of(queue, job_id) for job_id in (first, second)] == ["running", "queued"]
    model.release()
    await finish(queue)


@pytest.mark.row("A164", "A184")
async def test_jobs_run_one_at_a_time_in_the_order_of_their_submission(
    queue: JobQueue, model: ModelServer
) -> None:
    model.hold_after = 0
    ids = [await submit(queue, 3) for _ in range(3)]
    await until(lambda: queue.find_running(ids[0]) is not None)

    waiting = [await status_of(queue, job_id) for job_id in ids[1:]]
    model.release()
    await finish(queue)

    assert waiting == [JobStatus.QUEUED, JobStatus.QUEUED]
    ends = [(await queue.read(job_id)).completed_at for job_id in ids]
    assert None not in ends
    assert ends == sorted(end for end in ends if end)


@pytest.mark.row("A164")
async def test_as_many_jobs_run_at_once_as_the_setting_allows(settings: Settings, model: ModelServer) -> None:
    model.hold_after = 0
    async with open_queue(settings.model_copy(update={"max_running_jobs": 2})) as queue:
        for _ in range(3):
            await submit(queue, 2)
        await until(lambda: len(queue.list_running()) == 2 and model.in_flight > 1)

        running = [running.job_id for running in queue.list_running()]
        model.release()
        await finish(queue)

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
    model.hold_after = 10
    job_id = await submit(queue, 200)
    await until(lambda: count_made(queue, job_id) == 10)

    await queue.cancel(job_id)
    model.release()

    job = await queue.read(job_id)
    assert job.status is JobStatus.CANCELLED
    assert job.completed_at is not None
    assert job.progress < 1.0
    assert job.records_generated == len(await read_records(settings)) == 10
    with pytest.raises(ConflictError):
        await queue.cancel(job_id)
    assert await queue.read(job_id) == job


@pytest.mark.row("A181")
async def test_a_queued_job_can_be_cancelled(queue: JobQueue, model: ModelServer) -> None:
    model.hold_after = 0
    first, second = await submit(queue, 1), await submit(queue, 1)
    await until(lambda: model.in_flight > 0)

    await queue.cancel(second)
    model.release()
    await finish(queue)

    assert await status_of(queue, first) is JobStatus.COMPLETED
    assert await status_of(queue, second) is JobStatus.CANCELLED
    assert len(model.requests) == 1


@pytest.mark.row("A183")
async def test_a_job_that_does_not_exist_cannot_be_changed(queue: JobQueue) -> None:
    for change in (queue.cancel, queue.pause, queue.resume, queue.retry):
        with pytest.raises(NotFoundError):
            await change(99)


@pytest.mark.row("D13")
async def test_a_completed_job_cannot_be_changed(queue: JobQueue) -> None:
    job_id = await submit(queue, 1)
    await finish(queue)
    before = await queue.read(job_id)

    for change in (queue.cancel, queue.pause, queue.resume, queue.retry):
        with pytest.raises(ConflictError):
            await change(job_id)

    assert await queue.read(job_id) == before


@pytest.mark.row("D14")
async def test_a_paused_job_continues_without_a_call_twice(
    queue: JobQueue, model: ModelServer, settings: Settings
) -> None:
    model.hold_after = 150
    job_id = await submit(queue, 150, ASK, ASK_AGAIN)
    await until(lambda: count_made(queue, job_id) >= 5)

    await queue.pause(job_id)
    model.release()
    await until(lambda: queue.find_running(job_id) is None)
    paused = await queue.read(job_id)
    await queue.resume(job_id)
    await finish(queue)

    assert paused.status is JobStatus.PAUSED
    assert 5 <= paused.records_generated < 150
    assert await status_of(queue, job_id) is JobStatus.COMPLETED
    assert len({record.identity for record in await read_records(settings)}) == 150
    assert len(model.requests) == 300


@pytest.mark.row("D14")
async def test_a_job_that_runs_when_the_process_ends_is_finished_by_the_next(
    settings: Settings, model: ModelServer
) -> None:
    model.hold_after = 200
    async with open_queue(settings) as queue:
        job_id = await submit(queue, 200, ASK, ASK_AGAIN)
        await until(lambda: count_made(queue, job_id) >= 20)
    model.release()
    calls = len(model.requests)
    left = len(await read_records(settings))

    async with open_queue(settings) as queue:
        await finish(queue)
        job = await queue.read(job_id)

    assert 20 <= left < 200
    assert job.status is JobStatus.COMPLETED
    assert (job.records_generated, job.progress) == (200, 1.0)
    assert len({record.identity for record in await read_records(settings)}) == 200
    assert calls < 400
    assert len(model.requests) <= 400 + settings.llm_concurrency
    assert len({body["messages"][-1]["content"] for body in model.bodies}) == 400


@pytest.mark.row("D14")
async def test_a_queue_that_closes_before_its_job_is_ready_leaves_it_for_the_next(
    settings: Settings, model: ModelServer
) -> None:
    model.hold_after = 0
    async with open_queue(settings) as queue:
        job_id = await submit(queue, 300)
        await until(lambda: queue.find_running(job_id) is not None)
    calls = len(model.requests)

    async with open_queue(settings) as queue:
        interrupted = await status_of(queue, job_id)
        await queue.cancel(job_id)

    assert calls < 300
    assert not interrupted.ended


@pytest.mark.row("D16")
async def test_a_retry_makes_only_the_failed_records_again(queue: JobQueue, model: ModelServer) -> None:
    model.answer = lambda body: refusal(400) if body["messages"][-1]["content"] == "q 2" else "fine"
    job_id = await submit(queue, 4)
    await finish(queue)
    before = await queue.read(job_id)
    model.answer = lambda _: "fixed"

    count = await queue.retry(job_id)
    await finish(queue)

    job = await queue.read(job_id)
    assert (before.records_generated, before.records_failed) == (3, 1)
    assert count == 1
    assert (job.status, job.records_generated, job.records_failed) == (JobStatus.COMPLETED, 4, 0)
    assert len(model.requests) == 5


@pytest.mark.row("D16")
async def test_a_retry_of_a_paused_job_leaves_it_paused(
    queue: JobQueue, model: ModelServer, settings: Settings
) -> None:
    model.hold_after = 20
    model.answer = lambda body: refusal(400) if body["messages"][-1]["content"] == "q 0" else "fine"
    job_id = await submit(queue, 150)
    await until(lambda: count_made(queue, job_id) >= 5)
    await queue.pause(job_id)
    model.release()
    await until(lambda: queue.find_running(job_id) is None)
    model.answer = lambda _: "fixed"

    await queue.retry(job_id)
    await finish(queue)
    retried = await queue.read(job_id)
    await queue.resume(job_id)
    await finish(queue)

    assert retried.status is JobStatus.PAUSED
    assert retried.records_failed == 0
    assert retried.progress < 1.0
    assert (await queue.read(job_id)).records_generated == 150
    assert all(record.status is RecordStatus.PENDING for record in await read_records(settings))


@pytest.mark.row("A50", "D15")
async def test_a_stopped_job_continues_when_its_limit_was_raised(queue: JobQueue, model: ModelServer) -> None:
    job_id = await submit(queue, 5, constraints={"max_total_tokens": 25})
    await finish(queue)
    stopped = await queue.read(job_id)
    raised = {"name": "P", "blocks": [ASK], "constraints": {"max_total_tokens": -1}}
    async with queue.runtime.storage.session() as session:
        await pipelines.update_pipeline(session, stopped.pipeline_id, "P", raised)

    await queue.resume(job_id)
    await finish(queue)

    assert (stopped.status, stopped.records_generated) == (JobStatus.STOPPED, 3)
    assert stopped.error == "Constraint exceeded: max_total_tokens"
    job = await queue.read(job_id)
    assert (job.status, job.records_generated, job.error) == (JobStatus.COMPLETED, 5, None)
    assert len(model.requests) == 5


# --- what belongs to the queue


@pytest.mark.row("A155")
async def test_submitting_a_job_does_not_wait_for_its_records(queue: JobQueue, model: ModelServer) -> None:
    model.hold_after = 0

    job_id = await submit(queue, 3)

    assert model.answered == 0
    assert (await queue.read(job_id)).status in {JobStatus.QUEUED, JobStatus.RUNNING}
    model.release()


@pytest.mark.row("D14")
async def test_a_run_of_the_command_line_is_not_continued_by_the_service(
    settings: Settings, model: ModelServer
) -> None:
    """Its lock is free while no process works on it, but its command, not the service, continues it."""
    async with open_run(build("Ask"), numbered(2), RunOptions(), settings=settings):
        pass
    before = await read_job(settings)

    async with open_queue(settings) as queue:
        other = await submit(queue, 1)
        await until(lambda: len(model.requests) == 1)
        await until(lambda: queue.find_running(other) is None)
        after = await queue.read(before.id)

    assert before.status is after.status is JobStatus.RUNNING
    assert after == before
    assert len(model.requests) == 1


async def test_a_run_of_the_command_line_cannot_be_resumed_by_the_service(
    settings: Settings, queue: JobQueue
) -> None:
    await run(build("Ask"), numbered(2), settings, limit=1)

    with pytest.raises(ConflictError, match="continue it with the command that made it"):
        await queue.resume(1)

    assert (await queue.read(1)).status is JobStatus.PAUSED


@pytest.mark.row("D14")
async def test_an_interrupted_job_is_continued_before_those_that_were_queued(
    settings: Settings, model: ModelServer
) -> None:
    model.hold_after = 0
    async with open_queue(settings) as queue:
        first, second = await submit(queue, 1), await submit(queue, 1)
        await until(lambda: model.in_flight > 0)

    async with open_queue(settings) as queue:
        await until(lambda: bool(queue.list_running()))
        running = [job.job_id for job in queue.list_running()]
        model.release()
        await finish(queue)
        ends = [(await queue.read(job_id)).completed_at for job_id in (first, second)]

    assert running == [first]
    assert ends[0] is not None
    assert ends[1] is not None
    assert ends[0] <= ends[1]


@pytest.mark.row("A175")
async def test_a_job_has_the_same_fields_after_a_restart(settings: Settings, model: ModelServer) -> None:
    model.answer = lambda body: refusal(400, "no") if body["messages"][-1]["content"] == "q 1" else "fine"
    async with open_queue(settings) as queue:
        completed = await submit(queue, 3)
        stopped = await submit(queue, 5, constraints={"max_total_tokens": 5})
        await finish(queue)
        before = [await queue.read(job_id) for job_id in (completed, stopped)]

    async with open_queue(settings) as queue:
        after = [await queue.read(job_id) for job_id in (completed, stopped)]

    assert before == after
    assert (after[0].progress, after[0].records_generated, after[0].records_failed) == (1.0, 2, 1)
    assert after[0].usage is not None
    assert after[0].usage["total_tokens"] == 20
    assert after[1].error == "Constraint exceeded: max_total_tokens"


@pytest.mark.row("A175", "D14")
async def test_a_job_that_is_interrupted_keeps_its_counters(settings: Settings, model: ModelServer) -> None:
    model.hold_after = 4
    async with open_queue(settings) as queue:
        job_id = await submit(queue, 10)
        await until(lambda: count_made(queue, job_id) == 4)
    model.release()

    job = await read_job(settings)
    assert (job.status, job.records_generated, job.current_seed, job.progress) == (
        JobStatus.RUNNING,
        4,
        4,
        0.4,
    )
    assert job.usage is not None
    assert job.usage["total_tokens"] == 40


async def test_pausing_does_not_wait_for_the_records_in_flight_and_cancelling_waits_for_the_end(
    queue: JobQueue, model: ModelServer
) -> None:
    model.hold_after = 0
    job_id = await submit(queue, 5)
    await until(lambda: model.in_flight > 0)

    async with asyncio.timeout(8):
        await queue.pause(job_id)
    paused = queue.find_running(job_id)
    await queue.cancel(job_id)

    assert paused is not None
    assert queue.find_running(job_id) is None
    assert await status_of(queue, job_id) is JobStatus.CANCELLED


async def test_a_job_can_be_paused_while_it_is_queued(queue: JobQueue, model: ModelServer) -> None:
    model.hold_after = 0
    await submit(queue, 1)
    second = await submit(queue, 1)
    await until(lambda: model.in_flight > 0)

    await queue.pause(second)
    model.release()
    await finish(queue)

    job = await queue.read(second)
    assert (job.status, job.completed_at) == (JobStatus.PAUSED, None)


@pytest.mark.row("D13")
async def test_a_paused_job_cannot_be_paused_again_but_cancelled(queue: JobQueue, model: ModelServer) -> None:
    model.hold_after = 0
    await submit(queue, 1)
    second = await submit(queue, 1)
    await until(lambda: model.in_flight > 0)
    await queue.pause(second)

    with pytest.raises(ConflictError, match="paused; it cannot become paused"):
        await queue.pause(second)
    await queue.cancel(second)
    model.release()

    job = await queue.read(second)
    assert job.status is JobStatus.CANCELLED
    assert job.completed_at is not None


@pytest.mark.parametrize(
    "status", [JobStatus.STOPPED, JobStatus.CANCELLED, JobStatus.FAILED, JobStatus.PAUSED]
)
async def test_every_job_that_ended_early_can_be_resumed(
    settings: Settings, status: str, model: ModelServer
) -> None:
    async with open_queue(settings) as queue:
        job_id = await submit(queue, 2)
        await finish(queue)
        async with queue.runtime.storage.session() as session:
            await jobs.update_job(session, job_id, status=JobStatus(status), error="an error")

        await queue.resume(job_id)
        queued = await queue.read(job_id)
        await finish(queue)
        job = await queue.read(job_id)

    assert (queued.error, queued.completed_at) == (None, None)
    assert (job.status, job.error) == (JobStatus.COMPLETED, None)
    assert len(model.requests) == 2


async def test_a_job_that_is_queued_or_running_cannot_be_resumed_or_retried(
    queue: JobQueue, model: ModelServer
) -> None:
    model.answer = lambda _: refusal(400)
    model.hold_after = 1
    first, second = await submit(queue, 3), await submit(queue, 1)
    await until(lambda: count_made(queue, first) == 1)

    for change in (queue.resume, queue.retry):
        with pytest.raises(ConflictError):
            await change(first)
    with pytest.raises(ConflictError, match="queued; it cannot be continued"):
        await queue.resume(second)
    model.release()


@pytest.mark.row("A149")
async def test_deleting_a_pipeline_ends_its_jobs_and_leaves_those_of_others(
    queue: JobQueue, model: ModelServer
) -> None:
    model.hold_after = 0
    running, queued, other = [await submit(queue, 2) for _ in range(3)]
    await until(lambda: model.in_flight > 0)
    pipeline_ids = [(await queue.read(job_id)).pipeline_id for job_id in (running, queued)]

    for pipeline_id in pipeline_ids:
        async with ending_pipeline(queue, pipeline_id), queue.runtime.storage.session() as session:
            assert queue.find_running(running) is None
            await pipelines.delete_pipeline(session, pipeline_id)
    model.release()
    await finish(queue)

    for job_id in (running, queued):
        with pytest.raises(NotFoundError):
            await queue.read(job_id)
    job = await queue.read(other)
    assert (job.status, job.records_generated) == (JobStatus.COMPLETED, 2)


async def test_a_fresh_job_makes_its_calls_again_and_a_normal_one_does_not(
    queue: JobQueue, model: ModelServer
) -> None:
    first = await submit(queue, 2)
    await finish(queue)
    pipeline_id = (await queue.read(first)).pipeline_id

    await queue.submit(pipeline_id, "seeds.json", seed_file(2))
    await finish(queue)
    normal = len(model.requests)
    await queue.submit(pipeline_id, "seeds.json", seed_file(2), fresh=True)
    await finish(queue)

    assert (normal, len(model.requests)) == (2, 4)


async def test_a_job_has_as_many_records_in_flight_as_were_asked_for(
    queue: JobQueue, model: ModelServer
) -> None:
    model.hold_after = 0
    first = await submit(queue, 1)
    model.release()
    await finish(queue)
    model.hold_after = 1
    pipeline_id = (await queue.read(first)).pipeline_id

    job_id = await queue.submit(pipeline_id, "seeds.json", seed_file(30), fresh=True, concurrency=3)
    await until(lambda: model.in_flight == 3)
    await asyncio.sleep(0.05)
    running = queue.find_running(job_id)

    assert running is not None
    assert running.progress is not None
    assert running.progress.in_flight == model.in_flight == 3
    model.release()


async def test_whoever_waits_for_a_change_is_woken_by_it(queue: JobQueue) -> None:
    waiting = asyncio.create_task(queue.wait_for_change(60))
    await asyncio.sleep(0)

    await submit(queue, 1)

    await asyncio.wait_for(waiting, 30)


async def test_waiting_for_a_change_ends_without_one_too(queue: JobQueue) -> None:
    await asyncio.wait_for(queue.wait_for_change(0.01), 30)


async def test_each_result_is_reported_with_the_name_of_its_pipeline(settings: Settings) -> None:
    reported: list[tuple[str, str]] = []
    async with (
        open_runtime(settings) as runtime,
        JobQueue(runtime, lambda name, result: reported.append((name, result.result["assistant"]))) as queue,
    ):
        await submit(queue, 1)
        await finish(queue)

    assert reported == [("P", "echo: q 0")]


async def test_the_queue_waits_for_its_database(
    queue: JobQueue, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    await execute(settings, "ALTER TABLE jobs RENAME TO hidden")
    queue._wake.set()
    await until(lambda: "The queue waits for its database" in caplog.text)
    await execute(settings, "ALTER TABLE hidden RENAME TO jobs")

    job_id = await submit(queue, 2)
    await finish(queue)

    assert await status_of(queue, job_id) is JobStatus.COMPLETED
