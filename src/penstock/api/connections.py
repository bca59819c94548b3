"""The connections of the service: how many there may be, and how long one of them may be silent.

A client that connects and then sends nothing, or very slowly, holds a connection and needs no token. So a
request has deadlines, and when there are too many connections, the one that has waited longest makes room.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from typing import Any, NamedTuple, cast

from starlette.types import Message, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from penstock.api.errors import error_response

logger = logging.getLogger("penstock.api.connections")

_HEALTH = "/health"
_LARGEST_HEAD = 64 * 2**10
"""Bytes of request line and headers."""
_LOG_TICKS = 60
"""The shortest time between two lines in the log."""


class Deadlines(NamedTuple):
    """How long a connection may take, in ticks: looks of ``Connections.check``, one a second.

    Ticks and no clock, since a process that stood still must not close connections that it has not read.
    """

    head: int = 20
    """To begin a request, and to complete its headers."""
    silence: int = 30
    """Without a byte inside a body."""
    body_rate: int = 256
    """The fewest bytes a tick in a body, after the first ``silence``."""
    answer: int = 60
    """Without reading any of the answer that waits."""


class Connections:
    """Counts the connections, makes room for new ones, and closes those that are overdue.

    Of ``most`` connections, any may wait for a request. When there are more, the one that has waited longest
    is closed. When none waits, ``spare`` more are accepted, which are answered ``/health`` and otherwise 503.
    """

    def __init__(self, most: int, *, spare: int = 4, deadlines: Deadlines | None = None) -> None:
        self.deadlines = deadlines or Deadlines()
        self.tick = 0
        self._most = most
        self._spare = spare
        self._open: set[Connection] = set()
        self._waiting: dict[Connection, None] = {}
        """Those that have no request in progress, the longest-waiting first."""
        self._closed = 0
        """How many were closed or refused to make room, since the last line in the log."""
        self._logged_at = -_LOG_TICKS

    def __len__(self) -> int:
        return len(self._open)

    @property
    def protocol(self) -> type[asyncio.Protocol]:
        """What uvicorn is to make its connections of."""
        return cast("type[asyncio.Protocol]", partial(Connection, self))

    async def watch(self, seconds: float = 1.0) -> None:
        """Check all connections once a second, for ever."""
        while True:
            await asyncio.sleep(seconds)
            self.check()

    def check(self) -> None:
        """Close the connections that are overdue."""
        self.tick += 1
        for connection in list(self._open):
            connection.check(self.tick)
        if self._closed and self.tick - self._logged_at >= _LOG_TICKS:
            logger.warning(
                "%d connections are open, the most that this process accepts (`ulimit -n` limits them): "
                "%d were closed or refused to make room",
                len(self._open),
                self._closed,
            )
            self._closed, self._logged_at = 0, self.tick

    def add(self, connection: Connection) -> bool:
        """Count a new connection; False when it can only be asked ``/health``."""
        self._open.add(connection)
        has_room = len(self._open) <= self._most or self._make_room()
        self._waiting[connection] = None
        if not has_room:
            self._closed += 1
            if len(self._open) > self._most + self._spare:
                connection.abort()
        return has_room

    def remove(self, connection: Connection) -> None:
        """Forget a connection that is closed."""
        self._open.discard(connection)
        self._waiting.pop(connection, None)

    def begin(self, connection: Connection) -> None:
        """Note that the connection has sent the headers of a request."""
        self._waiting.pop(connection, None)

    def end(self, connection: Connection) -> None:
        """Note that the connection has got its answer."""
        if connection in self._open:
            self._waiting[connection] = None

    def _make_room(self) -> bool:
        """Close the connection that has waited longest, or whose body has been silent for longest."""
        longest = next(iter(self._waiting), None)
        if longest is None:
            silent = [one for one in self._open if one.silence(self.tick) > 1]
            longest = max(silent, key=lambda one: one.silence(self.tick), default=None)
        if longest is None:
            return False
        self._closed += 1
        longest.abort()
        return True


class Connection(HttpToolsProtocol):
    """uvicorn's connection, with deadlines."""

    def __init__(self, connections: Connections, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._all = connections
        self._since = connections.tick
        """When it was opened, began its latest request, or got its latest answer."""
        self._heard = connections.tick
        """When its latest bytes came."""
        self._received = 0
        """Bytes of the present headers, or of the present body."""
        self._in_body = False
        self._unsent = (0, 0)
        """Bytes of answers that waited at the last check, here and in the kernel."""
        self._stalled = 0
        """For how many checks the client has read nothing, although there was something."""
        self._only_health = False

    @property
    def _is_answering(self) -> bool:
        """Whether a request is in progress whose headers are complete."""
        return self.cycle is not None and not self.cycle.response_complete

    def silence(self, tick: int) -> int:
        """For how many ticks the body of the present request has been silent."""
        return tick - self._heard if self._in_body and not self.flow.read_paused else 0

    def check(self, tick: int) -> None:
        """Close the connection when it is overdue."""
        limits = self._all.deadlines
        self._check_reader()
        if self._stalled > limits.answer:
            self.abort()
        elif not self._is_answering:
            if tick - self._since > limits.head:
                self._end_late_request()
        elif self._in_body and self.flow.read_paused:  # we do not read: the client may not be to blame
            self._heard = tick
            self._since += 1
        elif self._in_body:
            allowed = limits.silence + self._received // limits.body_rate
            if self.silence(tick) > limits.silence or tick - self._since > allowed:
                self.abort()

    def _check_reader(self) -> None:
        """Count for how long the client has read nothing of what waits for it."""
        size = self.transport.get_write_buffer_size()
        if not size:
            self._stalled = 0
            return
        unsent = (size, _count_queued(self.transport))
        is_stalled = unsent[0] >= self._unsent[0] and unsent[1] == self._unsent[1]
        self._stalled = self._stalled + 1 if is_stalled else 0
        self._unsent = unsent

    def abort(self) -> None:
        """Close the connection now, also when the client does not read."""
        self.transport.abort()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Called by the event loop."""
        super().connection_made(transport)
        if not self._all.add(self):
            self._only_health = True
            self.app = _only_health(self.app)

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by the event loop."""
        self._all.remove(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Called by the event loop."""
        self._heard = self._all.tick
        self._received += len(data)
        super().data_received(data)
        if not self._in_body and not self._is_answering and self._received > _LARGEST_HEAD:
            self._refuse(431, "The headers of the request are too large.")

    def on_message_begin(self) -> None:
        """Called by the parser."""
        self._since = self._all.tick
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Called by the parser; headers after a body are left out."""
        if not self._in_body:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Called by the parser."""
        self._in_body, self._received = True, 0
        self._all.begin(self)
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Called by the parser."""
        self._in_body, self._received = False, 0
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Called when an answer was sent."""
        self._since = self._all.tick
        super().on_response_complete()
        if self._only_health:
            self.transport.close()
        elif not self._is_answering:
            self._all.end(self)

    def _end_late_request(self) -> None:
        if self._received and not self._in_body:
            self._refuse(408, "The request took too long to arrive.")
        else:
            self.abort()

    def _refuse(self, status: int, message: str) -> None:
        """Answer a request that has not fully arrived, and close the connection."""
        if self.transport.is_closing():
            return
        response = error_response(status, message)
        lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}", "connection: close"]
        lines += [f"{name}: {value}" for name, value in response.headers.items()]
        self.transport.write("\r\n".join([*lines, "", ""]).encode("latin-1") + bytes(response.body))
        self.transport.close()

    def _unsupported_upgrade_warning(self) -> None:
        """A request for a WebSocket is answered as if it had not asked for one."""


def _count_queued(transport: asyncio.Transport) -> int:
    """Bytes that the kernel has, and that the other side has not acknowledged; 0 where that is not known."""
    try:
        import fcntl
        import termios

        answer = fcntl.ioctl(transport.get_extra_info("socket").fileno(), termios.TIOCOUTQ, bytes(4))
    except (ImportError, AttributeError, OSError, ValueError):
        return 0
    return int.from_bytes(answer, sys.byteorder)


def _only_health(app: Any) -> Callable[[Scope, Receive, Send], Any]:
    """An application that answers ``/health`` as ``app`` does, and everything else with 503."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        async def send_last(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message["headers"], (b"connection", b"close")]}
            await send(message)

        if scope["path"] == _HEALTH:
            await app(scope, receive, send_last)
            return
        busy = error_response(503, "The service has too many connections; try again in a moment.")
        busy.headers["retry-after"] = "1"
        await busy(scope, receive, send_last)

    return answer
