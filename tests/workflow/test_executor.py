"""Running steps over a state: order, errors, traces and the pipeline's output (contract section 1)."""

from __future__ import annotations

import asyncio
import copy
import logging
import uuid
from collections.abc import Callable
from typing import Any, ClassVar

import pytest

from penstock.blocks.base import BaseBlock, BaseMultiplierBlock
from penstock.blocks.registry import BlockRegistry
from penstock.entities import State
from penstock.errors import (
    BlockExecutionError,
    ValidationError,
)
from penstock.llm import Client
from penstock.template_renderer import TemplateRenderer
from penstock.testing import ModelServer
from penstock.workflow import Child, Pipeline, RunContext
from support.trial_blocks import Mutate
from support.trial_pipelines import build, give, note, run_children, run_one

TRACE_KEYS = {"block_type", "input", "output", "accumulated_state", "execution_time"}


@pytest.mark.row("A1", "A4", "A21")
async def test_blocks_run_in_the_order_of_the_list_and_see_what_came_before() -> None:
    result, trace, _ = await run_one(build(note("a"), "ValidatorBlock", note("b")), {"text": "hello"})

    assert result["notes"] == ["a", "b"]
    assert [entry["block_type"] for entry in trace] == ["Note", "ValidatorBlock", "Note"]


@pytest.mark.row("A2", "A170")
async def test_the_callers_data_is_not_changed_by_a_block_that_changes_nested_values() -> None:
    data = {"notes": ["mine"], "deep": {"list": [1]}}
    pipeline = build("Mutate", note("a"))

    first = await run_one(pipeline, data)
    second = await run_one(pipeline, data)

    assert data == {"notes": ["mine"], "deep": {"list": [1]}}
    assert first.result == second.result
    assert "extra" not in first.result


@pytest.mark.row("A3")
async def test_a_later_output_of_the_same_name_wins_and_the_trace_keeps_both() -> None:
    result, trace, _ = await run_one(build(give(r=1), give(r=2)), {})

    assert result["r"] == 2
    assert trace[0]["accumulated_state"]["r"] == 1


@pytest.mark.row("A5", "A29")
async def test_the_result_is_the_whole_state_input_included() -> None:
    pipeline = build({"type": "ValidatorBlock", "config": {"min_length": 1}})

    result, trace, trace_id = await run_one(pipeline, {"text": "hello world"})

    assert result == {"text": "hello world", "valid": True, "pipeline_output": "hello world"}
    assert len(trace) == 1
    assert trace_id


@pytest.mark.row("A7")
async def test_a_block_may_return_less_than_it_declares() -> None:
    result, _, _ = await run_one(build("ValidatorBlock"), {})

    assert result["valid"] is True
    assert "assistant" not in result


@pytest.mark.row("A28")
async def test_an_empty_pipeline_leaves_the_state_as_it_is() -> None:
    result, trace, trace_id = await run_one(Pipeline("x", []), {"a": [1]})

    assert result == {"a": [1]}
    assert trace == []
    assert uuid.UUID(trace_id).version == 4


async def test_an_object_that_json_cannot_hold_fails_its_record() -> None:
    result = await build({"type": "Odd", "config": {"kind": "object"}}).run([{"n": 1}])

    assert result[0].error is not None
    assert "Block 'Odd' failed at step 1: the output 'r' is an object of the class object" in str(
        result[0].error
    )


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
    ("block", "reason"),
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
    block: dict[str, Any], reason: str
) -> None:
    results = await build(block).run([{"n": 1}, {"n": 2}])

    assert len(results) == 2
    for result in results:
        assert result.error is not None
        assert reason in result.error.message


async def test_an_execution_can_be_cancelled() -> None:
    running = asyncio.create_task(build({"type": "Slow", "config": {"seconds": 30}}).execute({}))
    await asyncio.sleep(0.01)

    running.cancel()

    with pytest.raises(asyncio.CancelledError):
        await running


@pytest.mark.row("A13", "D16")
async def test_nothing_runs_after_a_failure_and_the_trace_ends_with_the_failed_step() -> None:
    results = [result async for result in build(note("a"), "BoomBlock", "Mutate").stream({})]

    assert len(results) == 1
    assert [entry["block_type"] for entry in results[0].trace] == ["Note", "BoomBlock"]
    assert results[0].trace[1]["error"].endswith("Connection timeout")
    assert results[0].result == {"notes": ["a"]}


