"""Running a pipeline: states, traces, errors, outputs and children (contract section 1)."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from penstock import llm
from penstock.entities import ExecutionResult
from penstock.errors import (
    BadInputError,
    BlockExecutionError,
    BlockNotFoundError,
    DefinitionError,
    LLMError,
    PipelineError,
    ValidationError,
)
from penstock.llm import Client
from penstock.workflow import Pipeline
from support.model_server import ModelServer, Reply
from support.trial_blocks import Mutate, trial_registry

TRACE_KEYS = {"block_type", "input", "output", "accumulated_state", "execution_time"}


def build(*blocks: Mapping[str, Any] | str, **extra: Any) -> Pipeline:
    """A pipeline of the trial blocks; a word stands for a block without config."""
    steps = [{"type": block} if isinstance(block, str) else block for block in blocks]
    return Pipeline("trial", steps, block_registry=trial_registry(), **extra)


def give(**values: Any) -> dict[str, Any]:
    """A step that returns ``values``."""
    return {"type": "Give", "config": {"values": values}}


def note(word: str) -> dict[str, Any]:
    """A step that adds ``word`` to the notes."""
    return {"type": "Note", "config": {"word": word}}


async def one(pipeline: Pipeline, data: Mapping[str, Any]) -> ExecutionResult:
    """The only result."""
    made = await pipeline.execute(data)
    assert isinstance(made, ExecutionResult)
    return made


async def many(pipeline: Pipeline, data: Mapping[str, Any]) -> list[ExecutionResult]:
    """The results of a multiplier's children."""
    made = await pipeline.execute(data)
    assert isinstance(made, list)
    return made


# --- state and order


@pytest.mark.row("A1", "A4", "A21")
async def test_blocks_run_in_the_order_of_the_list_and_see_what_came_before() -> None:
    result, trace, _ = await one(build(note("a"), "ValidatorBlock", note("b")), {"text": "hello"})

    assert result["notes"] == ["a", "b"]
    assert [entry["block_type"] for entry in trace] == ["Note", "ValidatorBlock", "Note"]


@pytest.mark.row("A2", "A170")
async def test_the_callers_data_is_not_changed_however_deep_a_block_reaches() -> None:
    data = {"notes": ["mine"], "deep": {"list": [1]}}
    pipeline = build("Mutate", note("a"))

    first = await one(pipeline, data)
    second = await one(pipeline, data)

    assert data == {"notes": ["mine"], "deep": {"list": [1]}}
    assert first.result == second.result
    assert "extra" not in first.result


@pytest.mark.row("A3")
async def test_a_later_output_of_the_same_name_wins_and_the_trace_keeps_both() -> None:
    result, trace, _ = await one(build(give(r=1), give(r=2)), {})

    assert result["r"] == 2
    assert trace[0]["accumulated_state"]["r"] == 1


@pytest.mark.row("A5", "A29")
async def test_the_result_is_the_whole_state_input_included() -> None:
    pipeline = build({"type": "ValidatorBlock", "config": {"min_length": 1}})

    result, trace, trace_id = await one(pipeline, {"text": "hello world"})

    assert result == {"text": "hello world", "valid": True, "pipeline_output": "hello world"}
    assert len(trace) == 1
    assert trace_id


@pytest.mark.row("A7")
async def test_a_block_may_return_less_than_it_declares() -> None:
    result, _, _ = await one(build("ValidatorBlock"), {})

    assert result["valid"] is True
    assert "assistant" not in result


@pytest.mark.row("A28")
async def test_an_empty_pipeline_leaves_the_state_as_it_is() -> None:
    result, trace, trace_id = await one(Pipeline("x", []), {"a": [1]})

    assert result == {"a": [1]}
    assert trace == []
    assert uuid.UUID(trace_id).version == 4


async def test_an_object_that_is_no_json_passes_from_block_to_block() -> None:
    result, _, _ = await one(build({"type": "Odd", "config": {"kind": "object"}}), {"lock": asyncio.Lock()})

    assert type(result["r"]) is object


