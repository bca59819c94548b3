"""Servers that close, do not speak HTTP, or answer in odd forms: how often they are asked, what is said."""

from __future__ import annotations

import asyncio
import gzip
import shutil
import ssl
import zlib
from pathlib import Path
from typing import Any

import orjson
import pytest
from pydantic import SecretStr

from penstock.errors import LLMError, LLMRefusedError, LLMSetupError, LLMUnavailableError
from penstock.llm import CallContext, Client, use_call_context
from penstock.settings import Settings
from support.messages import say
from support.raw_server import Handler, make_certificate, read_request, scripted, serve, tls_server

needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificate")
GOOD = b'{"choices":[{"message":{"content":"ok"}}],"usage":{"prompt_tokens":7,"completion_tokens":3}}'


def http(body: bytes = GOOD, status: str = "200 OK", *headers: str) -> bytes:
    """An answer with these bytes as its body."""
    lines = [f"HTTP/1.1 {status}", *headers, f"Content-Length: {len(body)}"]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


@pytest.fixture(params=["pool", "aiohttp"])
def transport(request: pytest.FixtureRequest) -> str:
    """One HTTP client, then the other."""
    name: str = request.param
    return name


def client_of(url: str, transport: str = "pool", **changes: Any) -> Client:
    settings: dict[str, Any] = {
        "llm_endpoint": url.partition("?")[0],
        "llm_model": "mock",
        "llm_api_key": SecretStr("sk-test-0123456789"),
        "llm_transport": transport,
        "llm_timeout": 5.0,
        "llm_deadline": 60.0,
        **changes,
    }
    return Client(Settings(**settings))


def always(answer: bytes, *, close: bool = False) -> tuple[Handler, list[bytes]]:
    """A handler that answers every request so, and the requests."""
    requests: list[bytes] = []

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while request := await read_request(reader):
            requests.append(request)
            writer.write(answer)
            await writer.drain()
            if close:
                return

    return handler, requests


async def _error(
    handler: Handler, transport: str, tls: ssl.SSLContext | None = None, **changes: Any
) -> LLMError:
    """The error of a call to a server."""
    async with serve(handler, tls) as url, client_of(url, transport, **changes) as client:
        with pytest.raises(LLMError) as caught:
            await client.complete(say("a"))
    return caught.value


# Connections that are closed


async def test_a_request_is_repeated_once_however_many_connections_are_idle(transport: str) -> None:
    requests: list[bytes] = []
    everybody = asyncio.Barrier(20)

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        requests.append(await read_request(reader))
        if len(requests) <= 20:
            await everybody.wait()
            writer.write(http())
            await writer.drain()
            requests.append(await read_request(reader))

    async with serve(handler) as url, client_of(url, transport, llm_deadline=1.0) as client:
        await asyncio.gather(*(client.complete(say(f"w{number}")) for number in range(20)))
        del requests[20:]
        with use_call_context(CallContext()), pytest.raises(LLMUnavailableError, match="2 tries"):
            await client.complete(say("the one"))

    assert sum(b"the one" in request for request in requests) <= 3


async def test_the_repetition_of_a_request_counts_as_a_retry(transport: str) -> None:
    connections: list[int] = []

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(1)
        await read_request(reader)
        writer.write(http())
        await writer.drain()
        await read_request(reader)

    async with serve(handler) as url, client_of(url, transport) as client:
        with use_call_context(CallContext()) as calls:
            await client.complete(say("a"))
            await client.complete(say("b"))

    assert [call["retries"] for call in calls.calls] == [0, 1]
    assert len(connections) == 2


async def test_a_request_that_was_worked_on_is_not_repeated_at_once(transport: str) -> None:
    requests: list[bytes] = []

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        requests.append(await read_request(reader))
        if len(requests) == 1:
            writer.write(http())
            await writer.drain()
            requests.append(await read_request(reader))
        await asyncio.sleep(0.6)

    async with serve(handler) as url, client_of(url, transport, llm_timeout=0.8, llm_deadline=1.0) as client:
        await client.complete(say("a"))
        with pytest.raises(LLMUnavailableError, match="1 try"):
            await client.complete(say("b"))

    assert len(requests) == 2


# What is not HTTP


