"""Runs: the same records however often they are interrupted, and nothing paid for twice."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import penstock
from penstock.entities import JobStatus, RecordStatus
from penstock.errors import BadInputError, ConflictError
from penstock.jobs.runs import RunOptions, open_run
from penstock.llm import JournalMode
from penstock.seeds import SeedSource
from penstock.settings import Settings
from support.model_server import (
    HANG,
    MALFORMED,
    Answer,
    ModelServer,
    Reply,
    last_user_message,
    refusal,
)
from support.runs import ASK, ASK_TWICE, build, numbered, read_lines, read_records, run, until

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
    """A step that asks, and is held to a pattern."""
    gate = {"type": "RegexGate", "config": {"part": "answer", "pattern": pattern}}
    return {**ASK, "gates": [gate], "heal": {"max_attempts": attempts}}


@pytest.fixture
def output(tmp_path: Path) -> Path:
    """Where records go."""
    return tmp_path / "out" / "records.jsonl"


# --- output


async def test_records_are_in_the_order_of_the_seeds_whatever_finished_first(
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
async def test_what_is_still_the_seeds_is_left_out_and_what_was_rendered_stays(
    settings: Settings, output: Path
) -> None:
    seeds = SeedSource.from_data([{"metadata": {"user": "Explain {{ topic }}.", "topic": "gravity"}}])

    await run(build("TextGenerator"), seeds, settings, output)

    (line,) = read_lines(output)
    assert line["metadata"] == {"user": "Explain {{ topic }}.", "topic": "gravity"}
    assert line["accumulated_state"]["user"] == "Explain gravity."
    assert "topic" not in line["accumulated_state"]


@pytest.mark.row("D16")
async def test_failed_records_go_beside_the_output_with_what_was_wrong(
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


async def test_a_failed_file_of_an_earlier_run_does_not_stay(
    settings: Settings, model: ModelServer, output: Path
) -> None:
    model.answer = lambda _: refusal(400)
    await run(build(ASK), numbered(1), settings, output)
    model.answer = lambda _: "fine"

    await run(build(ASK), numbered(1), settings, output, retry_failed=True)

    assert not output.with_name("records.failed.jsonl").exists()
    assert len(read_lines(output)) == 1


async def test_a_file_that_no_run_has_written_is_left_alone(
    settings: Settings, model: ModelServer, output: Path
) -> None:
    output.parent.mkdir()
    output.write_text("mine\n")

    with pytest.raises(BadInputError, match="--overwrite"):
        await run(build(ASK), numbered(1), settings, output)

    assert output.read_text() == "mine\n"
    assert not model.requests
    assert (await run(build(ASK), numbered(1), settings, output, overwrite=True)).generated == 1


async def test_an_empty_file_is_nobodys(settings: Settings, output: Path) -> None:
    output.parent.mkdir()
    output.touch()

    assert (await run(build(ASK), numbered(1), settings, output)).generated == 1


async def test_two_processes_do_not_work_on_the_same_run(
    settings: Settings, model: ModelServer, output: Path
) -> None:
    model.latency = 0.1
    async with open_run(build(ASK), numbered(5), RunOptions(output), settings=settings) as made:
        going = asyncio.create_task(made.process())
        await until(lambda: model.in_flight > 0)

        with pytest.raises(ConflictError, match="already running"):
            await run(build(ASK), numbered(5), settings, output)

        await going
    assert len(read_lines(output)) == 5


# --- going on


@pytest.mark.row("D14")
async def test_an_interrupted_run_goes_on_without_a_call_twice(
    settings: Settings, model: ModelServer, output: Path
) -> None:
    model.latency = 0.005
    rounds = 0
    while rounds < 50:
        rounds += 1
        options = RunOptions(output, concurrency=4)
        async with open_run(build(*ASK_TWICE), numbered(60), options, settings=settings) as made:
            going = asyncio.create_task(made.process())
            await until(lambda: going.done() or made.progress.made >= 15)  # noqa: B023  waited for at once
            made.stop() if rounds % 2 else made.cancel()
            report = await going
        if report.status is JobStatus.COMPLETED:
            break

    assert rounds >= 4
    assert [line["id"] for line in read_lines(output)] == [f"{n}.0" for n in range(60)]
    assert len(await read_records(settings)) == 60
    assert len({last_user_message(body) for body in model.bodies}) == 120
    assert len(model.requests) <= 120 + 4 * rounds


async def test_a_finished_run_that_is_started_again_does_nothing(
    settings: Settings, model: ModelServer, output: Path
) -> None:
    await run(build(ASK), numbered(5), settings, output)
    before = output.read_bytes()

    report = await run(build(ASK), numbered(5), settings, output)

    assert (report.new, report.generated, report.calls) == (0, 5, 0)
    assert output.read_bytes() == before
    assert len(model.requests) == 5


async def test_a_lost_output_file_is_written_again_from_the_database(
    settings: Settings, model: ModelServer, output: Path
) -> None:
    await run(build("Split", ASK), SeedSource.from_data([{"metadata": {"text": "a b c"}}]), settings, output)
    before = output.read_bytes()
    output.unlink()

    await run(build("Split", ASK), SeedSource.from_data([{"metadata": {"text": "a b c"}}]), settings, output)

    assert output.read_bytes() == before
    assert len(model.requests) == 3


async def test_a_preview_is_the_beginning_of_the_run(
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


async def test_a_fresh_run_asks_for_everything_anew(
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


async def test_another_pipeline_over_the_same_seeds_takes_the_calls_that_are_the_same(
    settings: Settings, model: ModelServer, tmp_path: Path
) -> None:
    await run(build(ASK_TWICE[0]), numbered(3), settings, tmp_path / "a.jsonl")

    report = await run(build(*ASK_TWICE), numbered(3), settings, tmp_path / "b.jsonl")

    assert (report.calls, report.journal_hits) == (3, 3)
    assert len(model.requests) == 6


# --- replay


async def test_a_replay_is_the_same_byte_for_byte_and_asks_nobody(
    settings: Settings, model: ModelServer, tmp_path: Path
) -> None:
    first, second = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    model.then("no JSON", '{"title": "", "body": "b"}')
    model.answer = lambda body: '{"title": "T", "body": "b"}' if "response_format" in body else "fine"
    await run(build(GENERATE, ASK), numbered(8, repetitions=2), settings, first, concurrency=1)
    asked = len(model.requests)

    report = await run(
        build(GENERATE, ASK), numbered(8, repetitions=2), settings, second, mode=JournalMode.REPLAY
    )

    assert read_lines(first)[0]["attempts"] == 3
    assert second.read_bytes() == first.read_bytes()
    assert len(model.requests) == asked
    assert (report.calls, report.generated) == (0, 16)


async def test_a_replay_without_a_journal_keeps_no_failure_and_says_what_is_missing(
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
async def test_retrying_what_gates_refused_takes_new_samples_from_the_refused_step_on(
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
async def test_retrying_what_an_error_stopped_does_not_repeat_finished_calls(
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


# --- healing, end to end


async def test_a_generator_that_answers_badly_twice_gives_a_good_record_that_shows_its_attempts(
    settings: Settings, script: Callable[..., ModelServer], output: Path
) -> None:
    model = script("no JSON at all", '{"title": "", "body": "b"}', '{"title": "T", "body": "b"}')

    report = await run(build(GENERATE), numbered(1), settings, output)

    (line,) = read_lines(output)
    (record,) = await read_records(settings)
    attempts = record.trace[0]["attempts"]
    assert report.generated == 1
    assert line["accumulated_state"]["generated"] == {"title": "T", "body": "b"}
    assert line["attempts"] == record.attempts == 3
    assert [attempt["number"] for attempt in attempts] == [1, 2, 3]
    assert [attempt["temperature"] for attempt in attempts] == [0, 0.3, 0.5]
    assert [bool(attempt["findings"]) for attempt in attempts] == [True, True, False]
    assert attempts[0]["parts"]["generated"] == {"raw_response": "no JSON at all"}
    assert attempts[1]["findings"][0]["part"] == "generated.title"
    assert [body["temperature"] for body in model.bodies] == [0, 0.3, 0.5]
    assert "Fix these problems:" in model.asked[1][-1]
    assert record.usage.llm_calls == 3


async def test_only_the_part_that_was_wrong_is_made_again(
    settings: Settings, script: Callable[..., ModelServer]
) -> None:
    gate = {"type": "RegexGate", "config": {"part": "right", "pattern": "^good$"}}
    model = script("left", "bad", "good")
    step = {"type": "Pair", "gates": [gate], "heal": {"max_attempts": 3}}

    await run(build(step), numbered(1), settings)

    (record,) = await read_records(settings)
    assert [last_user_message(body) for body in model.bodies] == ["left", "right", "right"]
    assert (record.state["left"], record.state["right"]) == ("left", "good")
    assert list(record.trace[0]["attempts"][1]["temperatures"]) == ["right"]


@pytest.mark.row("A88")
async def test_an_answer_that_stays_unreadable_is_kept_as_it_is(
    settings: Settings, model: ModelServer
) -> None:
    model.answer = lambda _: "never JSON"

    report = await run(build(GENERATE), numbered(1), settings)

    (record,) = await read_records(settings)
    assert (report.generated, report.failed) == (1, 0)
    assert record.state["generated"] == {"raw_response": "never JSON"}
    assert len(model.requests) == len(record.trace[0]["attempts"]) == 3


# --- faults


async def test_faults_of_a_provider_lose_no_record(settings: Settings, model: ModelServer) -> None:
    dice = random.Random(11)

    def answer(body: dict[str, Any]) -> Answer:
        drawn = dice.random()
        if drawn < 0.05:
            return refusal(429, "slow down", Retry_After="0.05")
        if drawn < 0.08:
            return refusal(500)
        if drawn < 0.09:
            return HANG
        return MALFORMED if drawn < 0.10 else Reply(f"echo: {last_user_message(body)}")

    model.answer = answer
    patient = settings.model_copy(update={"llm_timeout": 0.5})

    report = await run(build(*ASK_TWICE), numbered(300), patient, concurrency=32)

    records = await read_records(settings)
    assert (report.status, report.generated, report.failed) == (JobStatus.COMPLETED, 300, 0)
    assert len({record.identity for record in records}) == 300
    assert all(record.state["second"] == f"echo: second {record.metadata['n']}" for record in records)
    assert model.answered == 600
    assert len(model.requests) > 620


# --- seeds whose multiplier failed


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


# --- from a notebook


@pytest.fixture
def notebook(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment as a notebook's kernel has it."""
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