# --- errors


@pytest.mark.row("A6", "A10")
async def test_an_undeclared_field_is_a_validation_error_that_is_not_wrapped() -> None:
    with pytest.raises(ValidationError) as caught:
        await build("BadBlock").execute({})

    assert "returned undeclared fields" in caught.value.message
    detail = caught.value.detail
    assert sorted(detail.pop("actual_outputs")) == ["ok", "zzz"]
    assert detail == {"block_type": "BadBlock", "declared_outputs": ["ok"], "extra_fields": ["zzz"]}


@pytest.mark.row("A8", "A9")
async def test_another_exception_says_which_block_failed_at_which_step_on_what() -> None:
    pipeline = build({"type": "ValidatorBlock", "config": {"min_length": 1}}, "BoomBlock")

    with pytest.raises(BlockExecutionError) as caught:
        await pipeline.execute({"text": "q"})

    assert caught.value.message == "Block 'BoomBlock' failed at step 2: Connection timeout"
    assert caught.value.detail == {
        "block_type": "BoomBlock",
        "step": 2,
        "error": "Connection timeout",
        "input": {"text": "q", "valid": True},
    }
    assert isinstance(caught.value.__cause__, RuntimeError)


async def test_an_exception_without_a_message_is_named_by_its_class() -> None:
    with pytest.raises(BlockExecutionError, match="failed at step 1: TimeoutError"):
        await build({"type": "Odd", "config": {"kind": "timeout"}}).execute({})


@pytest.mark.parametrize(
    ("block", "said"),
    [
        ({"type": "Odd", "config": {"kind": "none"}}, "must return a dict, not NoneType"),
        ({"type": "Odd", "config": {"kind": "list"}}, "must return a dict, not list"),
        ({"type": "Odd", "config": {"kind": "numbers"}}, "returned undeclared fields: 1"),
        ({"type": "Odd", "config": {"kind": "cancelled"}}, "CancelledError"),
        ({"type": "Odd", "config": {"kind": "exit"}}, "SystemExit"),
        ({"type": "Generator"}, "async"),
        ({"type": "Plain"}, "await"),
    ],
)
async def test_a_block_that_behaves_oddly_fails_its_record_and_nothing_else(
    block: dict[str, Any], said: str
) -> None:
    results = await build(block).run([{"n": 1}, {"n": 2}])

    assert len(results) == 2
    for result in results:
        assert result.error is not None
        assert said in result.error.message


async def test_whoever_cancels_an_execution_is_obeyed() -> None:
    running = asyncio.create_task(build({"type": "Slow", "config": {"seconds": 30}}).execute({}))
    await asyncio.sleep(0.01)

    running.cancel()

    with pytest.raises(asyncio.CancelledError):
        await running


@pytest.mark.row("A11", "A12")
def test_an_unknown_block_is_named_beside_those_that_there_are() -> None:
    with pytest.raises(BlockNotFoundError) as caught:
        Pipeline("x", [{"type": "LLMBlock"}])

    assert caught.value.message == "Block 'LLMBlock' not found"
    assert caught.value.detail["block_type"] == "LLMBlock"
    assert {"TextGenerator", "StructuredGenerator", "MarkdownMultiplierBlock", "RougeScore"} <= set(
        caught.value.detail["available_blocks"]
    )


@pytest.mark.row("A13", "D16")
async def test_nothing_runs_after_a_failure_and_the_trace_shows_how_far_it_came() -> None:
    results = [result async for result in build(note("a"), "BoomBlock", "Mutate").stream({})]

    assert len(results) == 1
    assert [entry["block_type"] for entry in results[0].trace] == ["Note", "BoomBlock"]
    assert results[0].trace[1]["error"].endswith("Connection timeout")
    assert results[0].result == {"notes": ["a"]}


@pytest.mark.row("A14")
@pytest.mark.parametrize("kind", [BlockNotFoundError, BlockExecutionError, ValidationError])
def test_errors_are_a_sentence_and_its_facts(kind: type[PipelineError]) -> None:
    bare, full = kind("no"), kind("no", {"a": 1})

    assert isinstance(bare, PipelineError)
    assert (bare.message, bare.detail) == ("no", {})
    assert full.detail == {"a": 1}


