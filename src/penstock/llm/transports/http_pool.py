"""The wire to one server: HTTP/1.1 posts over connections that are kept.

Every other part of a call costs less than a general HTTP client does, so this one does just what asking a
model takes: a POST with a body, an answer read whole, connections kept for the next, a time limit. What comes
back is parsed by ``httptools`` (the parser of Node.js). See ``docs/decisions/the-wire.md``.
"""

from __future__ import annotations

import asyncio
import ssl
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, cast
from urllib.parse import quote, urlsplit

import httptools

LARGEST_ANSWER = 64 * 2**20
"""Bytes; a larger answer is not taken."""
_LARGEST_HEAD = 64 * 2**10
_SLICE = 2**18
_MEMBER_OF_PATH = "/%:@!$&'()*+,;=~-._"
_HTTP, _HTTPS = 80, 443
_ANY_ZLIB = 47
"""zlib's word for: gzip or deflate, see for yourself."""


class AddressError(ValueError):
    """The URL is no address that can be posted to, or a header cannot be sent."""


class BrokenError(ConnectionError):
    """The connection was closed, or spoke no HTTP, before the answer was whole."""


class TooLongError(BrokenError):
    """The answer is larger than ``LARGEST_ANSWER``."""


class Reply(NamedTuple):
    """An answer: names of headers are in lower case, the body is decompressed."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class HttpPool:
    """Posts to one URL with the same headers, any number at once; belongs to one event loop.

    Raises AddressError when the URL or a header cannot be used.
    """

    def __init__(self, url: str, headers: Mapping[str, str]) -> None:
        self.host, self._port, self._tls, path = _split(url)
        host = f"[{self.host}]" if ":" in self.host else self.host
        if self._port != (_HTTPS if self._tls else _HTTP):
            host = f"{host}:{self._port}"
        lines = {"Host": host, **headers, "Accept-Encoding": "identity"}
        head = "".join(f"{name}: {_checked(name, value)}\r\n" for name, value in lines.items())
        self._head = f"POST {path} HTTP/1.1\r\n{head}Content-Length: ".encode("latin-1")
        self._idle: dict[_Connection, None] = {}
        self._open: set[_Connection] = set()

    async def post(self, body: bytes, seconds: float) -> Reply:
        """Post ``body`` and return the answer.

        Raises TimeoutError after ``seconds``, BrokenError, and ssl.SSLError or another OSError when no
        connection can be made.
        """
        head = b"%b%d\r\n\r\n" % (self._head, len(body))
        request: list[bytes | memoryview] = [head + body]
        if len(body) >= _SLICE:
            request = [head, *_slices(body)]
        while self._idle:
            connection, _ = self._idle.popitem()
            reply = await connection.ask(request, seconds, kept=True)
            if reply is not None:
                return reply
        async with asyncio.timeout(seconds):
            connection = await self._connect()
        return cast("Reply", await connection.ask(request, seconds, kept=False))

    def close(self) -> None:
        """Close all connections; what is being asked fails with BrokenError."""
        for connection in list(self._open):
            connection.close()

    async def _connect(self) -> _Connection:
        _, connection = await asyncio.get_running_loop().create_connection(
            lambda: _Connection(self._idle, self._open),
            self.host,
            self._port,
            ssl=ssl.create_default_context() if self._tls else None,
        )
        return connection


class _Connection(asyncio.Protocol):
    """One connection, which carries one request at a time."""

    def __init__(self, idle: dict[_Connection, None], everyone: set[_Connection]) -> None:
        self._idle = idle
        self._everyone = everyone
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._turn: asyncio.Future[Reply | None] | None = None
        self._kept = False
        self._drained = asyncio.Event()
        self._drained.set()
        self._reset()

    def _reset(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._headers: dict[str, str] = {}
        self._chunks: list[bytes] = []
        self._size = 0
        self._in_body = False

    async def ask(self, request: Sequence[bytes | memoryview], seconds: float, *, kept: bool) -> Reply | None:
        """Send a request, in pieces, and wait for the answer.

        None when a ``kept`` connection turns out to be closed.
        """
        transport = self._transport
        if transport is None or transport.is_closing():
            if kept:
                return None
            raise BrokenError("the server closed the connection at once")
        self._reset()
        self._kept = kept
        self._turn = turn = self._loop.create_future()
        alarm = self._loop.call_later(seconds, self._give_up)
        try:
            for piece in request:
                transport.write(piece)
                if not self._drained.is_set():
                    await self._drain(turn)
            reply: Reply | None = await turn
            return reply
        except asyncio.CancelledError:
            self.close()
            raise
        finally:
            alarm.cancel()

    async def _drain(self, turn: asyncio.Future[Reply | None]) -> None:
        """Wait until more can be written, or there is no more use in writing."""
        waiting = asyncio.ensure_future(self._drained.wait())
        either: set[asyncio.Future[Any]] = {waiting, turn}
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()

    def pause_writing(self) -> None:
        """The event loop's word that enough is waiting to be sent."""
        self._drained.clear()

    def resume_writing(self) -> None:
        """The event loop's word that there is room again."""
        self._drained.set()

    def close(self) -> None:
        """Close the connection now."""
        if self._transport is not None:
            self._transport.abort()

    def _give_up(self) -> None:
        self._fail(TimeoutError())

    def _fail(self, error: Exception) -> None:
        turn, self._turn = self._turn, None
        if turn is not None and not turn.done():
            turn.set_exception(error)
        self.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The event loop's word that there is a connection."""
        self._transport = cast("asyncio.Transport", transport)
        self._everyone.add(self)

    def data_received(self, data: bytes) -> None:
        """The event loop's word that bytes have come."""
        if self._turn is None:  # nobody asked
            self.close()
            return
        self._size += len(data)
        if self._size > LARGEST_ANSWER:
            self._fail(TooLongError("the answer is too long"))
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._fail(BrokenError(f"the answer is no HTTP: {error}"))
            return
        if self._turn is not None and not self._in_body and self._size > _LARGEST_HEAD:
            self._fail(BrokenError("the answer's head has no end"))

    def connection_lost(self, exc: Exception | None) -> None:
        """The event loop's word that the connection is gone."""
        self._transport = None
        self._everyone.discard(self)
        self._idle.pop(self, None)
        turn = self._turn
        if turn is None or turn.done():
            return
        measured = "content-length" in self._headers or "transfer-encoding" in self._headers
        if self._in_body and exc is None and not measured:
            self._finish(keep=False)  # such an answer ends where the connection does
        elif self._kept and not self._size:
            turn.set_result(None)
        else:
            reason = str(exc) if exc else "the server closed it before the answer was whole"
            turn.set_exception(BrokenError(reason))

    def on_message_begin(self) -> None:
        """The parser's word of another answer; one too many may be meant for somebody else's question."""
        if self._turn is None:
            self.close()

    def on_header(self, name: bytes, value: bytes) -> None:
        """The parser's word of a header."""
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        """The parser's word that the body begins."""
        self._in_body = self._parser.get_status_code() >= 200

    def on_body(self, body: bytes) -> None:
        """The parser's word of a piece of the body."""
        self._chunks.append(body)

    def on_message_complete(self) -> None:
        """The parser's word that the answer is whole."""
        if self._turn is None:
            return
        if self._parser.get_status_code() < 200:  # "100 Continue", and the like
            self._headers.clear()
            return
        self._finish(keep=self._parser.should_keep_alive())

    def _finish(self, *, keep: bool) -> None:
        turn, self._turn = self._turn, None
        status, headers, body = self._parser.get_status_code(), self._headers, b"".join(self._chunks)
        if keep and self._transport is not None and not self._transport.is_closing():
            self._idle[self] = None
        else:
            self.close()
        if turn is None or turn.done():
            return
        try:
            turn.set_result(Reply(status, headers, _decompress(body, headers.get("content-encoding"))))
        except BrokenError as error:
            turn.set_exception(error)


