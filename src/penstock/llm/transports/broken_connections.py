"""What it means, and what to do, when a server cannot be reached or does not answer in HTTP."""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable

from penstock.llm.transports.base import Failure, Kind
from penstock.llm.transports.http_client import (
    LARGEST_ANSWER,
    BrokenConnectionError,
    ConnectTimeoutError,
    HandshakeError,
    HttpClient,
    TooLargeAnswerError,
    UnreadableAnswerError,
    describe_os_error,
)
from penstock.llm.transports.tls import HANDSHAKE_HINT, describe_tls_error

_TLS_ALERT = r"\x15\x03"
"""How an answer in TLS begins, as errors quote it."""


async def failure_from_error(
    error: OSError,
    client: HttpClient,
    *,
    seconds: float,
    way: str,
    probe: Callable[[], Awaitable[bool]] | None,
) -> Failure:
    """The failure that an error of ``client.post`` stands for; its text is not redacted.

    ``way`` says how the server is reached. ``probe`` says whether it speaks TLS; it is None for a server that
    has replied before, and therefore speaks HTTP.
    """
    if isinstance(error, BrokenConnectionError):
        if probe is None or type(error) is BrokenConnectionError:
            return _failure_of_known_server(error)
        return await _failure_of_unknown_server(error, client, probe)
    if isinstance(error, TimeoutError) and not isinstance(error, ConnectTimeoutError):
        return Failure(Kind.TRANSIENT, f"no answer within {seconds:.3g} s")
    where = f"no connection to {client.address.host}{way and ' '}{way}"
    if isinstance(error, ssl.SSLError):
        return Failure(Kind.SETUP, f"{where}: {describe_tls_error(error)}")
    hint = f"; {HANDSHAKE_HINT}" if isinstance(error, TimeoutError) and client.address.tls else ""
    return Failure(Kind.UNREACHABLE, f"{where}: {describe_os_error(error)}{hint}")


def _failure_of_known_server(error: BrokenConnectionError) -> Failure:
    if isinstance(error, TooLargeAnswerError):
        return Failure(Kind.REFUSED, f"the answer is larger than {LARGEST_ANSWER >> 20} MB")
    if isinstance(error, UnreadableAnswerError):
        return Failure(Kind.PROTOCOL, str(error), error.status)
    return Failure(Kind.TRANSIENT, f"the connection broke: {error}")


async def _failure_of_unknown_server(
    error: BrokenConnectionError, client: HttpClient, probe: Callable[[], Awaitable[bool]]
) -> Failure:
    """The same for a server that has never replied: it may not speak HTTP at all."""
    is_garbage = isinstance(error, UnreadableAnswerError)
    if isinstance(error, TooLargeAnswerError) or getattr(error, "status", None) is not None:
        return _failure_of_known_server(error)
    text = f"the connection broke: {error}"
    if client.address.tls or isinstance(error, HandshakeError):
        return Failure(Kind.PROTOCOL, f"{text}; {HANDSHAKE_HINT}")
    if _TLS_ALERT in str(error) if is_garbage else await probe():
        where = f"no connection to {client.address.host}"
        return Failure(Kind.SETUP, f"{where}: it speaks TLS; write https:// in LLM_ENDPOINT")
    if is_garbage:
        return Failure(Kind.PROTOCOL, f"{error}; check the host and the port in LLM_ENDPOINT")
    return Failure(Kind.UNREACHABLE, text)
