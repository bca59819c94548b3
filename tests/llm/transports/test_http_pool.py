"""The wire asks one server over connections that it keeps, and survives whatever the server does to them."""

from __future__ import annotations

import asyncio
import gzip
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from penstock.llm.transports.http_pool import AddressError, BrokenError, HttpPool, TooLongError

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

HEADERS = {"Content-Type": "application/json", "Authorization": "Bearer sk-1"}
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


async def _read_request(reader: asyncio.StreamReader) -> bytes:
    """A request, head and body; empty when the client has gone."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return b""
    length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
    return head + await reader.readexactly(length)


@asynccontextmanager
async def _serve(talk: Talk, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await talk(reader, writer)
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0, ssl=tls, limit=2**20)
    try:
        port = server.sockets[0].getsockname()[1]
        yield f"{'https' if tls else 'http'}://127.0.0.1:{port}/v1/chat/completions?x=1"
    finally:
        server.close()


def _says(*answers: bytes, close: bool = False) -> tuple[Talk, list[bytes], list[int]]:
    """A server that gives these answers in turn; what it was asked, and over which connections."""
    asked: list[bytes] = []
    connections: list[int] = []
    left = list(answers)

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(len(connections))
        while request := await _read_request(reader):
            asked.append(request)
            writer.write(left.pop(0))
            await writer.drain()
            if close:
                return

    return talk, asked, connections


async def test_a_request_has_its_headers_and_its_body_and_the_next_one_uses_the_same_connection() -> None:
    talk, asked, connections = _says(OK, OK)

    async with _serve(talk) as url:
        wire = HttpPool(url, HEADERS)
        first = await wire.post(b'{"a":1}', 5)
        await wire.post(b"{}", 5)
        wire.close()

    assert (first.status, first.body) == (200, b"ok")
    assert asked[0].startswith(b"POST /v1/chat/completions?x=1 HTTP/1.1\r\nHost: 127.0.0.1:")
    assert b"\r\nAuthorization: Bearer sk-1\r\n" in asked[0]
    assert asked[0].endswith(b'\r\nContent-Length: 7\r\n\r\n{"a":1}')
    assert connections == [0]


async def test_requests_at_the_same_time_have_connections_of_their_own() -> None:
    talk, asked, connections = _says(*[OK] * 20)

    async with _serve(talk) as url:
        wire = HttpPool(url, HEADERS)
        replies = await asyncio.gather(*(wire.post(b"%d" % number, 5) for number in range(20)))
        wire.close()

    assert [reply.body for reply in replies] == [b"ok"] * 20
    assert {request.rsplit(b"\r\n", 1)[1] for request in asked} == {b"%d" % number for number in range(20)}
    assert len(connections) == 20


async def test_a_kept_connection_that_the_server_closed_meanwhile_is_replaced_without_an_error() -> None:
    talk, asked, connections = _says(OK, OK, close=True)

    async with _serve(talk) as url:
        wire = HttpPool(url, HEADERS)
        await wire.post(b"1", 5)
        reply = await wire.post(b"2", 5)
        wire.close()

    assert reply.body == b"ok"
    assert len(asked) == len(connections) == 2


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
async def test_an_answer_is_read_however_it_is_framed(answer: bytes, body: bytes) -> None:
    talk, _, connections = _says(answer, OK)

    async with _serve(talk) as url:
        wire = HttpPool(url, HEADERS)
        reply = await wire.post(b"{}", 5)
        again = await wire.post(b"{}", 5)
        wire.close()

    assert reply.body == body
    assert again.body == b"ok"
    assert connections == [0]
    assert reply.headers.get("retry-after") == ("2" if reply.status == 429 else None)


async def test_an_answer_without_a_length_ends_with_the_connection() -> None:
    talk, _, _ = _says(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nto the end", close=True)

    async with _serve(talk) as url:
        reply = await HttpPool(url, HEADERS).post(b"{}", 5)

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
    ids=["cut off", "nothing", "no HTTP", "bad gzip", "unasked encoding", "endless head"],
)
async def test_an_answer_that_cannot_be_read_is_a_broken_connection(answer: bytes) -> None:
    talk, _, _ = _says(answer, close=True)

    async with _serve(talk) as url:
        with pytest.raises(BrokenError):
            await HttpPool(url, HEADERS).post(b"{}", 5)


async def test_an_answer_of_more_than_64_megabytes_is_not_taken() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n")
        while True:
            writer.write(bytes(2**20))
            await writer.drain()

    async with _serve(talk) as url:
        with pytest.raises(TooLongError):
            await HttpPool(url, HEADERS).post(b"{}", 30)


async def test_a_small_answer_that_unpacks_to_more_than_64_megabytes_is_not_taken() -> None:
    bomb = gzip.compress(bytes(2**27))
    talk, _, _ = _says(
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%b" % (len(bomb), bomb)
    )

    async with _serve(talk) as url:
        with pytest.raises(TooLongError):
            await HttpPool(url, HEADERS).post(b"{}", 30)


async def test_a_server_that_never_answers_is_given_up_and_its_connection_not_used_again() -> None:
    asked: list[bytes] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await _read_request(reader))
        if len(asked) == 1:
            await reader.read()
        writer.write(OK)
        await writer.drain()

    async with _serve(talk) as url:
        wire = HttpPool(url, HEADERS)
        with pytest.raises(TimeoutError):
            await wire.post(b"1", 0.1)
        reply = await wire.post(b"2", 5)
        wire.close()

    assert reply.body == b"ok"
    assert len(asked) == 2


async def test_a_request_that_is_cancelled_takes_its_connection_with_it() -> None:
    gone = asyncio.Event()
    arrived = asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _read_request(reader)
        arrived.set()
        await reader.read()
        gone.set()

    async with _serve(talk) as url:
        task = asyncio.create_task(HttpPool(url, HEADERS).post(b"{}", 30))
        await arrived.wait()
        task.cancel()
        await asyncio.wait_for(gone.wait(), 5)

    assert task.cancelled()


async def test_what_comes_unasked_over_a_kept_connection_closes_it() -> None:
    talk, _, connections = _says(OK + b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfake", OK)

    async with _serve(talk) as url:
        wire = HttpPool(url, HEADERS)
        await wire.post(b"1", 5)
        await asyncio.sleep(0.05)
        reply = await wire.post(b"2", 5)
        wire.close()

    assert reply.body == b"ok"
    assert len(connections) == 2


async def test_nobody_listening_is_an_os_error() -> None:
    async with _serve(_says()[0]) as url:
        pass

    with pytest.raises(OSError, match=r"[Cc]onnect"):
        await HttpPool(url, HEADERS).post(b"{}", 5)


@pytest.mark.parametrize("url", ["", "localhost:1", "ftp://x/y", "http://", "http://[::1", "http://x:99999/"])
def test_a_url_that_cannot_be_posted_to_is_refused(url: str) -> None:
    with pytest.raises(AddressError):
        HttpPool(url, HEADERS)


@pytest.mark.parametrize("value", ["a\r\nX-Injected: 1", "a\nb", "a\0", "ключ"])
def test_a_header_that_would_end_its_line_is_refused_without_being_told(value: str) -> None:
    with pytest.raises(AddressError) as caught:
        HttpPool("http://127.0.0.1:1/", {"Authorization": value})

    assert value not in str(caught.value)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificate")
async def test_a_certificate_that_nobody_vouches_for_is_refused(tmp_path: Path) -> None:
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(*_make_certificate(tmp_path))

    async with _serve(_says(OK)[0], tls) as url:
        with pytest.raises(ssl.SSLCertVerificationError):
            await HttpPool(url, HEADERS).post(b"{}", 5)


def _make_certificate(folder: Path) -> tuple[Path, Path]:
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    request = (
        "req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1"
    )
    subprocess.run(
        ["openssl", *request.split(), "-keyout", str(key), "-out", str(certificate)],
        check=True,
        capture_output=True,
    )
    return certificate, key


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://api.example.com/v1/chat/completions", b"api.example.com"),
        ("https://api.example.com:443/v1", b"api.example.com"),
        ("http://api.example.com:8080/v1", b"api.example.com:8080"),
        ("http://[::1]:8080/v1", b"[::1]:8080"),
        ("https://bücher.example/v1", b"xn--bcher-kva.example"),
    ],
)
def test_the_host_is_named_as_servers_expect_it(url: str, host: bytes) -> None:
    assert HttpPool(url, HEADERS)._head.split(b"\r\n")[1] == b"Host: " + host
