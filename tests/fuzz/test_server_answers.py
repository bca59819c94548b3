"""What servers send, byte by byte: an answer or a failure with a sentence, and nothing else."""

from __future__ import annotations

import asyncio
import gzip
import json
import logging
import zlib
from collections.abc import Callable
from typing import Any

import orjson
from hypothesis import strategies as st
from pydantic import SecretStr

from penstock.errors import LLMError
from penstock.llm.providers import Route
from penstock.llm.transports.aiohttp_pool import AiohttpPool
from penstock.llm.transports.base import Answer, Failure, Transport
from penstock.llm.transports.completion_body import MALFORMED, load_body, read_answer
from penstock.llm.transports.error_responses import failure_from_body, failure_from_status
from penstock.llm.transports.http_pool import HttpPool
from penstock.llm.transports.litellm import LiteLLMTransport
from penstock.llm.transports.openai import OpenAITransport
from support.fuzzing import fuzzed
from support.raw_server import listen, read_request

SECONDS = 0.2
STUCK = 30.0
"""Seconds after which a request that ignores its limit fails the test."""
REQUEST = {"model": "mock", "messages": [{"role": "user", "content": "a"}]}
BODY = (
    b'{"id":"c","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"finish_reason":"stop",'
    b'"message":{"role":"assistant","content":"ok \\u00e9","reasoning_content":"hm"}}],'
    b'"usage":{"prompt_tokens":7,"completion_tokens":3,"prompt_tokens_details":{"cached_tokens":2}}}'
)
ERROR = b'{"error":{"message":"slow down","type":"rate_limit","param":null,"code":"429"}}'


def http(status: bytes, body: bytes, *headers: bytes) -> bytes:
    """A right answer."""
    return b"\r\n".join([b"HTTP/1.1 " + status, *headers, b"Content-Length: %d" % len(body), b"", body])


def chunked(body: bytes) -> bytes:
    """A right answer in two chunks, with a trailer."""
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-A\r\n\r\n"
    return head + b"5\r\n%b\r\n%x;a=b\r\n%b\r\n0\r\nX-A: b\r\n\r\n" % (body[:5], len(body) - 5, body[5:])


