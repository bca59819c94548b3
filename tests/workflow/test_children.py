"""Multipliers: their children, and their place in a pipeline."""

from __future__ import annotations

import pytest

from penstock.errors import (
    BlockExecutionError,
    DefinitionError,
)
from penstock.llm import Client
from support.trial_pipelines import build, note, run_children


@pytest.mark.row("A30", "A32", "A35")
async def test_a_multiplier_gives_a_list_with_a_trace_of_its_own_for_each_child() -> None:
    pipeline = build("Split", note("a"))

    made = await run_children(pipeline, {"text": "x y z", "topic": "t"})

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
    made = await run_children(build("Split", "BoomBlock"), {"text": "a b boom c d"})

    assert [child.error is None for child in made] == [True, True, False, True, True]


@pytest.mark.row("A37")
async def test_a_childs_state_starts_from_its_chunk_without_the_field_that_was_split() -> None:
    made = await run_children(build("Split", note("a")), {"text": "x y", "topic": "t"})

    assert made[0].result == {
        "topic": "t",
        "word": "x",
        "boom": False,
        "notes": ["a"],
        "pipeline_output": ["a"],
    }
    assert made[0].initial == {"text": "x y", "topic": "t"}


@pytest.mark.row("A92")
async def test_a_multiplier_that_fails_raises_the_error_of_any_block() -> None:
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
    assert await run_children(build("Split"), {"text": ""}) == []


@pytest.mark.row("A39")
async def test_the_model_calls_of_a_multiplier_are_counted_once(client: Client) -> None:
    made = await run_children(build("AskedSplit"), {})

    assert [child.result["word"] for child in made] == ["a", "b", "c"]
    assert sum(child.usage.llm_calls for child in made) == 1
    assert sum(child.usage.total_tokens for child in made) == 10
