"""What a call sends and counts, and what it reads from the answer."""

from __future__ import annotations

from typing import Any

import pytest

from penstock import llm
from penstock.llm import CallContext, Client, use_call_context
from penstock.testing import ModelServer, Reply
from support.messages import say

SCHEMA = {"type": "object", "properties": {"title": {"type": "string"}}, "required": ["title"]}


@pytest.mark.row("A38", "A39", "A41")
async def test_usage_is_added_to_the_call_context(script: Any, client: Client) -> None:
    script("one", Reply("two", cached_tokens=4))

    with use_call_context(CallContext()) as calls:
        await llm.complete(say("a"), temperature=0.2)
        await llm.complete(say("b"))

    usage = calls.usage
    assert (usage.input_tokens, usage.output_tokens, usage.cached_tokens, usage.llm_calls) == (14, 6, 4, 2)
    assert usage.start_time is not None
    assert usage.end_time is not None
    assert usage.end_time >= usage.start_time
    assert [call["temperature"] for call in calls.calls] == [0.2, None]
    assert calls.calls[0]["finish_reason"] == "stop"
    assert calls.calls[0]["from_journal"] is False


async def test_an_answer_without_usage_counts_no_tokens(script: Any, client: Client) -> None:
    script(Reply("fine", input_tokens=None))

    completion = await llm.complete(say("a"))

    assert completion.text == "fine"
    assert completion.usage.llm_calls == 1


@pytest.mark.row("A85")
async def test_a_schema_is_sent_as_the_response_format(model: ModelServer, client: Client) -> None:
    model.then('{"title": "x"}')

    completion = await llm.complete(say("a"), schema=SCHEMA)

    assert completion.data == {"title": "x"}
    assert model.bodies[0]["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "response", "schema": SCHEMA, "strict": True},
    }


@pytest.mark.row("A86")
async def test_a_refused_schema_is_replaced_by_a_json_object_and_that_is_remembered(
    model: ModelServer, client: Client
) -> None:
    model.refused_formats = {"json_schema"}
    model.answer = lambda _: '{"title": "x"}'

    first = await llm.complete(say("a"), schema=SCHEMA)
    second = await llm.complete(say("b"), schema=SCHEMA)

    formats = [body["response_format"]["type"] for body in model.bodies]
    assert first.data == second.data == {"title": "x"}
    assert formats == ["json_schema", "json_object", "json_object"]
    assert "title" in model.asked[1][0]  # the schema is in the system message
    assert model.asked[1][-1] == "a"


async def test_a_provider_that_refuses_every_format_gets_a_request_for_text(
    model: ModelServer, client: Client
) -> None:
    model.refused_formats = {"json_schema", "json_object"}
    model.answer = lambda _: 'Here: {"title": "x"}'

    completion = await llm.complete(say("a"), schema=SCHEMA)

    assert completion.data == {"title": "x"}
    assert "response_format" not in model.bodies[-1]


@pytest.mark.row("A87", "A88")
@pytest.mark.parametrize(
    ("text", "data"),
    [('```json\n{"title": "x"}\n```', {"title": "x"}), ("I would rather not.", None), ("", None)],
)
async def test_text_is_never_lost_whether_it_holds_json_or_not(
    script: Any, client: Client, text: str, data: Any
) -> None:
    script(text)

    completion = await llm.complete(say("a"), schema=SCHEMA)

    assert (completion.text, completion.data) == (text, data)


async def test_json_that_was_cut_off_is_not_repaired(script: Any, client: Client) -> None:
    script(Reply('{"title": "x", "text": "once upon', finish_reason="length"))

    completion = await llm.complete(say("a"), schema=SCHEMA)

    assert completion.data is None
    assert completion.finish_reason == "length"


async def test_cached_tokens_are_never_more_than_the_input(script: Any, client: Client) -> None:
    script(Reply("one", input_tokens=5, cached_tokens=9))

    with use_call_context(CallContext()) as calls:
        await llm.complete(say("a"))

    assert (calls.usage.input_tokens, calls.usage.cached_tokens) == (5, 5)
