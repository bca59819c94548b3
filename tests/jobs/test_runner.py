"""A job's runner: usage, limits, failures, concurrency, and ending early (contract section 2)."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, ClassVar

import pytest

from penstock.blocks.base import BaseBlock
from penstock.entities import JobStatus, RecordStatus
from penstock.errors import StorageError
from penstock.jobs.runs import RunOptions, open_run
from penstock.seeds import SeedSource
from penstock.settings import Settings
from penstock.testing import Answer, ModelServer, Reply, last_user_message, refusal
from penstock.workflow import Pipeline
from support.runs import (
    ASK,
    ASK_TWICE,
    FILL_DISK,
    FREE_DISK,
    build,
    execute,
    numbered,
    read_job,
    read_lines,
    read_records,
    run,
    until,
)
from support.trial_blocks import trial_registry

# --- usage


@pytest.mark.row("A38", "A42")
async def test_a_jobs_usage_is_that_of_its_records_and_stays(settings: Settings) -> None:
    report = await run(build(ASK), numbered(3), settings)

    job = await read_job(settings)
    assert report.status is JobStatus.COMPLETED
    assert job.usage is not None
    assert job.usage["total_input_tokens"] == 21
    assert job.usage["total_output_tokens"] == 9
    assert job.usage["total_cached_tokens"] == 0
    assert job.usage["total_tokens"] == 30
    assert job.usage["llm_calls"] == 3
    assert job.usage["end_time"] >= job.usage["start_time"]


@pytest.mark.row("A39", "A41")
async def test_every_call_of_a_record_counts_with_its_cached_tokens(
    settings: Settings, model: ModelServer
) -> None:
    model.then(Reply("a", cached_tokens=4))

    report = await run(build(*ASK_TWICE), numbered(1), settings)

    assert report.usage.total_tokens == 20
    assert report.usage.cached_tokens == 4


@pytest.mark.row("A40")
async def test_the_usage_of_failed_records_counts(settings: Settings) -> None:
    report = await run(build(ASK, "BoomBlock"), numbered(2), settings)

    job = await read_job(settings)
    assert report.failed == 2
    assert job.usage is not None
    assert job.usage["total_tokens"] == 20


# --- limits


@pytest.mark.row("A45", "A51", "D7")
@pytest.mark.parametrize("concurrency", [1, 2, 8, None])
async def test_a_job_stops_at_its_limit_at_any_concurrency(
    settings: Settings, model: ModelServer, concurrency: int | None
) -> None:
    model.latency = 0.01
    pipeline = build(ASK, constraints={"max_total_tokens": 25})

    report = await run(pipeline, numbered(5), settings, concurrency=concurrency)

    job = await read_job(settings)
    assert len(await read_records(settings)) == 3
    assert report.status is job.status is JobStatus.STOPPED
    assert job.error == "Constraint exceeded: max_total_tokens"
    assert job.progress < 1.0
    assert job.completed_at is not None


@pytest.mark.row("A46")
async def test_a_limit_of_zero_stops_after_the_first_record(settings: Settings) -> None:
    report = await run(build(ASK, constraints={"max_total_tokens": 0}), numbered(5), settings)

    assert report.generated == 1
    assert report.status is JobStatus.STOPPED


@pytest.mark.row("A47")
async def test_the_first_limit_in_the_contracts_order_is_named(settings: Settings) -> None:
    limits = {"max_total_execution_time": 0, "max_total_output_tokens": 1, "max_total_input_tokens": 1}

    report = await run(build(ASK, constraints=limits), numbered(5), settings)

    assert report.error == "Constraint exceeded: max_total_input_tokens"


@pytest.mark.row("A48")
async def test_a_job_stops_when_its_time_is_up(settings: Settings) -> None:
    pipeline = build(
        {"type": "Slow", "config": {"seconds": 0.2}}, constraints={"max_total_execution_time": 0.2}
    )

    report = await run(pipeline, numbered(10), settings)

    assert 1 <= report.generated <= 2
    assert report.error == "Constraint exceeded: max_total_execution_time"


@pytest.mark.row("A49", "D7")
@pytest.mark.parametrize("concurrency", [1, 8])
async def test_a_limit_holds_for_the_children_of_a_multiplier(settings: Settings, concurrency: int) -> None:
    pipeline = build("Split", ASK, constraints={"max_total_tokens": 25})
    seeds = SeedSource.from_data([{"metadata": {"text": "a b c d e f g h i j"}}])

    report = await run(pipeline, seeds, settings, concurrency=concurrency)

    assert report.generated == 3
    assert report.status is JobStatus.STOPPED


@pytest.mark.row("A50")
async def test_a_stopped_job_that_is_started_again_makes_no_record(
    settings: Settings, model: ModelServer
) -> None:
    pipeline = build(ASK, constraints={"max_total_tokens": 25})
    await run(pipeline, numbered(5), settings)

    report = await run(pipeline, numbered(5), settings)

    assert report.status is JobStatus.STOPPED
    assert report.new == 0
    assert report.generated == len(await read_records(settings)) == len(model.requests) == 3


# --- seeds


async def test_a_job_without_repetitions_is_completed(settings: Settings) -> None:
    seeds = SeedSource.from_data([{"repetitions": 0, "metadata": {}}])

    report = await run(build(ASK), seeds, settings)

    assert report.status is JobStatus.COMPLETED
    assert (await read_job(settings)).progress == 1.0


@pytest.mark.row("A176", "D16")
async def test_a_seed_that_fails_does_not_fail_the_job(settings: Settings) -> None:
    seeds = SeedSource.from_data([{"metadata": {"n": n, "boom": n == 2}} for n in range(5)])

    report = await run(build(ASK, "BoomBlock"), seeds, settings)

    job = await read_job(settings)
    assert job.status is JobStatus.COMPLETED
    assert (job.records_generated, job.records_failed, job.progress) == (4, 1, 1.0)
    assert (report.generated, report.failed) == (4, 1)
    failed = next(record for record in await read_records(settings) if record.status is RecordStatus.FAILED)
    assert failed.error is not None
    assert failed.error["error"] == "Block 'BoomBlock' failed at step 2: Connection timeout"
    assert [entry["block_type"] for entry in failed.trace] == ["Ask", "BoomBlock"]


@pytest.mark.row("A189", "D2")
async def test_the_output_is_text_and_anything_else_is_json(settings: Settings) -> None:
    give = {"type": "Give", "config": {"values": {"pipeline_output": {"ä": [1, True, None]}}}}

    await run(build(give), numbered(1), settings)

    assert (await read_records(settings))[0].output == '{"ä":[1,true,null]}'


async def test_a_value_that_is_no_json_fails_its_record_and_not_the_run(
    settings: Settings, tmp_path: Path
) -> None:
    pipeline = build({"type": "Odd", "config": {"kind": "object"}})

    report = await run(pipeline, numbered(1), settings, tmp_path / "out.jsonl")

    assert (report.status, report.generated, report.failed) == (JobStatus.COMPLETED, 0, 1)
    record = (await read_records(settings))[0]
    assert record.error is not None
    assert "the output 'r' is an object of the class object" in record.error["error"]


async def test_a_block_that_raises_cancelled_is_a_failed_record(settings: Settings) -> None:
    report = await run(build({"type": "Odd", "config": {"kind": "cancelled"}}), numbered(3), settings)

    assert (report.generated, report.failed) == (0, 3)


# --- progress


@pytest.mark.row("A173", "A174", "A185")
async def test_a_running_job_says_where_it_is_and_its_records_appear(
    settings: Settings, model: ModelServer
) -> None:
    model.hold_after = 3
    seen: list[float] = []
    options = RunOptions(concurrency=1)
    async with open_run(build("Note", ASK), numbered(20), options, settings=settings) as prepared:
        running = asyncio.create_task(prepared.process())
        await until(lambda: prepared.progress.made == 3 and model.in_flight == 1)
        step, block = prepared.progress.current_step, prepared.progress.current_block
        early = await read_records(settings)
        model.latency = 0.02
        model.release()
        while not running.done():
            seen.append((await read_job(settings)).progress)
            await asyncio.sleep(0.02)
        await running

    assert (step, block) == ("Block 2/2", "Ask")
    assert len(early) == 3
    assert seen == sorted(seen)
    assert (await read_job(settings)).progress == 1.0


# --- ending early


async def test_a_broken_provider_stops_the_job_before_it_has_cost_much(
    settings: Settings, model: ModelServer
) -> None:
    model.answer = lambda _: refusal(400, "not this")

    report = await run(build(ASK), numbered(500), settings, concurrency=4)

    assert report.status is JobStatus.STOPPED
    assert report.error is not None
    assert "of the last 20 records failed" in report.error
    assert "not this" in report.error
    assert 20 <= len(model.requests) < 40


async def test_gates_that_refuse_everything_stop_the_job(settings: Settings) -> None:
    step = {**ASK, "gates": [{"type": "RegexGate", "config": {"part": "answer", "pattern": "^never$"}}]}

    report = await run(build(step), numbered(300), settings, concurrency=4)

    assert report.status is JobStatus.STOPPED
    assert report.error is not None
    assert "Gates refused 100 records in a row" in report.error
    assert report.failed < 120


async def test_refusals_among_good_records_stop_nothing(settings: Settings, model: ModelServer) -> None:
    def answer(body: dict[str, Any]) -> Answer:
        return "good" if last_user_message(body).endswith("0") else "bad"

    model.answer = answer
    step = {**ASK, "gates": [{"type": "RegexGate", "config": {"part": "answer", "pattern": "^good$"}}]}

    report = await run(build(step), numbered(150), settings)

    assert report.status is JobStatus.COMPLETED
    assert (report.generated, report.failed) == (15, 135)


async def test_stopping_finishes_what_is_in_flight(settings: Settings, model: ModelServer) -> None:
    model.hold_after = 2
    async with open_run(build(ASK), numbered(50), RunOptions(concurrency=4), settings=settings) as prepared:
        running = asyncio.create_task(prepared.process())
        await until(lambda: model.in_flight == 4 and prepared.progress.made == 2)

        prepared.stop()
        model.release()
        report = await running

    assert report.status is JobStatus.PAUSED
    assert report.new == len(model.requests) == len(await read_records(settings)) == 6


@pytest.mark.row("A182")
async def test_cancelling_ends_at_once_and_keeps_what_was_finished(
    settings: Settings, model: ModelServer
) -> None:
    model.hold_after = 8
    async with open_run(build(ASK), numbered(50), RunOptions(concurrency=4), settings=settings) as prepared:
        running = asyncio.create_task(prepared.process())
        await until(lambda: prepared.progress.made == 8 and model.in_flight == 4)

        prepared.cancel()
        report = await running
    model.release()

    assert report.status is JobStatus.PAUSED
    assert report.generated == len(await read_records(settings)) == 8
    assert (await read_job(settings)).records_generated == 8
    assert len(model.requests) == 12


@pytest.mark.row("A182")
async def test_no_step_begins_after_a_job_was_cancelled(settings: Settings, model: ModelServer) -> None:
    model.hold_after = 1
    async with open_run(build(*ASK_TWICE), numbered(3), RunOptions(concurrency=1), settings=settings) as job:
        running = asyncio.create_task(job.process())
        await until(lambda: len(model.requests) == 2)

        job.cancel()
        model.release()
        report = await running
        await asyncio.sleep(0.1)

    assert report.generated == 0
    assert [last_user_message(body) for body in model.bodies] == ["first 0", "second 0"]


async def test_cancelling_the_task_of_a_run_ends_it(settings: Settings, model: ModelServer) -> None:
    model.hold_after = 0
    async with open_run(build(ASK), numbered(5), settings=settings) as prepared:
        running = asyncio.create_task(prepared.process())
        await until(lambda: model.in_flight > 0)

        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    assert (await read_job(settings)).status is JobStatus.PAUSED


async def test_a_run_that_is_stopped_while_its_first_record_is_made_makes_no_other(
    settings: Settings, model: ModelServer
) -> None:
    model.hold_after = 0
    async with open_run(build(ASK), numbered(5), settings=settings) as prepared:
        running = asyncio.create_task(prepared.process())
        await until(lambda: model.in_flight > 0)
        first = model.in_flight

        prepared.stop()
        model.release()
        report = await running

    assert report.new == len(model.requests) >= first
    assert report.status is JobStatus.PAUSED


async def test_a_database_that_fails_ends_the_run_and_the_next_one_finishes_it(
    settings: Settings, model: ModelServer, tmp_path: Path
) -> None:
    model.hold_after = 5
    output = tmp_path / "out.jsonl"
    pipeline = build(ASK)
    options = RunOptions(output, concurrency=2)
    async with open_run(pipeline, numbered(20), options, settings=settings) as prepared:
        running = asyncio.create_task(prepared.process())
        await until(lambda: prepared.progress.made == 5 and model.in_flight == 2)
        await execute(settings, FILL_DISK)
        model.release()
        with pytest.raises(StorageError, match="no room left"):
            await running
    await execute(settings, FREE_DISK)
    cancellations = running.cancelling()

    report = await run(pipeline, numbered(20), settings, output)

    assert cancellations == 0  # the time limits of what goes on would take one for a cancellation

    assert report.status is JobStatus.COMPLETED
    assert [line["id"] for line in read_lines(output)] == [f"{n}.0" for n in range(20)]
    assert len(await read_records(settings)) == 20
    assert len({request["body"]["messages"][-1]["content"] for request in model.requests}) == 20
    assert len(model.requests) <= 20 + 2  # no finished call again, only the two that were in flight


# --- concurrency


class CountsItself(BaseBlock):
    """Waits 5 ms, and counts how many of these blocks run at once."""

    outputs: ClassVar[list[str]] = ["r"]
    running: ClassVar[int] = 0
    peak: ClassVar[int] = 0

    async def execute(self, data: dict[str, Any]) -> dict[str, Any]:
        cls = type(self)
        cls.running += 1
        cls.peak = max(cls.peak, cls.running)
        await asyncio.sleep(0.005)
        cls.running -= 1
        return {"r": 1}


@pytest.fixture
def counting() -> Pipeline:
    """A pipeline whose only block counts how often it runs at once."""
    registry = trial_registry()
    registry.register(CountsItself)
    CountsItself.running = CountsItself.peak = 0
    return Pipeline("counting", [{"type": "CountsItself"}], block_registry=registry)


@pytest.mark.parametrize(("concurrency", "peak"), [(None, 1), (1, 1), (3, 3)])
async def test_without_model_calls_records_are_made_one_by_one_unless_asked_otherwise(
    settings: Settings, counting: Pipeline, concurrency: int | None, peak: int
) -> None:
    report = await run(counting, numbered(12), settings, concurrency=concurrency)

    assert report.generated == 12
    assert CountsItself.peak == peak


async def test_with_model_calls_one_record_more_is_in_flight_than_the_model_takes_requests(
    settings: Settings, model: ModelServer
) -> None:
    model.hold_after = 0
    limited = settings.model_copy(update={"llm_concurrency": 5})
    async with open_run(build(ASK), numbered(40), settings=limited) as prepared:
        running = asyncio.create_task(prepared.process())
        await until(lambda: prepared.progress.in_flight > 1)
        limits = [state["limit"] for state in prepared.client.concurrency().values()]
        in_flight = min(max(limits) + 1, 5)
        await until(lambda: prepared.progress.in_flight == in_flight)
        await asyncio.sleep(0.05)
        peak = prepared.progress.in_flight
        model.release()
        report = await running

    assert peak == in_flight
    assert report.generated == 40


async def test_no_more_workers_start_than_there_is_work_for(settings: Settings) -> None:
    options = RunOptions(concurrency=10**9)
    async with open_run(build(ASK), numbered(3), options, settings=settings) as prepared:
        report = await prepared.process()

        assert len(prepared._runner._workers) <= 128
    assert report.generated == 3
