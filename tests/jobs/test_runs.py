"""Runs: files that are not overwritten, one process at a time, and what Python callers use."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

import penstock
from penstock.errors import BadInputError, ConflictError
from penstock.jobs.runs import RunOptions, open_run
from penstock.settings import Settings
from penstock.testing import (
    ModelServer,
)
from support.runs import ASK, build, numbered, read_job, read_lines, run, until


@pytest.fixture
def output(tmp_path: Path) -> Path:
    """The file of the accepted records."""
    return tmp_path / "out" / "records.jsonl"


async def test_a_file_that_no_run_has_written_is_not_replaced(
    settings: Settings, model: ModelServer, output: Path
) -> None:
    output.parent.mkdir()
    output.write_text("mine\n")

    with pytest.raises(BadInputError, match="--overwrite"):
        await run(build(ASK), numbered(1), settings, output)

    assert output.read_text() == "mine\n"
    assert not model.requests
    assert (await run(build(ASK), numbered(1), settings, output, overwrite=True)).generated == 1


async def test_a_run_knows_whether_it_continues_an_earlier_one(settings: Settings, output: Path) -> None:
    async with open_run(build(ASK), numbered(3), RunOptions(output, limit=2), settings=settings) as first:
        await first.process()
    async with open_run(build(ASK), numbered(3), RunOptions(output), settings=settings) as second:
        report = await second.process()

    assert (first.resumed, second.resumed) == (False, True)
    assert (second.name, second.model, second.job.id) == ("trial", "gpt-x", first.job.id)
    assert (report.job_id, report.new, report.calls, report.journal_hits) == (second.job.id, 1, 1, 0)
    assert report.seconds > 0


async def test_a_report_as_plain_data_has_the_counts_and_the_paths(settings: Settings, output: Path) -> None:
    report = await run(build(ASK, "BoomBlock"), numbered(1), settings, output)

    data = report.to_dict()

    assert data["status"] == "completed"
    assert (data["records_generated"], data["records_failed"], data["new_records"]) == (0, 1, 1)
    assert data["output"] == str(output)
    assert data["failed_output"] == str(output.with_name("records.failed.jsonl"))
    assert data["usage"]["llm_calls"] == data["calls"] == 1
    assert data["error"] is None


async def test_finished_records_can_be_read_before_the_run_ends(
    settings: Settings, model: ModelServer, output: Path
) -> None:
    model.hold_after = 2
    options = RunOptions(output, concurrency=1)
    async with open_run(build(ASK), numbered(4), options, settings=settings) as prepared:
        running = asyncio.create_task(prepared.process())
        await until(lambda: output.exists() and output.read_text().count("\n") == 2)
        model.release()
        await running

    assert len(read_lines(output)) == 4


async def test_the_model_and_the_output_are_part_of_what_a_run_is(
    settings: Settings, model: ModelServer, output: Path
) -> None:
    other = settings.model_copy(update={"llm_model": "gpt-y"})
    first = await run(build(ASK), numbered(1), settings, output)

    same = await run(build(ASK), numbered(1), settings, output)
    with_other_model = await run(build(ASK), numbered(1), other, output)
    with_other_seeds = await run(build(ASK), numbered(2), settings, output)
    with_other_output = await run(build(ASK), numbered(1), settings, output.with_name("b.jsonl"))

    assert same.job_id == first.job_id
    jobs = {report.job_id for report in (first, with_other_model, with_other_seeds, with_other_output)}
    assert len(jobs) == 4


async def test_runs_of_the_same_pipeline_share_its_stored_definition(settings: Settings) -> None:
    await run(build(ASK), numbered(1), settings)
    await run(build(ASK), numbered(2), settings)
    await run(build(ASK, "Note"), numbered(1), settings)

    pipelines = [(await read_job(settings, job_id)).pipeline_id for job_id in (1, 2, 3)]
    assert pipelines[0] == pipelines[1] != pipelines[2]


async def test_an_empty_file_may_be_replaced(settings: Settings, output: Path) -> None:
    output.parent.mkdir()
    output.touch()

    assert (await run(build(ASK), numbered(1), settings, output)).generated == 1


async def test_two_processes_do_not_work_on_the_same_run(
    settings: Settings, model: ModelServer, output: Path
) -> None:
    model.hold_after = 0
    async with open_run(build(ASK), numbered(5), RunOptions(output), settings=settings) as first:
        running = asyncio.create_task(first.process())
        await until(lambda: model.in_flight > 0)

        with pytest.raises(ConflictError, match="already running"):
            await run(build(ASK), numbered(5), settings, output)

        model.release()
        await running
    assert len(read_lines(output)) == 5


# --- from Python


@pytest.fixture
def notebook(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings in the environment, where a notebook's kernel finds them."""
    monkeypatch.setenv("LLM_ENDPOINT", settings.llm_endpoint)
    monkeypatch.setenv("LLM_MODEL", settings.llm_model)
    monkeypatch.setenv("DATABASE_PATH", str(settings.database_path))


@pytest.mark.usefixtures("notebook")
async def test_a_notebook_runs_a_definition_over_plain_variables(model: ModelServer, output: Path) -> None:
    ask = {"type": "TextGenerator", "config": {"user_prompt": "q {{ n }}"}}
    seeds: list[dict[str, Any]] = [{"n": 1}, {"metadata": {"n": 2}, "repetitions": 2}]

    report = await penstock.run({"name": "P", "blocks": [ask]}, seeds, output, concurrency=2)
    again = await penstock.run({"name": "P", "blocks": [ask]}, seeds, str(output))

    assert [line["output"] for line in read_lines(output)] == ["echo: q 1", "echo: q 2", "echo: q 2"]
    assert (report.new, again.new, len(model.requests)) == (3, 0, 3)


@pytest.mark.usefixtures("notebook")
async def test_a_notebook_runs_files_and_needs_no_output(tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text(
        "name: P\nblocks:\n- type: TextGenerator\n  config: {user_prompt: 'q {{ n }}'}\n"
    )
    (tmp_path / "s.csv").write_text("n\n1\n2\n")

    report = await penstock.run(tmp_path / "p.yaml", str(tmp_path / "s.csv"))
    loaded = await penstock.Pipeline.load("p.yaml").run([{"n": 5}])

    assert (report.generated, report.output) == (2, None)
    assert loaded[0].result["assistant"] == "echo: q 5"
