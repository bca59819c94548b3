"""A chat completions server that needs very little CPU, for measuring what its clients need.

``GET /stats`` shows what it was asked, ``POST /reset`` starts the count again, and ``GET /first`` waits up to
half a second for the first call since then. Latency and errors are options; errors are drawn with ``--seed``.

    python -m benchmarks.mock_server --port 0 --latency-ms 200 --rate-429 0.05

prints one line of JSON with its port once it listens.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import re
import ssl
import sys
import time
from pathlib import Path
from typing import Any

import orjson
import uvloop

from benchmarks.mock_answers import answer
from benchmarks.mock_provider import Behaviour, Provider

MAX_HEAD = 64 * 1024
MAX_BODY = 64 * 1024 * 1024
FIRST_WAIT = 0.5
"""Seconds that ``GET /first`` holds its answer back."""

_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d+)", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding:[ \t]*[^\r]*chunked", re.IGNORECASE)
_CLOSE = re.compile(rb"\r\nconnection:[ \t]*close", re.IGNORECASE)
_EXPECT = re.compile(rb"\r\nexpect:[ \t]*100-continue", re.IGNORECASE)
_REASONS = {200: "OK", 400: "Bad Request", 404: "Not Found", 411: "Length Required", 413: "Content Too Large"}
_REASONS |= {429: "Too Many Requests", 500: "Internal Server Error"}


class Connection(asyncio.Protocol):
    """The connection of one client: each request is answered before the next one is read."""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider
        self._buffer = b""
        self._busy = False
        self._closing = False
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = transport  # type: ignore[assignment]  # a TCP server's transports are asyncio.Transport

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing more can be written."""
        self._transport = None

    def data_received(self, data: bytes) -> None:
        """Read the next requests, unless one is being answered."""
        self._buffer = self._buffer + data if self._buffer else data
        if not self._busy:
            self._read()

    def _read(self) -> None:
        while not self._busy and not self._closing and self._buffer:
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                if len(self._buffer) > MAX_HEAD:
                    self._refuse(413, "the head of the request is too large")
                return
            head = self._buffer[:end]
            if _CHUNKED.search(head):
                self._refuse(411, "chunked bodies are not supported")
                return
            found = _LENGTH.search(head)
            length = int(found.group(1)) if found else 0
            if length > MAX_BODY:
                self._refuse(413, "the body is too large")
                return
            stop = end + 4 + length
            if len(self._buffer) < stop:
                if _EXPECT.search(head) and len(self._buffer) == end + 4 and self._transport:
                    self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                return
            body = self._buffer[end + 4 : stop]
            self._buffer = self._buffer[stop:]
            self._closing = bool(_CLOSE.search(head))
            self._serve(head, body)

    def _serve(self, head: bytes, body: bytes) -> None:
        method, _, rest = head.partition(b" ")
        path = rest.partition(b" ")[0].partition(b"?")[0]
        if method == b"POST" and path.endswith(b"/chat/completions"):
            self._complete(body)
        elif path.endswith(b"/stats"):
            self._write(200, orjson.dumps(self._provider.stats.as_dict()))
        elif method == b"POST" and path.endswith(b"/reset"):
            self._provider.reset()
            self._write(200, b"{}")
        elif path.endswith(b"/first"):
            self._busy = True
            self._waiting = asyncio.ensure_future(self._wait_for_first())
        elif path.endswith(b"/models"):
            self._write(200, b'{"object":"list","data":[{"id":"bench","object":"model"}]}')
        else:
            self._write(404, _error("no such route"))

    def _complete(self, body: bytes) -> None:
        try:
            request = orjson.loads(body)
            messages = request["messages"]
        except (orjson.JSONDecodeError, KeyError, TypeError):
            self._write(400, _error("the body is not a chat-completions request"))
            return
        if not messages or not all(isinstance(message, dict) for message in messages):
            self._write(400, _error("there must be at least one message, and each must be an object"))
            return
        error = self._provider.begin(body)
        if error == "hang":
            self._busy = True
            self._provider.stats.hung += 1
            self._provider.stats.in_flight -= 1
            if seconds := self._provider.behaviour.hang_seconds:
                asyncio.get_running_loop().call_later(seconds, self._hang_up)
        elif self._provider.behaviour.latency:
            self._busy = True
            loop = asyncio.get_running_loop()
            loop.call_later(self._provider.behaviour.latency, self._finish, request, error)
        else:
            self._finish(request, error)

    def _finish(self, request: dict[str, Any], error: str | None) -> None:
        stats = self._provider.stats
        stats.in_flight -= 1
        if self._transport is None:
            stats.abandoned += 1
            return
        if error == "429":
            after = f"Retry-After: {self._provider.behaviour.retry_after:g}\r\n".encode()
            self._write(429, _error("rate limit reached"), after + self._provider.limit_headers())
        elif error == "500":
            self._write(500, _error("the server failed"))
        else:
            body = answer(request)
            if error == "malformed":
                stats.malformed += 1
                body = body[: len(body) // 2]
            else:
                stats.served += 1
            self._write(200, body, self._provider.limit_headers())
        stats.last_answer = time.monotonic()
        if self._busy:
            self._busy = False
            self._read()

    def _hang_up(self) -> None:
        if self._transport is not None:
            self._transport.close()

    async def _wait_for_first(self) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._provider.first.wait(), FIRST_WAIT)
        self._write(200, orjson.dumps({"first_call": self._provider.stats.first_call}))
        self._busy = False
        self._read()

    def _refuse(self, status: int, reason: str) -> None:
        self._closing = True
        self._write(status, _error(reason))

    def _write(self, status: int, body: bytes, headers: bytes = b"") -> None:
        statuses = self._provider.stats.statuses
        statuses[status] = statuses.get(status, 0) + 1
        if self._transport is None:
            return
        self._transport.write(
            b"HTTP/1.1 %d %b\r\nContent-Type: application/json\r\nContent-Length: %d\r\n%b\r\n%b"
            % (status, _REASONS[status].encode(), len(body), headers, body)
        )
        if self._closing:
            self._transport.close()


