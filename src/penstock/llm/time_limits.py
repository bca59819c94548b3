"""Time limits of requests, which leave out the time in which our own process stood still.

After ``docker pause``, Ctrl-Z or a block that held the event loop, every timer is due at once, although the
answers have long been waiting in the sockets. Limits are measured by a clock that stops with the process.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

_BEAT = 0.5
"""Seconds between two looks at the loop's clock; what is missing beyond them is a standstill."""
_STANDSTILL = 0.5
_READING = 1.0
"""Seconds in which what came during a standstill is read before a limit ends a request."""
_LEAST = 0.001


class RunningClock:
    """The seconds in which an event loop ran; they count while at least one time limit is in force."""

    __slots__ = ("_limits", "_lost", "_resumed_at", "_seen", "_timer", "loop")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._limits = 0
        self._lost = 0.0
        self._seen = 0.0
        self._resumed_at = float("-inf")
        self._timer: asyncio.TimerHandle | None = None

    def time(self) -> float:
        """Seconds that never go back, from any start."""
        now = self.loop.time()
        if now - self._seen > _BEAT and self._timer is not None:
            self._leave_out_standstill(now)
        return now - self._lost

    @property
    def reading(self) -> float:
        """Seconds that are left to read what came during a standstill; 0 or less long after it."""
        return self._resumed_at + _READING - self.loop.time()

    def start(self) -> None:
        """Begin to watch for standstills, for one more limit."""
        self._limits += 1
        if self._timer is None:
            self._seen = self.loop.time()
            self._timer = self.loop.call_later(_BEAT, self._beat)

    def stop(self) -> None:
        """Take one limit off."""
        self._limits -= 1

    def _beat(self) -> None:
        now = self.loop.time()
        self._leave_out_standstill(now)
        self._seen = now
        self._timer = self.loop.call_later(_BEAT, self._beat) if self._limits else None

    def _leave_out_standstill(self, now: float) -> None:
        gap = now - self._seen - _BEAT
        if gap > 0.0:
            self._lost += gap
            self._seen = now - _BEAT
            if gap > _STANDSTILL:
                self._resumed_at = now


_clocks: dict[asyncio.AbstractEventLoop, RunningClock] = {}


def running_clock() -> RunningClock:
    """The clock of the running event loop."""
    loop = asyncio.get_running_loop()
    clock = _clocks.get(loop)
    if clock is None:
        for closed in [one for one in _clocks if one.is_closed()]:
            del _clocks[closed]
        clock = _clocks[loop] = RunningClock(loop)
    return clock


class TimeLimit:
    """Calls ``expire`` after so many seconds in which the event loop ran, unless it is cancelled before."""

    __slots__ = ("_clock", "_ends_at", "_expire", "_has_read", "_timer")

    def __init__(self, seconds: float, expire: Callable[[], object]) -> None:
        self._clock = clock = running_clock()
        clock.start()
        self._ends_at = clock.time() + seconds
        self._expire = expire
        self._has_read = False
        self._timer: asyncio.TimerHandle | None = clock.loop.call_later(max(seconds, 0.0), self._check)

    def cancel(self) -> None:
        """End the limit."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            self._clock.stop()

    def _check(self) -> None:
        left = self._ends_at - self._clock.time()
        if left < _LEAST and not self._has_read:
            self._has_read, left = True, self._clock.reading
        if left >= _LEAST:
            self._timer = self._clock.loop.call_later(left, self._check)
        else:
            self.cancel()
            self._expire()


@asynccontextmanager
async def time_limit(seconds: float) -> AsyncIterator[TimeLimit]:
    """Raise TimeoutError when the ``async with`` takes longer, unless the limit is cancelled before."""
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(None) as scope:
        limit = TimeLimit(seconds, lambda: scope.reschedule(loop.time()))
        try:
            yield limit
        finally:
            limit.cancel()
