"""How many requests one provider and model gets at once, and how fast.

The limit starts at the most that the settings allow. It shrinks when the provider refuses a large share of
the requests (429) or fails to answer a large share of them, and grows again while answers come. A rate
(``pacing``) and what the provider itself says in its headers (``quotas``) limit the requests as well.
``docs/decisions/limiter-adapts.md`` gives the reasons and the figures.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from itertools import islice
from time import monotonic

from penstock.llm.pacing import Pace, is_large_share
from penstock.llm.quotas import Quota, Quotas

_RATE_LIMIT_FACTOR = 0.6
_ERROR_FACTOR = 0.9
_ERROR_SHARE = 0.2
"""A larger share of failed requests than this may come from too many requests."""
_FORGET_AFTER = 100
_LATE_FACTOR = 3.0
_LATE_SECONDS = 1.0
"""A request that takes longer, and three times longer than slow answers, holds no place of the limit."""
_SILENT_FACTOR = 5.0
_SILENT_SECONDS = 5.0
"""A request that takes longer, and five times longer than late ones, may never be answered."""
_FEWEST_SILENT = 3
"""Requests that get no answer after so long, before such an answer is no longer waited for."""
_SOON = 1e-4
_SPARE = 1.25
"""Requests in flight, over those that the accepted rate needs."""


class Limiter:
    """Permits for requests, given in the order of asking; only ``acquire`` waits.

    A permit is a number from 1, which counts the requests. ``clock`` gives seconds that never go back; every
    time passed to a method must come from it.
    """

    __slots__ = (
        "_errors",
        "_late",
        "_late_answers",
        "_latency",
        "_outcomes",
        "_pace",
        "_quotas",
        "_resumes_at",
        "_sent",
        "_shrunk_at",
        "_silent",
        "_started",
        "_timer",
        "_timer_at",
        "_variation",
        "_waiting",
        "answers",
        "clock",
        "limit",
        "maximum",
    )  # fmt: skip

    def __init__(self, maximum: int, clock: Callable[[], float] = monotonic) -> None:
        self.maximum = maximum
        self.clock = clock
        self.limit = float(maximum)
        self.answers = 0
        """How many requests the provider has answered so far."""
        self._sent = 0
        self._started: dict[int, float] = {}
        """When each request in flight was sent, the oldest first; without the late ones."""
        self._late: set[int] = set()
        self._waiting: deque[asyncio.Future[int]] = deque()
        self._shrunk_at = 0.0
        self._resumes_at = 0.0
        self._latency = self._variation = 0.0
        self._errors = self._outcomes = 0.0
        self._silent = self._late_answers = 0
        self._pace = Pace()
        self._quotas = Quotas()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0

    @property
    def in_flight(self) -> int:
        """How many requests are in flight, the late ones included."""
        return len(self._started) + len(self._late)

    @property
    def waiting(self) -> int:
        """How many calls wait for a permit."""
        return len(self._waiting)

    @property
    def pause(self) -> float:
        """Seconds until the provider takes requests again."""
        return max(0.0, self._resumes_at - self.clock())

    @property
    def rate(self) -> float | None:
        """Requests a second that the provider is sent at most; None for no limit."""
        return self._pace.rate

    @property
    def _late_after(self) -> float:
        return max(_LATE_SECONDS, _LATE_FACTOR * (self._latency + 4.0 * self._variation))

    @property
    def _silent_after(self) -> float:
        return max(_SILENT_SECONDS, _SILENT_FACTOR * self._late_after)

    @property
    def longest_answer(self) -> float:
        """Seconds after which the provider never answered, though several requests were waited for longer.

        Infinite as long as that is unknown, and for good after one late answer.
        """
        if self._late_answers or not self._silent:
            return float("inf")
        before = self.clock() - self._silent_after
        waited_for = sum(sent_at <= before for sent_at in islice(self._started.values(), _FEWEST_SILENT))
        return self._silent_after if self._silent + waited_for >= _FEWEST_SILENT else float("inf")

    def try_acquire(self) -> int:
        """A permit if one is free and nobody waits for it, else 0."""
        if self._waiting:
            return 0
        now = self.clock()
        return 0 if self._wait(now) else self._give(now)

    async def acquire(self) -> int:
        """Wait for a permit."""
        if permit := self.try_acquire():
            return permit
        waiter: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        if len(self._waiting) == 1:
            self._give_permits()
        try:
            return await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled():  # given just before the cancellation
                self.release(waiter.result())
            raise

    def release(self, permit: int = 0) -> None:
        """Give a permit back, the oldest one unless it is named."""
        permit = permit or next(iter(self._started or self._late))
        if self._started.pop(permit, None) is None:
            self._late.discard(permit)
        if self._waiting:
            self._give_permits()

    def on_answer(self, sent_at: float | None = None) -> None:
        """Grow the limit: by one request a round trip at first, faster with the seconds since it shrank."""
        self.answers += 1
        now = self.clock()
        if sent_at is not None:
            self._late_answers += now - sent_at >= self._silent_after
            self._measure(now - sent_at)
            self._pace.on_answer(sent_at, now)
        self._count(0.0)
        if self.limit < self.maximum and len(self._started) >= int(self.limit):
            step = max(1.0, now - self._shrunk_at)
            self.limit = min(self.maximum, self.limit + step / self.limit)

    def on_rate_limit(self, sent_at: float, retry_after: float | None = None) -> None:
        """Take into account that the provider answered 429 to a request sent at ``sent_at``.

        A large share of such answers shrinks the limit and the rate. With ``retry_after`` (seconds) no permit
        is given until then, unless other requests are being answered.
        """
        now = self.clock()
        self._count(0.0)
        if self._pace.on_refusal(sent_at, now, max(0, len(self._started) - 1)):
            needed = (self._pace.rate or 0.0) * self._latency * _SPARE + 1.0
            self._shrink(sent_at, _RATE_LIMIT_FACTOR, needed)
        if retry_after and self._pace.rate is not None and self._pace.is_exhausted:
            self.hold(retry_after)

    def hold(self, seconds: float) -> None:
        """Give no permit for so long."""
        self._resumes_at = max(self._resumes_at, self.clock() + seconds)
        self._pace.hold(self._resumes_at)

    def on_error(self, sent_at: float, *, is_silent: bool = False) -> None:
        """Take into account that the provider failed, or was silent; many failures shrink the limit."""
        if is_silent and self._silent < _FEWEST_SILENT:
            self._silent += self.clock() - sent_at >= self._silent_after
        self._count(1.0)
        self._pace.on_answer(sent_at, self.clock())
        if is_large_share(self._errors, self._outcomes + max(0, len(self._started) - 1), _ERROR_SHARE):
            self._shrink(sent_at, _ERROR_FACTOR, 1.0)

    def on_quotas(self, permit: int, sent_at: float, quotas: Iterable[Quota], tokens: int = 0) -> None:
        """Take into account what the provider says it still accepts, in its answer to a request.

        ``tokens`` is how many the request needed, 0 where that is unknown.
        """
        self._quotas.update(permit, sent_at, quotas, tokens)

    def _count(self, error: float) -> None:
        self._outcomes += 1.0
        self._errors += error
        if self._outcomes >= _FORGET_AFTER:
            self._outcomes /= 2.0
            self._errors /= 2.0

    def _measure(self, seconds: float) -> None:
        """The usual latency and its variation, weighted as in TCP (RFC 6298)."""
        if not self._latency:
            self._latency, self._variation = seconds, seconds / 2.0
            return
        self._variation += 0.25 * (abs(seconds - self._latency) - self._variation)
        self._latency += 0.125 * (seconds - self._latency)
        self._pace.latency = self._latency

    def _shrink(self, sent_at: float, factor: float, least: float) -> None:
        if sent_at >= self._shrunk_at:  # an earlier request says nothing about the present limit
            now_in_flight = len(self._started)
            self.limit = max(1.0, min(self.limit, max(min(self.limit, now_in_flight) * factor, least)))
            self._shrunk_at = self.clock()

    def _wait(self, now: float) -> float:
        """Seconds until a permit may be free; 0 when there is one."""
        held = max(self._resumes_at - now, self._pace.wait(now), self._quotas.wait(now, self._sent + 1))
        held = 0.0 if held < _SOON else held  # event loops round time
        if len(self._started) < int(self.limit) and self.in_flight < self.maximum:
            return held
        return max(held, self._set_late_aside(now))

    def _set_late_aside(self, now: float) -> float:
        """Take the oldest request out of the limit when it is late.

        Returns the seconds until a place is free, infinite when only an answer can free one.
        """
        if (
            not self._latency
            or len(self._late) >= max(int(self.limit), self.maximum // 2)
            or self.in_flight >= self.maximum
        ):
            return float("inf")
        permit, started = next(iter(self._started.items()))
        if (left := started + self._late_after - now) > _SOON:
            return left
        del self._started[permit]
        self._late.add(permit)
        return 0.0

    def _give(self, now: float) -> int:
        self._sent += 1
        self._started[self._sent] = now
        self._pace.on_send(now)
        return self._sent

    def _give_permits(self) -> None:
        """Give permits to those who wait, and come back when the next one may be free."""
        while self._waiting:
            if self._waiting[0].done():
                self._waiting.popleft()
                continue
            now = self.clock()
            if wait := self._wait(now):
                self._come_back(wait)
                return
            self._waiting.popleft().set_result(self._give(now))

    def _come_back(self, seconds: float) -> None:
        if seconds == float("inf"):
            return
        loop = asyncio.get_running_loop()
        at = loop.time() + seconds
        if self._timer is not None:
            if self._timer_at <= at:
                return
            self._timer.cancel()
        self._timer, self._timer_at = loop.call_at(at, self._on_timer), at

    def _on_timer(self) -> None:
        self._timer = None
        self._give_permits()