@pytest.mark.parametrize(
    "blocks",
    [
        [{"config": {}}],
        [{"type": None}],
        [{"type": ["TextGenerator"]}],
        ["TextGenerator"],
        "TextGenerator",
        {"type": "TextGenerator"},
        [None],
        [{"type": "ValidatorBlock", "config": "x"}],
        [{"type": "ValidatorBlock", "config": [1]}],
        [{"type": "ValidatorBlock", "gates": "RegexGate"}],
        [{"type": "ValidatorBlock", "gates": ["RegexGate"]}],
        [{"type": "ValidatorBlock", "gates": [{"config": {}}]}],
        [{"type": "ValidatorBlock", "heal": "often"}],
        [{"type": "ValidatorBlock", "heal": {"max_attempts": 0}}],
        [{"type": "ValidatorBlock", "samples": "three"}],
        [{"type": "ValidatorBlock", "samples": 0}],
        [{"type": "ValidatorBlock", "samples": True}],
        [{"type": "ValidatorBlock", "samples": 10**9}],
    ],
)
def test_a_malformed_step_is_refused_with_a_sentence(blocks: Any) -> None:
    with pytest.raises(PipelineError) as caught:
        Pipeline.load_from_dict({"name": "x", "blocks": blocks})

    assert isinstance(caught.value, DefinitionError | BlockNotFoundError)


# --- trace


@pytest.mark.row("A15")
async def test_each_execution_has_a_trace_id_of_its_own() -> None:
    pipeline = build(note("a"))

    ids = {(await one(pipeline, {})).trace_id for _ in range(3)}

    assert len(ids) == 3
    assert {uuid.UUID(trace_id).version for trace_id in ids} == {4}


@pytest.mark.row("A16", "A225")
async def test_every_log_line_of_an_execution_names_its_trace_id(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, "penstock.workflow"):
        made = await one(build(note("a"), note("b")), {})

    lines = [record.getMessage() for record in caplog.records if record.name == "penstock.workflow"]
    assert len([line for line in lines if made.trace_id in line]) >= 4
    assert len(lines) == len([line for line in lines if f"[{made.trace_id}]" in line])


@pytest.mark.row("A224")
async def test_a_failure_is_logged_as_an_error_with_trace_id_and_step(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.ERROR, "penstock.workflow"):
        results = [result async for result in build("BoomBlock").stream({})]

    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert f"[{results[0].trace_id}] step 1: " in caplog.records[0].getMessage()


@pytest.mark.row("A17", "A18", "A20")
async def test_a_trace_entry_has_the_contracts_keys_and_the_class_name() -> None:
    _, trace, _ = await one(build("ValidatorBlock", "Slow"), {"text": "x"})

    assert all(entry.keys() >= TRACE_KEYS for entry in trace)
    assert trace[0]["block_type"] == "ValidatorBlock"
    assert isinstance(trace[1]["execution_time"], float)
    assert trace[1]["execution_time"] >= 0.05


@pytest.mark.row("A19")
async def test_what_blocks_do_later_does_not_change_earlier_entries() -> None:
    Mutate.kept.clear()

    _, trace, _ = await one(build("Mutate", note("a"), "Mutate"), {"notes": ["n"], "d": {}})

    assert trace[0]["input"] == {"notes": ["n"], "d": {}}
    assert trace[0]["output"] == {"r": {"fine": True}}
    assert trace[1]["accumulated_state"]["notes"] == ["n", "a"]
    assert trace[1]["accumulated_state"]["r"] == {"fine": True}


async def test_changing_a_result_does_not_change_its_trace() -> None:
    made = await one(build(note("a")), {})

    made.result["notes"].append("later")

    assert made.trace[-1]["accumulated_state"]["notes"] == ["a"]


# --- pipeline_output


