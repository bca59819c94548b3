"""One step over one state: what its block is given, and how its usage is counted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import pytest
import yaml

from penstock.blocks.base import BaseBlock
from penstock.blocks.registry import BlockRegistry
from penstock.errors import LLMError
from penstock.llm import Client
from penstock.testing import ModelServer, Reply
from penstock.workflow import Pipeline
from support.trial_pipelines import build, run_one


@pytest.mark.row("A38", "A39", "D5")
async def test_usage_is_summed_over_the_steps(client: Client) -> None:
    ask = {"type": "Ask", "config": {"prompt": "a"}}

    made = await run_one(build(ask, {"type": "Ask", "config": {"prompt": "b"}}), {})

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

    made = await run_one(build("Ask"), {})

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


class AsYaml(BaseBlock):
    """Writes its input as YAML."""

    outputs: ClassVar[list[str]] = ["safe", "plain"]

    async def execute(self, data: dict[str, Any]) -> dict[str, Any]:
        return {"safe": yaml.safe_dump(data), "plain": yaml.dump(data)}


async def test_a_block_may_write_its_input_as_yaml() -> None:
    registry = BlockRegistry()
    registry.register(AsYaml)
    pipeline = Pipeline("yaml", [{"type": "AsYaml"}], block_registry=registry)

    made = await run_one(pipeline, {"a": 1, "b": "x"})

    assert made.result["safe"] == made.result["plain"] == "a: 1\nb: x\n"
