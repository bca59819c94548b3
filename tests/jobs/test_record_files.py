"""The files of a run: accepted records in the order of the seeds, failed ones beside them."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from penstock.entities import ExecutionResult, RecordId, RecordStatus
from penstock.jobs.record_files import RecordFiles
from penstock.seeds import SeedSource
from penstock.settings import Settings
from penstock.storage.entities import NewRecord
from penstock.testing import (
    Answer,
    ModelServer,
    last_user_message,
    refusal,
)
from support.runs import ASK, build, numbered, read_lines, run


def gated(pattern: str, attempts: int = 1) -> dict[str, Any]:
    """A step that calls the model, and a gate that requires a pattern of the answer."""
    gate = {"type": "RegexGate", "config": {"part": "answer", "pattern": pattern}}
    return {**ASK, "gates": [gate], "heal": {"max_attempts": attempts}}


@pytest.fixture
def output(tmp_path: Path) -> Path:
    """The file of the accepted records."""
    return tmp_path / "out" / "records.jsonl"


async def test_records_are_in_the_order_of_the_seeds_whichever_finished_first(
    settings: Settings, model: ModelServer, output: Path
) -> None:
    dice = random.Random(3)

    def answer(body: dict[str, Any]) -> Answer:
        model.latency = dice.uniform(0, 0.02)
        return f"echo: {last_user_message(body)}"

    model.answer = answer

    report = await run(build(ASK), numbered(40, repetitions=2), settings, output)

    lines = read_lines(output)
    assert [line["id"] for line in lines] == [f"{n}.{r}" for n in range(40) for r in range(2)]
    assert lines[5]["output"] == "echo: q 2"
    assert lines[5]["metadata"] == {"n": 2}
    assert lines[5]["accumulated_state"] == {"answer": "echo: q 2", "pipeline_output": "echo: q 2"}
    assert lines[5]["attempts"] == 1
    assert report.output == output
    assert report.failed_output is None
    assert not output.with_name("records.failed.jsonl").exists()


@pytest.mark.row("D8")
async def test_the_state_has_what_changed_and_leaves_out_unchanged_variables(
    settings: Settings, output: Path
) -> None:
    seeds = SeedSource.from_data([{"metadata": {"user": "Explain {{ topic }}.", "topic": "gravity"}}])

    await run(build("TextGenerator"), seeds, settings, output)

    (line,) = read_lines(output)
    assert line["metadata"] == {"user": "Explain {{ topic }}.", "topic": "gravity"}
    assert line["accumulated_state"]["user"] == "Explain gravity."
    assert "topic" not in line["accumulated_state"]


@pytest.mark.row("D16")
async def test_failed_records_go_to_a_file_beside_the_output_with_every_attempt(
    settings: Settings, model: ModelServer, output: Path
) -> None:
    model.answer = lambda body: "bad" if last_user_message(body).startswith("q 1") else "good"

    report = await run(build(gated("^good$", attempts=2)), numbered(3), settings, output)

    assert [line["id"] for line in read_lines(output)] == ["0.0", "2.0"]
    assert report.failed_output == output.with_name("records.failed.jsonl")
    (failed,) = read_lines(report.failed_output)
    assert failed["id"] == "1.0"
    assert failed["attempts"] == 2
    assert "Block 'Ask' failed at step 1" in failed["error"]["error"]
    assert failed["error"]["detail"]["findings"][0]["gate"] == "RegexGate"
    assert [attempt["parts"]["answer"] for attempt in failed["tries"]] == ["bad", "bad"]
    assert all(attempt["findings"] for attempt in failed["tries"])


def test_failed_records_are_in_the_order_of_the_seeds_too(output: Path) -> None:
    files = RecordFiles(output)
    for seed in (2, 0, 1):
        failed = NewRecord(1, 1, RecordId(seed), {}, status=RecordStatus.FAILED, error={"error": "no"})
        files.append_new(failed, ExecutionResult({}, [], "trace"))
    files.flush()
    appended = [line["id"] for line in read_lines(files.failed_path)]
    files.close()

    assert appended == ["2.0", "0.0", "1.0"]
    assert [line["id"] for line in read_lines(files.failed_path)] == ["0.0", "1.0", "2.0"]
    assert read_lines(output) == []


@pytest.mark.parametrize("status", [status for status in RecordStatus if status is not RecordStatus.FAILED])
def test_only_failed_records_have_an_error_and_their_attempts(output: Path, status: RecordStatus) -> None:
    files = RecordFiles(output)

    files.append_new(NewRecord(1, 1, RecordId(0), {}, status=status), ExecutionResult({}, [], "trace"))
    files.close()

    (line,) = read_lines(output)
    assert line.keys() == {"id", "output", "metadata", "accumulated_state", "attempts"}
    assert not files.failed_path.exists()


async def test_the_file_of_failed_records_is_deleted_when_none_failed(
    settings: Settings, model: ModelServer, output: Path
) -> None:
    model.answer = lambda _: refusal(400)
    await run(build(ASK), numbered(1), settings, output)
    model.answer = lambda _: "fine"

    await run(build(ASK), numbered(1), settings, output, retry_failed=True)

    assert not output.with_name("records.failed.jsonl").exists()
    assert len(read_lines(output)) == 1
