"""Providers that are reached through litellm."""

from __future__ import annotations

import shutil
import ssl
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
from pydantic import SecretStr

from penstock.errors import LLMClientError, LLMError, LLMSetupError, LLMUnavailableError
from penstock.llm import CallContext, Client, use_call_context
from penstock.llm.providers import Route
from penstock.llm.transports.litellm import LiteLLMTransport
from penstock.settings import Settings
from penstock.testing import ModelServer, Reply
from support.messages import say
from support.raw_server import listen, make_certificate, scripted, tls_server

needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificate")


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


class _Http:
    """A raw server's answers: JSON bodies under a status, with further header lines."""

    @staticmethod
    def answer(body: Any, status: str = "200 OK", *headers: str) -> bytes:
        content = body if isinstance(body, bytes) else orjson.dumps(body)
        lines = [f"HTTP/1.1 {status}", *headers, f"Content-Length: {len(content)}"]
        return "\r\n".join(lines).encode() + b"\r\n\r\n" + content


PROVIDERS = [CLAUDE, GEMINI, COHERE, "deepseek/chat", "azure/gpt-4o"]


async def _ask_raw(
    name: str, *answers: bytes, tls: ssl.SSLContext | None = None, scheme: str | None = None, **changes: Any
) -> tuple[Any, int]:
    """The completion, or the error, of a call to a server that sends these bytes, and its requests."""
    handler, requests, _ = scripted(*answers)
    async with listen(handler, tls) as port:
        settings = Settings(
            llm_endpoint=f"{scheme or ('https' if tls else 'http')}://127.0.0.1:{port}",
            llm_model=name,
            llm_api_key=SecretStr("sk-test-0123456789"),
            llm_deadline=20.0,
            **changes,
        )
        async with Client(settings) as client:
            try:
                return await client.complete(say("a")), len(requests)
            except LLMError as error:
                return error, len(requests)


@pytest.mark.parametrize(
    "status", ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"]
)
@pytest.mark.parametrize("name", PROVIDERS)
async def test_a_redirect_carries_nothing_to_another_server(name: str, status: str) -> None:
    elsewhere, other_requests, _ = scripted(*[b""] * 5)

    async with listen(elsewhere) as port:
        target = f"http://127.0.0.1:{port}/v1/messages"
        error, requests = await _ask_raw(name, _Http.answer(b"", status, f"Location: {target}"))

    assert isinstance(error, LLMSetupError)
    assert f"sends requests on to {target}; set LLM_ENDPOINT to that address" in error.message
    assert (requests, other_requests) == (1, [])


def test_clients_of_each_library_follow_no_redirects_for_litellm_and_do_for_others() -> None:
    code = """
import asyncio, sys
sys.path.insert(0, sys.argv[1])
import aiohttp, httpx, requests
from penstock.llm.transports.litellm_http import prepare_clients, watch_exchange
from support.raw_server import listen

async def serve_redirects(reader, writer):
    line = await reader.readline()
    while (await reader.readline()).strip():
        pass
    to = b"Location: /second\\r\\n" if b"first" in line else b""
    status = b"307 Go" if to else b"200 OK"
    end = b"Content-Length: 0\\r\\nConnection: close\\r\\n\\r\\n"
    writer.write(b"HTTP/1.1 " + status + b"\\r\\n" + to + end)
    await writer.drain()

async def statuses(url):
    found = []
    async with httpx.AsyncClient(follow_redirects=True) as client:
        found.append((await client.post(url)).status_code)
        found.append((await client.get(url, follow_redirects=True)).status_code)
    with httpx.Client(follow_redirects=True) as client:
        found.append((await asyncio.to_thread(client.post, url)).status_code)
    async with aiohttp.ClientSession() as session, session.post(url) as response:
        found.append(response.status)
    found.append((await asyncio.to_thread(requests.post, url)).status_code)
    return found

async def main():
    prepare_clients()
    async with listen(serve_redirects) as port:
        url = f"http://127.0.0.1:{port}/first"
        with watch_exchange():
            inside = await statuses(url)
        print(inside, await statuses(url))

asyncio.run(main())
"""
    tests = str(Path(__file__).parents[2])

    run = subprocess.run([sys.executable, "-c", code, tests], capture_output=True, text=True, check=True)

    assert run.stdout == "[307, 307, 307, 307, 307] [200, 200, 200, 200, 200]\n"


