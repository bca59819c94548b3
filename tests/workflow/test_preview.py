"""Trying out single steps, with what other steps gave pinned."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest

from penstock.blocks.base import BaseBlock
from penstock.blocks.registry import BlockRegistry
from penstock.errors import BadInputError
from penstock.workflow import Pipeline


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


async def test_steps_run_up_to_one_and_the_output_is_not_settled_before_the_last(pipeline: Pipeline) -> None:
    made = await pipeline.preview({"text": ">"}, up_to=2)

    assert made.outcome.result == {"text": ">ab"}
    assert (made.numbers, Append.ran) == ([1, 2], ["a", "b"])


async def test_all_steps_give_what_an_execution_gives(pipeline: Pipeline) -> None:
    made = await pipeline.preview({"text": ">"})

    assert made.outcome.result == {"text": ">abc", "pipeline_output": ">abc"}


async def test_a_pinned_step_is_not_run_and_its_output_is_used(pipeline: Pipeline) -> None:
    made = await pipeline.preview({}, up_to=3, pins={1: {"text": "X"}, 2: {"text": "Y"}})

    assert made.outcome.result["text"] == "Yc"
    assert Append.ran == ["c"]
    assert [entry.get("pinned", False) for entry in made.outcome.trace] == [True, True, False]


async def test_only_one_step_runs_and_those_above_are_passed_over(pipeline: Pipeline) -> None:
    seed = {"text": "seed"}

    made = await pipeline.preview(seed, only=2)

    assert made.outcome.result == {"text": "seedb"}
    assert (made.numbers, Append.ran, seed) == ([2], ["b"], {"text": "seed"})


@pytest.mark.parametrize("asked", [{"up_to": 4}, {"only": 0}, {"pins": {4: {}}}, {"pins": {1: {"other": 1}}}])
async def test_what_is_not_there_cannot_be_tried(pipeline: Pipeline, asked: dict[str, Any]) -> None:
    with pytest.raises(BadInputError):
        await pipeline.preview({}, **asked)