def _error(message: str) -> bytes:
    return orjson.dumps({"error": {"message": message, "type": "mock_error", "code": None}})


async def serve(
    port: int, behaviour: Behaviour, seed: int, *, certificate: Path | None = None, until_stdin_closes: bool
) -> None:
    """Serve on the loopback ``port`` (0 for any free one) until cancelled.

    With ``certificate`` (a PEM file that holds the key as well) it also serves HTTPS, on a port of its own.
    """
    loop = asyncio.get_running_loop()
    provider = Provider(behaviour, seed)
    server = await loop.create_server(lambda: Connection(provider), "127.0.0.1", port, backlog=2048)
    ports = {"port": server.sockets[0].getsockname()[1]}
    async with server, contextlib.AsyncExitStack() as stack:
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            secure = await loop.create_server(
                lambda: Connection(provider), "127.0.0.1", 0, backlog=2048, ssl=context
            )
            await stack.enter_async_context(secure)
            ports["https_port"] = secure.sockets[0].getsockname()[1]
        print(json.dumps(ports), flush=True)
        if until_stdin_closes:
            await loop.run_in_executor(None, sys.stdin.read)
        else:
            await server.serve_forever()


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--port", type=int, default=0, help="0 for a free one")
    parser.add_argument("--latency-ms", type=float, default=0.0, help="before each answer")
    for kind, effect in {
        "429": "get 429",
        "500": "get 500",
        "hang": "are never answered",
        "malformed": "get half an answer",
    }.items():
        parser.add_argument(f"--rate-{kind}", type=float, default=0.0, help=f"share of calls that {effect}")
    parser.add_argument("--hang-seconds", type=float, default=0.0, help="before those are closed; 0: never")
    parser.add_argument("--limit-per-second", type=float, default=0.0, help="calls accepted; 0 for all")
    parser.add_argument("--halve-after", type=float, default=0.0, help="seconds until that limit is halved")
    parser.add_argument("--show-limit", type=float, default=0, help="1: describe that limit in headers")
    parser.add_argument("--retry-after", type=float, default=1.0, help="Retry-After of a 429, in seconds")
    parser.add_argument("--seed", type=int, default=0, help="of the errors")
    parser.add_argument("--distinct", action="store_true", help="count different requests as well")
    parser.add_argument("--certificate", type=Path, help="serve HTTPS too, with this PEM file")
    parser.add_argument("--cpu", type=int, help="the core to run on")
    parser.add_argument(
        "--until-stdin-closes", action="store_true", help="end with the process that started it"
    )
    return parser.parse_args()


def main() -> None:
    """Run the server."""
    arguments = _parse_arguments()
    if arguments.cpu is not None:
        os.sched_setaffinity(0, {arguments.cpu})
    behaviour = Behaviour(
        latency=arguments.latency_ms / 1000,
        rate_429=arguments.rate_429,
        rate_500=arguments.rate_500,
        rate_hang=arguments.rate_hang,
        rate_malformed=arguments.rate_malformed,
        retry_after=arguments.retry_after,
        hang_seconds=arguments.hang_seconds,
        limit_per_second=arguments.limit_per_second,
        halve_after=arguments.halve_after,
        show_limit=bool(arguments.show_limit),
        distinct=arguments.distinct,
    )
    with contextlib.suppress(KeyboardInterrupt):
        uvloop.run(
            serve(
                arguments.port,
                behaviour,
                arguments.seed,
                certificate=arguments.certificate,
                until_stdin_closes=arguments.until_stdin_closes,
            )
        )


if __name__ == "__main__":
    main()
