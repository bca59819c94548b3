"""Trying out single steps, with the outputs of other steps pinned."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest

from penstock.blocks.base import BaseBlock
from penstock.blocks.registry import BlockRegistry
from penstock.errors import BadInputError
from penstock.workflow import Pipeline
from support.trial_pipelines import build, note


class Append(BaseBlock):
    """Adds a letter to ``text``."""

    outputs: ClassVar[list[str]] = ["text"]
    ran: ClassVar[list[str]] = []

    def __init__(self, letter: str = "a") -> None:
        self.letter = letter

    async def execute(self, data: dict[str, Any]) -> dict[str, Any]:
        self.ran.append(self.letter)
        return {"text": data.get("text", "") + self.letter}


@pytest.fixture
def pipeline() -> Pipeline:
    registry = BlockRegistry()
    registry.register(Append)
    Append.ran.clear()
    blocks = [{"type": "Append", "config": {"letter": letter}} for letter in "abc"]
    return Pipeline("letters", blocks, block_registry=registry)


async def test_steps_run_up_to_one(pipeline: Pipeline) -> None:
    made = await pipeline.preview({"text": ">"}, up_to=2)

    assert made.outcome.result == {"text": ">ab"}
    assert (made.numbers, Append.ran) == ([1, 2], ["a", "b"])


async def test_a_preview_of_all_steps_gives_what_an_execution_gives(pipeline: Pipeline) -> None:
    made = await pipeline.preview({"text": ">"})

    assert made.outcome.result == {"text": ">abc", "pipeline_output": ">abc"}


async def test_a_pinned_step_is_not_run_and_its_output_is_used(pipeline: Pipeline) -> None:
    made = await pipeline.preview({}, up_to=3, pins={1: {"text": "X"}, 2: {"text": "Y"}})

    assert made.outcome.result["text"] == "Yc"
    assert Append.ran == ["c"]
    assert [entry.get("pinned", False) for entry in made.outcome.trace] == [True, True, False]


async def test_only_one_step_runs_and_those_above_are_skipped(pipeline: Pipeline) -> None:
    seed = {"text": "seed"}

    made = await pipeline.preview(seed, only=2)

    assert made.outcome.result == {"text": "seedb"}
    assert (made.numbers, Append.ran, seed) == ([2], ["b"], {"text": "seed"})


@pytest.mark.parametrize("asked", [{"up_to": 4}, {"only": 0}, {"pins": {4: {}}}, {"pins": {1: {"other": 1}}}])
async def test_an_unknown_step_or_output_is_refused(pipeline: Pipeline, asked: dict[str, Any]) -> None:
    with pytest.raises(BadInputError):
        await pipeline.preview({}, **asked)


async def test_a_step_that_fails_is_the_last_one_and_the_outcome_has_its_error() -> None:
    made = await build(note("a"), "BoomBlock", note("b")).preview({})

    assert made.numbers == [1, 2]
    assert made.outcome.error is not None
    assert made.outcome.trace[1]["error"] == made.outcome.error.message
    assert made.outcome.result == {"notes": ["a"]}


async def test_a_multiplier_that_fails_leaves_no_trace_entry_and_nothing_runs_after_it() -> None:
    made = await build("Split", note("a")).preview({})

    assert (made.numbers, made.outcome.trace, made.children) == ([], [], None)
    assert made.outcome.error is not None
    assert made.outcome.error.message.startswith("Block 'Split' failed at step 1")


async def test_one_child_of_a_multiplier_goes_on() -> None:
    made = await build("Split", note("a")).preview({"text": "x y", "topic": "t"}, child=1)

    assert (made.numbers, made.children, made.outcome.child) == ([1, 2], 2, "1")
    assert made.outcome.result["word"] == "y"
    assert "text" not in made.outcome.result
    assert made.outcome.result["pipeline_output"] == ["a"]


async def test_a_pinned_multiplier_takes_away_the_fields_that_it_consumes() -> None:
    pinned = {1: {"word": "z", "boom": False}}

    made = await build("Split", note("a")).preview({"text": "x y", "topic": "t"}, up_to=1, pins=pinned)

    assert made.outcome.result == {"topic": "t", "word": "z", "boom": False}
    assert made.children is None


async def test_a_preview_that_does_not_reach_the_last_step_has_no_pipeline_output() -> None:
    pipeline = build(note("a"), note("b"))

    first = await pipeline.preview({}, up_to=1)
    last = await pipeline.preview({}, only=2)

    assert "pipeline_output" not in first.outcome.result
    assert last.outcome.result == {"notes": ["b"], "pipeline_output": ["b"]}