@pytest.mark.row("A22", "A27")
async def test_the_output_is_the_assistants_text(client: Client) -> None:
    result, trace, _ = await one(build({"type": "TextGenerator", "config": {"user_prompt": "hi"}}), {})

    assert result["pipeline_output"] == result["assistant"] == "echo: hi"
    assert trace[-1]["accumulated_state"]["pipeline_output"] == "echo: hi"


@pytest.mark.row("A23")
async def test_without_an_assistant_it_is_the_last_blocks_first_output(
    client: Client, script: Callable[..., ModelServer]
) -> None:
    script('{"title": "T"}')
    generator = {"type": "StructuredGenerator", "config": {"json_schema": {}, "user_prompt": "go"}}
    validator = {"type": "JSONValidatorBlock", "config": {"field_name": "generated"}}

    result, _, _ = await one(build(generator, validator), {})

    assert result["pipeline_output"] is True


@pytest.mark.row("A24", "A25", "D3")
async def test_a_block_that_sets_the_output_has_the_word_and_the_last_one_the_last() -> None:
    first = await one(build(give(pipeline_output="X"), give(assistant="no")), {})
    second = await one(build(give(pipeline_output="X"), give(pipeline_output="Y")), {})

    assert first.result["pipeline_output"] == "X"
    assert second.result["pipeline_output"] == "Y"


@pytest.mark.row("D3")
async def test_a_seed_does_not_set_the_output() -> None:
    made = await one(build(give(assistant="made")), {"pipeline_output": "from the seed"})

    assert made.result["pipeline_output"] == "made"


@pytest.mark.row("A26")
async def test_a_last_block_without_outputs_gives_an_empty_text() -> None:
    result, _, _ = await one(build("Silent"), {"x": 1})

    assert result == {"x": 1, "pipeline_output": ""}


# --- definitions


@pytest.mark.row("A31", "A43")
def test_a_definition_survives_the_round_trip_with_everything_in_it() -> None:
    definition = {
        "name": "P",
        "description": "d",
        "constraints": {"max_total_tokens": -1, "max_total_execution_time": 5},
        "layout": {"x": [1, 2]},
        "blocks": [{"type": "ValidatorBlock", "config": {"min_length": 1}, "note": "kept"}],
    }

    pipeline = Pipeline.load_from_dict(definition)

    assert pipeline.to_dict() == definition
    assert Pipeline.load_from_dict(pipeline.to_dict()).to_dict() == definition


async def test_changing_what_to_dict_gave_changes_nothing() -> None:
    pipeline = build(note("a"))

    pipeline.to_dict()["blocks"][0]["config"]["word"] = "b"

    assert (await one(pipeline, {})).result["notes"] == ["a"]
    assert pipeline.to_dict()["blocks"][0]["config"]["word"] == "a"


@pytest.mark.row("A143")
async def test_config_may_be_left_out_or_null() -> None:
    pipeline = build("Slow", {"type": "Slow", "config": None})

    assert (await one(pipeline, {})).result["slept"] is True


@pytest.mark.row("A44", "A52")
@pytest.mark.parametrize(
    "constraints",
    [
        {"max_total_tokens": -2},
        {"max_total_tokens": "many"},
        {"max_total_tokens": True},
        {"max_total_execution_time": "1"},
        {"max_tokens": 5},
        ["max_total_tokens"],
        "none",
    ],
)
def test_constraints_that_cannot_be_used_are_refused_with_their_name(constraints: Any) -> None:
    with pytest.raises(DefinitionError, match="constraint"):
        build(constraints=constraints)


@pytest.mark.row("A44", "D7")
@pytest.mark.parametrize("limit", [-1, None])
def test_minus_one_null_and_absence_mean_no_limit(limit: int | None) -> None:
    assert build(constraints={"max_total_tokens": limit}).constraints.unlimited
    assert build(constraints=None).constraints.unlimited
    assert build().constraints.unlimited


# --- multipliers


