"""A small forwarding HTTP proxy on a real socket: absolute-form requests and CONNECT."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from support.raw_server import listen


@dataclass
class ForwardProxy:
    """A running proxy: every host name leads to ``target_port`` of this machine."""

    target_port: int
    password: str | None = None
    """When set, requests without ``user:<password>`` are refused with 407."""
    port: int = 0
    request_lines: list[bytes] = field(default_factory=list)
    """The first line of each request that it got."""

    @property
    def url(self) -> str:
        """The value for ``HTTP_PROXY``."""
        user = f"user:{self.password}@" if self.password else ""
        return f"http://{user}127.0.0.1:{self.port}"

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection of a client."""
        head = await reader.readuntil(b"\r\n\r\n")
        request_line, _, headers = head.partition(b"\r\n")
        self.request_lines.append(request_line)
        if self.password and self._credentials() not in headers:
            writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
            await writer.drain()
            return
        there, back = await asyncio.open_connection("127.0.0.1", self.target_port)
        if request_line.startswith(b"CONNECT "):
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        else:
            method, url, version = request_line.split()
            path = b"/" + url.split(b"/", 3)[3]
            back.write(b" ".join((method, path, version)) + b"\r\n" + headers)
        await asyncio.gather(_copy(reader, back), _copy(there, writer))

    def _credentials(self) -> bytes:
        return b"Proxy-Authorization: Basic " + base64.b64encode(f"user:{self.password}".encode())


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(2**16):
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        pass
    finally:
        writer.close()


@asynccontextmanager
async def forward_proxy(target_port: int, password: str | None = None) -> AsyncIterator[ForwardProxy]:
    """A proxy in front of a server on this machine."""
    proxy = ForwardProxy(target_port, password)
    async with listen(proxy.handle) as port:
        proxy.port = port
        yield proxy
