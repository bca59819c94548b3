"""What the HTTP clients share: their protocol, a reply, errors, limits, and the checks of URL and headers."""

from __future__ import annotations

import ssl
import zlib
from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol
from urllib.parse import quote, urlsplit

import orjson

LARGEST_ANSWER = 64 * 2**20
"""Bytes; a larger answer is refused."""
LARGEST_HEAD = 64 * 2**10
"""Bytes of status line and headers."""
_HTTP_PORT, _HTTPS_PORT = 80, 443
_SAFE_IN_PATH = "/%:@!$&'()*+,;=~-._"
_GZIP_OR_ZLIB, _RAW_DEFLATE = 47, -15
"""zlib's ``wbits``."""
_MOST_CODINGS = 3
_MOST_MEMBERS = 1000
CLOSED_AT_ONCE = 0.2
"""Seconds: in less, no server has worked on a request."""
LONGEST_CONNECT = 30.0
"""Seconds in which a connection is made, TLS included."""


class AddressError(ValueError):
    """The URL cannot be posted to, or a header cannot be sent."""


class BrokenConnectionError(ConnectionError):
    """The connection was closed, or did not speak HTTP, before the answer was complete."""


class TooLargeAnswerError(BrokenConnectionError):
    """The answer is larger than ``LARGEST_ANSWER``."""


class UnreadableAnswerError(BrokenConnectionError):
    """What came is not HTTP/1.1, or an answer (with this ``status``) in a form that nobody here can read."""

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class ClosedAtOnceError(BrokenConnectionError):
    """The connection was closed at once, with nothing sent: the server has not begun to work."""


class HandshakeError(BrokenConnectionError):
    """The connection was closed during the TLS handshake."""


class ConnectTimeoutError(TimeoutError):
    """No connection could be made in time; the message says how long that was."""


class Reply(NamedTuple):
    """An answer: names of headers are in lower case, the body is decompressed."""

    status: int
    headers: Mapping[str, str]
    body: bytes


OnRetry = Callable[[], object]


class HttpClient(Protocol):
    """Posts to one URL, any number of requests at once; belongs to one event loop.

    Redirects are not followed: one would send the API key to another server.
    """

    address: Address
    is_direct: bool
    """Whether no proxy is between."""

    async def post(self, body: bytes, seconds: float, on_retry: OnRetry | None = None) -> Reply:
        """Post ``body`` and return the answer, whatever its status.

        A request on a kept connection that is closed at once is sent a second time, on a new one, within the
        same time; ``on_retry`` is called before that. Once a status of 300 or more has come, the answer is
        returned whatever becomes of its body. Raises TimeoutError after ``seconds``, BrokenConnectionError,
        and ssl.SSLError or another OSError when no connection can be made.
        """
        ...

    async def close(self) -> None:
        """Close all connections; requests in flight fail with BrokenConnectionError."""
        ...


class Address(NamedTuple):
    """A URL in parts: ``host`` as DNS knows it, ``target`` as the request line needs it."""

    host: str
    port: int
    tls: bool
    target: str

    @property
    def authority(self) -> str:
        """The value of the ``Host`` header: the port only where it is not the usual one."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (_HTTPS_PORT if self.tls else _HTTP_PORT) else f"{host}:{self.port}"

    @property
    def url(self) -> str:
        """The whole URL, encoded."""
        return f"{'https' if self.tls else 'http'}://{self.authority}{self.target}"


def parse_address(url: str) -> Address:
    """The parts of an http:// or https:// URL; raises AddressError for any other text."""
    try:
        parts = urlsplit(url)
        port = parts.port or (_HTTPS_PORT if parts.scheme == "https" else _HTTP_PORT)
        host = parts.hostname or ""
        host = host if host.isascii() else host.encode("idna").decode()
    except (ValueError, UnicodeError) as error:
        raise AddressError(f"{url} is not a valid URL") from error
    if parts.scheme not in {"http", "https"} or not host:
        raise AddressError(f"{url} is not a URL that begins with http:// or https://")
    path = quote(parts.path or "/", safe=_SAFE_IN_PATH)
    query = f"?{quote(parts.query, safe=_SAFE_IN_PATH + '?')}" if parts.query else ""
    return Address(host, port, parts.scheme == "https", path + query)