@pytest.mark.row("A30", "A32", "A35")
async def test_a_multiplier_gives_a_list_with_a_trace_of_its_own_for_each_child() -> None:
    pipeline = build("Split", note("a"))

    made = await many(pipeline, {"text": "x y z", "topic": "t"})

    assert pipeline.is_multiplier
    assert [child.result["word"] for child in made] == ["x", "y", "z"]
    assert len({child.trace_id for child in made}) == 3
    assert [[entry["block_type"] for entry in child.trace] for child in made] == [["Split", "Note"]] * 3


@pytest.mark.row("A33")
def test_a_multiplier_elsewhere_than_first_is_refused() -> None:
    with pytest.raises(DefinitionError, match=r"^Multiplier block must be first in pipeline$"):
        build(note("a"), "Split")


@pytest.mark.row("A34")
def test_two_multipliers_are_refused() -> None:
    with pytest.raises(DefinitionError, match=r"^Only one multiplier block allowed per pipeline$"):
        build("Split", "Split")


@pytest.mark.row("A36")
async def test_a_child_that_fails_does_not_stop_the_others() -> None:
    made = await many(build("Split", "BoomBlock"), {"text": "a b boom c d"})

    assert [child.error is None for child in made] == [True, True, False, True, True]


@pytest.mark.row("A37")
async def test_a_childs_state_begins_with_its_chunk_and_does_without_what_was_split() -> None:
    made = await many(build("Split", note("a")), {"text": "x y", "topic": "t"})

    assert made[0].result == {
        "topic": "t",
        "word": "x",
        "boom": False,
        "notes": ["a"],
        "pipeline_output": ["a"],
    }
    assert made[0].initial == {"text": "x y", "topic": "t"}


@pytest.mark.row("A92")
async def test_a_multiplier_that_fails_says_so_like_any_block() -> None:
    with pytest.raises(BlockExecutionError, match="Block 'Split' failed at step 1"):
        await build("Split").execute({})


@pytest.mark.row("A92")
async def test_in_a_run_a_multiplier_that_fails_is_one_failed_result() -> None:
    results = await build("Split", note("a")).run([{"text": "x y"}, {}, {"text": "z"}])

    assert [result.error is None for result in results] == [True, True, False, True]
    failed = results[2]
    assert [entry["block_type"] for entry in failed.trace] == ["Split"]
    assert failed.trace[0]["input"] == {}
    assert "failed at step 1" in failed.trace[0]["error"]


async def test_a_multiplier_that_makes_nothing_gives_an_empty_list() -> None:
    assert await many(build("Split"), {"text": ""}) == []


@pytest.mark.row("A39")
async def test_what_a_multiplier_asked_is_counted_once(client: Client) -> None:
    made = await many(build("AskedSplit"), {})

    assert [child.result["word"] for child in made] == ["a", "b", "c"]
    assert sum(child.usage.llm_calls for child in made) == 1
    assert sum(child.usage.total_tokens for child in made) == 10


# --- usage


@pytest.mark.row("A38", "A39", "D5")
async def test_usage_is_summed_over_the_steps(client: Client) -> None:
    ask = {"type": "Ask", "config": {"prompt": "a"}}

    made = await one(build(ask, {"type": "Ask", "config": {"prompt": "b"}}), {})

    usage = made.usage.to_dict()
    assert usage["total_input_tokens"] == 14
    assert usage["total_output_tokens"] == 6
    assert usage["total_tokens"] == 20
    assert usage["llm_calls"] == 2
    assert usage["end_time"] >= usage["start_time"]
    assert usage.keys() >= {"total_cached_tokens", "total_cost"}


@pytest.mark.row("A40")
async def test_usage_of_a_failed_execution_is_counted(client: Client) -> None:
    results = [result async for result in build("Ask", "BoomBlock").stream({})]

    assert results[0].error is not None
    assert results[0].usage.total_tokens == 10


@pytest.mark.row("A41")
async def test_cached_tokens_are_counted(client: Client, script: Callable[..., ModelServer]) -> None:
    script(Reply("hi", cached_tokens=4))

    made = await one(build("Ask"), {})

    assert made.usage.cached_tokens == 4


