"""The scripted model, used as someone would who tests blocks of their own."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import pytest

from penstock import BaseBlock, llm
from penstock.errors import LLMError, LLMRefusedError
from penstock.testing import (
    DROP,
    HANG,
    MALFORMED,
    ModelServer,
    Reply,
    last_user_message,
    refusal,
    scripted_model,
)
from penstock.workflow import Pipeline
from support.runs import ASK, build, numbered, run


class Capital(BaseBlock):
    """Asks for the capital of a country."""

    outputs: ClassVar[list[str]] = ["capital"]

    async def execute(self, data: dict[str, Any]) -> dict[str, Any]:
        question = f"What is the capital of {data['country']}?"
        answer = await llm.complete([{"role": "user", "content": question}])
        return {"capital": answer.text}


async def ask(question: str = "ready?") -> str:
    answer = await llm.complete([{"role": "user", "content": question}])
    return answer.text


async def test_a_block_asks_the_scripted_model() -> None:
    async with scripted_model("Lisbon") as model:
        result = await Capital().execute({"country": "Portugal"})

    assert result == {"capital": "Lisbon"}
    assert model.asked == [["What is the capital of Portugal?"]]


async def test_a_pipeline_asks_the_scripted_model() -> None:
    pipeline = Pipeline.load_from_dict(
        {"name": "p", "blocks": [{"type": "TextGenerator", "config": {"user_prompt": "About {{ topic }}"}}]}
    )

    async with scripted_model("The moon pulls the sea.") as model:
        (execution,) = await pipeline.run([{"topic": "tides"}])

    assert execution.result["assistant"] == "The moon pulls the sea."
    assert last_user_message(model.bodies[0]) == "About tides"


async def test_answers_after_the_script_are_computed_from_the_request() -> None:
    async with scripted_model("first", answer=lambda body: last_user_message(body).upper()):
        answers = [await ask("one"), await ask("two")]

    assert answers == ["first", "TWO"]


async def test_without_a_script_the_model_repeats_what_the_user_said() -> None:
    async with scripted_model():
        assert await ask("hello") == "echo: hello"


@pytest.mark.parametrize("reply", [DROP, MALFORMED, refusal(429, Retry_After="0"), refusal(503)], ids=str)
async def test_a_transient_error_is_followed_by_a_retry(reply: Reply) -> None:
    async with scripted_model(reply, "ready") as model:
        answer = await ask()

    assert answer == "ready"
    assert len(model.requests) == 2


async def test_a_request_that_hangs_ends_with_the_timeout_of_the_settings() -> None:
    async with scripted_model(*[HANG] * 20, llm_timeout=0.1, llm_deadline=0.3):
        with pytest.raises(LLMError):
            await ask()


async def test_a_refused_request_is_an_error_with_the_message_of_the_model() -> None:
    async with scripted_model(refusal(400, "the prompt is too long")):
        with pytest.raises(LLMRefusedError, match="the prompt is too long"):
            await ask()


async def test_a_durable_run_asks_the_server_whose_settings_it_gets(tmp_path: Path) -> None:
    async with ModelServer() as model:
        report = await run(build(ASK), numbered(2), model.settings(database_path=tmp_path / "runs.db"))

    assert report.generated == 2
    assert model.answered == 2


async def test_the_model_in_use_before_is_in_use_again_afterwards() -> None:
    async with scripted_model("outer"):
        async with scripted_model("inner"):
            inner = await ask()
        outer = await ask()

    assert (inner, outer) == ("inner", "outer")
