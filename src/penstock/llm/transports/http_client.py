"""What the HTTP clients share: their protocol, a reply, errors, limits, and the checks of URL and headers."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import NamedTuple, Protocol
from urllib.parse import quote, urlsplit

LARGEST_ANSWER = 64 * 2**20
"""Bytes; a larger answer is refused."""
LARGEST_HEAD = 64 * 2**10
"""Bytes of status line and headers."""
_HTTP_PORT, _HTTPS_PORT = 80, 443
_SAFE_IN_PATH = "/%:@!$&'()*+,;=~-._"
_GZIP_OR_DEFLATE = 47
"""zlib's ``wbits`` for: detect the format."""


class AddressError(ValueError):
    """The URL cannot be posted to, or a header cannot be sent."""


class BrokenConnectionError(ConnectionError):
    """The connection was closed, or did not speak HTTP, before the answer was complete."""


class TooLargeAnswerError(BrokenConnectionError):
    """The answer is larger than ``LARGEST_ANSWER``."""


class Reply(NamedTuple):
    """An answer: names of headers are in lower case, the body is decompressed."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class HttpClient(Protocol):
    """Posts to one URL, any number of requests at once; belongs to one event loop.

    Redirects are not followed: one would send the API key to another server.
    """

    host: str
    """The server's name, for messages."""

    async def post(self, body: bytes, seconds: float) -> Reply:
        """Post ``body`` and return the answer, whatever its status.

        Raises TimeoutError after ``seconds``, BrokenConnectionError, and ssl.SSLError or another OSError when
        no connection can be made.
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


def decompress(body: bytes, encoding: str | None) -> bytes:
    """A body without its ``Content-Encoding``: some gateways compress although ``identity`` was requested.

    Raises BrokenConnectionError for what cannot be decompressed.
    """
    if encoding is None or encoding.lower() in {"identity", ""}:
        return body
    if encoding.lower() not in {"gzip", "x-gzip", "deflate"}:
        raise BrokenConnectionError(f"the answer has the unknown encoding {encoding}")
    decompressor = zlib.decompressobj(_GZIP_OR_DEFLATE)
    try:
        plain = decompressor.decompress(body, LARGEST_ANSWER)
    except zlib.error as error:
        raise BrokenConnectionError(f"the answer cannot be decompressed: {error}") from error
    if decompressor.unconsumed_tail:
        raise TooLargeAnswerError("the decompressed answer is too large")
    return plain