RIGHT = (
    http(b"200 OK", BODY, b"Content-Type: application/json"),
    http(
        b"201 Created", BODY, b"x-ratelimit-limit: 9", b"x-ratelimit-remaining: 3", b"x-ratelimit-reset: 2s"
    ),
    chunked(BODY),
    b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + BODY,
    b"HTTP/1.1 100 Continue\r\n\r\n" + http(b"200 OK", BODY),
    http(b"200 OK", gzip.compress(BODY[:9]) + gzip.compress(BODY[9:]), b"Content-Encoding: gzip"),
    http(b"200 OK", zlib.compress(BODY)[2:-4], b"Content-Encoding: deflate"),
    http(b"429 Slow", ERROR, b"Retry-After: 3"),
    http(b"500 Oops", b"<html>oops</html>", b"Content-Type: text/html"),
    http(b"307 Go", b"", b"Location: /elsewhere"),
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n",
    http(b"200 OK", b'data: {"choices":[]}\n\ndata: [DONE]\n\n', b"Content-Type: text/event-stream"),
    b"\x15\x03\x01\x00\x02\x02\x28",
)
TOKENS = (
    b"\r\n", b"\n", b"\0", b"\x1b[31m", b":", b" ", b"HTTP/1.1 200 OK\r\n", b"HTTP/2 ",
    b"Content-Length: 9\r\n", b"Content-Length: -1\r\n", b"Content-Length: 99999999999999999999\r\n",
    b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding: gzip\r\n", b"Content-Encoding: br\r\n",
    b"Content-Encoding: gzip, gzip\r\n", b"Connection: upgrade\r\n", b"Retry-After: 1e999\r\n",
    b"x-ratelimit-remaining-tokens: nan\r\n", b"Location: http://[::1\r\n", b"Set-Cookie: \xff=\x80\r\n",
    b"X-A: " + b"y" * 70_000 + b"\r\n", b"1e999", b"NaN", b"-5", b"9223372036854775808", b"1" + b"0" * 500,
    b'"\\ud800"', b"\xff\xfe", b"[]", b"{}", b"null", b"[" * 2000, b'"choices":', b'"error":',
    b'"code":"401",', b'"index":"x",', b"0\r\n\r\n", b"ffffffffffffffff\r\n",
)  # fmt: skip


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A right answer with a few places cut out, repeated, replaced or filled."""
    data = draw(st.sampled_from(RIGHT))
    for _ in range(draw(st.integers(0, 4))):
        start = draw(st.integers(0, len(data)))
        end = min(len(data), start + draw(st.integers(0, 40)))
        middle: bytes = draw(
            st.one_of(
                st.just(b""), st.just(data[start:end] * 2), st.sampled_from(TOKENS), st.binary(max_size=12)
            )
        )
        data = data[:start] + middle + data[end:]
    return data


NAMES = [
    "choices", "message", "content", "text", "index", "finish_reason", "usage", "prompt_tokens", "detail",
    "completion_tokens", "error", "errors", "code", "prompt_tokens_details", "cached_tokens", "status",
    "refusal", "reasoning", "thinking", "type",
]  # fmt: skip
LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
JSON = st.recursive(
    LEAVES | st.sampled_from(["stop", "401"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=5),
    max_leaves=25,
)
"""Values as JSON may have them, under the names of chat completions."""


def check(outcome: Answer | Failure | LLMError) -> None:
    """Fail unless an outcome can be saved and shown."""
    if isinstance(outcome, Answer):
        assert orjson.dumps([outcome.text, outcome.finish_reason, outcome.thoughts])
        tokens = (outcome.input_tokens, outcome.output_tokens, outcome.cached_tokens)
        assert all(count is None or 0 <= count <= 2**53 for count in tokens)
    else:
        sentence = str(outcome)
        assert sentence.strip()
        assert "Traceback" not in sentence


class _Log(logging.Handler):
    """Keeps what is logged with a traceback."""

    def __init__(self) -> None:
        super().__init__()
        self.tracebacks: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info or "Traceback" in record.getMessage():
            self.tracebacks.append(logging.Formatter().format(record))


async def _ask(
    make: Callable[[int], Transport], answer: bytes, pieces: list[int], *, closes: bool, times: int
) -> None:
    """Ask a server that sends ``answer`` in pieces, some times over, and check each outcome."""
    tracebacks: list[Any] = []

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await read_request(reader):
            start = 0
            for size in [*pieces, len(answer)]:
                writer.write(answer[start : start + size])
                await writer.drain()
                await asyncio.sleep(0)
                start += size
            if closes:
                return

    asyncio.get_running_loop().set_exception_handler(lambda _, context: tracebacks.append(context))
    async with listen(handler) as port:
        transport = make(port)
        try:
            for _ in range(times):
                async with asyncio.timeout(STUCK):
                    try:
                        outcome: Answer | Failure | LLMError = await transport.send(REQUEST, SECONDS)
                    except (Failure, LLMError) as failure:
                        outcome = failure
                check(outcome)
        finally:
            await transport.close()
    assert tracebacks == []


def _try(
    make: Callable[[int], Transport], answer: bytes, pieces: list[int], *, closes: bool, times: int
) -> None:
    log = _Log()
    logging.getLogger().addHandler(log)
    try:
        asyncio.run(_ask(make, answer, pieces, closes=closes, times=times))
    finally:
        logging.getLogger().removeHandler(log)
    assert log.tracebacks == []


def _pool(port: int) -> Transport:
    return OpenAITransport(HttpPool(f"http://127.0.0.1:{port}/v1/chat/completions", {}), "sk-test-0123456789")


def _aiohttp(port: int) -> Transport:
    return OpenAITransport(
        AiohttpPool(f"http://127.0.0.1:{port}/v1/chat/completions", {}), "sk-test-0123456789"
    )


def _litellm(port: int) -> Transport:
    key = SecretStr("sk-test-0123456789")
    return LiteLLMTransport(Route("deepseek", "m", "deepseek/m", f"http://127.0.0.1:{port}", api_key=key))


PIECES = st.lists(st.integers(1, 400), max_size=4)


@fuzzed(damaged(), PIECES, st.booleans())
def test_bytes_of_a_server_over_the_pool(answer: bytes, pieces: list[int], closes: bool) -> None:
    _try(_pool, answer, pieces, closes=closes, times=2)


@fuzzed(damaged(), PIECES, st.booleans())
def test_bytes_of_a_server_over_aiohttp(answer: bytes, pieces: list[int], closes: bool) -> None:
    _try(_aiohttp, answer, pieces, closes=closes, times=2)


@fuzzed(damaged(), PIECES)
def test_bytes_of_a_server_over_litellm(answer: bytes, pieces: list[int]) -> None:
    _try(_litellm, answer, pieces, closes=True, times=1)


@fuzzed(JSON.map(json.dumps).map(str.encode) | st.binary(max_size=200))
def test_any_body_is_an_answer_or_is_not(raw: bytes) -> None:
    try:
        check(read_answer(load_body(raw)))
    except MALFORMED:
        check(failure_from_body(raw.decode("utf-8", "replace")))


@fuzzed(
    st.integers(100, 999),
    JSON.map(json.dumps) | st.text(max_size=300),
    st.dictionaries(
        st.sampled_from(
            ["retry-after", "retry-after-ms", "location", "x-ratelimit-limit", "x-ratelimit-reset"]
        ),
        st.text(max_size=20),
    ),
)
def test_any_error_answer_is_a_failure_with_a_sentence(
    status: int, body: str, headers: dict[str, str]
) -> None:
    failure = failure_from_status(status, body, headers)

    check(failure)
    assert failure.retry_after is None or failure.retry_after > 0
