"""A server that sends exactly the bytes of a test, for tests of HTTP clients."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def read_request(reader: asyncio.StreamReader) -> bytes:
    """A request, head and body; empty when the client has closed the connection."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return b""
    length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
    return head + await reader.readexactly(length)


@asynccontextmanager
async def listen(handler: Handler, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """Run ``handler`` for each connection to a free port of 127.0.0.1."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await handler(reader, writer)
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0, ssl=tls, limit=2**20)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


@asynccontextmanager
async def serve(handler: Handler, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """The URL at which ``handler`` serves."""
    async with listen(handler, tls) as port:
        yield f"{'https' if tls else 'http'}://127.0.0.1:{port}/v1/chat/completions?x=1"


def scripted(*answers: bytes, close: bool = False) -> tuple[Handler, list[bytes], list[int]]:
    """A handler that gives these answers in turn, the requests it got, and one number a connection.

    With ``close`` it closes the connection after each answer.
    """
    requests: list[bytes] = []
    connections: list[int] = []
    left = list(answers)

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(len(connections))
        while request := await read_request(reader):
            requests.append(request)
            writer.write(left.pop(0))
            await writer.drain()
            if close:
                return

    return handler, requests, connections


def make_certificate(folder: Path, name: str = "IP:127.0.0.1") -> tuple[Path, Path]:
    """A self-signed certificate and its key; ``name`` is a subject alternative name."""
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    request = f"req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=test -addext subjectAltName={name}"
    subprocess.run(
        ["openssl", *request.split(), "-keyout", str(key), "-out", str(certificate)],
        check=True,
        capture_output=True,
    )
    return certificate, key


def tls_server(certificate: Path, key: Path) -> ssl.SSLContext:
    """What a server needs to speak TLS with a certificate."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    return context
