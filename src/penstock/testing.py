"""Test your own blocks, gates and pipelines against a scripted model.

``scripted_model`` starts a server on this machine that speaks OpenAI's chat completions protocol over a real
socket, and makes it the model that ``llm.complete`` asks. Nothing is patched: requests, retries, rate limits
and errors are real ones.

    async def test_the_block_asks_for_the_capital():
        async with scripted_model("Lisbon") as model:
            result = await Capital().execute({"country": "Portugal"})

        assert result == {"capital": "Lisbon"}
        assert model.asked == [["What is the capital of Portugal?"]]
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import orjson
from aiohttp import web

from penstock.llm import Client, use_client
from penstock.settings import Settings

__all__ = [
    "DROP",
    "HANG",
    "MALFORMED",
    "Answer",
    "ModelServer",
    "Reply",
    "echo",
    "last_user_message",
    "refusal",
    "scripted_model",
]


@dataclass(frozen=True)
class Reply:
    """What the server does with one request: an answer, or an error."""

    text: str = ""
    """The message of the model."""
    finish_reason: str = "stop"
    input_tokens: int | None = 7
    """Tokens that the answer reports; None leaves ``usage`` out."""
    output_tokens: int = 3
    cached_tokens: int = 0
    status: int = 200
    """The HTTP status."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Further HTTP headers."""
    body: bytes | None = None
    """Sent unchanged instead of a well-formed answer."""
    hang: bool = False
    """Accept the request and never answer."""
    drop: bool = False
    """Accept the request and close the connection."""


def refusal(status: int, message: str = "no", *, code: str | None = None, **headers: str) -> Reply:
    """An error answer with an HTTP status; headers are written with underscores: ``Retry_After="1"``."""
    body = orjson.dumps({"error": {"message": message, "type": "error", "code": code}})
    return Reply(status=status, body=body, headers={k.replace("_", "-"): v for k, v in headers.items()})


HANG = Reply(hang=True)
"""The server never answers."""
DROP = Reply(drop=True)
"""The server closes the connection without an answer."""
MALFORMED = Reply(body=b'{"choices": [{"message": {"cont')
"""The answer is not complete JSON."""

Answer = str | Reply
"""What the server is scripted with: the text of an answer, or a Reply."""


def last_user_message(body: Mapping[str, Any]) -> str:
    """The text of the last user message of a request; images and other parts are left out."""
    contents = [message["content"] for message in body.get("messages", ()) if message.get("role") == "user"]
    last = contents[-1] if contents else ""
    return last if isinstance(last, str) else " ".join(part.get("text", "") for part in last)


def echo(body: Mapping[str, Any]) -> str:
    """``echo: <last user message>``, which the server answers by default."""
    return f"echo: {last_user_message(body)}"


class ModelServer:
    """A scripted model provider on a free port of 127.0.0.1; ``async with`` starts and stops it.

    Scripted answers are given in order. After the last one, ``answer`` is called with each request's body.
    """

    def __init__(self, answer: Callable[[dict[str, Any]], Answer] = echo) -> None:
        self.answer = answer
        self.script: deque[Answer] = deque()
        self.latency = 0.0
        """Seconds before each answer."""
        self.capacity: int | None = None
        """How many requests the server accepts at once; one more is answered with 429."""
        self.refused_formats: set[str] = set()
        """Types of ``response_format`` that are answered with 400: ``json_schema``, ``json_object``."""
        self.requests: list[dict[str, Any]] = []
        """All requests: ``body``, ``headers`` (lower-case names) and ``path``."""
        self.in_flight = 0
        """Requests without an answer so far."""
        self.peak = 0
        """The largest value of ``in_flight``."""
        self.answered = 0
        """How many requests got a well-formed answer."""
        self.url = ""
        """The base URL, ending in ``/v1``."""
        self._runner: web.AppRunner | None = None
        self._stopped = asyncio.Event()
        self._received = asyncio.Event()

    @property
    def bodies(self) -> list[dict[str, Any]]:
        """The bodies of all requests, in order."""
        return [request["body"] for request in self.requests]

    @property
    def asked(self) -> list[list[Any]]:
        """The contents of the messages of each request, in order."""
        return [[message["content"] for message in body["messages"]] for body in self.bodies]

    def then(self, *replies: Answer) -> ModelServer:
        """Add answers to the script."""
        self.script.extend(replies)
        return self

    def settings(self, **changes: Any) -> Settings:
        """Settings whose model is this server; ``changes`` are further fields of Settings."""
        model = {"llm_endpoint": self.url, "llm_model": "scripted", "llm_api_key": "sk-scripted"}
        return Settings(**{**model, **changes})

    async def received(self, count: int = 1) -> None:
        """Wait until ``count`` requests have come in."""
        while len(self.requests) < count:
            self._received.clear()
            await self._received.wait()

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
        self._stopped.set()
        if self._runner is not None:
            await self._runner.cleanup()

    async def _complete(self, request: web.Request) -> web.StreamResponse:
        body = orjson.loads(await request.read())
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.requests.append({"body": body, "headers": headers, "path": request.path})
        self._received.set()
        self.in_flight += 1
        self.peak = max(self.peak, self.in_flight)
        try:
            if self.capacity is not None and self.in_flight > self.capacity:
                return self._send(refusal(429, "too many requests at once"), body)
            if self.latency:
                await asyncio.sleep(self.latency)
            if (body.get("response_format") or {}).get("type") in self.refused_formats:
                return self._send(refusal(400, "response_format is not supported"), body)
            reply = self.script.popleft() if self.script else self.answer(body)
            reply = Reply(reply) if isinstance(reply, str) else reply
            if reply.hang:
                await self._stopped.wait()
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


@asynccontextmanager
async def scripted_model(
    *replies: Answer, answer: Callable[[dict[str, Any]], Answer] = echo, **settings: Any
) -> AsyncIterator[ModelServer]:
    """Answer every model call in the ``async with`` from a script.

    ``replies`` are given in order; after the last one, ``answer`` is called with the body of each request.
    ``settings`` are fields of Settings, such as ``llm_timeout=1``. Blocks that name a model of their own ask
    this server as well, except for those that name an embedded model.
    """
    async with ModelServer(answer) as server:
        server.then(*replies)
        async with Client(server.settings(**settings)) as client:
            with use_client(client):
                yield server


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
