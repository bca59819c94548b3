"""A model server that says what a test tells it to: OpenAI's chat completions over a real socket."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import orjson
from aiohttp import web


@dataclass(frozen=True)
class Reply:
    """One answer, or one fault: what the server does with a request."""

    text: str = ""
    finish_reason: str = "stop"
    input_tokens: int | None = 7
    """None leaves ``usage`` out of the answer altogether."""
    output_tokens: int = 3
    cached_tokens: int = 0
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    """Sent as it is, instead of a well-formed answer."""
    hang: bool = False
    """Take the request and never answer."""
    drop: bool = False
    """Take the request and close the connection."""


def refusal(status: int, message: str = "no", *, code: str | None = None, **headers: str) -> Reply:
    """An error answer; headers are written with underscores: ``Retry_After="1"``."""
    body = orjson.dumps({"error": {"message": message, "type": "error", "code": code}})
    return Reply(status=status, body=body, headers={k.replace("_", "-"): v for k, v in headers.items()})


HANG = Reply(hang=True)
DROP = Reply(drop=True)
MALFORMED = Reply(body=b'{"choices": [{"message": {"cont')

Answer = str | Reply


def last_user_message(body: Mapping[str, Any]) -> str:
    """What the user said last; images and other parts are left out."""
    said = [message["content"] for message in body.get("messages", ()) if message.get("role") == "user"]
    last = said[-1] if said else ""
    return last if isinstance(last, str) else " ".join(part.get("text", "") for part in last)


def echo(body: Mapping[str, Any]) -> str:
    """What the server answers unless it is told otherwise."""
    return f"echo: {last_user_message(body)}"


class ModelServer:
    """A scripted provider on a free port of 127.0.0.1; ``async with`` starts and stops it.

    Scripted replies are given in order, then ``answer`` (a function of the request's body) is asked.
    """

    def __init__(self, answer: Callable[[dict[str, Any]], Answer] = echo) -> None:
        self.answer = answer
        self.script: deque[Answer] = deque()
        self.latency = 0.0
        """Seconds before each answer."""
        self.capacity: int | None = None
        """The most requests at once; one more is answered with 429."""
        self.refused_formats: set[str] = set()
        """Types of ``response_format`` that are answered with 400: ``json_schema``, ``json_object``."""
        self.hold_after: int | None = None
        """How many requests to answer before the others wait for ``release``; None holds none back."""
        self.requests: list[dict[str, Any]] = []
        """What came in: ``body``, ``headers`` (lower-case names) and ``path``."""
        self.in_flight = 0
        self.peak = 0
        """The most requests that were ever in flight."""
        self.answered = 0
        """How many requests got a well-formed answer."""
        self.url = ""
        """The base URL, ending in ``/v1``."""
        self._runner: web.AppRunner | None = None
        self._hung = asyncio.Event()
        self._came = asyncio.Event()
        self._released = asyncio.Event()

    @property
    def bodies(self) -> list[dict[str, Any]]:
        """The bodies of all requests, in order."""
        return [request["body"] for request in self.requests]

    @property
    def asked(self) -> list[list[Any]]:
        """The contents of the messages of each request, in order."""
        return [[message["content"] for message in body["messages"]] for body in self.bodies]

    def then(self, *replies: Answer) -> ModelServer:
        """Give these replies next, in order."""
        self.script.extend(replies)
        return self

    async def received(self, count: int = 1) -> None:
        """Wait until ``count`` requests have come in."""
        while len(self.requests) < count:
            self._came.clear()
            await self._came.wait()

    def release(self) -> None:
        """Answer the requests that ``hold_after`` held back, and all later ones."""
        self.hold_after = None
        self._released.set()
        self._released = asyncio.Event()

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=64 * 2**20)
        app.router.add_post("/{path:.*}", self._complete)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1, handle_signals=False)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0, backlog=4096)
        await site.start()
        port = self._runner.addresses[0][1]
        self.url = f"http://127.0.0.1:{port}/v1"
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._hung.set()
        self.release()
        if self._runner is not None:
            await self._runner.cleanup()

    async def _complete(self, request: web.Request) -> web.StreamResponse:
        body = orjson.loads(await request.read())
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.requests.append({"body": body, "headers": headers, "path": request.path})
        self._came.set()
        number = len(self.requests)
        self.in_flight += 1
        self.peak = max(self.peak, self.in_flight)
        try:
            if self.capacity is not None and self.in_flight > self.capacity:
                return self._send(refusal(429, "too many requests at once"), body)
            if self.latency:
                await asyncio.sleep(self.latency)
            if self.hold_after is not None and number > self.hold_after:
                await self._released.wait()
            if (body.get("response_format") or {}).get("type") in self.refused_formats:
                return self._send(refusal(400, "response_format is not supported"), body)
            reply = self.script.popleft() if self.script else self.answer(body)
            reply = Reply(reply) if isinstance(reply, str) else reply
            if reply.hang:
                await self._hung.wait()
            if reply.hang or reply.drop:
                if request.transport is not None:
                    request.transport.abort()
                return web.Response()
            return self._send(reply, body)
        finally:
            self.in_flight -= 1

    def _send(self, reply: Reply, body: Mapping[str, Any]) -> web.Response:
        content = reply.body
        if content is None:
            self.answered += 1
            content = orjson.dumps(_to_completion(reply, body))
        return web.Response(
            body=content, status=reply.status, headers=reply.headers, content_type="application/json"
        )


def _to_completion(reply: Reply, body: Mapping[str, Any]) -> dict[str, Any]:
    completion: dict[str, Any] = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": body.get("model", ""),
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": reply.text},
                "finish_reason": reply.finish_reason,
            }
        ],
    }
    if reply.input_tokens is not None:
        completion["usage"] = {
            "prompt_tokens": reply.input_tokens,
            "completion_tokens": reply.output_tokens,
            "total_tokens": reply.input_tokens + reply.output_tokens,
            "prompt_tokens_details": {"cached_tokens": reply.cached_tokens},
        }
    return completion