@pytest.mark.parametrize(
    "garbage",
    [
        b"ICY 200 OK\r\nContent-Length: 2\r\n\r\nok",
        b"\x00\x00\x12\x04\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00\x64",
        b"HTTP/2 200 OK\r\nContent-Length: 2\r\n\r\nok",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X-Filler: y\r\n" * 20_000 + b"\r\n",
    ],
    ids=["ICY", "HTTP/2 frame", "HTTP/2 as text", "SSH", "huge head"],
)
async def test_what_is_not_http_is_refused_after_two_tries(transport: str, garbage: bytes) -> None:
    handler, requests = always(garbage, close=True)

    error = await _error(handler, transport)

    assert isinstance(error, LLMSetupError)
    assert "LLM_ENDPOINT" in error.message
    assert len(requests) == 2


async def test_lines_that_end_in_other_ways_than_http_has_it_are_refused() -> None:
    handler, requests = always(b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok", close=True)

    error = await _error(handler, "pool")

    assert "what the server sends is not HTTP/1.1" in error.message
    assert len(requests) == 2


async def test_a_tls_alert_is_refused_at_once_with_what_to_write(transport: str) -> None:
    handler, requests = always(b"\x15\x03\x01\x00\x02\x02\x28", close=True)

    error = await _error(handler, transport)

    assert "it speaks TLS; write https:// in LLM_ENDPOINT" in error.message
    assert len(requests) == 1


async def test_a_change_of_protocol_is_refused_at_once_and_logs_nothing(
    transport: str, caplog: pytest.LogCaptureFixture
) -> None:
    answer = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
    handler, requests = always(answer)

    error = await _error(handler, transport)

    assert "101: the server changes to another protocol; set LLM_ENDPOINT" in error.message
    assert len(requests) == 1
    assert not caplog.records


async def test_a_server_that_always_closes_at_once_is_absent(transport: str) -> None:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)

    error = await _error(handler, transport, llm_deadline=2.0)

    assert isinstance(error, LLMSetupError)
    assert error.message.endswith("closed the connection without an answer); is its server running?")


@needs_openssl
async def test_http_to_a_tls_port_is_refused_with_what_to_write(transport: str, tmp_path: Path) -> None:
    handler, requests = always(http())
    tls = tls_server(*make_certificate(tmp_path))
    async with serve(handler, tls) as url, client_of(url.replace("https:", "http:"), transport) as client:
        with pytest.raises(LLMSetupError, match=r"it speaks TLS; write https:// in LLM_ENDPOINT\)$"):
            await client.complete(say("a"))

    assert requests == []


@pytest.mark.parametrize(
    "words",
    [
        "<center>The plain HTTP request was sent to HTTPS port</center>",
        "Client sent an HTTP request to an HTTPS server.",
        "Reason: You're speaking plain HTTP to an SSL-enabled server port.",
    ],
)
async def test_a_tls_port_that_answers_http_is_refused_with_what_to_write(transport: str, words: str) -> None:
    handler, requests = always(http(words.encode(), "400 Bad Request"))

    error = await _error(handler, transport)

    assert isinstance(error, LLMSetupError)
    assert "400: the server speaks TLS at this port; write https:// in LLM_ENDPOINT" in error.message
    assert len(requests) == 1


async def _tls_error(handler: Handler, transport: str, tls: ssl.SSLContext | None, certificate: Path) -> str:
    async with serve(handler, tls) as url:
        changes = {"ssl_cert_file": str(certificate)}
        async with client_of(url.replace("http:", "https:"), transport, **changes) as client:
            with pytest.raises(LLMSetupError) as caught:
                await client.complete(say("a"))
    return caught.value.message


@needs_openssl
async def test_https_to_a_plain_port_is_refused_with_what_to_write(transport: str, tmp_path: Path) -> None:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(10)
        writer.write(http(b"", "400 Bad Request"))
        await writer.drain()

    message = await _tls_error(handler, transport, None, make_certificate(tmp_path)[0])

    assert "it does not speak TLS; if it speaks plain HTTP, write http:// in LLM_ENDPOINT" in message


@needs_openssl
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_a_server_that_wants_a_client_certificate_is_refused(
    transport: str, tmp_path: Path, version: ssl.TLSVersion
) -> None:
    certificate, key = make_certificate(tmp_path)
    tls = tls_server(certificate, key)
    tls.verify_mode = ssl.CERT_REQUIRED
    tls.load_verify_locations(certificate)
    tls.minimum_version = tls.maximum_version = version

    message = await _tls_error(always(http())[0], transport, tls, certificate)

    assert "client certificate" in message


