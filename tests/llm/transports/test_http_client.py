"""Both HTTP clients ask one server over kept connections, whatever the server does to them."""

from __future__ import annotations

import asyncio
import gzip
import shutil
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path

import pytest

from penstock.llm.transports.aiohttp_pool import AiohttpPool
from penstock.llm.transports.http_client import (
    AddressError,
    BrokenConnectionError,
    HttpClient,
    TooLargeAnswerError,
    parse_address,
)
from penstock.llm.transports.http_pool import HttpPool
from support.raw_server import make_certificate, read_request, scripted, serve, tls_server

MakeClient = Callable[[str, Mapping[str, str]], HttpClient]
OpenClient = Callable[[str], HttpClient]

HEADERS = {"Content-Type": "application/json", "Authorization": "Bearer sk-1"}
needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificate")
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@pytest.fixture(params=[HttpPool, AiohttpPool])
def make_client(request: pytest.FixtureRequest) -> MakeClient:
    """The class of one client, then of the other."""
    kind: MakeClient = request.param
    return kind


@pytest.fixture
async def open_client(make_client: MakeClient) -> AsyncIterator[OpenClient]:
    """Makes a client of a URL; all of them are closed after the test."""
    clients: list[HttpClient] = []

    def open_(url: str) -> HttpClient:
        clients.append(make_client(url, HEADERS))
        return clients[-1]

    yield open_
    for client in clients:
        await client.close()


async def test_a_request_carries_headers_and_body_and_the_next_one_reuses_the_connection(
    open_client: OpenClient,
) -> None:
    handler, requests, connections = scripted(OK, OK)

    async with serve(handler) as url:
        client = open_client(url)
        first = await client.post(b'{"a":1}', 5)
        await client.post(b"{}", 5)

    assert (first.status, first.body) == (200, b"ok")
    assert requests[0].startswith(b"POST /v1/chat/completions?x=1 HTTP/1.1\r\nHost: 127.0.0.1:")
    assert b"\r\nAuthorization: Bearer sk-1\r\n" in requests[0]
    assert requests[0].endswith(b'\r\nContent-Length: 7\r\n\r\n{"a":1}')
    assert connections == [0]


async def test_concurrent_requests_use_separate_connections(open_client: OpenClient) -> None:
    handler, requests, connections = scripted(*[OK] * 20)

    async with serve(handler) as url:
        client = open_client(url)
        replies = await asyncio.gather(*(client.post(b"%d" % number, 5) for number in range(20)))

    assert [reply.body for reply in replies] == [b"ok"] * 20
    assert {request.rsplit(b"\r\n", 1)[1] for request in requests} == {b"%d" % number for number in range(20)}
    assert len(connections) == 20


async def test_a_kept_connection_that_the_server_has_closed_is_replaced_without_an_error(
    open_client: OpenClient,
) -> None:
    handler, requests, connections = scripted(OK, OK, close=True)

    async with serve(handler) as url:
        client = open_client(url)
        await client.post(b"1", 5)
        reply = await client.post(b"2", 5)

    assert reply.body == b"ok"
    assert len(requests) == len(connections) == 2


@pytest.mark.parametrize(
    ("answer", "body"),
    [
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", b"abcde"),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + OK, b"ok"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", b""),
        (
            b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%b"
            % (len(gzip.compress(b"packed")), gzip.compress(b"packed")),
            b"packed",
        ),
        (b"HTTP/1.1 429 Slow Down\r\nRetry-After: 2\r\nContent-Length: 4\r\n\r\nwait", b"wait"),
    ],
    ids=["chunked", "continue first", "empty", "gzip", "an error"],
)
async def test_an_answer_is_read_in_any_framing(open_client: OpenClient, answer: bytes, body: bytes) -> None:
    handler, _, connections = scripted(answer, OK)

    async with serve(handler) as url:
        client = open_client(url)
        reply = await client.post(b"{}", 5)
        again = await client.post(b"{}", 5)

    assert reply.body == body
    assert again.body == b"ok"
    assert connections == [0]
    assert reply.headers.get("retry-after") == ("2" if reply.status == 429 else None)


