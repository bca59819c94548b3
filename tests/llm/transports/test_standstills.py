"""The time in which our own process stands still is not charged to the provider."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from pydantic import SecretStr

from penstock.llm import CallContext, Client, use_call_context
from penstock.settings import Settings
from support.messages import say

GOOD = b'{"choices":[{"message":{"role":"assistant","content":"ok"}}]}'


@contextmanager
def slow_server(seconds: float) -> Iterator[tuple[int, list[int], threading.Event]]:
    """The port of a server in a thread, which answers so late, its requests, and when the first one came."""
    requests: list[int] = []
    arrived = threading.Event()

    def answer(connection: socket.socket) -> None:
        with connection:
            while connection.recv(65536):
                requests.append(1)
                arrived.set()
                time.sleep(seconds)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(GOOD), GOOD))

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=answer, args=(connection,), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=accept, daemon=True).start()
        yield listener.getsockname()[1], requests, arrived
        listener.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize(
    ("transport", "name", "path"),
    [("pool", "mock", "/v1"), ("aiohttp", "mock", "/v1"), ("auto", "deepseek/mock", "")],
    ids=["pool", "aiohttp", "litellm"],
)
async def test_answers_that_came_while_the_process_stood_still_are_read(
    transport: str, name: str, path: str
) -> None:
    with slow_server(0.3) as (port, requests, arrived):
        settings = Settings(
            llm_endpoint=f"http://127.0.0.1:{port}{path}",
            llm_model=name,
            llm_api_key=SecretStr("sk-test-0123456789"),
            llm_transport=transport,  # type: ignore[arg-type]  # one of its names
        )
        async with Client(settings) as client:  # litellm imports more at its first call
            await client.complete(say("first"))
        arrived.clear()
        settings = settings.model_copy(update={"llm_timeout": 2.0, "llm_deadline": 2.0})
        async with Client(settings) as client:
            with use_call_context(CallContext()) as calls:
                call = asyncio.create_task(client.complete(say("a")))
                await asyncio.to_thread(arrived.wait, 60.0)
                time.sleep(2.5)  # noqa: ASYNC251  as SIGSTOP, ``docker pause`` or a block would
                completion = await call

    assert completion.text == "ok"
    assert calls.calls[0]["retries"] == 0
    assert len(requests) == 2