@needs_openssl
@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"\x15\x03\x01\x00\x02\x02\x46", "only versions of TLS before 1.2"),
        (b"\x15\x03\x01\x00\x02\x02\x28", "a TLS version before 1.2"),
        (b"", "closed the connection during the TLS handshake"),
    ],
    ids=["protocol version", "handshake failure", "closed"],
)
async def test_a_failed_handshake_is_refused_after_two_tries(
    transport: str, tmp_path: Path, answer: bytes, words: str
) -> None:
    connections: list[int] = []

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(1)
        await reader.read(10)
        writer.write(answer)

    message = await _tls_error(handler, transport, None, make_certificate(tmp_path)[0])

    assert words in message
    assert len(connections) <= 2


@needs_openssl
async def test_a_certificate_that_is_not_trusted_is_refused_with_what_to_do(
    transport: str, tmp_path: Path
) -> None:
    tls = tls_server(*make_certificate(tmp_path))

    error = await _error(always(http())[0], transport, tls)

    assert "its certificate is not accepted (self-signed certificate)" in error.message
    assert "SSL_CERT_FILE" in error.message


async def test_a_tls_handshake_that_is_not_answered_is_told(transport: str) -> None:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(10)
        await reader.read()

    async with serve(handler) as url:
        secure = url.replace("http:", "https:")
        async with client_of(secure, transport, llm_timeout=0.5, llm_deadline=0.5) as client:
            with pytest.raises(LLMSetupError, match=r"no connection within 0\.5 s; it may speak plain HTTP"):
                await client.complete(say("a"))


# Encodings


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("gzip", gzip.compress(GOOD[:20]) + gzip.compress(GOOD[20:])),
        ("GZIP", gzip.compress(GOOD) + b"\0" * 20),
        ("deflate", zlib.compress(GOOD)),
        ("deflate", zlib.compressobj(wbits=-15).compress(b"") + zlib.compress(GOOD)[2:-4]),
        ("gzip, gzip", gzip.compress(gzip.compress(GOOD))),
        ("deflate, gzip", gzip.compress(zlib.compress(GOOD))),
        ("identity", GOOD),
        ("br", GOOD),
        ("gzip", GOOD),
        ("utf-8", GOOD),
    ],
    ids=[
        "two members", "padding", "zlib", "raw deflate", "twice", "deflate in gzip", "identity",
        "called br", "called gzip", "a charset",
    ],
)  # fmt: skip
async def test_a_compressed_answer_is_read(transport: str, encoding: str, body: bytes) -> None:
    handler, requests = always(http(body, "200 OK", f"Content-Encoding: {encoding}"))

    async with serve(handler) as url, client_of(url, transport) as client:
        completion = await client.complete(say("a"))

    assert completion.text == "ok"
    assert len(requests) == 1


@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip", "gzip, br", "gzip, gzip, gzip, gzip"])
async def test_an_encoding_that_cannot_be_read_is_refused_after_two_tries_that_are_counted(
    transport: str, encoding: str
) -> None:
    handler, requests = always(http(b"\x8b\x02\x80packed\x03", "200 OK", f"Content-Encoding: {encoding}"))

    async with serve(handler) as url, client_of(url, transport) as client:
        with (
            use_call_context(CallContext()) as calls,
            pytest.raises(LLMSetupError, match="turn compression off at the server or its proxy"),
        ):
            await client.complete(say("a"))

    assert len(requests) == calls.usage.llm_calls == calls.usage.unreported_calls == 2


# Statuses


@pytest.mark.parametrize(
    "answer",
    [
        http(b"\x8b\x02\x80", "401 Unauthorized", "Content-Encoding: br"),
        http(b"not gzip", "401 Unauthorized", "Content-Encoding: gzip"),
        b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 100\r\n\r\nhalf",
    ],
    ids=["br", "broken gzip", "cut off"],
)
async def test_an_error_status_counts_whatever_its_body(transport: str, answer: bytes) -> None:
    handler, requests = always(answer, close=True)

    error = await _error(handler, transport)

    assert isinstance(error, LLMSetupError)
    assert "401: " in error.message
    assert len(requests) == 1


