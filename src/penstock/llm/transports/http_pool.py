"""The default HTTP client: HTTP/1.1 POST requests to one server over kept connections.

A general HTTP client costs more than everything else in a call, so this one does only what asking a model
takes: POST with a body, read the whole answer, keep the connection, a time limit. ``httptools`` (the parser
of Node.js) parses what comes back. See ``docs/decisions/own-http-pool.md``.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

import httptools

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

_SLICE = 2**18
_LONGEST_IDLE = 60.0
"""Seconds; servers and routers drop older connections, some without a word."""
_SOON = 1.0
"""A kept connection that the server had closed ends within these seconds of a request."""
_MOST_HANDSHAKES = 8


class HttpPool:
    """Posts to one URL with the same headers; see ``HttpClient``.

    ``tls_context`` is for https:// URLs. Raises AddressError when the URL or a header cannot be used.
    """

    def __init__(
        self, url: str, headers: Mapping[str, str], tls_context: ssl.SSLContext | None = None
    ) -> None:
        address = parse_address(url)
        self.host = address.host
        self._port = address.port
        self._tls = address.tls
        self._tls_context = tls_context
        self._handshakes = asyncio.Semaphore(_MOST_HANDSHAKES)
        lines = {"Host": address.authority, **headers, "Accept-Encoding": "identity"}
        head = "".join(f"{name}: {check_header(name, value)}\r\n" for name, value in lines.items())
        self._head = f"POST {address.target} HTTP/1.1\r\n{head}Content-Length: ".encode("latin-1")
        self._idle: dict[_Connection, None] = {}
        self._open: set[_Connection] = set()

    async def post(self, body: bytes, seconds: float) -> Reply:
        """Post ``body`` and return the answer."""
        head = b"%b%d\r\n\r\n" % (self._head, len(body))
        request: list[bytes | memoryview] = [head + body]
        if len(body) >= _SLICE:
            request = [head, *_slices(body)]
        while self._idle:
            connection, _ = self._idle.popitem()
            if connection.idle_seconds > _LONGEST_IDLE:
                self._close_idle(connection)
                break
            reply = await connection.request(request, seconds, kept=True)
            if reply is not None:
                return reply
        async with asyncio.timeout(seconds):
            connection = await self._connect()
        return cast("Reply", await connection.request(request, seconds, kept=False))

    def _close_idle(self, latest: _Connection) -> None:
        """Close all idle connections: the one that was used last has been idle for too long."""
        latest.close()
        for connection in self._idle:
            connection.close()
        self._idle.clear()

    async def close(self) -> None:
        """Close all connections; requests in flight fail with BrokenConnectionError."""
        for connection in list(self._open):
            connection.close()

    async def _connect(self) -> _Connection:
        if not self._tls:
            return await self._open_connection(None)
        if self._tls_context is None:
            self._tls_context = ssl.create_default_context()
        async with self._handshakes:  # each takes milliseconds of CPU time, in which nothing else runs
            return await self._open_connection(self._tls_context)

    async def _open_connection(self, tls: ssl.SSLContext | None) -> _Connection:
        _, connection = await asyncio.get_running_loop().create_connection(
            lambda: _Connection(self._idle, self._open), self.host, self._port, ssl=tls
        )
        return connection


class _Connection(asyncio.Protocol):
    """One connection, which carries one request at a time."""

    def __init__(self, idle: dict[_Connection, None], open_connections: set[_Connection]) -> None:
        self._idle = idle
        self._open_connections = open_connections
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._reply: asyncio.Future[Reply | None] | None = None
        """Set while a request is in flight."""
        self._kept = False
        self._used_at = self._loop.time()
        """When its latest request was sent or answered."""
        self._writable = asyncio.Event()
        self._writable.set()
        self._reset()

    def _reset(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._headers: dict[str, str] = {}
        self._chunks: list[bytes] = []
        self._size = 0
        self._in_body = False

    @property
    def idle_seconds(self) -> float:
        """How long it has not been used."""
        return self._loop.time() - self._used_at

    async def request(
        self, request: Sequence[bytes | memoryview], seconds: float, *, kept: bool
    ) -> Reply | None:
        """Send a request, in pieces, and wait for the answer.

        None when a ``kept`` connection turns out to be closed, so that another one can be used.
        """
        transport = self._transport
        if transport is None or transport.is_closing():
            if kept:
                return None
            raise BrokenConnectionError("the server closed the connection at once")
        self._reset()
        self._kept = kept
        self._used_at = self._loop.time()
        self._reply = reply = self._loop.create_future()
        timer = self._loop.call_later(seconds, self._time_out)
        try:
            for piece in request:
                transport.write(piece)
                if not self._writable.is_set():
                    await self._drain(reply)
            result: Reply | None = await reply
            return result
        except asyncio.CancelledError:
            self.close()
            raise
        finally:
            timer.cancel()

    async def _drain(self, reply: asyncio.Future[Reply | None]) -> None:
        """Wait until more can be written, or the request has ended."""
        writable = asyncio.ensure_future(self._writable.wait())
        either: set[asyncio.Future[Any]] = {writable, reply}
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        finally:
            writable.cancel()

    def pause_writing(self) -> None:
        """Called by the event loop when its write buffer is full."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """Called by the event loop when its write buffer has drained."""
        self._writable.set()

    def close(self) -> None:
        """Close the connection now."""
        if self._transport is not None:
            self._transport.abort()

    def _time_out(self) -> None:
        self._fail(TimeoutError())

    def _fail(self, error: Exception) -> None:
        reply, self._reply = self._reply, None
        if reply is not None and not reply.done():
            reply.set_exception(error)
        self.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the event loop."""
        self._transport = cast("asyncio.Transport", transport)
        self._open_connections.add(self)

    def data_received(self, data: bytes) -> None:
        """Called by the event loop with bytes from the server."""
        if self._reply is None:  # no request is in flight
            self.close()
            return
        self._size += len(data)
        if self._size > LARGEST_ANSWER:
            self._fail(TooLargeAnswerError("the answer is too large"))
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._fail(BrokenConnectionError(f"the answer is not HTTP: {error}"))
            return
        if self._reply is not None and not self._in_body and self._size > LARGEST_HEAD:
            self._fail(BrokenConnectionError("the headers of the answer are too large"))

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by the event loop when the connection is closed."""
        self._transport = None
        self._open_connections.discard(self)
        self._idle.pop(self, None)
        reply = self._reply
        if reply is None or reply.done():
            return
        measured = "content-length" in self._headers or "transfer-encoding" in self._headers
        if self._in_body and exc is None and not measured:
            self._finish(keep=False)  # a body without a length ends with the connection
        elif self._kept and not self._size and self.idle_seconds < _SOON:
            reply.set_result(None)
        else:
            reason = str(exc) if exc else "the server closed it before the answer was complete"
            reply.set_exception(BrokenConnectionError(reason))

    def on_message_begin(self) -> None:
        """Called by the parser; a second answer may belong to another request."""
        if self._reply is None:
            self.close()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Called by the parser for each header."""
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        """Called by the parser before the body."""
        self._in_body = self._parser.get_status_code() >= 200

    def on_body(self, body: bytes) -> None:
        """Called by the parser with a piece of the body."""
        self._chunks.append(body)

    def on_message_complete(self) -> None:
        """Called by the parser at the end of the answer."""
        if self._reply is None:
            return
        if self._parser.get_status_code() < 200:  # an interim answer, such as "100 Continue"
            self._headers.clear()
            return
        self._finish(keep=self._parser.should_keep_alive())

    def _finish(self, *, keep: bool) -> None:
        reply, self._reply = self._reply, None
        status, headers, body = self._parser.get_status_code(), self._headers, b"".join(self._chunks)
        if keep and self._transport is not None and not self._transport.is_closing():
            self._used_at = self._loop.time()
            self._idle[self] = None
        else:
            self.close()
        if reply is None or reply.done():
            return
        try:
            reply.set_result(Reply(status, headers, decompress(body, headers.get("content-encoding"))))
        except BrokenConnectionError as error:
            reply.set_exception(error)


def _slices(body: bytes) -> Iterator[memoryview]:
    """A large body in pieces: asyncio copies again and again what it cannot send at once."""
    view = memoryview(body)
    for start in range(0, len(body), _SLICE):
        yield view[start : start + _SLICE]
