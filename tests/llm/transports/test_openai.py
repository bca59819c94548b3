"""The OpenAI protocol, over both HTTP clients."""

from __future__ import annotations

from base64 import b64decode
from pathlib import Path
from typing import Any

import orjson
import pytest
from pydantic import SecretStr

from penstock.errors import ConfigurationError, LLMRefusedError, LLMSetupError, LLMUnavailableError
from penstock.llm import CallContext, Client, use_call_context
from penstock.llm.providers import resolve
from penstock.llm.transports.base import Answer
from penstock.llm.transports.completion_body import read_answer
from penstock.llm.transports.openai import open_openai_transport
from penstock.settings import Settings
from penstock.testing import ModelServer, Reply, refusal
from support.messages import say
from support.raw_server import make_certificate, scripted, serve, tls_server


@pytest.fixture(params=["pool", "aiohttp"])
def settings(request: pytest.FixtureRequest, model: ModelServer) -> Settings:
    """Settings of a model that is asked over one HTTP client, then over the other."""
    return Settings(
        llm_endpoint=model.url,
        llm_model="openai/gpt-x",
        llm_api_key=SecretStr("sk-test-0123456789"),
        llm_transport=request.param,
        llm_deadline=5.0,
    )


async def test_a_parameter_that_a_model_wants_under_another_name_is_renamed(
    model: ModelServer, client: Client
) -> None:
    model.then(refusal(400, "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead."))

    await client.complete(say("a"), max_tokens=5)
    await client.complete(say("b"), max_tokens=5)

    assert ["max_completion_tokens" in body for body in model.bodies] == [False, True, True]
    assert ["max_tokens" in body for body in model.bodies] == [True, False, False]


async def test_a_temperature_that_a_model_does_not_support_is_left_out(
    model: ModelServer, client: Client
) -> None:
    error = {"message": "Unsupported value: 'temperature'", "param": "temperature"}
    model.then(Reply(status=400, body=orjson.dumps({"error": error})))

    await client.complete(say("a"), temperature=0.5)
    await client.complete(say("b"), temperature=0.5)

    assert [body.get("temperature") for body in model.bodies] == [0.5, None, None]


@pytest.mark.parametrize("parameters", [{}, {"max_tokens": 5}])
async def test_a_parameter_is_renamed_once_and_only_if_it_was_sent(
    model: ModelServer, client: Client, parameters: dict[str, Any]
) -> None:
    model.answer = lambda _: refusal(400, "max_completion_tokens is wrong")

    with pytest.raises(LLMRefusedError):
        await client.complete(say("a"), **parameters)

    assert len(model.requests) == 1 + len(parameters)


@pytest.mark.parametrize(("code", "requests"), [(401, 1), ("401", 1), (200, 2), (None, 2)])
async def test_an_error_under_status_200_counts_as_the_status_in_its_code(
    model: ModelServer, client: Client, code: Any, requests: int
) -> None:
    model.then(Reply(body=orjson.dumps({"error": {"message": "no", "code": code}})))

    if requests == 1:
        with pytest.raises(LLMSetupError, match="401: no"):
            await client.complete(say("a"))
    else:
        assert (await client.complete(say("a"))).text == "echo: a"

    assert len(model.requests) == requests


async def test_a_server_that_cannot_be_reached_is_an_error_that_names_it(settings: Settings) -> None:
    async with serve(scripted()[0]) as url:
        endpoint = url.partition("?")[0]
    settings = settings.model_copy(update={"llm_endpoint": endpoint, "llm_deadline": 0.5})

    async with Client(settings) as client:
        with pytest.raises(LLMSetupError, match=r"connection to 127\.0\.0\.1: .*is its server running"):
            await client.complete(say("a"))


async def test_an_untrusted_certificate_is_refused_without_a_retry(
    settings: Settings, tmp_path: Path
) -> None:
    handler, _, connections = scripted()

    async with serve(handler, tls_server(*make_certificate(tmp_path))) as url:
        settings = settings.model_copy(update={"llm_endpoint": url.partition("?")[0]})
        async with Client(settings) as client:
            with pytest.raises(LLMSetupError, match=r"(?i)certificate"):
                await client.complete(say("a"))

    assert connections == []


async def test_an_answer_that_is_too_large_is_refused_without_a_retry(
    model: ModelServer, client: Client
) -> None:
    model.then(Reply(body=b" " * (65 * 2**20)))

    with pytest.raises(LLMRefusedError, match="the answer is larger than 64 MB"):
        await client.complete(say("a"))

    assert len(model.requests) == 1


