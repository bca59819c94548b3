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

_SLICE = 2**18
_LONGEST_IDLE = 60.0
"""Seconds; servers and routers drop older connections, some without a word."""
_SOON = CLOSED_AT_ONCE
_MOST_HANDSHAKES = 8
_SHOWN = 40


class HttpPool:
    """Posts to one URL with the same headers; see ``HttpClient``.

    ``tls_context`` is for https:// URLs. Raises AddressError when the URL or a header cannot be used.
    """

    is_direct = True

    def __init__(
        self, url: str, headers: Mapping[str, str], tls_context: ssl.SSLContext | None = None
    ) -> None:
        self.address = parse_address(url)
        self._tls_context = tls_context
        self._handshakes = asyncio.Semaphore(_MOST_HANDSHAKES)
        lines = {"Host": self.address.authority, **headers, "Accept-Encoding": "identity"}
        head = "".join(f"{name}: {check_header(name, value)}\r\n" for name, value in lines.items())
        self._head = f"POST {self.address.target} HTTP/1.1\r\n{head}Content-Length: ".encode("latin-1")
        self._idle: dict[_Connection, None] = {}
        self._open: set[_Connection] = set()

    async def post(self, body: bytes, seconds: float, on_retry: OnRetry | None = None) -> Reply:
        """Post ``body`` and return the answer."""
        head = b"%b%d\r\n\r\n" % (self._head, len(body))
        request: list[bytes | memoryview] = [head + body]
        if len(body) >= _SLICE:
            request = [head, *_slices(body)]
        if (connection := self._take_idle()) is not None:
            try:
                return await connection.request(request, seconds)
            except ClosedAtOnceError:
                seconds -= connection.unused_seconds
                if on_retry is not None:
                    on_retry()
        clock = running_clock()
        ends_at = clock.time() + seconds
        connection = await self._connect(min(seconds, LONGEST_CONNECT))
        return await connection.request(request, ends_at - clock.time())

    def _take_idle(self) -> _Connection | None:
        """The connection that was used last, if it can be used again."""
        while self._idle:
            connection, _ = self._idle.popitem()
            if connection.unused_seconds > _LONGEST_IDLE:
                self._close_idle(connection)
            elif connection.is_open:
                return connection
        return None

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

    async def _connect(self, seconds: float) -> _Connection:
        try:
            async with time_limit(seconds):
                if not self.address.tls:
                    return await self._open_connection(None)
                if self._tls_context is None:
                    self._tls_context = ssl.create_default_context()
                async with self._handshakes:  # each holds the event loop for milliseconds
                    return await self._open_connection(self._tls_context)
        except TimeoutError as error:
            raise ConnectTimeoutError(f"no connection within {seconds:.3g} s") from error
        except OSError as error:
            raise (during_handshake(error) if self.address.tls else error) from error

    async def _open_connection(self, tls: ssl.SSLContext | None) -> _Connection:
        _, connection = await asyncio.get_running_loop().create_connection(
            lambda: _Connection(self._idle, self._open), self.address.host, self.address.port, ssl=tls
        )
        return connection


class _Connection(asyncio.Protocol):
    """One connection, which carries one request at a time."""

    def __init__(self, idle: dict[_Connection, None], open_connections: set[_Connection]) -> None:
        self._idle = idle
        self._open_connections = open_connections
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._reply: asyncio.Future[Reply] | None = None
        """Set while a request is in flight."""
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
    def is_open(self) -> bool:
        """Whether a request can be sent on it."""
        return self._transport is not None and not self._transport.is_closing()

    @property
    def unused_seconds(self) -> float:
        """The time since its latest request was sent or answered."""
        return self._loop.time() - self._used_at

    async def request(self, request: Sequence[bytes | memoryview], seconds: float) -> Reply:
        """Send a request, in pieces, and wait for the answer."""
        transport = self._transport
        if transport is None or transport.is_closing():
            raise ClosedAtOnceError("the server closed the connection without an answer")
        self._reset()
        self._used_at = self._loop.time()
        self._reply = reply = self._loop.create_future()
        limit = TimeLimit(seconds, self._time_out)
        try:
            for piece in request:
                transport.write(piece)
                if not self._writable.is_set():
                    await self._drain(reply)
            answer: Reply = await reply
            return answer
        except asyncio.CancelledError:
            self.close()
            raise
        finally:
            limit.cancel()

    async def _drain(self, reply: asyncio.Future[Reply]) -> None:
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
        """End the request with ``error``, or with the error status that has come."""
        if self._reply is not None and self._in_body and self._parser.get_status_code() >= 300:
            self._finish(keep=False)
            return
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
        except httptools.HttpParserUpgrade:
            self._finish(keep=False)
        except httptools.HttpParserError as error:
            shown = f"; it begins with {ascii(data[:_SHOWN])[2:-1]}" if self._size == len(data) else ""
            message = f"what the server sends is not HTTP/1.1 ({error}){shown}"
            status = self._parser.get_status_code() if self._in_body else None
            self._fail(UnreadableAnswerError(message, status))
        if self._reply is not None and not self._in_body and self._size > LARGEST_HEAD:
            message = f"the headers of the answer are larger than {LARGEST_HEAD >> 10} KB"
            self._fail(UnreadableAnswerError(message))

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by the event loop when the connection is closed."""
        self._transport = None
        self._open_connections.discard(self)
        self._idle.pop(self, None)
        if self._reply is None:
            return
        measured = "content-length" in self._headers or "transfer-encoding" in self._headers
        if self._in_body and exc is None and not measured:
            self._finish(keep=False)  # a body without a length ends with the connection
        elif isinstance(exc, ssl.SSLError) and not self._size:
            self._fail(exc)
        elif not self._size and self.unused_seconds < _SOON:
            self._fail(ClosedAtOnceError("the server closed the connection without an answer"))
        else:
            reason = describe_os_error(exc) if isinstance(exc, OSError) else str(exc or "")
            self._fail(BrokenConnectionError(reason or "it was closed before the answer was complete"))

    def on_message_begin(self) -> None:
        """Called by the parser; a second answer may belong to another request."""
        if self._reply is None:
            self.close()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Called by the parser for each header, and for the trailers after a body."""
        if not self._in_body:
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
            content = decode_body(status, body, headers.get("content-encoding"))
            reply.set_result(Reply(status, headers, content))
        except BrokenConnectionError as error:
            reply.set_exception(error)


def _slices(body: bytes) -> Iterator[memoryview]:
    """A large body in pieces: asyncio copies again and again what it cannot send at once."""
    view = memoryview(body)
    for start in range(0, len(body), _SLICE):
        yield view[start : start + _SLICE]
