"""Seeds in, records out: limits, children, failures, and ending early (contract section 2)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from penstock.entities import JobStatus, RecordStatus
from penstock.errors import StorageError
from penstock.jobs.runs import RunOptions, open_run
from penstock.seeds import SeedSource
from penstock.settings import Settings
from penstock.storage import jobs
from penstock.storage.database import Storage
from penstock.storage.entities import Job
from support.model_server import Answer, ModelServer, Reply, last_user_message, refusal
from support.runs import (
    ASK,
    ASK_TWICE,
    FULL_DISK,
    ROOM_AGAIN,
    build,
    execute,
    numbered,
    read_lines,
    read_records,
    run,
    until,
)


async def read_job(settings: Settings, job_id: int = 1) -> Job:
    """The job's row."""
    async with Storage(settings.database_path) as storage, storage.reading() as session:
        return await jobs.get_job(session, job_id)


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
async def test_every_call_of_a_record_counts_cached_tokens_too(
    settings: Settings, script: Callable[..., ModelServer]
) -> None:
    script(Reply("a", cached_tokens=4))

    report = await run(build(*ASK_TWICE), numbered(1), settings)

    assert report.usage.total_tokens == 20
    assert report.usage.cached_tokens == 4


@pytest.mark.row("A40")
async def test_what_failed_records_used_is_counted(settings: Settings) -> None:
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
async def test_a_stopped_job_that_is_started_again_makes_nothing_more(
    settings: Settings, model: ModelServer
) -> None:
    pipeline = build(ASK, constraints={"max_total_tokens": 25})
    await run(pipeline, numbered(5), settings)

    report = await run(pipeline, numbered(5), settings)

    assert report.status is JobStatus.STOPPED
    assert report.new == 0
    assert report.generated == len(await read_records(settings)) == len(model.requests) == 3


# --- seeds


@pytest.mark.row("A167", "A168", "A170", "A190")
async def test_repetitions_are_samples_of_their_own_and_zero_means_none(
    settings: Settings, model: ModelServer
) -> None:
    seeds = SeedSource.from_data(
        [
            {"repetitions": 3, "metadata": {"n": 1, "notes": []}},
            {"repetitions": 0, "metadata": {"n": 2, "notes": []}},
            {"metadata": {"n": 3, "notes": []}},
        ]
    )

    await run(build("Mutate", "Note", ASK), seeds, settings)

    records = await read_records(settings)
    assert sorted(str(record.identity) for record in records) == ["0.0", "0.1", "0.2", "2.0"]
    assert all(record.metadata["notes"] == [] for record in records)
    assert all(record.state["notes"] == ["x"] for record in records)
    assert len(model.requests) == 4


async def test_seeds_that_ask_for_nothing_are_a_job_that_is_done(settings: Settings) -> None:
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


async def test_a_value_that_is_no_json_does_not_stop_the_record(settings: Settings, tmp_path: Path) -> None:
    pipeline = build({"type": "Odd", "config": {"kind": "object"}})

    report = await run(pipeline, numbered(1), settings, tmp_path / "out.jsonl")

    assert report.generated == 1
    assert "object object" in (await read_records(settings))[0].output


async def test_a_block_that_ends_oddly_loses_no_record(settings: Settings) -> None:
    report = await run(build({"type": "Odd", "config": {"kind": "cancelled"}}), numbered(3), settings)

    assert (report.generated, report.failed) == (0, 3)


# --- progress


@pytest.mark.row("A173", "A174", "A185")
async def test_a_running_job_says_where_it_is_and_its_records_appear(
    settings: Settings, model: ModelServer
) -> None:
    model.latency = 0.02
    seen: list[float] = []
    options = RunOptions(concurrency=1)
    async with open_run(build("Note", ASK), numbered(20), options, settings=settings) as made:
        going = asyncio.create_task(made.process())
        await until(lambda: made.progress.current_step == "Block 2/2")
        told = made.progress.current_block
        await until(lambda: made.progress.made >= 3)
        early = await read_records(settings)
        while not going.done():
            seen.append((await read_job(settings)).progress)
            await asyncio.sleep(0.02)
        await going

    assert told == "Ask"
    assert 3 <= len(early) < 20
    assert seen == sorted(seen)
    assert (await read_job(settings)).progress == 1.0


# --- children


