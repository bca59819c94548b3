"""How many requests one provider and model gets at once.

The limit starts at the most that the settings allow and adapts to the provider's 429 answers: it falls to
six tenths of what was in flight, at most once a round trip, and grows again while answers come, faster the
longer no 429 was seen. ``docs/decisions/limiter-start.md`` says why it does not start low.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from time import monotonic

_RATE_LIMIT_FACTOR = 0.6
_ERROR_FACTOR = 0.9


class Limiter:
    """Permits for requests, given in the order of asking; only ``acquire`` waits.

    ``clock`` gives seconds that never go back; every time passed to a method must come from it.
    """

    __slots__ = ("_resumes_at", "_shrunk_at", "_waiting", "answers", "clock", "in_flight", "limit", "maximum")

    def __init__(self, maximum: int, clock: Callable[[], float] = monotonic) -> None:
        self.maximum = maximum
        self.clock = clock
        self.limit = float(maximum)
        self.in_flight = 0
        self.answers = 0
        """How many requests the provider has answered so far."""
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._shrunk_at = 0.0
        self._resumes_at = 0.0

    @property
    def waiting(self) -> int:
        """How many calls wait for a permit."""
        return len(self._waiting)

    @property
    def pause(self) -> float:
        """Seconds until the provider takes requests again."""
        return max(0.0, self._resumes_at - self.clock())

    def try_acquire(self) -> bool:
        """Take a permit if one is free and nobody waits for it."""
        if self.in_flight >= int(self.limit) or self._waiting or self._resumes_at:
            return False
        self.in_flight += 1
        return True

    async def acquire(self) -> None:
        """Wait for a permit."""
        if self.try_acquire():
            return
        permit = asyncio.get_running_loop().create_future()
        self._waiting.append(permit)
        try:
            await permit
        except asyncio.CancelledError:
            if permit.done() and not permit.cancelled():  # given just before the cancellation
                self.release()
            raise

    def release(self) -> None:
        """Give a permit back."""
        self.in_flight -= 1
        if self._waiting:
            self._give_permits()

    def on_answer(self) -> None:
        """Grow the limit: by one request a round trip at first, faster with the seconds since it shrank."""
        self.answers += 1
        if self.limit < self.maximum and self.in_flight >= int(self.limit):
            step = max(1.0, self.clock() - self._shrunk_at)
            self.limit = min(self.maximum, self.limit + step / self.limit)

    def on_rate_limit(self, sent_at: float, retry_after: float | None = None) -> None:
        """Shrink the limit, because the provider answered 429 to a request sent at ``sent_at``.

        With ``retry_after`` (seconds) no permit is given until then.
        """
        self._shrink(sent_at, _RATE_LIMIT_FACTOR)
        if retry_after:
            self._resumes_at = max(self._resumes_at, self.clock() + retry_after)
            asyncio.get_running_loop().call_later(retry_after, self._resume)

    def on_error(self, sent_at: float) -> None:
        """Shrink the limit slightly, because the provider failed or did not answer."""
        self._shrink(sent_at, _ERROR_FACTOR)

    def _shrink(self, sent_at: float, factor: float) -> None:
        if sent_at >= self._shrunk_at:  # an earlier request says nothing about the present limit
            self.limit = max(1.0, min(self.limit, self.in_flight) * factor)
            self._shrunk_at = self.clock()

    def _resume(self) -> None:
        if (left := self._resumes_at - self.clock()) > 0:  # event loops round time, so this may be early
            asyncio.get_running_loop().call_later(left, self._resume)
            return
        self._resumes_at = 0.0
        self._give_permits()

    def _give_permits(self) -> None:
        while self._waiting and self.in_flight < int(self.limit) and not self._resumes_at:
            permit = self._waiting.popleft()
            if not permit.done():
                self.in_flight += 1
                permit.set_result(None)