async def test_an_error_status_counts_although_its_chunks_are_broken() -> None:
    handler, requests = always(b"HTTP/1.1 401 No\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", close=True)

    error = await _error(handler, "pool")

    assert "401: " in error.message
    assert len(requests) == 1


async def test_an_error_status_counts_although_its_body_never_ends(transport: str) -> None:
    handler, requests = always(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 100\r\n\r\nhalf")

    error = await _error(handler, transport, llm_timeout=0.5)

    assert "401: half" in error.message
    assert len(requests) == 1


@pytest.mark.parametrize(
    "status", ["200 OK", "201 Created", "202 Accepted", "203 Other", "206 Partial", "299 X"]
)
async def test_any_good_status_with_an_answer_is_an_answer(transport: str, status: str) -> None:
    handler, requests = always(http(GOOD, status))

    async with serve(handler) as url, client_of(url, transport) as client:
        completion = await client.complete(say("a"))

    assert (completion.text, completion.usage.input_tokens) == ("ok", 7)
    assert len(requests) == 1


@pytest.mark.parametrize("status", ["204 No Content", "205 Reset"])
async def test_a_good_status_without_a_body_is_asked_for_three_times(transport: str, status: str) -> None:
    handler, requests = always(http(b"", status))

    error = await _error(handler, transport)

    assert "the answer has no body" in error.message
    assert len(requests) == 3


@pytest.mark.parametrize(
    ("location", "target"),
    [
        ("https://models.example/v2/chat/completions", "https://models.example/v2/chat/completions"),
        ("/v2/chat/completions", "http://127.0.0.1:[0-9]+/v2/chat/completions"),
    ],
)
async def test_a_redirect_says_where_to(transport: str, location: str, target: str) -> None:
    handler, requests = always(http(b"", "307 Temporary Redirect", f"Location: {location}"))

    async with serve(handler) as url, client_of(url, transport) as client:
        with pytest.raises(
            LLMSetupError, match=f"the server sends requests on to {target}; set LLM_ENDPOINT"
        ):
            await client.complete(say("a"))

    assert len(requests) == 1


@pytest.mark.parametrize(
    "status", ["501 Not Implemented", "505 Version", "511 Network Authentication Required"]
)
async def test_a_server_that_never_takes_such_requests_is_asked_once(transport: str, status: str) -> None:
    handler, requests = always(http(b"no", status))

    error = await _error(handler, transport)

    assert isinstance(error, LLMSetupError)
    assert len(requests) == 1


async def test_a_trailer_is_no_header(transport: str) -> None:
    chunks = b"2\r\n{}\r\n0\r\nRetry-After: 3000\r\n\r\n"
    handler, requests, _ = scripted(
        b"HTTP/1.1 429 Slow\r\nTransfer-Encoding: chunked\r\nTrailer: Retry-After\r\n\r\n" + chunks, http()
    )

    async with serve(handler) as url, client_of(url, transport) as client:
        await asyncio.wait_for(client.complete(say("a")), 60)

    assert len(requests) == 2


# Time


async def test_a_try_without_the_time_to_succeed_is_not_made(transport: str) -> None:
    requests: list[bytes] = []

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        requests.append(await read_request(reader))
        await reader.read()

    error = await _error(handler, transport, llm_timeout=1.0, llm_deadline=1.5)

    assert "did not answer in 1 try (no answer within 1 s)" in error.message
    assert len(requests) == 1


# Bookkeeping


@pytest.mark.parametrize(
    ("body", "tokens"),
    [
        (b'{"choices":[{"message":{"content":"ok"}}],"usage":%b}' % usage, tokens)
        for usage, tokens in [
            (b'{"prompt_tokens":"n/a","completion_tokens":3}', None),
            (b'[{"prompt_tokens":1}]', None),
            (b'"none"', None),
            (b'{"prompt_tokens":7,"completion_tokens":3,"prompt_tokens_details":"none"}', 7),
            (b'{"prompt_tokens":1e999,"completion_tokens":3}', None),
            (b'{"prompt_tokens":NaN,"completion_tokens":3}', None),
            (b'{"prompt_tokens":-5,"completion_tokens":3}', None),
            (b'{"prompt_tokens":2.5,"completion_tokens":3}', None),
            (b'{"prompt_tokens":true,"completion_tokens":3}', None),
            (b'{"prompt_tokens":9223372036854775808,"completion_tokens":3}', None),
            (b'{"prompt_tokens":9007199254740993,"completion_tokens":3}', None),
            (b'{"prompt_tokens":1%b,"completion_tokens":3}' % (b"0" * 5000), None),
            (b'{"prompt_tokens":7.0,"completion_tokens":3}', 7),
            (b'{"prompt_tokens":9007199254740992,"completion_tokens":3}', 2**53),
        ]
    ],
)  # fmt: skip
async def test_usage_that_cannot_be_read_is_unknown(body: bytes, tokens: int | None) -> None:
    handler, requests = always(http(body))

    async with serve(handler) as url, client_of(url) as client:
        with use_call_context(CallContext()) as calls:
            completion = await client.complete(say("a"))

    assert completion.text == "ok"
    assert calls.calls[0]["input_tokens"] == tokens
    assert len(requests) == 1


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b'{"choices":[{"message":{"content":"half \\ud800"}}]}', "half \ufffd"),
        (b'{"choices":[{"message":{"content":"a\tb"}}]}', "a\tb"),
        (b'{"choices":[{"message":{"content":"caf\xc3"}}]}', "caf\ufffd"),
        (b'\xef\xbb\xbf{"choices":[{"message":{"content":"ok"}}]}\n\0', "ok"),
        ('{"choices":[{"message":{"content":"ö"}}]}'.encode("utf-16"), "ö"),
        (b'{"choices":[{"message":{"content":{"a":1}}}]}', '{"a":1}'),
        (b'{"choices":[{"message":{"content":{"type":"text","text":"ok"}}}]}', "ok"),
        (b'{"choices":[{"text":"ok"}]}', "ok"),
        (b'{"choices":[null,{"message":{"content":"ok"}}]}', "ok"),
        (b'{"choices":[{"message":{"content":"ok"},"finish_reason":["stop"]}]}', "ok"),
        (b'{"choices":[{"message":{"content":"ok"},"finish_reason":{"type":"stop"}}]}', "ok"),
        (
            b'{"choices":[{"index":1,"message":{"content":"no"}},{"index":0,"message":{"content":"ok"}}]}',
            "ok",
        ),
        (
            b'{"choices":[{"index":"1","message":{"content":"no"}},{"index":"0","message":{"content":"ok"}}]}',
            "ok",
        ),
        (b'{"choices":[{"index":[],"message":{"content":"ok"}}],"id":1e999}', "ok"),
    ],
)
async def test_an_answer_in_an_odd_form_is_an_answer(body: bytes, text: str) -> None:
    handler, requests = always(http(body))

    async with serve(handler) as url, client_of(url) as client:
        with use_call_context(CallContext()):
            completion = await client.complete(say("a"))

    assert completion.text == text
    assert len(requests) == 1