@pytest.mark.parametrize("key", ["sk-test\r\nX-Injected: 1", "sk-ключ-0123456789"])
async def test_a_key_that_cannot_be_sent_is_a_configuration_error_that_does_not_show_it(
    settings: Settings, key: str
) -> None:
    settings = settings.model_copy(update={"llm_api_key": SecretStr(key)})

    with pytest.raises(ConfigurationError, match="cannot be asked: the header Authorization") as caught:
        open_openai_transport(resolve(None, settings), settings)

    assert key not in caught.value.message


def message(**parts: Any) -> dict[str, Any]:
    return {"choices": [{"message": parts}]}


@pytest.mark.parametrize(
    ("body", "answer"),
    [
        (message(content="hi"), Answer("hi", "stop", None, None, None)),
        (message(content=None), Answer("", "stop", None, None, None)),
        (message(content=None, refusal="I cannot"), Answer("I cannot", "content_filter", None, None, None)),
        (
            message(content=[{"text": "a"}, {"text": None}, {"text": "b"}]),
            Answer("ab", "stop", None, None, None),
        ),
        (
            {
                "choices": [{"message": {"content": "hi"}, "finish_reason": "length"}],
                "usage": {
                    "prompt_tokens": 5,
                    "completion_tokens": 3.0,
                    "prompt_tokens_details": {"cached_tokens": 2},
                },
            },
            Answer("hi", "length", 5, 3, 2),
        ),
        (
            message(content="hi")
            | {"usage": {"prompt_tokens": None, "prompt_tokens_details": None, "completion_tokens": 1}},
            Answer("hi", "stop", None, 1, None),
        ),
    ],
    ids=["plain", "no text", "refusal", "parts", "whole", "null usage"],
)
def test_answers_are_read_in_the_shapes_that_servers_send(body: dict[str, Any], answer: Answer) -> None:
    assert read_answer(body) == answer


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b'data: {"choices":[]}\n\ndata: [DONE]\n\n', "the server streams though it was not asked to: data:"),
        (b"<html><title>Sign in</title></html>", "a web page.*Sign in"),
        (b'{"result": "x"}', 'cannot be read: {"result": "x"}'),
        (b"", "the answer has no body"),
        (b'{"code": 1002, "message": "unusual"}', "200: unusual"),
    ],
)
async def test_an_answer_that_cannot_be_read_is_asked_for_three_times_and_counted(
    model: ModelServer, client: Client, raw: bytes, message: str
) -> None:
    model.answer = lambda _: Reply(body=raw)

    with use_call_context(CallContext()) as calls, pytest.raises(LLMUnavailableError, match=message):
        await client.complete(say("a"))

    assert len(model.requests) == calls.usage.llm_calls == calls.usage.unreported_calls == 3


async def test_a_refusal_for_the_day_ends_the_call_with_the_providers_words(
    model: ModelServer, client: Client
) -> None:
    model.then(refusal(429, "Quota resets tomorrow", Retry_After="3600"))

    with pytest.raises(LLMSetupError, match=r"asks to wait 3600 s \(429: Quota resets tomorrow\)"):
        await client.complete(say("a"))


async def test_a_servers_own_name_of_a_model_is_tried_whole(settings: Settings, model: ModelServer) -> None:
    def answer(body: dict[str, Any]) -> Reply | str:
        known = body["model"] == "openai/gpt-x"
        return "fine" if known else refusal(404, f"The model `{body['model']}` does not exist.")

    model.answer = answer
    async with Client(settings) as client:
        texts = [(await client.complete(say(text))).text for text in "ab"]

    assert texts == ["fine", "fine"]
    assert [body["model"] for body in model.bodies] == ["gpt-x", "openai/gpt-x", "openai/gpt-x"]


async def test_a_model_that_no_name_fits_is_an_error_of_the_set_up(
    model: ModelServer, client: Client
) -> None:
    model.answer = lambda _: refusal(404, "no such model")

    for _ in range(2):
        with pytest.raises(LLMSetupError, match="404: no such model"):
            await client.complete(say("a"))


async def test_a_login_in_the_address_is_sent_as_basic_and_shown_nowhere(
    model: ModelServer, settings: Settings
) -> None:
    url = model.url.replace("://", "://ann:s3cret%40pw@")
    settings = settings.model_copy(update={"llm_endpoint": url})

    async with Client(settings) as client:
        await client.complete(say("a"))

    sent = model.requests[0]["headers"]["authorization"]
    assert b64decode(sent.removeprefix("Basic ")) == b"ann:s3cret@pw"
    assert "s3cret" not in f"{settings!r} {settings.model_line}"


async def test_any_good_status_is_read(model: ModelServer, client: Client) -> None:
    model.answer = lambda body: Reply("fine", status=201)

    assert (await client.complete(say("a"))).text == "fine"