async def test_one_sample_of_several_that_fails_leaves_no_call_uncounted(
    client: Client, model: ModelServer
) -> None:
    def answer(body: dict[str, Any]) -> Reply:
        return Reply("x") if len(model.requests) > 1 else Reply(status=400, body=b"{}")

    model.answer = answer
    pipeline = build({"type": "Ask", "samples": 3})

    results = [result async for result in pipeline.stream({})]

    assert results[0].error is not None
    assert isinstance(results[0].error.__cause__, LLMError)
    assert results[0].usage.llm_calls == 2
    assert model.in_flight == 0


@pytest.mark.row("D10", "A123")
async def test_a_seeds_variables_stand_at_the_top_and_under_metadata(client: Client) -> None:
    prompt = {"user_prompt": "{{ topic }} is {{ metadata.topic }}"}

    result, _, _ = await one(build({"type": "TextGenerator", "config": prompt}), {"topic": "gravity"})

    assert result["assistant"] == "echo: gravity is gravity"


# --- run


async def test_run_keeps_the_order_of_the_seeds_and_their_repetitions(client: Client) -> None:
    seeds: list[dict[str, Any]] = [
        {"metadata": {"n": 1}, "repetitions": 2},
        {"n": 2},
        {"metadata": {"n": 3}, "repetitions": 0},
        {"metadata": {"n": 4}, "repetitions": "many"},
    ]

    results = await build("Ask").run(seeds, concurrency=3)

    assert [result.result["answer"] for result in results] == [
        "echo: q 1",
        "echo: q 1",
        "echo: q 2",
        "echo: q 4",
    ]


async def test_run_without_seeds_gives_nothing() -> None:
    assert await build("Slow").run([]) == []


async def test_run_refuses_to_work_with_nobody() -> None:
    with pytest.raises(BadInputError):
        await build("Slow").run([{}], concurrency=0)


async def test_run_takes_what_a_journal_has(client: Client, model: ModelServer) -> None:
    journal = llm.MemoryJournal()
    seeds: list[dict[str, Any]] = [{"metadata": {"n": 1}, "repetitions": 2}, {"n": 2}]

    await build("Ask").run(seeds, journal=journal)
    again = await build("Ask").run(seeds, journal=journal)

    assert len(model.requests) == 3
    assert sum(result.usage.journal_hits for result in again) == 3


@pytest.mark.row("D6")
async def test_a_result_as_plain_data_carries_its_usage_and_its_error(client: Client) -> None:
    good, bad = await build("Ask", "BoomBlock").run([{"boom": False}, {"boom": True}])

    assert good.to_dict().keys() == {"result", "trace", "trace_id", "usage"}
    assert good.to_dict()["usage"]["llm_calls"] == 1
    assert bad.to_dict()["error"]["error"] == "Block 'BoomBlock' failed at step 2: Connection timeout"


def test_a_file_is_loaded_as_yaml_or_json(tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text("name: P\nself: kept\nblocks: [{type: ValidatorBlock}]\n")
    (tmp_path / "p.json").write_text('{"name": "P", "self": "kept", "blocks": [{"type": "ValidatorBlock"}]}')

    loaded = [Pipeline.load(tmp_path / "p.yaml"), Pipeline.load(str(tmp_path / "p.json"))]

    assert loaded[0].to_dict() == loaded[1].to_dict()
    assert loaded[0].to_dict()["self"] == "kept"


@pytest.mark.row("D10", "A123")
async def test_metadata_is_the_seeds_own_even_after_a_block_has_changed_the_state(model: ModelServer) -> None:
    pipeline = Pipeline(
        "x",
        [
            {"type": "TextGenerator", "config": {"user_prompt": "{{ topic }}"}},
            {"type": "TextGenerator", "config": {"user_prompt": "{{ user }} {{ metadata.user }}"}},
        ],
    )

    (outcome,) = await pipeline.run([{"topic": "tides", "user": "unread"}])

    assert outcome.result["user"] == "tides unread"
