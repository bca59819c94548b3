"""How many requests one provider and model gets at once.

The limit starts at the most that the settings allow and learns from refusals. Starting low and growing would
be kinder to the provider for one second of each run, but a refused request is cheap (it is deferred, never
dropped), while every run would pay for a slow start: at 200 ms an answer, doubling from 8 to 256 takes a
second. On 429 the limit falls to six tenths of what was in flight, at most once a round trip; while answers
come it grows again, the faster the longer no refusal was seen.
"""

from __future__ import annotations

import asyncio
from collections import deque
from time import monotonic

_ON_REFUSAL = 0.6
_ON_FAULT = 0.9


class Limiter:
    """Permits for requests, handed out in the order of asking; all methods but ``acquire`` return at once."""

    __slots__ = ("_resumes_at", "_shrunk_at", "_waiting", "answers", "in_flight", "limit", "most")

    def __init__(self, most: int) -> None:
        self.most = most
        self.limit = float(most)
        self.in_flight = 0
        self.answers = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._shrunk_at = 0.0
        self._resumes_at = 0.0

    @property
    def waiting(self) -> int:
        """How many ask for a permit."""
        return len(self._waiting)

    @property
    def pause(self) -> float:
        """Seconds until the provider takes requests again."""
        return max(0.0, self._resumes_at - monotonic())

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
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # the permit came in the same moment
                self.release()
            raise

    def release(self) -> None:
        """Give a permit back."""
        self.in_flight -= 1
        if self._waiting:
            self._hand_out()

    def on_answer(self) -> None:
        """Grow a little: by one request a round trip at first, faster with the seconds that go well."""
        self.answers += 1
        if self.limit < self.most and self.in_flight >= int(self.limit):
            step = max(1.0, monotonic() - self._shrunk_at)
            self.limit = min(self.most, self.limit + step / self.limit)

    def on_refusal(self, sent_at: float, retry_after: float | None = None) -> None:
        """Shrink, because the provider refused a request sent at ``sent_at`` (monotonic) for being too many.

        With ``retry_after`` (seconds) nobody gets a permit until then.
        """
        self._shrink(sent_at, _ON_REFUSAL)
        if retry_after:
            self._resumes_at = max(self._resumes_at, monotonic() + retry_after)
            asyncio.get_running_loop().call_later(retry_after, self._resume)

    def on_fault(self, sent_at: float) -> None:
        """Shrink gently, because the provider failed or kept silent."""
        self._shrink(sent_at, _ON_FAULT)

    def _shrink(self, sent_at: float, factor: float) -> None:
        if sent_at >= self._shrunk_at:  # a request sent before the last shrinking says nothing new
            self.limit = max(1.0, min(self.limit, self.in_flight) * factor)
            self._shrunk_at = monotonic()

    def _resume(self) -> None:
        if (left := self._resumes_at - monotonic()) > 0:  # loops round time, so this may come a little early
            asyncio.get_running_loop().call_later(left, self._resume)
            return
        self._resumes_at = 0.0
        self._hand_out()

    def _hand_out(self) -> None:
        while self._waiting and self.in_flight < int(self.limit) and not self._resumes_at:
            turn = self._waiting.popleft()
            if not turn.done():
                self.in_flight += 1
                turn.set_result(None)
