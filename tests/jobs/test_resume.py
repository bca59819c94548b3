"""Resuming: the same records however often a run is interrupted, and no finished call paid for twice."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from penstock.entities import Constraints, JobStatus, RecordStatus
from penstock.jobs.options import JobOptions
from penstock.jobs.progress import StepCount
from penstock.jobs.resume import resume_job
from penstock.jobs.runs import RunOptions, open_run
from penstock.jobs.runtime import open_runtime
from penstock.llm import JournalMode
from penstock.seeds import SeedSource
from penstock.settings import Settings
from penstock.testing import (
    ModelServer,
    last_user_message,
    refusal,
)
from support.runs import (
    ASK,
    ASK_TWICE,
    build,
    execute,
    numbered,
    read_job,
    read_lines,
    read_records,
    run,
    until,
)

SCHEMA = {
    "type": "object",
    "properties": {"title": {"type": "string", "minLength": 1}, "body": {"type": "string"}},
    "required": ["title", "body"],
}
GENERATE: dict[str, Any] = {
    "type": "StructuredGenerator",
    "config": {"json_schema": SCHEMA, "user_prompt": "Write about {{ n }}."},
    "heal": {"max_attempts": 3, "entropy": {"kind": "schedule", "temperatures": [0, 0.3, 0.5]}},
}


def gated(pattern: str, attempts: int = 1) -> dict[str, Any]:
    """A step that calls the model, and a gate that requires a pattern of the answer."""
    gate = {"type": "RegexGate", "config": {"part": "answer", "pattern": pattern}}
    return {**ASK, "gates": [gate], "heal": {"max_attempts": attempts}}


@pytest.fixture
def output(tmp_path: Path) -> Path:
    """The file of the accepted records."""
    return tmp_path / "out" / "records.jsonl"


@pytest.mark.row("D14")
async def test_an_interrupted_run_continues_without_a_call_twice(
    settings: Settings, model: ModelServer, output: Path
) -> None:
    rounds = 0
    while rounds < 50:
        rounds += 1
        model.hold_after = len(model.requests) + 34  # of which at most 4 belong to unfinished records
        options = RunOptions(output, concurrency=4)
        async with open_run(build(*ASK_TWICE), numbered(60), options, settings=settings) as prepared:
            running = asyncio.create_task(prepared.process())
            await until(lambda: running.done() or prepared.progress.made >= 15)  # noqa: B023  awaited at once
            prepared.stop() if rounds % 2 else prepared.cancel()
            model.release()
            report = await running
        if report.status is JobStatus.COMPLETED:
            break

    assert rounds >= 4
    assert [line["id"] for line in read_lines(output)] == [f"{n}.0" for n in range(60)]
    assert len(await read_records(settings)) == 60
    assert len({last_user_message(body) for body in model.bodies}) == 120
    assert len(model.requests) <= 120 + 4 * rounds


async def test_a_finished_run_that_is_started_again_makes_no_call(
    settings: Settings, model: ModelServer, output: Path
) -> None:
    await run(build(ASK), numbered(5), settings, output)
    before = output.read_bytes()

    report = await run(build(ASK), numbered(5), settings, output)

    assert (report.new, report.generated, report.calls) == (0, 5, 0)
    assert output.read_bytes() == before
    assert len(model.requests) == 5


async def test_a_deleted_output_file_is_written_again_from_the_database(
    settings: Settings, model: ModelServer, output: Path
) -> None:
    await run(build("Split", ASK), SeedSource.from_data([{"metadata": {"text": "a b c"}}]), settings, output)
    before = output.read_bytes()
    output.unlink()

    await run(build("Split", ASK), SeedSource.from_data([{"metadata": {"text": "a b c"}}]), settings, output)

    assert output.read_bytes() == before
    assert len(model.requests) == 3


async def test_a_preview_is_the_start_of_the_run(
    settings: Settings, model: ModelServer, output: Path
) -> None:
    preview = await run(build(ASK), numbered(10, repetitions=2), settings, output, limit=5)
    shown = [line["id"] for line in read_lines(output)]
    whole = await run(build(ASK), numbered(10, repetitions=2), settings, output)

    assert (preview.status, preview.generated) == (JobStatus.PAUSED, 5)
    assert shown == ["0.0", "0.1", "1.0", "1.1", "2.0"]
    assert (whole.status, whole.new, whole.generated) == (JobStatus.COMPLETED, 15, 20)
    assert len(model.requests) == 20


async def test_a_preview_as_long_as_the_run_is_the_run(settings: Settings) -> None:
    report = await run(build(ASK), numbered(3), settings, limit=3)

    assert (report.status, report.generated) == (JobStatus.COMPLETED, 3)


async def test_a_preview_counts_the_children_of_a_multiplier(
    settings: Settings, model: ModelServer, output: Path
) -> None:
    seeds = [{"metadata": {"text": "a b c d"}}, {"metadata": {"text": "e f"}}]

    preview = await run(build("Split", ASK), SeedSource.from_data(seeds), settings, output, limit=3)
    whole = await run(build("Split", ASK), SeedSource.from_data(seeds), settings, output)

    assert (preview.status, preview.generated) == (JobStatus.PAUSED, 3)
    assert (whole.status, whole.generated, len(model.requests)) == (JobStatus.COMPLETED, 6, 6)
    assert [line["id"] for line in read_lines(output)] == [
        "0.0.0",
        "0.0.1",
        "0.0.2",
        "0.0.3",
        "1.0.0",
        "1.0.1",
    ]


async def test_a_fresh_run_makes_every_call_again(
    settings: Settings, model: ModelServer, output: Path
) -> None:
    await run(build(ASK), numbered(3), settings, output)
    model.answer = lambda _: "new"

    report = await run(build(ASK), numbered(3), settings, output, mode=JournalMode.FRESH)
    again = await run(build(ASK), numbered(3), settings, output)

    assert (report.new, report.calls) == (3, 3)
    assert [line["output"] for line in read_lines(output)] == ["new"] * 3
    assert again.new == 0
    assert len(model.requests) == 6


async def test_another_pipeline_over_the_same_seeds_reuses_identical_calls(
    settings: Settings, model: ModelServer, tmp_path: Path
) -> None:
    await run(build(ASK_TWICE[0]), numbered(3), settings, tmp_path / "a.jsonl")

    report = await run(build(*ASK_TWICE), numbered(3), settings, tmp_path / "b.jsonl")

    assert (report.calls, report.journal_hits) == (3, 3)
    assert len(model.requests) == 6


# --- replay


async def test_a_replay_is_identical_and_calls_no_model(
    settings: Settings, model: ModelServer, tmp_path: Path
) -> None:
    first, second = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    model.then("no JSON", '{"title": "", "body": "b"}')
    model.answer = lambda body: '{"title": "T", "body": "b"}' if "response_format" in body else "fine"
    await run(build(GENERATE, ASK), numbered(8, repetitions=2), settings, first, concurrency=1)
    calls = len(model.requests)

    report = await run(
        build(GENERATE, ASK), numbered(8, repetitions=2), settings, second, mode=JournalMode.REPLAY
    )

    assert read_lines(first)[0]["attempts"] == 3
    assert second.read_bytes() == first.read_bytes()
    assert len(model.requests) == calls
    assert (report.calls, report.generated) == (0, 16)


async def test_a_replay_skips_records_whose_calls_are_not_in_the_journal(
    settings: Settings, model: ModelServer, output: Path
) -> None:
    await run(build(ASK), numbered(5), settings, output, limit=3)

    replay = await run(build(ASK), numbered(5), settings, output, mode=JournalMode.REPLAY)
    whole = await run(build(ASK), numbered(5), settings, output)

    assert replay.error is not None
    assert "2 records need calls that are not in the journal" in replay.error
    assert (replay.status, replay.generated, replay.failed) == (JobStatus.PAUSED, 3, 0)
    assert (whole.status, whole.generated, whole.failed) == (JobStatus.COMPLETED, 5, 0)
    assert len(model.requests) == 5


# --- retrying


@pytest.mark.row("D16")
async def test_retrying_a_refused_record_takes_new_samples_from_the_refused_step_on(
    settings: Settings, model: ModelServer, output: Path
) -> None:
    steps = [{**ASK, "config": {"prompt": "first", "into": "first"}}, gated("^good$")]
    model.answer = lambda body: "bad" if last_user_message(body) in {"q 1", "q 3"} else "good"
    await run(build(*steps), numbered(5), settings, output)
    refused = len(model.requests)
    await run(build(*steps), numbered(5), settings, output, retry_failed=True)
    refused_again = len(model.requests)
    model.answer = lambda _: "good"

    report = await run(build(*steps), numbered(5), settings, output, retry_failed=True)

    assert (refused, refused_again, len(model.requests)) == (10, 12, 14)
    assert {last_user_message(body) for body in model.bodies[10:]} == {"q 1", "q 3"}
    assert (report.new, report.generated, report.failed) == (2, 5, 0)
    assert [line["id"] for line in read_lines(output)] == [f"{n}.0" for n in range(5)]
    assert len(await read_records(settings)) == 5


@pytest.mark.row("D16")
async def test_retrying_a_broken_record_does_not_repeat_finished_calls(
    settings: Settings, model: ModelServer, output: Path
) -> None:
    model.answer = lambda body: refusal(400) if last_user_message(body) == "second 1" else "fine"
    await run(build(*ASK_TWICE), numbered(3), settings, output)
    model.answer = lambda _: "fine"

    report = await run(build(*ASK_TWICE), numbered(3), settings, output, retry_failed=True)

    assert len(model.requests) == 7
    assert last_user_message(model.bodies[-1]) == "second 1"
    assert (report.generated, report.failed, report.calls) == (3, 0, 1)
    records = await read_records(settings)
    assert {record.status for record in records} == {RecordStatus.PENDING}


async def test_retrying_without_failures_makes_nothing(
    settings: Settings, model: ModelServer, output: Path
) -> None:
    await run(build(ASK), numbered(3), settings, output, limit=2)

    report = await run(build(ASK), numbered(3), settings, output, retry_failed=True)

    assert (report.new, report.generated, len(model.requests)) == (0, 2, 2)
    assert report.status is JobStatus.PAUSED


@pytest.mark.row("D16")
async def test_retrying_a_seed_whose_multiplier_failed_makes_its_children(
    settings: Settings, model: ModelServer, output: Path
) -> None:
    model.answer = lambda _: refusal(400)
    before = await run(build("AskedSplit", "Note"), numbered(2), settings, output)
    still = await run(build("AskedSplit", "Note"), numbered(2), settings, output, retry_failed=True)
    model.answer = lambda _: "x y"

    after = await run(build("AskedSplit", "Note"), numbered(2), settings, output, retry_failed=True)

    assert (before.generated, before.failed) == (still.generated, still.failed) == (0, 2)
    assert (after.status, after.generated, after.failed) == (JobStatus.COMPLETED, 4, 0)
    assert [line["id"] for line in read_lines(output)] == ["0.0.0", "0.0.1", "1.0.0", "1.0.1"]
    assert len(await read_records(settings)) == 4


@pytest.mark.row("D16")
async def test_each_retry_of_a_refused_record_is_a_new_sample(
    settings: Settings, model: ModelServer, output: Path
) -> None:
    model.answer = lambda _: "bad"
    await run(build(gated("^good$")), numbered(1), settings, output)
    for _ in range(2):
        await run(build(gated("^good$")), numbered(1), settings, output, retry_failed=True)

    (record,) = await read_records(settings)
    assert len(model.requests) == 3
    assert record.error is not None
    assert record.error["tries"] == 2


async def test_new_records_are_reported_as_they_finish(settings: Settings, model: ModelServer) -> None:
    await run(build(ASK), numbered(4), settings, limit=2)
    new = []
    options = JobOptions(on_new_record=lambda record, _: new.append(str(record.identity)))

    async with open_runtime(settings) as runtime:
        job = await read_job(settings)
        runner = await resume_job(runtime, job, build(ASK), options, total=4)
        status = await runner.process(numbered(4))

    assert status is JobStatus.COMPLETED
    assert sorted(new) == ["2.0", "3.0"]


async def test_a_resumed_job_has_the_usage_the_time_and_the_steps_of_its_earlier_runs(
    settings: Settings, model: ModelServer
) -> None:
    model.answer = lambda body: refusal(400) if last_user_message(body) == "second 1" else "fine"
    await run(build(*ASK_TWICE), numbered(6), settings, limit=3)
    await execute(settings, "UPDATE jobs SET usage = json_set(usage, '$.execution_time', 70)")

    async with open_runtime(settings) as runtime:
        job = await read_job(settings)
        runner = await resume_job(runtime, job, build(*ASK_TWICE), JobOptions(), total=6)

    progress = runner.progress
    assert (progress.generated, progress.failed, progress.earlier, progress.total) == (2, 1, 3, 6)
    assert progress.usage.llm_calls == 5
    assert progress.steps == [StepCount("Ask", 3, 3, 0), StepCount("Ask", 3, 2, 1)]
    assert 70 <= runner.budget.seconds < 80


@pytest.mark.row("A50", "D15")
async def test_constraints_of_the_options_replace_those_of_the_pipeline(
    settings: Settings, model: ModelServer
) -> None:
    pipeline = build(ASK, constraints={"max_total_tokens": 25})
    await run(pipeline, numbered(9), settings)
    raised = JobOptions(constraints=Constraints(max_total_tokens=45))

    async with open_runtime(settings) as runtime:
        runner = await resume_job(runtime, await read_job(settings), pipeline, raised, total=9)
        status = await runner.process(numbered(9))

    assert status is JobStatus.STOPPED
    assert runner.progress.generated == len(model.requests) == 5