def _slices(body: bytes) -> Iterator[memoryview]:
    """A large body in pieces, since what a transport cannot send at once it copies again and again."""
    view = memoryview(body)
    for start in range(0, len(body), _SLICE):
        yield view[start : start + _SLICE]


def _split(url: str) -> tuple[str, int, bool, str]:
    """Host, port, whether to encrypt, and what to post to."""
    try:
        parts = urlsplit(url)
        port = parts.port or (_HTTPS if parts.scheme == "https" else _HTTP)
        host = parts.hostname or ""
        host = host if host.isascii() else host.encode("idna").decode()
    except (ValueError, UnicodeError) as error:
        raise AddressError(f"{url} is not an address") from error
    if parts.scheme not in {"http", "https"} or not host:
        raise AddressError(f"{url} is not an address that begins with http:// or https://")
    path = quote(parts.path or "/", safe=_MEMBER_OF_PATH)
    query = f"?{quote(parts.query, safe=_MEMBER_OF_PATH + '?')}" if parts.query else ""
    return host, port, parts.scheme == "https", path + query


def _checked(name: str, value: str) -> str:
    """A header's value, if it can be sent and ends no line."""
    if not value.isprintable() or any(ord(character) > 255 for character in value):
        raise AddressError(f"the header {name} holds a character that cannot be sent")
    return value


def _decompress(body: bytes, encoding: str | None) -> bytes:
    """A body as it was before it was packed, which nobody asked for but some gateways do all the same."""
    if encoding is None or encoding.lower() in {"identity", ""}:
        return body
    if encoding.lower() not in {"gzip", "x-gzip", "deflate"}:
        raise BrokenError(f"the answer is encoded as {encoding}")
    unpacker = zlib.decompressobj(_ANY_ZLIB)
    try:
        unpacked = unpacker.decompress(body, LARGEST_ANSWER)
    except zlib.error as error:
        raise BrokenError(f"the answer cannot be unpacked: {error}") from error
    if unpacker.unconsumed_tail:
        raise TooLongError("the answer is too long")
    return unpacked