@pytest.mark.parametrize(
    "error",
    [
        {"error": {"message": "bad key", "code": "401"}},
        {"error": {"message": "bad key", "code": " 401 "}},
        {"error": {"message": "bad key", "code": 401.0}},
        {"error": {"message": "bad key", "status": "401 Unauthorized"}},
        {"error": {"message": "bad key", "status_code": "401"}},
        {"error": {"error": {"message": "bad key", "code": "401"}}},
        {"error": "bad key", "status": "401"},
        {"errors": [{"message": "bad key", "code": "401"}]},
        {"error": {"detail": "bad key"}, "statusCode": 401},
        [{"error": {"message": "bad key", "code": "401"}}],
        {"message": "bad key", "code": "401"},
    ],
)
async def test_the_status_in_an_error_counts_in_any_form(error: Any) -> None:
    handler, requests = always(http(orjson.dumps(error)))

    caught = await _error(handler, "pool")

    assert isinstance(caught, LLMSetupError)
    assert "401: bad key" in caught.message
    assert len(requests) == 1


@pytest.mark.parametrize("code", [["x"], {"a": 1}, True, None])
async def test_an_odd_code_of_an_error_is_text(code: Any) -> None:
    body = orjson.dumps({"error": {"message": "odd", "code": code, "type": ["x"], "param": {}}})
    handler, _ = always(http(body, "400 Bad Request"))

    caught = await _error(handler, "pool")

    assert isinstance(caught, LLMRefusedError)
    assert "400: odd" in caught.message
