"""A provider in virtual time with limits and faults, and the calls of a run to it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any

from penstock.llm.limiter import Limiter
from penstock.llm.quotas import Quota
from penstock.llm.retry import send_with_retries
from penstock.llm.transports.base import Answer, Failure, Kind, Timeouts

Clock = Callable[[], float]


class TokenBucket:
    """Accepts ``rate`` requests a second, and up to ``burst`` at once."""

    def __init__(self, clock: Clock, rate: float, burst: float | None = None) -> None:
        self._clock = clock
        self.rate = rate
        self.burst = rate if burst is None else burst
        self._level = self.burst
        self._at = clock()

    def take(self) -> bool:
        """Whether a request is accepted now."""
        self._refill()
        if self._level < 1.0:
            return False
        self._level -= 1.0
        return True

    def change(self, rate: float) -> None:
        """Accept so many requests a second from now on."""
        self._refill()
        self.rate = self.burst = rate

    def quotas(self) -> tuple[Quota, ...]:
        """The bucket as OpenAI's headers describe it."""
        self._refill()
        return (Quota("requests", self.burst, int(self._level), (self.burst - self._level) / self.rate),)

    def _refill(self) -> None:
        now = self._clock()
        self._level = min(self.burst, self._level + (now - self._at) * self.rate)
        self._at = now


class FixedWindow(TokenBucket):
    """Accepts ``burst`` requests in each period of ``burst / rate`` seconds."""

    def quotas(self) -> tuple[Quota, ...]:
        """The window as Anthropic's headers describe it."""
        self._refill()
        return (Quota("requests", self.burst, int(self._level), self._ends_at - self._clock()),)

    @property
    def _ends_at(self) -> float:
        period = self.burst / self.rate
        return (self._clock() // period + 1.0) * period

    def _refill(self) -> None:
        now, period = self._clock(), self.burst / self.rate
        if now // period != self._at // period:
            self._level = self.burst
        self._at = now


class Provider:
    """Answers after ``latency`` seconds, unless a limit or a fault comes first."""

    def __init__(self, clock: Clock, *, maximum: int = 64, latency: float = 0.05) -> None:
        self.clock = clock
        self.latency = latency
        self.limiter = Limiter(maximum, clock)
        self.random = random.Random(0)
        self.bucket: TokenBucket | None = None
        self.most_at_once: int | None = None
        self.retry_after: float | None = 1.0
        self.shows_quotas = False
        self.refuses_at_once = False
        self.rates: dict[str, float] = {}
        """Shares of requests that get ``429``, ``500``, ``hang``, ``malformed``, or ``slow`` (20 s)."""
        self.sent = self.refused = self.accepted = 0
        self.most_in_flight = 0
        self.in_flight = 0
        self.accepted_at: list[float] = []

    async def send(self, request: dict[str, Any], seconds: float) -> Answer:
        """Like a transport's."""
        self.sent += 1
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            return await asyncio.wait_for(self._answer(), seconds)
        except TimeoutError as error:
            raise Failure(Kind.TRANSIENT, "no answer") from error
        finally:
            self.in_flight -= 1

    async def _answer(self) -> Answer:
        fault = self._draw()
        full = self.most_at_once is not None and self.in_flight > self.most_at_once
        refused = fault == "429" or full or (self.bucket is not None and not self.bucket.take())
        quotas = self.bucket.quotas() if self.bucket and self.shows_quotas else ()
        if fault == "hang":
            await asyncio.sleep(30.0)
            raise Failure(Kind.TRANSIENT, "the connection broke")
        if fault == "slow":
            await asyncio.sleep(20.0)
            fault = None
        if not (refused and self.refuses_at_once):
            await asyncio.sleep(self.latency * (0.8 + 0.4 * self.random.random()))
        if refused:
            self.refused += 1
            raise Failure(Kind.RATE_LIMITED, "429", 429, "", self.retry_after, quotas)
        if fault is not None:
            raise Failure(Kind.TRANSIENT, fault)
        self.accepted += 1
        self.accepted_at.append(self.clock())
        return Answer("fine", "stop", 7, 3, 0, quotas=quotas)

    def _draw(self) -> str | None:
        drawn = self.random.random()
        for fault, rate in self.rates.items():
            drawn -= rate
            if drawn < 0:
                return fault
        return None

    async def ask(self) -> None:
        """One call."""
        timeouts = Timeouts(120.0, 600.0)
        await send_with_retries(self.send, {}, limiter=self.limiter, timeouts=timeouts, label="x")

    async def run(self, calls: int, workers: int = 64) -> float:
        """Make so many calls, ``workers`` at a time; returns the seconds that it took."""
        started, left = self.clock(), iter(range(calls))

        async def work() -> None:
            for _ in left:
                await self.ask()

        await asyncio.gather(*(work() for _ in range(workers)))
        return self.clock() - started

    def accepted_between(self, start: float, end: float) -> float:
        """Accepted requests a second between two times."""
        return sum(start <= at < end for at in self.accepted_at) / (end - start)
