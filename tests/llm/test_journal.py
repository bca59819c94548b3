"""Calls that the journal, or an identical call in flight, answers."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest

from penstock import llm
from penstock.errors import JournalMissError, LLMSetupError
from penstock.llm import (
    CallContext,
    Client,
    Completion,
    JournalMode,
    MemoryJournal,
    Sample,
    use_call_context,
)
from penstock.llm.journal_codec import make_key
from penstock.settings import Settings
from penstock.testing import ModelServer, Reply, refusal
from support.messages import say

SCHEMA = {"type": "object", "properties": {"title": {"type": "string"}}, "required": ["title"]}


async def test_a_journaled_call_is_not_sent_again_and_counts_as_a_hit(
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

    first, second, third = (asyncio.create_task(call()) for _ in range(3))
    await model.received()
    first.cancel()
    second.cancel()

    assert (await third).text == "echo: a"
    assert first.cancelled()
    assert second.cancelled()


async def test_a_failure_reaches_every_identical_call(script: Any, client: Client) -> None:
    model = script(refusal(401, "no key"))
    journal = MemoryJournal()

    async def call() -> Completion:
        with use_call_context(CallContext(Sample("s"), journal)):
            return await llm.complete(say("a"))

    outcomes = await asyncio.gather(*(call() for _ in range(5)), return_exceptions=True)

    assert all(isinstance(outcome, LLMSetupError) for outcome in outcomes)
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
        await call(JournalMode.REPLAY, "another question")
    assert len(model.requests) == 2


async def test_an_answer_stopped_by_a_content_filter_is_not_saved(script: Any, client: Client) -> None:
    model = script(Reply("I cannot", finish_reason="content_filter"))
    journal = MemoryJournal()

    with use_call_context(CallContext(Sample("s"), journal)):
        first = await llm.complete(say("a"))
        second = await llm.complete(say("a"))

    assert (first.finish_reason, second.text) == ("content_filter", "echo: a")
    assert len(model.requests) == 2


async def test_the_answer_of_another_server_is_not_used(model: ModelServer, client: Client) -> None:
    journal = MemoryJournal()

    async with ModelServer() as other, Client(Settings(llm_endpoint=other.url, llm_model="gpt-x")) as second:
        with use_call_context(CallContext(Sample("s"), journal)):
            await client.complete(say("a"))
            await second.complete(say("a"))

    assert (len(model.requests), len(other.requests)) == (1, 1)


async def test_a_call_is_saved_under_a_key_of_its_provider_and_url(model: ModelServer) -> None:
    journal = MemoryJournal()
    settings = Settings(llm_endpoint=model.url, llm_model="openai/gpt-x")

    async with Client(settings) as client:
        with use_call_context(CallContext(Sample("s"), journal)):
            await client.complete(say("a"), temperature=0.5)

    request = {"model": "gpt-x", "messages": say("a"), "temperature": 0.5}
    assert await journal.find(make_key(f"openai {model.url}", request, None, Sample("s"))) is not None


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"{}",
        b"[]",
        b"null",
        b"[1,2,3]",
        b"\xff\x00",
        b'["a","m","stop",1',
        b"[1,2,3,4,5,6,7,8]",
        b"[" * 5000,
    ],
)
async def test_a_damaged_entry_is_asked_anew_and_replaced(
    model: ModelServer, client: Client, damage: bytes
) -> None:
    journal = MemoryJournal()

    async def call() -> Completion:
        with use_call_context(CallContext(Sample("s"), journal)):
            return await llm.complete(say("a"))

    first = await call()
    [key] = journal._calls
    journal._calls[key] = damage
    second = await call()
    third = await call()

    assert first.text == second.text == third.text
    assert len(model.requests) == 2
    assert client.unreadable_entries == 1


async def test_a_replay_misses_a_damaged_entry(client: Client) -> None:
    journal = MemoryJournal()
    with use_call_context(CallContext(Sample("s"), journal)):
        await llm.complete(say("a"))
    [key] = journal._calls
    journal._calls[key] = b"{}"

    with (
        use_call_context(CallContext(Sample("s"), journal, JournalMode.REPLAY)),
        pytest.raises(JournalMissError),
    ):
        await llm.complete(say("a"))
