"""What all transports do when the provider refuses, fails, or does not answer."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
from pydantic import SecretStr

from penstock import llm
from penstock.errors import LLMError, LLMRefusedError, LLMSetupError, LLMUnavailableError
from penstock.llm import CallContext, Client, use_call_context
from penstock.settings import Settings
from penstock.testing import DROP, HANG, MALFORMED, Answer, ModelServer, Reply, echo, refusal
from support.messages import say
from support.raw_server import scripted, serve
from support.runs import until


@pytest.mark.parametrize(
    "failure", [refusal(500), refusal(503), refusal(408), refusal(429), DROP, MALFORMED, Reply(body=b"[]")]
)
async def test_a_transient_failure_is_retried(script: Any, client: Client, failure: Reply) -> None:
    model = script(failure)

    with use_call_context(CallContext()) as calls:
        completion = await llm.complete(say("a"))

    assert completion.text == "echo: a"
    assert len(model.requests) == 2
    assert calls.calls[0]["retries"] == 1


async def test_a_request_without_an_answer_times_out_and_is_retried(
    script: Any, short_timeouts: Settings
) -> None:
    model = script(HANG)

    async with Client(short_timeouts) as client:
        completion = await client.complete(say("a"))

    assert completion.text == "echo: a"
    assert len(model.requests) == 2


async def test_a_provider_that_keeps_failing_is_an_error_at_the_deadline(
    model: ModelServer, settings: Settings
) -> None:
    model.answer = lambda _: refusal(500, "out of order")
    settings = settings.model_copy(update={"llm_deadline": 2.0})

    async with Client(settings) as client:
        with pytest.raises(LLMUnavailableError, match="out of order"):
            await client.complete(say("a"))


async def test_a_server_that_is_not_running_is_an_error_that_asks_whether_it_runs(
    model: ModelServer, settings: Settings
) -> None:
    async with serve(scripted()[0]) as url:
        endpoint = url.partition("?")[0]
    settings = settings.model_copy(update={"llm_endpoint": endpoint, "llm_deadline": 1.0})

    async with Client(settings) as client:
        with pytest.raises(LLMSetupError, match=r"is its server running\?$"):
            await client.complete(say("a"))


async def test_waiting_for_a_rate_limit_to_end_does_not_count_towards_the_deadline(
    script: Any, settings: Settings
) -> None:
    script(*[refusal(429, "slow down", Retry_After="0.4")] * 3)
    settings = settings.model_copy(update={"llm_deadline": 1.0})

    async with Client(settings) as client:
        completion = await client.complete(say("a"))

    assert completion.text == "echo: a"


async def test_retry_after_delays_every_call_to_that_model(script: Any, client: Client) -> None:
    model = script(refusal(429, Retry_After="2"))
    first = asyncio.create_task(llm.complete(say("a")))
    await until(lambda: any(state["pause"] for state in client.concurrency().values()))

    second = asyncio.create_task(llm.complete(say("b")))
    await until(lambda: all(state["waiting"] == 1 for state in client.concurrency().values()))
    seen_in_the_pause = len(model.requests)
    await asyncio.gather(first, second)

    assert seen_in_the_pause == 1
    assert len(model.requests) == 3


@pytest.mark.parametrize(
    ("failure", "kind"),
    [
        (refusal(400, "bad"), LLMRefusedError),
        (refusal(401), LLMSetupError),
        (refusal(429, code="insufficient_quota"), LLMSetupError),
    ],
)
async def test_a_refusal_is_not_retried(
    script: Any, client: Client, failure: Reply, kind: type[LLMError]
) -> None:
    model = script(failure)

    with pytest.raises(kind) as caught:
        await llm.complete(say("a"))

    assert caught.value.detail["status"] == failure.status
    assert len(model.requests) == 1


async def test_an_unknown_model_is_an_error_after_each_of_its_names_was_tried_once(
    model: ModelServer, client: Client
) -> None:
    model.answer = lambda _: refusal(404)

    with pytest.raises(LLMSetupError) as caught:
        await llm.complete(say("a"))

    assert caught.value.detail["status"] == 404
    assert [body["model"] for body in model.bodies] in (["gpt-x", "openai/gpt-x"], ["gpt-x"])


async def test_a_key_that_the_provider_repeats_is_masked_everywhere(
    script: Any, client: Client, secret: SecretStr, caplog: pytest.LogCaptureFixture
) -> None:
    key = secret.get_secret_value()
    script(refusal(500, f"key {key}"), refusal(401, f"Incorrect API key provided: {key}"))

    caplog.set_level(logging.DEBUG)
    with use_call_context(CallContext()) as calls, pytest.raises(LLMSetupError) as caught:
        await llm.complete(say("a"))

    shown = f"{caught.value} {caught.value.detail} {calls.calls} {client!r} {caught.value.__cause__!r}"
    assert key not in shown
    assert key not in "".join(record.getMessage() for record in caplog.records if "penstock" in record.name)


async def test_no_call_is_lost_among_failures(model: ModelServer, client: Client) -> None:
    failures: dict[int, Answer] = {}
    for count, failure in ((15, refusal(429)), (9, refusal(500)), (3, DROP), (3, MALFORMED)):
        for _ in range(count):
            failures[(len(failures) * 7919 + 13) % 300] = failure
    number = iter(range(10**6))
    model.answer = lambda body: failures.get(next(number)) or echo(body)

    completions = await asyncio.gather(*(client.complete(say(str(n))) for n in range(300)))

    assert [completion.text for completion in completions] == [f"echo: {n}" for n in range(300)]
    assert len(model.requests) == 300 + len(failures)


async def test_no_call_is_lost_among_requests_without_an_answer(
    model: ModelServer, short_timeouts: Settings
) -> None:
    model.then(HANG, HANG, HANG)

    async with Client(short_timeouts) as client:
        completions = await asyncio.gather(*(client.complete(say(str(n))) for n in range(20)))

    assert [completion.text for completion in completions] == [f"echo: {n}" for n in range(20)]


async def test_a_rate_limit_shrinks_the_concurrency_and_every_call_is_answered(
    model: ModelServer, client: Client
) -> None:
    model.capacity, model.latency = 6, 0.02

    completions = await asyncio.gather(*(llm.complete(say(str(n))) for n in range(120)))

    (state,) = client.concurrency().values()
    assert [completion.text for completion in completions] == [f"echo: {n}" for n in range(120)]
    assert state["limit"] < 40
    assert state["in_flight"] == state["waiting"] == 0


async def test_a_huge_message_is_sent_whole(model: ModelServer, client: Client) -> None:
    text = "ä" * 3_000_000

    completion = await llm.complete(say(text))

    assert completion.text == f"echo: {text}"
