"""The HTTP client for proxies: aiohttp, behind the same protocol as ``http_pool``.

It is imported only when it is used, since importing aiohttp takes a fifth of a second.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from io import BytesIO
from time import monotonic
from types import SimpleNamespace
from typing import Any

import aiohttp
from yarl import URL

from penstock.llm.transports.http_client import (
    LARGEST_ANSWER,
    LARGEST_HEAD,
    BrokenConnectionError,
    Reply,
    TooLargeAnswerError,
    check_header,
    decompress,
    parse_address,
)

_LARGE_BODY = 2**20
"""Bytes; aiohttp asks for a file object above it, which it then sends in pieces."""
_MOST_HEADERS = 10_000
_LONGEST_IDLE = 60.0
_SOON = 1.0
"""A kept connection that the server had closed ends within these seconds of a request."""


class AiohttpPool:
    """Posts to one URL with the same headers, through ``proxy`` where one is given; see ``HttpClient``.

    ``proxy`` is an http:// or https:// URL, which may hold a user name and a password. Raises AddressError
    when the URL or a header cannot be used.
    """

    def __init__(
        self,
        url: str,
        headers: Mapping[str, str],
        proxy: str | None = None,
        tls_context: ssl.SSLContext | None = None,
    ) -> None:
        address = parse_address(url)
        self.host = address.host
        self._url = URL(address.url, encoded=True)
        self._headers = {name: check_header(name, value) for name, value in headers.items()}
        self._headers["Accept-Encoding"] = "identity"
        self._proxy = proxy
        self._tls_context = tls_context
        self._session: aiohttp.ClientSession | None = None

    async def post(self, body: bytes, seconds: float) -> Reply:
        """Post ``body`` and return the answer."""
        while True:
            connection = SimpleNamespace(reused=False)
            sent_at = monotonic()
            try:
                return await self._post(body, seconds, connection)
            except (TimeoutError, ssl.SSLError, aiohttp.ClientConnectorError):
                raise
            except aiohttp.ClientHttpProxyError as error:
                message = f"The proxy refused to connect to {self.host}: {error.status} {error.message}"
                return Reply(error.status, {}, message.encode())
            except (aiohttp.ClientError, OSError) as error:
                if connection.reused and monotonic() - sent_at < _SOON and _is_closed_unused(error):
                    continue  # the server closed a kept connection: use another one
                if isinstance(error, BrokenConnectionError):
                    raise
                raise BrokenConnectionError(str(error) or type(error).__name__) from error

    async def close(self) -> None:
        """Close all connections; requests in flight fail with BrokenConnectionError."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _post(self, body: bytes, seconds: float, connection: SimpleNamespace) -> Reply:
        if self._session is None:
            self._session = _open_session(self._headers, self._tls_context or ssl.create_default_context())
        async with self._session.post(
            self._url,
            data=body if len(body) < _LARGE_BODY else BytesIO(body),
            allow_redirects=False,
            proxy=self._proxy,
            timeout=aiohttp.ClientTimeout(total=seconds),
            trace_request_ctx=connection,
        ) as response:
            content = await _read(response)
            headers = {name.lower(): value for name, value in response.headers.items()}
        return Reply(response.status, headers, decompress(content, headers.get("content-encoding")))


def _open_session(headers: Mapping[str, str], tls: ssl.SSLContext) -> aiohttp.ClientSession:
    """A session without limits, cookies and decompression: the limiter and this module see to them."""
    trace = aiohttp.TraceConfig()
    trace.on_connection_reuseconn.append(_note_reuse)
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, ssl=tls, keepalive_timeout=_LONGEST_IDLE),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers=headers,
        auto_decompress=False,
        trace_configs=[trace],
        max_line_size=LARGEST_HEAD,
        max_field_size=LARGEST_HEAD,
        max_headers=_MOST_HEADERS,
    )


async def _note_reuse(_session: aiohttp.ClientSession, context: SimpleNamespace, _params: Any) -> None:
    context.trace_request_ctx.reused = True


def _is_closed_unused(error: Exception) -> bool:
    """Whether a connection was closed before any part of an answer came."""
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return isinstance(error.message, str)  # else it is what had come of the answer
    return isinstance(error, ConnectionResetError | BrokenPipeError | aiohttp.ClientOSError)


async def _read(response: aiohttp.ClientResponse) -> bytes:
    """The whole body, still compressed."""
    chunks: list[bytes] = []
    size = 0
    async for chunk in response.content.iter_any():
        size += len(chunk)
        if size > LARGEST_ANSWER:
            response.close()
            raise TooLargeAnswerError("the answer is too large")
        chunks.append(chunk)
    return b"".join(chunks)