@pytest.mark.parametrize("name", ["deepseek/chat", "azure/gpt-4o"])
@pytest.mark.parametrize("status", ["201 Created", "202 Accepted", "206 Partial Content"])
async def test_any_good_status_with_an_answer_is_an_answer(name: str, status: str) -> None:
    completion, requests = await _ask_raw(name, _Http.answer(CHAT, status))

    assert (completion.text, requests) == ("hi", 1)


@pytest.mark.parametrize("name", PROVIDERS)
async def test_an_error_under_a_good_status_is_told_in_the_providers_words(name: str) -> None:
    error, requests = await _ask_raw(name, _Http.answer({"error": {"message": "bad key", "code": "401"}}))

    assert isinstance(error, LLMSetupError)
    assert "(401: bad key)" in error.message
    assert requests == 1


@pytest.mark.parametrize("usage", ["none", [], {"prompt_tokens": 2**63, "completion_tokens": 1}])
async def test_usage_that_cannot_be_read_is_unknown_and_the_answer_counts(usage: Any) -> None:
    completion, requests = await _ask_raw("deepseek/chat", _Http.answer({**CHAT, "usage": usage}))

    assert (completion.text, requests) == ("hi", 1)
    assert completion.usage.to_dict()["total_tokens"] is None


@pytest.mark.parametrize("body", [b"null", b"[]", b"7", b"<html>sign in</html>"])
@pytest.mark.parametrize("name", PROVIDERS)
async def test_what_is_no_answer_is_shown_without_a_traceback(name: str, body: bytes) -> None:
    error, requests = await _ask_raw(name, *[_Http.answer(body)] * 3)

    assert isinstance(error, LLMUnavailableError)
    assert body.decode() in error.message
    assert "Traceback" not in error.message
    assert "site-packages" not in f"{error.message} {error.detail}"
    assert requests == 3


@pytest.mark.parametrize("name", PROVIDERS)
async def test_a_status_counts_whatever_the_encoding_of_its_body(name: str) -> None:
    error, requests = await _ask_raw(
        name, _Http.answer(b"\x8b\x02\x80", "401 Unauthorized", "Content-Encoding: br")
    )

    assert isinstance(error, LLMSetupError)
    assert requests == 1


@needs_openssl
@pytest.mark.parametrize("name", PROVIDERS)
async def test_a_certificate_that_is_not_trusted_is_refused_at_once(name: str, tmp_path: Path) -> None:
    tls = tls_server(*make_certificate(tmp_path))

    error, requests = await _ask_raw(name, tls=tls)
    http_error, _ = await _ask_raw(name, tls=tls, scheme="http")

    assert isinstance(error, LLMSetupError)
    assert "its certificate is not accepted (self-signed certificate)" in error.message
    assert "it speaks TLS; write https:// in LLM_ENDPOINT" in http_error.message
    assert requests == 0


@pytest.mark.parametrize("name", PROVIDERS)
async def test_what_is_not_http_is_refused_after_two_tries(name: str) -> None:
    error, requests = await _ask_raw(name, *[b"SSH-2.0-OpenSSH_9.2\r\n"] * 2)

    assert isinstance(error, LLMSetupError)
    assert "what the server sends is not HTTP/1.1" in error.message
    assert requests == 2


@pytest.mark.parametrize("name", PROVIDERS)
async def test_quotas_in_the_headers_of_an_answer_are_used(name: str) -> None:
    body = MESSAGE if name == CLAUDE else CHAT
    headers = [
        f"x-ratelimit-{part}: {value}" for part, value in (("limit", 9), ("remaining", 4), ("reset", 30))
    ]
    handler, _, _ = scripted(_Http.answer(body, "200 OK", *headers))
    route = Route(
        name.partition("/")[0], name.partition("/")[2], name, api_key=SecretStr("sk-test-0123456789")
    )

    async with listen(handler) as port:
        transport = LiteLLMTransport(replace(route, api_base=f"http://127.0.0.1:{port}"))
        answer = await transport.send({"messages": say("a")}, 20.0)

    assert [(quota.unit, quota.limit, quota.remaining) for quota in answer.quotas] == [("requests", 9.0, 4.0)]