def check_header(name: str, value: str) -> str:
    """``value``, if it can be sent and does not end its line; else raises AddressError, without the value."""
    if not value.isprintable() or any(ord(character) > 255 for character in value):
        raise AddressError(f"the header {name} has a character that cannot be sent")
    return value


def describe_os_error(error: OSError) -> str:
    """What happened, also for the errors that event loops raise without a word."""
    if text := str(error):
        return text
    if isinstance(error, ConnectionResetError | ConnectionAbortedError | BrokenPipeError):
        return "the server closed the connection"
    return type(error).__name__


def during_handshake(error: OSError) -> OSError:
    """``error``, or the HandshakeError that it means while a TLS connection is made."""
    is_closed = isinstance(error, ConnectionResetError | ConnectionAbortedError | BrokenPipeError)
    if is_closed or isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError):
        return HandshakeError("the server closed the connection during the TLS handshake")
    return error


def decode_body(status: int, body: bytes, encoding: str | None) -> bytes:
    """A body without its ``Content-Encoding``; of an error, whose status counts, what can be read of it.

    Raises UnreadableAnswerError and TooLargeAnswerError.
    """
    try:
        return body if encoding is None else decompress(body, encoding, status)
    except BrokenConnectionError as error:
        if status < 300:
            raise
        return f"({error})".encode()


def decompress(body: bytes, encoding: str, status: int | None = None) -> bytes:
    """A body without its ``Content-Encoding``: some gateways compress although ``identity`` was requested.

    JSON that is not compressed is returned as it is, whatever the encoding says. Raises UnreadableAnswerError
    and TooLargeAnswerError.
    """
    codings = [coding for part in encoding.lower().split(",") if (coding := part.strip())]
    plain = body
    try:
        for coding in reversed(codings[-_MOST_CODINGS - 1 :]):
            if coding in {"gzip", "x-gzip", "deflate"}:
                plain = _inflate(plain, may_be_raw=coding == "deflate")
            elif coding != "identity":
                raise ValueError(f"the answer is encoded as {coding[:40]}, which was not requested")
        if len(codings) > _MOST_CODINGS:
            raise ValueError(f"the answer is encoded {len(codings)} times")
    except (zlib.error, ValueError) as error:
        if _is_json(body):
            return body
        message = str(error) if isinstance(error, ValueError) else f"the answer is not {coding}: {error}"
        hint = "turn compression off at the server or its proxy"
        raise UnreadableAnswerError(f"{message}; {hint}", status) from error
    return plain


def _inflate(body: bytes, *, may_be_raw: bool) -> bytes:
    """A body of gzip (in any number of members), zlib or raw deflate, decompressed."""
    try:
        return _inflate_as(_GZIP_OR_ZLIB, body)
    except zlib.error:
        if not may_be_raw:
            raise
    return _inflate_as(_RAW_DEFLATE, body)


def _inflate_as(wbits: int, body: bytes) -> bytes:
    parts: list[bytes] = []
    left = LARGEST_ANSWER
    for _ in range(_MOST_MEMBERS):
        decompressor = zlib.decompressobj(wbits)
        part = decompressor.decompress(body, left + 1)
        parts.append(part)
        left -= len(part)
        if left < 0:
            raise TooLargeAnswerError("the decompressed answer is too large")
        if not decompressor.eof:
            raise zlib.error("its end is missing")
        body = decompressor.unused_data
        if not body.startswith(b"\x1f\x8b"):  # the end, or padding
            return b"".join(parts)
    raise TooLargeAnswerError("the compressed answer has too many parts")


def _is_json(body: bytes) -> bool:
    try:
        orjson.loads(body)
    except orjson.JSONDecodeError:
        return False
    return True