@pytest.mark.row("A15")
async def test_each_execution_has_a_trace_id_of_its_own() -> None:
    pipeline = build(note("a"))

    ids = {(await run_one(pipeline, {})).trace_id for _ in range(3)}

    assert len(ids) == 3
    assert {uuid.UUID(trace_id).version for trace_id in ids} == {4}


@pytest.mark.row("A16", "A225")
async def test_every_log_line_of_an_execution_names_its_trace_id(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, "penstock.workflow"):
        made = await run_one(build(note("a"), note("b")), {})

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
    _, trace, _ = await run_one(build("ValidatorBlock", "Slow"), {"text": "x"})

    assert all(entry.keys() >= TRACE_KEYS for entry in trace)
    assert trace[0]["block_type"] == "ValidatorBlock"
    assert isinstance(trace[1]["execution_time"], float)
    assert trace[1]["execution_time"] >= 0.05


@pytest.mark.row("A19")
async def test_what_blocks_do_later_does_not_change_earlier_entries() -> None:
    Mutate.kept.clear()

    _, trace, _ = await run_one(build("Mutate", note("a"), "Mutate"), {"notes": ["n"], "d": {}})

    assert trace[0]["input"] == {"notes": ["n"], "d": {}}
    assert trace[0]["output"] == {"r": {"fine": True}}
    assert trace[1]["accumulated_state"]["notes"] == ["n", "a"]
    assert trace[1]["accumulated_state"]["r"] == {"fine": True}


async def test_changing_a_result_does_not_change_its_trace() -> None:
    made = await run_one(build(note("a")), {})

    made.result["notes"].append("later")

    assert made.trace[-1]["accumulated_state"]["notes"] == ["a"]


@pytest.mark.row("A22", "A27")
async def test_the_output_is_the_assistants_text(client: Client) -> None:
    result, trace, _ = await run_one(build({"type": "TextGenerator", "config": {"user_prompt": "hi"}}), {})

    assert result["pipeline_output"] == result["assistant"] == "echo: hi"
    assert trace[-1]["accumulated_state"]["pipeline_output"] == "echo: hi"


@pytest.mark.row("A23")
async def test_without_an_assistant_it_is_the_last_blocks_first_output(
    client: Client, script: Callable[..., ModelServer]
) -> None:
    script('{"title": "T"}')
    generator = {"type": "StructuredGenerator", "config": {"json_schema": {}, "user_prompt": "go"}}
    validator = {"type": "JSONValidatorBlock", "config": {"field_name": "generated"}}

    result, _, _ = await run_one(build(generator, validator), {})

    assert result["pipeline_output"] is True


@pytest.mark.row("A24", "A25", "D3")
async def test_the_last_block_that_sets_the_output_wins() -> None:
    first = await run_one(build(give(pipeline_output="X"), give(assistant="no")), {})
    second = await run_one(build(give(pipeline_output="X"), give(pipeline_output="Y")), {})

    assert first.result["pipeline_output"] == "X"
    assert second.result["pipeline_output"] == "Y"


@pytest.mark.row("D3")
async def test_a_seed_does_not_set_the_output() -> None:
    made = await run_one(build(give(assistant="made")), {"pipeline_output": "from the seed"})

    assert made.result["pipeline_output"] == "made"


@pytest.mark.row("A26")
async def test_a_last_block_without_outputs_gives_an_empty_text() -> None:
    result, _, _ = await run_one(build("Silent"), {"x": 1})

    assert result == {"x": 1, "pipeline_output": ""}


@pytest.mark.row("D10", "A123")
async def test_templates_see_the_seeds_variables_by_name_and_under_metadata(client: Client) -> None:
    prompt = {"user_prompt": "{{ topic }} is {{ metadata.topic }}"}

    result, _, _ = await run_one(build({"type": "TextGenerator", "config": prompt}), {"topic": "gravity"})

    assert result["assistant"] == "echo: gravity is gravity"


@pytest.mark.row("D10", "A123")
async def test_metadata_is_the_seeds_own_after_a_block_has_changed_the_field(client: Client) -> None:
    pipeline = Pipeline(
        "x",
        [
            {"type": "TextGenerator", "config": {"user_prompt": "{{ topic }}"}},
            {"type": "TextGenerator", "config": {"user_prompt": "{{ user }} {{ metadata.user }}"}},
        ],
    )

    (outcome,) = await pipeline.run([{"topic": "tides", "user": "unread"}])

    assert outcome.result["user"] == "tides unread"


# --- metadata in templates