async def test_an_answer_without_a_length_ends_with_the_connection(open_client: OpenClient) -> None:
    handler, _, _ = scripted(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nto the end", close=True)

    async with serve(handler) as url:
        reply = await open_client(url).post(b"{}", 5)

    assert reply.body == b"to the end"


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf",
        b"",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: br\r\nContent-Length: 3\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\n" + b"X-Filler: y\r\n" * 20_000,
    ],
    ids=["cut off", "nothing", "not HTTP", "bad gzip", "encoding that was not requested", "endless headers"],
)
async def test_an_answer_that_cannot_be_read_is_a_broken_connection(
    open_client: OpenClient, answer: bytes
) -> None:
    handler, _, _ = scripted(answer, close=True)

    async with serve(handler) as url:
        with pytest.raises(BrokenConnectionError):
            await open_client(url).post(b"{}", 5)


async def test_an_answer_of_more_than_64_megabytes_is_refused(open_client: OpenClient) -> None:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n")
        while True:
            writer.write(bytes(2**20))
            await writer.drain()

    async with serve(handler) as url:
        with pytest.raises(TooLargeAnswerError):
            await open_client(url).post(b"{}", 30)


async def test_a_small_answer_that_decompresses_to_more_than_64_megabytes_is_refused(
    open_client: OpenClient,
) -> None:
    bomb = gzip.compress(bytes(2**27))
    handler, _, _ = scripted(
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%b" % (len(bomb), bomb)
    )

    async with serve(handler) as url:
        with pytest.raises(TooLargeAnswerError):
            await open_client(url).post(b"{}", 30)


async def test_a_request_that_times_out_fails_and_its_connection_is_not_reused(
    open_client: OpenClient,
) -> None:
    requests: list[bytes] = []

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        requests.append(await read_request(reader))
        if requests[-1].endswith(b"hang"):
            await reader.read()
        writer.write(OK)
        await writer.drain()

    async with serve(handler) as url:
        client = open_client(url)
        with pytest.raises(TimeoutError):
            await client.post(b"hang", 0.5)
        reply = await client.post(b"2", 5)

    assert reply.body == b"ok"
    assert len(requests) == 2


async def test_a_request_that_is_cancelled_closes_its_connection(open_client: OpenClient) -> None:
    gone = asyncio.Event()
    arrived = asyncio.Event()

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        arrived.set()
        await reader.read()
        gone.set()

    async with serve(handler) as url:
        task = asyncio.create_task(open_client(url).post(b"{}", 30))
        await arrived.wait()
        task.cancel()
        await asyncio.wait_for(gone.wait(), 5)

    assert task.cancelled()


async def test_a_second_answer_that_nobody_requested_closes_the_connection(open_client: OpenClient) -> None:
    handler, _, connections = scripted(OK + b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfake", OK)

    async with serve(handler) as url:
        client = open_client(url)
        await client.post(b"1", 5)
        await asyncio.sleep(0.05)
        reply = await client.post(b"2", 5)

    assert reply.body == b"ok"
    assert len(connections) == 2


async def test_a_server_that_is_not_running_is_an_os_error(open_client: OpenClient) -> None:
    async with serve(scripted()[0]) as url:
        pass

    with pytest.raises(OSError, match=r"[Cc]onnect"):
        await open_client(url).post(b"{}", 5)


@pytest.mark.parametrize("url", ["", "localhost:1", "ftp://x/y", "http://", "http://[::1", "http://x:99999/"])
def test_a_url_that_cannot_be_posted_to_is_refused(make_client: MakeClient, url: str) -> None:
    with pytest.raises(AddressError):
        make_client(url, HEADERS)


@pytest.mark.parametrize("value", ["a\r\nX-Injected: 1", "a\nb", "a\0", "ключ"])
def test_a_header_that_would_end_its_line_is_refused_and_not_shown(
    make_client: MakeClient, value: str
) -> None:
    with pytest.raises(AddressError) as caught:
        make_client("http://127.0.0.1:1/", {"Authorization": value})

    assert value not in str(caught.value)


@needs_openssl
async def test_a_certificate_that_is_not_trusted_is_refused(open_client: OpenClient, tmp_path: Path) -> None:
    tls = tls_server(*make_certificate(tmp_path))

    async with serve(scripted(OK)[0], tls) as url:
        with pytest.raises(ssl.SSLCertVerificationError):
            await open_client(url).post(b"{}", 5)


@needs_openssl
async def test_a_certificate_that_is_trusted_is_accepted(
    open_client: OpenClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate, key = make_certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))  # read by OpenSSL
    handler, _, connections = scripted(OK, OK)

    async with serve(handler, tls_server(certificate, key)) as url:
        client = open_client(url)
        first = await client.post(b"{}", 30)
        second = await client.post(b"{}", 30)

    assert (first.body, second.body) == (b"ok", b"ok")
    assert connections == [0]


