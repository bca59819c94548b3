"""Asking a model over a real socket, by every transport."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from urllib.parse import urlsplit

import pytest

from penstock import llm
from penstock.errors import BadInputError
from penstock.llm import (
    CallContext,
    Client,
    MemoryJournal,
    Sample,
    use_call_context,
    use_client,
)
from penstock.settings import Settings
from penstock.testing import HANG, ModelServer
from support.messages import say


@pytest.mark.row("A80", "A81", "A83")
async def test_a_request_reaches_the_provider_and_its_text_comes_back(
    model: ModelServer, client: Client, settings: Settings
) -> None:
    completion = await llm.complete(say("hi x"), temperature=0.3, max_tokens=50)

    assert completion.text == "echo: hi x"
    assert completion.finish_reason == "stop"
    (body,) = model.bodies
    assert (body["model"], body["temperature"], body["max_tokens"]) == ("gpt-x", 0.3, 50)
    assert body["messages"] == say("hi x")
    assert model.requests[0]["headers"]["authorization"] == "Bearer sk-test-0123456789"
    base = urlsplit(settings.llm_endpoint).path  # litellm's models need an address that does not end in /v1
    assert model.requests[0]["path"] == f"{base}/chat/completions"


async def test_a_cancelled_call_gives_its_permit_back(model: ModelServer, client: Client) -> None:
    model.then(HANG)
    task = asyncio.create_task(llm.complete(say("a")))
    await model.received()

    task.cancel()
    await asyncio.gather(task, return_exceptions=True)

    (state,) = client.concurrency().values()
    assert state["in_flight"] == 0
    assert (await llm.complete(say("b"))).text == "echo: b"


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


async def test_an_inner_use_client_replaces_the_outer_one(model: ModelServer, client: Client) -> None:
    other = Client(Settings(llm_endpoint=model.url, llm_model="other"))

    async with other:
        with use_client(other):
            await llm.complete(say("a"))
    await llm.complete(say("b"))

    assert [body["model"] for body in model.bodies] == ["other", "gpt-x"]


async def test_the_default_client_closes_with_its_loop_and_litellm_is_not_imported(
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
        env={"LLM_ENDPOINT": model.url, "LLM_MODEL": "gpt-x", "PYTHONPATH": os.environ.get("PYTHONPATH", "")},
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert run.stdout == "echo: hi echo: hi False\n"
    assert "Unclosed" not in run.stderr


async def test_a_client_can_be_used_in_one_event_loop_after_another(
    model: ModelServer, settings: Settings
) -> None:
    client = Client(settings.model_copy(update={"llm_model": "openai/gpt-x", "llm_transport": "pool"}))

    def ask(text: str) -> str:
        return asyncio.run(client.complete(say(text))).text

    answers = [await asyncio.to_thread(ask, text) for text in ("a", "b")]

    assert answers == ["echo: a", "echo: b"]


@pytest.mark.parametrize(("other", "peak"), [("openai/gpt-x ", 1), ("openai/gpt-y", 2)])
async def test_names_of_the_same_model_share_its_permits_and_other_models_have_their_own(
    model: ModelServer, settings: Settings, other: str, peak: int
) -> None:
    model.latency = 0.5
    settings = settings.model_copy(update={"llm_model": "openai/gpt-x", "llm_concurrency": 1})

    async with Client(settings) as client:
        await asyncio.gather(client.complete(say("a")), client.complete(say("b"), model=other))

    assert model.peak == peak


async def test_calls_after_closing_open_new_connections(model: ModelServer, client: Client) -> None:
    await client.complete(say("a"))

    await client.close()

    assert client.concurrency() == {}
    assert (await client.complete(say("b"))).text == "echo: b"
