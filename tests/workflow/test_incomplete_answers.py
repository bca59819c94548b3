"""Answers that are empty, were cut off or were refused."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from penstock import Pipeline
from penstock.entities import ExecutionResult
from penstock.errors import BlockExecutionError, LLMAnswerError
from penstock.llm import Client
from penstock.testing import ModelServer, Reply

TEXT: dict[str, Any] = {"type": "TextGenerator", "config": {"user_prompt": "q", "temperature": 0}}


async def execute(step: dict[str, Any]) -> ExecutionResult:
    """Run a pipeline of one step."""
    result = await Pipeline("P", [step]).execute({})
    assert not isinstance(result, list)
    return result


def body(content: Any, finish_reason: str = "stop", **message: Any) -> Reply:
    choice = {"message": {"role": "assistant", "content": content, **message}, "finish_reason": finish_reason}
    return Reply(body=orjson.dumps({"choices": [choice]}))


INCOMPLETE = [
    (body(None), "the answer is empty"),
    (body("", "length", reasoning_content="hm"), "the thoughts used up max_tokens"),
    (body("Half a sent", "length"), "the answer was cut off"),
    (body("Half a sent", "MAX_TOKENS"), "the answer was cut off"),
    (body("", "SAFETY"), "the answer was refused"),
    (body(None, refusal="I cannot help"), "the answer was refused .*: I cannot help"),
    (body("", "refusal"), "the answer was refused"),
    (body("<think>and so on", "stop"), "the answer is empty; the model wrote thoughts only"),
    (body("x", "insufficient_system_resource"), "the answer was not finished"),
]


@pytest.mark.parametrize(("reply", "reason"), INCOMPLETE)
async def test_an_incomplete_answer_fails_its_step_with_the_reason(
    script: Any, client: Client, reply: Reply, reason: str
) -> None:
    script(reply)

    with pytest.raises(BlockExecutionError, match=reason) as caught:
        await execute(TEXT)

    assert isinstance(caught.value.__cause__, LLMAnswerError)


@pytest.mark.parametrize(("reply", "reason"), INCOMPLETE)
async def test_an_incomplete_answer_is_healed_like_a_finding(
    script: Any, client: Client, reply: Reply, reason: str
) -> None:
    model = script(reply, "whole")
    gate = {"type": "LengthGate", "config": {"min_length": 1}}

    result = await execute({**TEXT, "gates": [gate], "heal": {"max_attempts": 2}})

    assert result.result["assistant"] == "whole"
    assert result.result["user"] == "q"
    assert "Fix these problems" in model.asked[1][-1]
    assert result.trace[0]["attempts"][0]["findings"][0]["gate"] == "WholeAnswerGate"


async def test_a_block_may_allow_incomplete_answers(script: Any, client: Client) -> None:
    script(body("Half a sent", "length"))
    step = {"type": "TextGenerator", "config": {"user_prompt": "q", "allow_incomplete": True}}

    result = await execute(step)

    assert result.result["assistant"] == "Half a sent"


async def test_cut_json_fails_and_whole_json_at_the_limit_does_not(script: Any, client: Client) -> None:
    script(body('{"a": "ha', "length"), body('{"a": "x"}', "length"))
    step = {"type": "StructuredGenerator", "config": {"user_prompt": "q", "json_schema": {"type": "object"}}}

    with pytest.raises(BlockExecutionError, match="cut off"):
        await execute(step)
    result = await execute(step)

    assert result.result["generated"] == {"a": "x"}


async def test_thoughts_are_stripped_or_kept_as_a_field(script: Any, client: Client) -> None:
    script(body("<think>hm</think>Yes."), body("Yes.", reasoning_content="hm"))
    keeping = {"type": "TextGenerator", "config": {"user_prompt": "q", "keep_thoughts": True}}

    stripped = await execute(TEXT)
    kept = await execute(keeping)

    assert (stripped.result["assistant"], "thoughts" in stripped.result) == ("Yes.", False)
    assert (kept.result["assistant"], kept.result["thoughts"]) == ("Yes.", "hm")


async def test_unknown_usage_is_null_and_counts_as_an_estimate(model: ModelServer, client: Client) -> None:
    model.then(Reply("x" * 40, input_tokens=None))

    result = await execute(TEXT)

    usage = result.usage
    assert (usage.unreported_calls, usage.output_tokens) == (1, 10)
    assert {usage.to_dict()[name] for name in ("total_tokens", "total_input_tokens")} == {None}
    assert result.trace[0]["calls"][0]["input_tokens"] is None


@pytest.mark.parametrize(
    ("schema", "answer", "value"),
    [
        ({"type": "number"}, "5", 5),
        ({"type": "number"}, "5.5", 5.5),
        ({"type": "array", "items": {"type": "integer"}}, "[1, 2]", [1, 2]),
        ({"type": "string"}, '"cat"', "cat"),
        ({"enum": ["cat", "dog"]}, "cat", "cat"),
        ({"enum": ["cat", "dog"]}, '"dog"', "dog"),
        ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, "null", None),
        ({"type": ["boolean", "null"]}, "true", True),
        ({"type": "number"}, "```json\n7\n```", 7),
        ({"type": "number"}, "no number", {"raw_response": "no number"}),
        ({}, '{"a": 1}', {"a": 1}),
    ],
)
async def test_a_schema_may_have_any_root(
    script: Any, client: Client, schema: dict[str, Any], answer: str, value: Any
) -> None:
    script(answer)
    step = {"type": "StructuredGenerator", "config": {"user_prompt": "q", "json_schema": schema}}

    result = await execute(step)

    assert result.result["generated"] == value


async def test_a_temperature_of_null_is_not_sent(model: ModelServer, client: Client) -> None:
    config = {"user_prompt": "q", "temperature": None, "max_tokens": None}

    await execute({"type": "TextGenerator", "config": config})

    assert not model.bodies[0].keys() & {"temperature", "max_tokens"}
