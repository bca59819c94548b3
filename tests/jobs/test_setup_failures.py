"""What would fail for every record marks none as failed: the job pauses, and the same run continues."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, ClassVar

import pytest

from penstock import BaseBlock
from penstock.blocks.registry import BlockRegistry
from penstock.entities import JobStatus
from penstock.errors import ConfigurationError, LLMSetupError
from penstock.jobs.failures import find_setup_error
from penstock.jobs.runs import RunOptions, open_run
from penstock.settings import Settings
from penstock.testing import ModelServer, last_user_message, refusal
from penstock.workflow import Pipeline
from support.queues import finish, open_queue, submit
from support.runs import ASK, ASK_TWICE, build, numbered, read_job, read_lines, read_records, run, until


@pytest.fixture
def output(tmp_path: Path) -> Path:
    """The file of the accepted records."""
    return tmp_path / "records.jsonl"


async def test_a_wrong_key_fails_no_record_and_the_same_run_continues_with_the_right_one(
    settings: Settings, model: ModelServer, output: Path
) -> None:
    """Fault 30."""
    model.answer = lambda _: refusal(401, "wrong key")
    paused = await run(build(ASK), numbered(30), settings, output)
    records = await read_records(settings)
    row = await read_job(settings)
    model.answer = lambda _: "fine"

    continued = await run(build(ASK), numbered(30), settings, output)

    assert (paused.status, paused.generated, paused.failed) == (JobStatus.PAUSED, 0, 0)
    assert paused.error is not None
    assert "wrong key" in paused.error
    assert paused.advice == "Put this right, then start the same run again: it continues."
    assert records == []
    assert (row.status, row.error) == (JobStatus.PAUSED, paused.error)
    assert not paused.failed_output
    assert (continued.status, continued.generated, continued.error) == (JobStatus.COMPLETED, 30, None)
    assert (continued.job_id, continued.advice) == (paused.job_id, None)


async def test_a_key_that_is_withdrawn_in_the_middle_keeps_what_was_made(
    settings: Settings, model: ModelServer, output: Path
) -> None:
    model.answer = lambda body: "fine" if model.answered < 5 else refusal(401, "expired")
    paused = await run(build(*ASK_TWICE), numbered(10), settings, output, concurrency=2)
    model.answer = lambda _: "fine"

    continued = await run(build(*ASK_TWICE), numbered(10), settings, output)

    assert paused.failed == 0
    assert continued.generated == len(read_lines(output)) == 10
    assert model.answered == 20
    assert paused.calls + continued.calls == 20


async def test_a_retry_that_cannot_reach_the_model_leaves_the_records_failed(
    settings: Settings, model: ModelServer, output: Path
) -> None:
    model.answer = lambda _: refusal(400)
    await run(build(ASK), numbered(3), settings, output)
    model.answer = lambda _: refusal(401)

    report = await run(build(ASK), numbered(3), settings, output, retry_failed=True)

    assert (report.status, report.failed, report.new) == (JobStatus.PAUSED, 3, 0)
    assert len(read_lines(output.with_name("records.failed.jsonl"))) == 3
    assert report.advice is not None
    assert "--retry-failed to make the 3 failed records again" in report.advice


async def test_a_multiplier_that_cannot_reach_the_model_fails_no_seed(
    settings: Settings, model: ModelServer
) -> None:
    model.answer = lambda _: refusal(401)
    paused = await run(build("AskedSplit"), numbered(1), settings)
    model.answer = lambda body: f"echo: {last_user_message(body)}"

    assert (paused.status, paused.failed) == (JobStatus.PAUSED, 0)
    assert (await run(build("AskedSplit"), numbered(1), settings)).generated == 3


class Needy(BaseBlock):
    """Needs something of the machine."""

    outputs: ClassVar[list[str]] = ["done"]
    found: ClassVar[bool] = False

    async def execute(self, data: dict[str, Any]) -> dict[str, Any]:
        if not self.found:
            raise ConfigurationError("cargo is not installed")
        return {"done": True}


async def test_a_missing_program_of_a_block_pauses_the_run_too(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = BlockRegistry()
    registry.register(Needy)
    pipeline = Pipeline("needy", [{"type": "Needy"}], block_registry=registry)

    paused = await run(pipeline, numbered(5), settings)
    monkeypatch.setattr(Needy, "found", True)
    continued = await run(pipeline, numbered(5), settings)

    assert (paused.status, paused.error) == (JobStatus.PAUSED, "cargo is not installed.")
    assert (continued.status, continued.generated) == (JobStatus.COMPLETED, 5)


async def test_a_job_of_the_service_pauses_and_resume_continues_it(
    settings: Settings, model: ModelServer
) -> None:
    model.answer = lambda _: refusal(401, "wrong key")
    async with open_queue(settings) as queue:
        job_id = await submit(queue, 30)
        async with asyncio.timeout(60):
            while (await queue.read(job_id)).status is not JobStatus.PAUSED:
                await queue.wait_for_change(0.2)
        paused = await queue.read(job_id)
        model.answer = lambda _: "fine"
        await queue.resume(job_id)
        await finish(queue)
        done = await queue.read(job_id)

    assert paused.records_failed == 0
    assert paused.error is not None
    assert "wrong key" in paused.error
    assert paused.error.endswith("Put this right, then resume the job.")
    assert (done.status, done.records_generated, done.error) == (JobStatus.COMPLETED, 30, None)


def test_the_cause_is_found_however_deep_it_is() -> None:
    cause = LLMSetupError("no key")
    middle, outer = RuntimeError("middle"), ValueError("outer")
    middle.__cause__, outer.__cause__ = cause, middle

    assert find_setup_error(outer) is cause
    assert find_setup_error(RuntimeError("other")) is None
    assert find_setup_error(None) is None


async def test_stopping_does_not_wait_for_calls_that_are_only_deferred(
    settings: Settings, model: ModelServer, output: Path
) -> None:
    """Fault 13."""
    model.answer = lambda _: refusal(429, "try later", Retry_After="200")
    async with open_run(build(ASK), numbered(5), RunOptions(output), settings=settings) as prepared:
        running = asyncio.create_task(prepared.process())
        await until(lambda: prepared.client.waiting().reason is not None)
        reason = prepared.client.waiting().reason
        prepared.stop()
        report = await running

    assert reason is not None
    assert "try later" in reason
    assert (report.status, report.new) == (JobStatus.PAUSED, 0)


async def test_stopping_waits_for_calls_that_are_at_the_provider(
    settings: Settings, model: ModelServer, output: Path
) -> None:
    model.hold_after = 0
    async with open_run(build(ASK), numbered(5), RunOptions(output), settings=settings) as prepared:
        running = asyncio.create_task(prepared.process())
        await until(lambda: model.in_flight > 0)
        prepared.stop()
        await asyncio.sleep(0.5)
        model.release()
        report = await running

    assert report.new == len(model.requests)
