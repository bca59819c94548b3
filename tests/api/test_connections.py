"""Silent, slow and too many connections: each has a deadline, and none keeps others from being served."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from penstock.api.connections import Connections, Deadlines
from support.command import environment

SHORT = Deadlines(head=3, silence=3, body_rate=10, answer=3)
GET = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
LARGE = 8_000_000

Pair = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Service:
    """A small application behind the connections of the service; ``tick`` is a second of it."""

    def __init__(self, connections: Connections, port: int) -> None:
        self.connections = connections
        self.port = port
        self.streams: list[Callable[[], None]] = []
        """Each ends one answer of ``/stream``."""

    async def connect(self, data: bytes = b"") -> Pair:
        known = set(self.connections._open)
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)  # so that little waits there unread
        client.setblocking(False)
        await asyncio.get_running_loop().sock_connect(client, ("127.0.0.1", self.port))
        reader, writer = await asyncio.open_connection(sock=client)
        await until(lambda: len(self.connections._open - known) == 1 or reader.at_eof())
        if data:
            await self.send(writer, data)
        return reader, writer

    async def send(self, writer: asyncio.StreamWriter, data: bytes) -> None:
        """Send ``data`` and return when the service has read it."""
        writer.write(data)
        await writer.drain()
        await asyncio.sleep(0.02)

    async def get(self, path: str = "/health") -> int:
        """The status of an answer on a new connection; 0 when the connection was closed."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(GET.replace(b"/health", path.encode()))
        try:
            line = await asyncio.wait_for(reader.readline(), 10)
        except ConnectionError:
            return 0
        finally:
            writer.close()
        return int(line.split()[1]) if line else 0

    def tick(self, count: int = 1) -> None:
        for _ in range(count):
            self.connections.check()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.005)


