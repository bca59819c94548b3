"""Providers that are reached through litellm."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import orjson
import pytest
from pydantic import SecretStr

from penstock.errors import LLMClientError, LLMSetupError, LLMUnavailableError
from penstock.llm import CallContext, Client, use_call_context
from penstock.settings import Settings
from penstock.testing import ModelServer, Reply
from support.messages import say


async def test_a_provider_whose_package_is_missing_is_an_error_of_the_set_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "boto3", None)  # as if it were not installed
    settings = Settings(llm_model="sagemaker/some-endpoint")

    async with Client(settings) as client:
        with pytest.raises(LLMSetupError, match=r"^sagemaker needs a package that is not installed: .*boto3"):
            await client.complete(say("a"))


def test_closing_does_not_import_litellm() -> None:
    code = (
        "import asyncio, sys; from penstock.llm.transports.litellm import close_clients;"
        "asyncio.run(close_clients()); print('litellm' in sys.modules)"
    )

    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert run.stdout == "False\n"


def _reply(body: Any, status: int = 200) -> Reply:
    return Reply(status=status, body=body if isinstance(body, bytes) else orjson.dumps(body))


def _settings(model: ModelServer, name: str, key: str = "sk-test-0123456789") -> Settings:
    return Settings(
        llm_endpoint=model.url.removesuffix("/v1"),
        llm_model=name,
        llm_api_key=SecretStr(key),
        llm_deadline=10.0,
    )


CLAUDE = "anthropic/claude-3-5-haiku-20241022"
GEMINI = "gemini/gemini-2.0-flash"
COHERE = "cohere_chat/command-r"
MESSAGE: dict[str, Any] = {
    "id": "m",
    "type": "message",
    "role": "assistant",
    "model": "claude",
    "content": [{"type": "text", "text": "hi"}],
    "stop_reason": "end_turn",
    "usage": {"input_tokens": 5, "output_tokens": 2},
}
CHAT: dict[str, Any] = {
    "id": "c",
    "object": "chat.completion",
    "created": 1,
    "model": "m",
    "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "hi"}}],
    "usage": {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10},
}


@pytest.mark.parametrize(
    ("name", "body", "problem"),
    [
        (CLAUDE, MESSAGE, None),
        (CLAUDE, {**MESSAGE, "content": [], "stop_reason": "refusal"}, "refused"),
        (CLAUDE, {**MESSAGE, "stop_reason": "max_tokens"}, "cut off"),
        (GEMINI, {"candidates": [{"finishReason": "SAFETY", "index": 0}]}, "refused"),
        (GEMINI, {"promptFeedback": {"blockReason": "SAFETY"}}, "refused"),
    ],
    ids=["whole", "refusal", "max_tokens", "SAFETY", "blockReason"],
)
async def test_incomplete_answers_are_told_for_each_provider(
    model: ModelServer, name: str, body: dict[str, Any], problem: str | None
) -> None:
    if name == GEMINI:
        body = {**body, "usageMetadata": {"promptTokenCount": 5, "totalTokenCount": 5}}
    model.answer = lambda _: _reply(body)

    async with Client(_settings(model, name)) as client:
        completion = await client.complete(say("a"))

    assert (problem or "") in (completion.problem or "")
    assert (completion.problem is None) == (problem is None)


@pytest.mark.parametrize(
    ("name", "key"),
    [("azure/gpt-4o", "AZURE_API_KEY"), (GEMINI, "GEMINI_API_KEY"), (CLAUDE, "ANTHROPIC_API_KEY")],
)
async def test_missing_credentials_are_told_before_anything_is_sent(
    model: ModelServer, monkeypatch: pytest.MonkeyPatch, name: str, key: str
) -> None:
    for variable in (key, "GOOGLE_API_KEY"):
        monkeypatch.delenv(variable, raising=False)

    async with Client(_settings(model, name, key="")) as client:
        with pytest.raises(LLMSetupError, match=f"needs an API key: set LLM_API_KEY or .*{key}"):
            await client.complete(say("a"))

    assert model.requests == []


async def test_an_error_inside_the_library_is_raised_at_once_with_its_place(model: ModelServer) -> None:
    model.answer = lambda _: _reply({name: value for name, value in MESSAGE.items() if name != "usage"})

    async with Client(_settings(model, CLAUDE)) as client:
        with (
            use_call_context(CallContext()) as calls,
            pytest.raises(LLMClientError, match=r"litellm failed at litellm/.*\.py:\d+: KeyError"),
        ):
            await client.complete(say("a"))

    assert len(model.requests) == calls.usage.llm_calls == 1


async def test_a_web_page_is_asked_for_three_times(model: ModelServer) -> None:
    model.answer = lambda _: _reply(b"<html>sign in</html>")

    async with Client(_settings(model, CLAUDE)) as client:
        with pytest.raises(LLMUnavailableError, match=r"3 tries .*sign in"):
            await client.complete(say("a"))

    assert len(model.requests) == 3


@pytest.mark.parametrize(
    ("name", "status", "message"),
    [
        (CLAUDE, 400, "Your credit balance is too low to access the Anthropic API."),
        (GEMINI, 400, "API key not valid. Please pass a valid API key."),
        (
            "deepseek/chat",
            429,
            "You exceeded your current quota, please check your plan and billing details.",
        ),
    ],
)
async def test_what_every_request_would_meet_is_an_error_of_the_set_up(
    model: ModelServer, name: str, status: int, message: str
) -> None:
    model.answer = lambda _: _reply({"error": {"message": message, "type": "x", "code": status}}, status)

    async with Client(_settings(model, name)) as client:
        with pytest.raises(LLMSetupError, match=message[:20]):
            await client.complete(say("a"))

    assert len(model.requests) == 1


async def test_a_provider_without_response_formats_gets_the_schema_in_the_prompt(model: ModelServer) -> None:
    model.answer = lambda _: _reply({
        "id": "c",
        "finish_reason": "COMPLETE",
        "message": {"role": "assistant", "content": [{"type": "text", "text": '{"a": "x"}'}]},
        "usage": {"tokens": {"input_tokens": 5, "output_tokens": 2}},
    })  # fmt: skip
    schema = {"type": "object", "properties": {"a": {"type": "string"}}}

    async with Client(_settings(model, COHERE)) as client:
        completion = await client.complete(say("a"), schema=schema)

    assert completion.data == {"a": "x"}
    assert '"properties"' in orjson.dumps(model.bodies[0]["messages"]).decode().replace("\\", "")
    assert len(model.requests) == 1


async def test_a_second_client_in_one_event_loop_can_ask_too(model: ModelServer) -> None:
    model.answer = lambda _: _reply(CHAT)

    for _ in range(2):
        async with Client(_settings(model, "azure/gpt-4o")) as client:
            assert (await client.complete(say("a"))).text == "hi"


async def test_usage_that_a_provider_does_not_report_is_unknown(model: ModelServer) -> None:
    model.answer = lambda _: _reply({name: value for name, value in CHAT.items() if name != "usage"})

    async with Client(_settings(model, "deepseek/chat")) as client:
        completion = await client.complete(say("a"))

    assert completion.usage.to_dict()["total_tokens"] is None
