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

from penstock.llm.time_limits import TimeLimit, running_clock, time_limit
from penstock.llm.transports.http_client import (
    CLOSED_AT_ONCE,
    LARGEST_ANSWER,
    LARGEST_HEAD,
    LONGEST_CONNECT,
    BrokenConnectionError,
    ClosedAtOnceError,
    ConnectTimeoutError,
    OnRetry,
    Reply,
    TooLargeAnswerError,
    UnreadableAnswerError,
    check_header,
    decode_body,
    describe_os_error,
    during_handshake,
    parse_address,
)

_LARGE_BODY = 2**20
"""Bytes; aiohttp asks for a file object above it, which it then sends in pieces."""
_MOST_HEADERS = 10_000
_LONGEST_IDLE = 60.0


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
        self.address = parse_address(url)
        self.is_direct = proxy is None
        self._url = URL(self.address.url, encoded=True)
        self._headers = {name: check_header(name, value) for name, value in headers.items()}
        self._headers["Accept-Encoding"] = "identity"
        self._proxy = proxy
        self._tls_context = tls_context
        self._session: aiohttp.ClientSession | None = None

    async def post(self, body: bytes, seconds: float, on_retry: OnRetry | None = None) -> Reply:
        """Post ``body`` and return the answer."""
        clock = running_clock()
        ends_at = clock.time() + seconds
        if self._session is None:
            self._session = self._open_session()
        exchange = _Exchange()
        try:
            return await self._post(self._session, body, seconds, exchange)
        except ClosedAtOnceError:
            if not exchange.is_on_kept_connection:
                raise
        if on_retry is not None:
            on_retry()
        async with self._open_session() as session:
            return await self._post(session, body, ends_at - clock.time(), _Exchange())

    async def close(self) -> None:
        """Close all connections; requests in flight fail with BrokenConnectionError."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def _open_session(self) -> aiohttp.ClientSession:
        """A session without limits, cookies and decompression: the limiter and this module see to them."""
        trace = aiohttp.TraceConfig()
        trace.on_connection_create_end.append(_note_connection)
        trace.on_connection_reuseconn.append(_note_reuse)
        tls = self._tls_context = self._tls_context or ssl.create_default_context()
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ssl=tls, keepalive_timeout=_LONGEST_IDLE),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers=self._headers,
            auto_decompress=False,
            trace_configs=[trace],
            max_line_size=LARGEST_HEAD,
            max_field_size=LARGEST_HEAD,
            max_headers=_MOST_HEADERS,
        )

    async def _post(
        self, session: aiohttp.ClientSession, body: bytes, seconds: float, exchange: _Exchange
    ) -> Reply:
        connect = min(seconds, LONGEST_CONNECT)
        try:
            async with time_limit(seconds), time_limit(connect) as exchange.connecting:
                await self._exchange(session, body, exchange)
        except aiohttp.ClientHttpProxyError as error:
            message = f"The proxy refused to connect to {self.address.host}: {error.status} {error.message}"
            return Reply(error.status, {}, message.encode())
        except TimeoutError as error:
            if exchange.connected_at is None:
                raise ConnectTimeoutError(f"no connection within {connect:.3g} s") from error
            if exchange.status < 300:
                raise
        except (aiohttp.ClientError, OSError) as error:
            if exchange.status < 300:
                raise _translate(error, exchange, tls=self.address.tls) from error
        content = b"".join(exchange.chunks)
        content = decode_body(exchange.status, content, exchange.headers.get("content-encoding"))
        return Reply(exchange.status, exchange.headers, content)

    async def _exchange(self, session: aiohttp.ClientSession, body: bytes, exchange: _Exchange) -> None:
        """Send the request, and put into ``exchange`` what comes."""
        async with session.post(
            self._url,
            data=body if len(body) < _LARGE_BODY else BytesIO(body),
            allow_redirects=False,
            proxy=self._proxy,
            timeout=aiohttp.ClientTimeout(total=None),
            trace_request_ctx=exchange,
        ) as response:
            exchange.status = response.status
            exchange.headers = {name.lower(): value for name, value in response.headers.items()}
            await _read(response, exchange.chunks)


class _Exchange:
    """What is known of one request: when it had a connection, and what came of the answer."""

    def __init__(self) -> None:
        self.connecting: TimeLimit | None = None
        self.connected_at: float | None = None
        self.is_on_kept_connection = False
        self.status = 0
        self.headers: dict[str, str] = {}
        self.chunks: list[bytes] = []

    @property
    def was_closed_at_once(self) -> bool:
        """Whether so little time has passed that the server cannot have worked on the request."""
        return self.connected_at is not None and monotonic() - self.connected_at < CLOSED_AT_ONCE


async def _note_connection(_session: aiohttp.ClientSession, context: SimpleNamespace, _params: Any) -> None:
    exchange: _Exchange = context.trace_request_ctx
    exchange.connected_at = monotonic()
    if exchange.connecting is not None:
        exchange.connecting.cancel()


async def _note_reuse(session: aiohttp.ClientSession, context: SimpleNamespace, params: Any) -> None:
    context.trace_request_ctx.is_on_kept_connection = True
    await _note_connection(session, context, params)


def _translate(error: Exception, exchange: _Exchange, *, tls: bool) -> Exception:
    """The error of ``HttpClient`` that an error of aiohttp stands for."""
    if isinstance(error, aiohttp.ClientConnectorError | aiohttp.ClientConnectorCertificateError):
        reason = error.os_error
        if isinstance(reason, TimeoutError):
            return ConnectTimeoutError(describe_os_error(reason))
        return during_handshake(reason) if tls else reason
    text = " ".join(str(error).split()) or type(error).__name__
    broken: Exception = BrokenConnectionError(text)
    if isinstance(error, BrokenConnectionError):
        broken = error
    elif "[SSL" in text:
        broken = ssl.SSLError(*error.args)
    elif isinstance(error, aiohttp.ClientResponseError):
        said = " ".join(error.message.replace("^", "").split())
        broken = UnreadableAnswerError(f"what the server sends is not HTTP/1.1 ({said})")
    elif exchange.was_closed_at_once and _is_closed_unused(error):
        broken = ClosedAtOnceError("the server closed the connection without an answer")
    return broken


def _is_closed_unused(error: Exception) -> bool:
    """Whether a connection was closed before any part of an answer came."""
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return isinstance(error.message, str)  # else it is what had come of the answer
    return isinstance(error, ConnectionResetError | BrokenPipeError | aiohttp.ClientOSError)


async def _read(response: aiohttp.ClientResponse, chunks: list[bytes]) -> None:
    """Read the whole body, still compressed."""
    size = 0
    async for chunk in response.content.iter_any():
        size += len(chunk)
        if size > LARGEST_ANSWER:
            response.close()
            raise TooLargeAnswerError("the answer is too large")
        chunks.append(chunk)