@asynccontextmanager
async def serving(most: int = 50, spare: int = 2) -> AsyncIterator[Service]:
    connections = Connections(most, spare=spare, deadlines=SHORT)
    service = Service(connections, 0)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"]
        if path == "/body":
            while (await receive()).get("more_body"):
                pass
        await send({"type": "http.response.start", "status": 200, "headers": []})
        if path == "/stream":
            ended = asyncio.Event()
            service.streams.append(ended.set)
            await send({"type": "http.response.body", "body": b"data: 1\n\n", "more_body": True})
            await ended.wait()
        if path == "/large":
            for _ in range(100):
                await send({"type": "http.response.body", "body": b"x" * (LARGE // 100), "more_body": True})
        await send({"type": "http.response.body", "body": b"fine"})

    config = uvicorn.Config(
        app,
        http=connections.protocol,
        ws="none",
        lifespan="off",
        port=0,
        log_config=None,
    )
    server = uvicorn.Server(config)
    config.load()
    server.lifespan = config.lifespan_class(config)
    await server.startup()
    service.port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield service
    finally:
        for end in service.streams:
            end()
        for connection in list(connections._open):
            connection.abort()
        for listener in server.servers:
            listener.close()
        await asyncio.sleep(0)


async def is_closed(pair: Pair) -> bool:
    """Whether the service closes the connection, after an answer or without one."""
    try:
        async with asyncio.timeout(10):
            await pair[0].read()
    except ConnectionError:
        return True
    finally:
        pair[1].close()
    return True


@pytest.mark.parametrize(
    "sent", [b"", b"\r\n", b"GET /hea", GET[:-2]], ids=["nothing", "empty line", "part of a line", "no end"]
)
async def test_a_request_that_does_not_arrive_is_closed_after_the_deadline(sent: bytes) -> None:
    async with serving() as service:
        pair = await service.connect(sent)
        service.tick(SHORT.head)
        before = len(service.connections)
        service.tick()

        assert before == 1
        assert await is_closed(pair)


async def test_headers_that_come_byte_by_byte_do_not_move_their_deadline() -> None:
    async with serving() as service:
        reader, writer = await service.connect()
        for byte in (b"G", b"E", b"T", b" "):
            await service.send(writer, byte)
            service.tick()

        answer = await reader.read()

        assert b" 408 " in answer.splitlines()[0]
        assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"].startswith("The request took too long")
        writer.close()


async def test_empty_lines_between_requests_do_not_keep_a_connection() -> None:
    async with serving() as service:
        reader, writer = await service.connect(GET)
        assert b" 200 " in await reader.readline()
        for _ in range(SHORT.head + 1):
            await service.send(writer, b"\r\n")
            service.tick()

        assert await is_closed((reader, writer))


async def test_a_body_that_falls_silent_is_closed() -> None:
    async with serving() as service:
        pair = await service.connect(b"POST /body HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\nsome")
        service.tick(SHORT.silence)
        before = len(service.connections)
        service.tick()

        assert before == 1
        assert await is_closed(pair)


async def test_a_body_that_comes_byte_by_byte_is_closed_and_a_steady_one_is_read() -> None:
    head = b"POST /body HTTP/1.1\r\nHost: x\r\nContent-Length: 200\r\n\r\n"
    async with serving() as service:
        slow, steady = await service.connect(head), await service.connect(head)
        for _ in range(10):
            slow[1].write(b"x")
            await service.send(steady[1], b"x" * 20)
            service.tick()

        assert b" 200 " in await steady[0].readline()
        assert await is_closed(slow)
        steady[1].close()


async def test_a_body_whose_request_was_answered_before_is_not_read_for_ever() -> None:
    async with serving() as service:
        reader, writer = await service.connect(
            b"POST /early HTTP/1.1\r\nHost: x\r\nContent-Length: 99999\r\n\r\n"
        )
        assert b" 200 " in await reader.readline()
        for _ in range(SHORT.head + 1):
            await service.send(writer, b"x" * 100)
            service.tick()

        assert await is_closed((reader, writer))


async def test_a_stream_of_events_has_no_deadline() -> None:
    async with serving() as service:
        reader, writer = await service.connect(GET.replace(b"/health", b"/stream"))
        await reader.readuntil(b"data: 1\n\n")

        service.tick(100_000)
        service.streams[0]()

        assert b"fine" in await asyncio.wait_for(reader.readuntil(b"fine"), 10)
        writer.close()


async def test_a_client_that_does_not_read_its_answer_is_closed_and_a_slow_one_gets_all() -> None:
    async with serving() as service:
        stuck = await service.connect(GET.replace(b"/health", b"/large"))
        slow = await service.connect(GET.replace(b"/health", b"/large"))
        received = 0
        for _ in range(SHORT.answer + 3):
            received += len(await slow[0].readexactly(200_000))
            await asyncio.sleep(0.02)
            service.tick()
        open_now = len(service.connections)
        while chunk := await slow[0].read(1 << 16):
            received += len(chunk)
            if chunk.endswith(b"0\r\n\r\n"):
                break

        assert open_now == 1
        assert received > LARGE
        stuck[1].close()
        slow[1].close()


async def test_headers_without_end_are_refused() -> None:
    async with serving() as service:
        head = b"GET / HTTP/1.1\r\n" + b"".join(b"X-%d: %s\r\n" % (n, b"y" * 8000) for n in range(9))
        reader, writer = await service.connect(head)

        assert b" 431 " in await reader.readline()
        writer.close()


async def test_headers_after_a_body_are_left_out() -> None:
    async with serving() as service:
        chunked = b"POST /body HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n"
        reader, writer = await service.connect(chunked + b"X-Late: 1\r\n\r\n")
        connection = next(iter(service.connections._open))

        assert b" 200 " in await reader.readline()
        assert not any(name == b"x-late" for name, _ in connection.headers)
        writer.close()


async def test_silent_connections_keep_nobody_from_being_served(caplog: pytest.LogCaptureFixture) -> None:
    async with serving(most=10) as service:
        idle = [await service.connect(sent) for sent in (b"", b"GET /") * 20]
        found = [await service.get(path) for path in ("/health", "/other", "/body")]
        with caplog.at_level(logging.WARNING):
            service.tick()

        assert found == [200, 200, 200]
        assert len(service.connections) <= 10
        (line,) = [record.getMessage() for record in caplog.records]
        assert "the most that this process accepts" in line
        for _, writer in idle:
            writer.close()


async def test_bodies_that_have_fallen_silent_make_room_too() -> None:
    async with serving(most=4) as service:
        request = b"POST /body HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nx"
        pairs = [await service.connect(request) for _ in range(4)]
        service.tick(2)

        assert await service.get("/other") == 200
        for _, writer in pairs:
            writer.close()


async def test_when_all_are_busy_others_get_503_and_health_is_answered() -> None:
    async with serving(most=3, spare=2) as service:
        streams = [await service.connect(GET.replace(b"/health", b"/stream")) for _ in range(3)]
        await until(lambda: len(service.streams) == 3)

        refused, health = await service.get("/other"), await service.get("/health")
        held = [await service.connect() for _ in range(4)]
        healthy_still = await service.get("/health")

        assert (refused, health, healthy_still) == (503, 200, 200)
        assert len(service.connections) <= 5
        for _, writer in (*streams, *held):
            writer.close()


async def test_a_kept_connection_is_used_for_many_requests() -> None:
    async with serving(most=2) as service:
        reader, writer = await service.connect()
        for _ in range(50):
            writer.write(GET)
            await reader.readuntil(b"0\r\n\r\n")
            service.tick()

        assert len(service.connections) == 1
        writer.close()


async def test_pipelined_requests_are_answered_in_order_and_not_late() -> None:
    async with serving() as service:
        stream = GET.replace(b"/health", b"/stream")
        reader, writer = await service.connect(stream + GET + b"GET /health HT")
        await reader.readuntil(b"data: 1\n\n")
        service.tick(20)
        service.streams[0]()

        await reader.readuntil(b"0\r\n\r\n")
        assert b" 200 " in await asyncio.wait_for(reader.readline(), 10)
        writer.close()


async def test_a_request_for_a_websocket_is_answered_like_any_other(caplog: pytest.LogCaptureFixture) -> None:
    upgrade = GET.replace(b"\r\n\r\n", b"\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
    async with serving() as service:
        reader, writer = await service.connect(upgrade)

        assert b" 200 " in await reader.readline()
        assert not caplog.records
        writer.close()


@pytest.mark.skipif(os.name == "nt", reason="the shell is bash")
async def test_the_service_leaves_itself_descriptors_whatever_others_connect(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        *("bash", "-c", f"ulimit -n 64; exec {sys.executable} -m penstock serve --port 0"),
        cwd=tmp_path,
        env=environment(None, tmp_path),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        line = (await asyncio.wait_for(process.stdout.readline(), 60)).decode()
        service = Service(Connections(1), int(line.rpartition(":")[2]))
        idle = [await asyncio.open_connection("127.0.0.1", service.port) for _ in range(150)]
        found = [await service.get("/health") for _ in range(3)]
    finally:
        process.terminate()
        _, log = await asyncio.wait_for(process.communicate(), 60)
    for _, writer in idle:
        writer.close()

    assert found == [200, 200, 200]
    assert process.returncode == 0
    assert b"Traceback" not in log
