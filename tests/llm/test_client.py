"""Calls over a real socket, by both roads."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
from collections import Counter
from typing import Any

import pytest
from pydantic import SecretStr

from penstock import llm
from penstock.errors import (
    BadInputError,
    JournalMissError,
    LLMRefusedError,
    LLMUnavailableError,
)
from penstock.llm import (
    CallContext,
    Client,
    Completion,
    JournalMode,
    MemoryJournal,
    Sample,
    use_call_context,
    use_client,
)
from penstock.settings import Settings
from support.model_server import DROP, HANG, MALFORMED, Answer, ModelServer, Reply, echo, refusal

SCHEMA = {"type": "object", "properties": {"title": {"type": "string"}}, "required": ["title"]}


def say(text: str) -> list[dict[str, Any]]:
    return [{"role": "user", "content": text}]


@pytest.mark.row("A80", "A81", "A83")
async def test_what_is_asked_reaches_the_provider_and_its_text_comes_back(
    model: ModelServer, client: Client
) -> None:
    completion = await llm.complete(say("hi x"), temperature=0.3, max_tokens=50)

    assert completion.text == "echo: hi x"
    assert completion.finish_reason == "stop"
    (body,) = model.bodies
    assert (body["model"], body["temperature"], body["max_tokens"]) == ("gpt-x", 0.3, 50)
    assert body["messages"] == say("hi x")
    assert model.requests[0]["headers"]["authorization"] == "Bearer sk-test-0123456789"
    assert model.requests[0]["path"] == "/v1/chat/completions"


@pytest.mark.row("A38", "A39", "A41")
async def test_usage_is_counted_into_the_scope(script: Any, client: Client) -> None:
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
async def test_a_refused_schema_is_asked_for_as_a_json_object_and_that_is_remembered(
    model: ModelServer, client: Client
) -> None:
    model.refused_formats = {"json_schema"}
    model.answer = lambda _: '{"title": "x"}'

    first = await llm.complete(say("a"), schema=SCHEMA)
    second = await llm.complete(say("b"), schema=SCHEMA)

    formats = [body["response_format"]["type"] for body in model.bodies]
    assert first.data == second.data == {"title": "x"}
    assert formats == ["json_schema", "json_object", "json_object"]
    assert "title" in model.asked[1][0]  # the model still hears of the schema
    assert model.asked[1][-1] == "a"


async def test_a_provider_that_refuses_every_format_is_asked_for_text(
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


async def test_json_that_was_cut_off_is_not_closed_by_guesswork(script: Any, client: Client) -> None:
    script(Reply('{"title": "x", "text": "once upon', finish_reason="length"))

    completion = await llm.complete(say("a"), schema=SCHEMA)

    assert completion.data is None
    assert completion.finish_reason == "length"


@pytest.mark.parametrize(
    "fault", [refusal(500), refusal(503), refusal(408), refusal(429), DROP, MALFORMED, Reply(body=b"[]")]
)
async def test_a_passing_fault_is_asked_again(script: Any, client: Client, fault: Reply) -> None:
    model = script(fault)

    with use_call_context(CallContext()) as calls:
        completion = await llm.complete(say("a"))

    assert completion.text == "echo: a"
    assert len(model.requests) == 2
    assert calls.calls[0]["retries"] == 1


async def test_a_hung_request_is_given_up_and_asked_again(script: Any, impatient: Settings) -> None:
    model = script(HANG)

    async with Client(impatient) as client:
        completion = await client.complete(say("a"))

    assert completion.text == "echo: a"
    assert len(model.requests) == 2


async def test_a_provider_that_keeps_failing_is_given_up_at_the_deadline(
    model: ModelServer, settings: Settings
) -> None:
    model.answer = lambda _: refusal(500, "out of order")
    settings = settings.model_copy(update={"llm_deadline": 0.3})

    async with Client(settings) as client:
        with pytest.raises(LLMUnavailableError, match="out of order"):
            await client.complete(say("a"))


async def test_waiting_out_a_rate_limit_does_not_count_towards_the_deadline(
    script: Any, settings: Settings
) -> None:
    script(*[refusal(429, "slow down", Retry_After="0.4")] * 3)
    settings = settings.model_copy(update={"llm_deadline": 0.5})

    async with Client(settings) as client:
        completion = await client.complete(say("a"))

    assert completion.text == "echo: a"


async def test_retry_after_holds_back_every_call_to_that_model(script: Any, client: Client) -> None:
    model = script(refusal(429, Retry_After="1"))
    first = asyncio.create_task(llm.complete(say("a")))
    await model.received()
    await asyncio.sleep(0.2)

    second = asyncio.create_task(llm.complete(say("b")))
    await asyncio.sleep(0.2)
    seen_in_the_pause = len(model.requests)
    await asyncio.gather(first, second)

    assert seen_in_the_pause == 1
    assert len(model.requests) == 3


@pytest.mark.parametrize(
    "fault", [refusal(400, "bad"), refusal(401), refusal(404), refusal(429, code="insufficient_quota")]
)
async def test_a_refusal_is_not_asked_again(script: Any, client: Client, fault: Reply) -> None:
    model = script(fault)

    with pytest.raises(LLMRefusedError) as caught:
        await llm.complete(say("a"))

    assert caught.value.detail["status"] == fault.status
    assert len(model.requests) == 1


async def test_a_key_that_the_provider_repeats_is_shown_nowhere(
    script: Any, client: Client, secret: SecretStr, caplog: pytest.LogCaptureFixture
) -> None:
    key = secret.get_secret_value()
    script(refusal(500, f"key {key}"), refusal(401, f"Incorrect API key provided: {key}"))

    caplog.set_level(logging.DEBUG)
    with use_call_context(CallContext()) as calls, pytest.raises(LLMRefusedError) as caught:
        await llm.complete(say("a"))

    shown = f"{caught.value} {caught.value.detail} {calls.calls} {client!r} {caught.value.__cause__!r}"
    assert key not in shown
    assert key not in "".join(record.getMessage() for record in caplog.records if "penstock" in record.name)


async def test_no_call_is_lost_among_faults(model: ModelServer, impatient: Settings) -> None:
    faults: dict[int, Answer] = {}
    for count, fault in ((15, refusal(429)), (9, refusal(500)), (3, HANG), (3, MALFORMED)):
        for _ in range(count):
            faults[(len(faults) * 7919 + 13) % 300] = fault
    number = iter(range(10**6))
    model.answer = lambda body: faults.get(next(number)) or echo(body)

    async with Client(impatient) as client:
        completions = await asyncio.gather(*(client.complete(say(str(n))) for n in range(300)))

    assert [completion.text for completion in completions] == [f"echo: {n}" for n in range(300)]
    assert len(model.requests) == 300 + len(faults)


async def test_a_rate_limit_shrinks_the_concurrency_and_every_call_is_answered(
    model: ModelServer, client: Client
) -> None:
    model.capacity, model.latency = 6, 0.02

    completions = await asyncio.gather(*(llm.complete(say(str(n))) for n in range(120)))

    (state,) = client.concurrency().values()
    assert [completion.text for completion in completions] == [f"echo: {n}" for n in range(120)]
    assert state["limit"] < 40
    assert state["in_flight"] == state["waiting"] == 0


async def test_a_cancelled_call_gives_its_permit_back(model: ModelServer, client: Client) -> None:
    model.then(HANG)
    task = asyncio.create_task(llm.complete(say("a")))
    await model.received()

    task.cancel()
    await asyncio.gather(task, return_exceptions=True)

    (state,) = client.concurrency().values()
    assert state["in_flight"] == 0
    assert (await llm.complete(say("b"))).text == "echo: b"


async def test_a_journaled_call_is_not_asked_again_and_counts_as_a_hit(
    model: ModelServer, client: Client
) -> None:
    journal = MemoryJournal()
    model.answer = lambda _: '{"title": "x"}'

    async def call() -> tuple[Completion, CallContext]:
        with use_call_context(CallContext(Sample("s"), journal)) as calls:
            return await llm.complete(say("a"), schema=SCHEMA), calls

    first, _ = await call()
    second, calls = await call()

    assert len(model.requests) == 1
    assert (second.text, second.data, second.model) == (first.text, first.data, first.model)
    assert (calls.usage.input_tokens, calls.usage.llm_calls, calls.usage.journal_hits) == (7, 1, 1)
    assert calls.calls[0]["from_journal"] is True


async def test_another_sample_or_another_request_is_another_call(model: ModelServer, client: Client) -> None:
    journal = MemoryJournal()
    samples = [Sample("s"), Sample("s", repetition=1), Sample("s", attempt=2), Sample("s", index=1)]

    for sample in samples:
        with use_call_context(CallContext(sample, journal)):
            await llm.complete(say("a"))
    with use_call_context(CallContext(samples[0], journal)):
        await llm.complete(say("a"), temperature=0.1)
        await llm.complete(say("b"))
        await llm.complete(say("a"), schema=SCHEMA)

    assert len(model.requests) == 7


async def test_identical_calls_in_flight_are_one(model: ModelServer, client: Client) -> None:
    model.latency = 0.1

    async def call() -> Completion:
        with use_call_context(CallContext(Sample("s"), journal)):
            return await llm.complete(say("a"))

    journal = MemoryJournal()
    completions = await asyncio.gather(*(call() for _ in range(20)))

    assert {completion.text for completion in completions} == {"echo: a"}
    assert len(model.requests) == 1
    assert Counter(completion.usage.journal_hits for completion in completions) == {1: 19, 0: 1}


async def test_cancelling_one_of_identical_calls_leaves_the_others(
    model: ModelServer, client: Client
) -> None:
    model.latency = 0.2
    journal = MemoryJournal()

    async def call() -> Completion:
        with use_call_context(CallContext(Sample("s"), journal)):
            return await llm.complete(say("a"))

    asking, waiting, third = (asyncio.create_task(call()) for _ in range(3))
    await model.received()
    asking.cancel()
    waiting.cancel()

    assert (await third).text == "echo: a"
    assert asking.cancelled()
    assert waiting.cancelled()


async def test_a_failure_reaches_every_identical_call(script: Any, client: Client) -> None:
    model = script(refusal(401, "no key"))
    journal = MemoryJournal()

    async def call() -> Completion:
        with use_call_context(CallContext(Sample("s"), journal)):
            return await llm.complete(say("a"))

    outcomes = await asyncio.gather(*(call() for _ in range(5)), return_exceptions=True)

    assert all(isinstance(outcome, LLMRefusedError) for outcome in outcomes)
    assert len(model.requests) == 1


async def test_fresh_asks_again_and_replay_never_asks(model: ModelServer, client: Client) -> None:
    journal = MemoryJournal()
    model.then("old", "new")

    async def call(mode: JournalMode, text: str = "a") -> str:
        with use_call_context(CallContext(Sample("s"), journal, mode)):
            return (await llm.complete(say(text))).text

    assert await call(JournalMode.NORMAL) == "old"
    assert await call(JournalMode.FRESH) == "new"
    assert await call(JournalMode.REPLAY) == "new"
    with pytest.raises(JournalMissError):
        await call(JournalMode.REPLAY, "never asked")
    assert len(model.requests) == 2


async def test_a_refused_answer_is_never_stored(script: Any, client: Client) -> None:
    model = script(Reply("I cannot", finish_reason="content_filter"))
    journal = MemoryJournal()

    with use_call_context(CallContext(Sample("s"), journal)):
        first = await llm.complete(say("a"))
        second = await llm.complete(say("a"))

    assert (first.finish_reason, second.text) == ("content_filter", "echo: a")
    assert len(model.requests) == 2


async def test_messages_that_are_not_plain_data_are_refused_before_the_call(
    model: ModelServer, settings: Settings
) -> None:
    settings = settings.model_copy(update={"llm_model": "openai/gpt-x"})

    async with Client(settings) as client:
        with pytest.raises(BadInputError):
            await client.complete([{"role": "user", "content": object()}])
        with use_call_context(CallContext(Sample("s"), MemoryJournal())), pytest.raises(BadInputError):
            await client.complete([{"role": "user", "content": object()}])

    assert model.requests == []


async def test_a_huge_message_is_sent_whole(model: ModelServer, client: Client) -> None:
    text = "ä" * 3_000_000

    completion = await llm.complete(say(text))

    assert completion.text == f"echo: {text}"


async def test_a_model_that_names_its_parameters_otherwise_is_asked_its_way(
    model: ModelServer, settings: Settings
) -> None:
    model.then(refusal(400, "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead."))
    settings = settings.model_copy(update={"llm_model": "openai/gpt-x"})

    async with Client(settings) as client:
        await client.complete(say("a"), max_tokens=5)
        await client.complete(say("b"), max_tokens=5)

    assert ["max_completion_tokens" in body for body in model.bodies] == [False, True, True]


async def test_a_client_in_use_gives_way_to_an_inner_one(model: ModelServer, client: Client) -> None:
    other = Client(Settings(llm_endpoint=model.url, llm_model="other"))

    async with other:
        with use_client(other):
            await llm.complete(say("a"))
    await llm.complete(say("b"))

    assert [body["model"] for body in model.bodies] == ["other", "gpt-x"]


async def test_the_default_client_closes_with_its_loop_and_litellm_stays_unimported(
    model: ModelServer,
) -> None:
    code = (
        "import asyncio, sys; from penstock import llm;"
        "ask = lambda: llm.complete([{'role': 'user', 'content': 'hi'}]);"
        "print(asyncio.run(ask()).text, asyncio.run(ask()).text, 'litellm' in sys.modules)"
    )
    run = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-X", "dev", "-c", code],
        env={"LLM_ENDPOINT": model.url, "LLM_MODEL": "gpt-x"},
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert run.stdout == "echo: hi echo: hi False\n"
    assert "Unclosed" not in run.stderr