async def test_a_redirect_is_returned_and_not_followed(open_client: OpenClient) -> None:
    elsewhere, other_requests, _ = scripted(OK)

    async with serve(elsewhere) as other_url:
        redirect = b"HTTP/1.1 307 Go\r\nLocation: %b\r\nContent-Length: 0\r\n\r\n" % other_url.encode()
        async with serve(scripted(redirect)[0]) as url:
            reply = await open_client(url).post(b"{}", 5)

    assert reply.status == 307
    assert other_requests == []


async def test_a_request_on_a_connection_that_the_server_is_just_closing_is_sent_again(
    open_client: OpenClient,
) -> None:
    requests: list[bytes] = []

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for answer in (OK, b""):
            requests.append(await read_request(reader))
            writer.write(answer)

    async with serve(handler) as url:
        client = open_client(url)
        await client.post(b"1", 5)
        reply = await client.post(b"2", 5)

    assert reply.body == b"ok"
    assert [request[-1:] for request in requests[:3]] == [b"1", b"2", b"2"]


@pytest.mark.parametrize("part", [OK[:-1], OK[:10]], ids=["headers", "half a line"])
async def test_a_request_is_not_sent_again_once_a_part_of_its_answer_has_come(
    open_client: OpenClient, part: bytes
) -> None:
    requests: list[bytes] = []

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for answer in (OK, part):
            requests.append(await read_request(reader))
            writer.write(answer)

    async with serve(handler) as url:
        client = open_client(url)
        await client.post(b"1", 5)
        with pytest.raises(BrokenConnectionError):
            await client.post(b"2", 5)

    assert len(requests) == 2


async def test_closing_ends_the_requests_in_flight(open_client: OpenClient) -> None:
    arrived = asyncio.Event()

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        arrived.set()
        await reader.read()

    async with serve(handler) as url:
        client = open_client(url)
        task = asyncio.create_task(client.post(b"{}", 30))
        await arrived.wait()
        await client.close()

        with pytest.raises(BrokenConnectionError):
            await task


async def test_a_large_request_is_sent_whole(open_client: OpenClient) -> None:
    handler, requests, _ = scripted(OK)
    body = b"x" * 5_000_000

    async with serve(handler) as url:
        await open_client(url).post(body, 30)

    assert requests[0].endswith(b"\r\n\r\n" + body)


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://api.example.com/v1/chat/completions", "api.example.com"),
        ("https://api.example.com:443/v1", "api.example.com"),
        ("http://api.example.com:8080/v1", "api.example.com:8080"),
        ("http://[::1]:8080/v1", "[::1]:8080"),
        ("https://bücher.example/v1", "xn--bcher-kva.example"),
    ],
)
def test_the_host_header_has_the_form_that_servers_expect(url: str, host: str) -> None:
    assert parse_address(url).authority == host


@pytest.mark.parametrize(
    ("url", "address", "encoded"),
    [
        ("http://host", ("host", 80, False, "/"), "http://host/"),
        ("https://host/v1", ("host", 443, True, "/v1"), "https://host/v1"),
        ("http://host:443/v1", ("host", 443, False, "/v1"), "http://host:443/v1"),
        (
            "https://host:8443/ü b?x=1&y=ü?/#part",
            ("host", 8443, True, "/%C3%BC%20b?x=1&y=%C3%BC?/"),
            "https://host:8443/%C3%BC%20b?x=1&y=%C3%BC?/",
        ),
    ],
)
def test_a_url_is_split_and_encoded(url: str, address: tuple[str, int, bool, str], encoded: str) -> None:
    assert parse_address(url) == address
    assert parse_address(url).url == encoded