class Render(BaseBlock):
    """Renders a template by itself, over its input or over a copy of it."""

    outputs: ClassVar[list[str]] = ["text"]

    def __init__(self, copied: str = "") -> None:
        self.copied = copied

    async def execute(self, data: dict[str, Any]) -> dict[str, Any]:
        match self.copied:
            case "copy":
                fields: Any = data.copy()
            case "merged":
                fields = data | {"more": 1}
            case "deep":
                fields = copy.deepcopy(data)
            case "plain":
                assert isinstance(data, State)
                rendered = TemplateRenderer().render("{{ metadata.topic }}", {**data}, metadata=data.seed)
                return {"text": rendered}
            case _:
                fields = data
        return {"text": TemplateRenderer().render("{{ metadata.topic }}", fields)}


class Overwrite(BaseBlock):
    """Gives ``topic`` another value."""

    outputs: ClassVar[list[str]] = ["topic"]

    async def execute(self, data: dict[str, Any]) -> dict[str, Any]:
        return {"topic": "overwritten"}


class Whole(BaseBlock):
    """Returns its whole input as one field."""

    outputs: ClassVar[list[str]] = ["whole"]

    async def execute(self, data: dict[str, Any]) -> dict[str, Any]:
        return {"whole": data}


class SplitTopic(BaseMultiplierBlock):
    """One child a word of ``topic``, which it takes away; keeps what its own templates see as metadata."""

    outputs: ClassVar[list[str]] = ["word", "seen"]
    consumes: ClassVar[list[str]] = ["topic"]

    async def multiply(self, data: dict[str, Any]) -> list[dict[str, Any]]:
        seen = TemplateRenderer().render("{{ metadata.topic }}", data)
        return [{"word": word, "seen": seen} for word in data["topic"].split()]


def build_rendering(*types: str, copied: str = "") -> Pipeline:
    """A pipeline of the blocks above."""
    registry = BlockRegistry()
    for cls in (Render, Overwrite, SplitTopic):
        registry.register(cls)
    steps = [{"type": kind, "config": {"copied": copied} if kind == "Render" else {}} for kind in types]
    return Pipeline("rendering", steps, block_registry=registry)


@pytest.mark.row("D10", "A123")
@pytest.mark.parametrize("copied", ["", "copy", "merged", "deep", "plain"])
async def test_a_block_that_renders_templates_itself_sees_the_seed_as_metadata(copied: str) -> None:
    made = await run_one(build_rendering("Overwrite", "Render", copied=copied), {"topic": "tides"})

    assert made.result["topic"] == "overwritten"
    assert made.result["text"] == "tides"


@pytest.mark.row("D10", "A37")
async def test_a_childs_metadata_is_the_seed_that_the_multiplier_was_given() -> None:
    first, second = await run_children(build_rendering("SplitTopic", "Render"), {"topic": "high tides"})

    assert [child.result["word"] for child in (first, second)] == ["high", "tides"]
    assert first.result["text"] == second.result["text"] == "high tides"
    assert first.result["seen"] == "high tides"


@pytest.mark.row("D10")
async def test_metadata_in_a_preview_is_the_seed() -> None:
    pipeline = build_rendering("Overwrite", "Render")

    made = await pipeline.preview({"topic": "tides"}, pins={1: {"topic": "pinned"}})

    assert made.outcome.result["text"] == "tides"


async def test_records_that_run_at_the_same_time_have_their_own_metadata() -> None:
    seeds = [{"topic": f"topic {number}"} for number in range(20)]

    results = await build_rendering("Overwrite", "Render").run(seeds, concurrency=20)

    assert [result.result["text"] for result in results] == [seed["topic"] for seed in seeds]


async def test_a_block_that_returns_its_input_leaves_plain_data_in_result_and_trace() -> None:
    registry = BlockRegistry()
    registry.register(Whole)
    pipeline = Pipeline("whole", [{"type": "Whole"}], block_registry=registry)

    made = await run_one(pipeline, {"a": [1]})

    assert made.result["whole"] == {"a": [1]}
    assert type(made.result["whole"]) is dict
    assert type(made.trace[0]["output"]["whole"]) is dict


# --- listeners


async def test_a_listener_is_called_at_the_start_and_the_end_of_each_step() -> None:
    events: list[tuple[str, int, int, str]] = []

    await build(note("a"), "BoomBlock").run_child(Child({}), RunContext(on_step=events.append))

    assert events == [
        ("started", 1, 2, "Note"),
        ("finished", 1, 2, "Note"),
        ("started", 2, 2, "BoomBlock"),
    ]