@pytest.mark.row("A35", "A36", "A37", "A91")
async def test_children_are_records_of_their_own_and_one_that_fails_is_alone(settings: Settings) -> None:
    seeds = SeedSource.from_data([{"metadata": {"text": "a b boom c d", "topic": "t"}}])

    report = await run(build("Split", "BoomBlock"), seeds, settings)

    records = await read_records(settings)
    assert (report.generated, report.failed) == (4, 1)
    assert sorted(str(record.identity) for record in records) == ["0.0.0", "0.0.1", "0.0.2", "0.0.3", "0.0.4"]
    assert all(record.metadata == {"text": "a b boom c d", "topic": "t"} for record in records)
    assert {record.state["word"] for record in records} == {"a", "b", "boom", "c", "d"}
    assert (await read_job(settings)).progress == 1.0


@pytest.mark.row("A92", "A224")
async def test_a_multiplier_that_fails_is_one_failed_record_with_its_trace(settings: Settings) -> None:
    seeds = SeedSource.from_data([{"metadata": {"topic": "t"}}, {"metadata": {"text": "a b"}}])

    report = await run(build("Split", "Note"), seeds, settings)

    records = {str(record.identity): record for record in await read_records(settings)}
    assert (report.generated, report.failed) == (2, 1)
    assert [entry["block_type"] for entry in records["0.0"].trace] == ["Split"]
    assert records["0.0"].status is RecordStatus.FAILED


async def test_what_a_multiplier_asked_is_in_the_jobs_usage(settings: Settings) -> None:
    report = await run(build("AskedSplit"), numbered(2), settings)

    assert report.generated == 6
    assert report.usage.llm_calls == 2


# --- ending early


async def test_a_broken_provider_stops_the_job_before_it_has_cost_much(
    settings: Settings, model: ModelServer
) -> None:
    model.answer = lambda _: refusal(401, "wrong key")

    report = await run(build(ASK), numbered(500), settings, concurrency=4)

    assert report.status is JobStatus.STOPPED
    assert report.error is not None
    assert "of the last 20 records failed" in report.error
    assert "wrong key" in report.error
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
    model.latency = 0.05
    async with open_run(build(ASK), numbered(50), RunOptions(concurrency=4), settings=settings) as made:
        going = asyncio.create_task(made.process())
        await until(lambda: model.in_flight == 4)

        made.stop()
        report = await going

    assert report.status is JobStatus.PAUSED
    assert report.new == len(model.requests) == len(await read_records(settings))
    assert report.new < 50


@pytest.mark.row("A182")
async def test_cancelling_ends_at_once_and_keeps_what_was_finished(
    settings: Settings, model: ModelServer
) -> None:
    model.latency = 0.03
    async with open_run(build(ASK), numbered(50), RunOptions(concurrency=4), settings=settings) as made:
        going = asyncio.create_task(made.process())
        await until(lambda: made.progress.made >= 8)
        model.latency = 30.0
        await asyncio.sleep(0.05)

        made.cancel()
        report = await going

    assert report.status is JobStatus.PAUSED
    assert report.generated == len(await read_records(settings)) >= 8
    assert (await read_job(settings)).records_generated == report.generated


async def test_whoever_cancels_the_task_of_a_run_is_obeyed(settings: Settings, model: ModelServer) -> None:
    model.latency = 30.0
    async with open_run(build(ASK), numbered(5), settings=settings) as made:
        going = asyncio.create_task(made.process())
        await until(lambda: model.in_flight > 0)

        going.cancel()
        with pytest.raises(asyncio.CancelledError):
            await going

    assert (await read_job(settings)).status is JobStatus.PAUSED


async def test_a_database_that_gives_way_ends_the_run_and_the_next_one_finishes_it(
    settings: Settings, model: ModelServer, tmp_path: Path
) -> None:
    model.latency = 0.1  # so that the run is still going on when the disk is full
    output = tmp_path / "out.jsonl"
    pipeline = build(ASK)
    async with open_run(pipeline, numbered(20), RunOptions(output, concurrency=2), settings=settings) as made:
        going = asyncio.create_task(made.process())
        await until(lambda: made.progress.made >= 5)
        await execute(settings, FULL_DISK)
        with pytest.raises(StorageError, match="no room left"):
            await going
    await execute(settings, ROOM_AGAIN)
    model.latency = 0.0

    report = await run(pipeline, numbered(20), settings, output)

    assert report.status is JobStatus.COMPLETED
    assert [line["id"] for line in read_lines(output)] == [f"{n}.0" for n in range(20)]
    assert len(await read_records(settings)) == 20
    assert len({request["body"]["messages"][-1]["content"] for request in model.requests}) == 20
    assert len(model.requests) <= 20 + 2  # no finished call again, only the two that were in flight
