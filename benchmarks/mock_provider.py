"""What the mock model does with its calls: how slow it is, which errors it draws, and what it counts."""

from __future__ import annotations

import asyncio
import random
import resource
import time
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Behaviour:
    """How slow the server is and how often it fails; rates are shares of all calls, from 0 to 1."""

    latency: float = 0.0
    """Seconds before an answer."""
    rate_429: float = 0.0
    rate_500: float = 0.0
    rate_hang: float = 0.0
    """Calls that get no answer."""
    hang_seconds: float = 0.0
    """After how long their connection is closed; 0 for never."""
    rate_malformed: float = 0.0
    """Calls whose answer ends in the middle of its JSON."""
    retry_after: float = 1.0
    """``Retry-After`` of a 429, in seconds."""
    limit_per_second: float = 0.0
    """Calls that are accepted in a second (a token bucket that holds as many); 0 for all."""
    halve_after: float = 0.0
    """Seconds from the first call after which that limit is halved; 0 for never."""
    show_limit: bool = False
    """Whether answers describe that limit, in OpenAI's ``x-ratelimit-*`` headers."""
    distinct: bool = False
    """Whether to count different requests."""


@dataclass
class Stats:
    """Counts since the last reset. Times are those of the machine's monotonic clock."""

    calls: int = 0
    """Requests for chat completions, failed ones included; probes without a message are not calls."""
    served: int = 0
    """Calls with a complete answer."""
    statuses: dict[int, int] = field(default_factory=dict)
    abandoned: int = 0
    """Calls whose client had closed the connection when the answer was ready."""
    hung: int = 0
    malformed: int = 0
    in_flight: int = 0
    max_in_flight: int = 0
    first_call: float | None = None
    last_answer: float | None = None
    cpu_at_reset: float = 0.0
    bodies: set[int] = field(default_factory=set)

    def as_dict(self) -> dict[str, Any]:
        """The stats as ``GET /stats`` shows them."""
        shown = {name: value for name, value in vars(self).items() if name not in {"bodies", "cpu_at_reset"}}
        shown["statuses"] = {str(status): count for status, count in self.statuses.items()}
        return shown | {"distinct": len(self.bodies), "cpu_seconds": _cpu_seconds() - self.cpu_at_reset}


def _cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


class Provider:
    """What all connections share: the behaviour, the counts, and the random numbers."""

    def __init__(self, behaviour: Behaviour, seed: int = 0) -> None:
        self.behaviour = behaviour
        self.stats = Stats(cpu_at_reset=_cpu_seconds())
        self.first = asyncio.Event()
        self._random = random.Random(seed)
        self._level = behaviour.limit_per_second
        self._level_at = time.monotonic()
        self._may_fail = bool(
            behaviour.rate_429 or behaviour.rate_500 or behaviour.rate_hang or behaviour.rate_malformed
        )

    def reset(self) -> None:
        """Set all counts to zero, except for calls in flight."""
        in_flight = self.stats.in_flight
        self.stats = Stats(in_flight=in_flight, max_in_flight=in_flight, cpu_at_reset=_cpu_seconds())
        self.first = asyncio.Event()

    def begin(self, body: bytes) -> str | None:
        """Count a call; returns the kind of error that it gets, or None."""
        stats = self.stats
        stats.calls += 1
        stats.in_flight += 1
        stats.max_in_flight = max(stats.max_in_flight, stats.in_flight)
        if stats.first_call is None:
            stats.first_call = time.monotonic()
            self.first.set()
        if self.behaviour.distinct:
            stats.bodies.add(hash(body))
        if self.behaviour.limit_per_second and not self._take():
            return "429"
        return self._draw_error() if self._may_fail else None

    def _refill(self) -> float:
        """Bring the token bucket up to date; returns its rate."""
        now, rate = time.monotonic(), self.behaviour.limit_per_second
        after, first = self.behaviour.halve_after, self.stats.first_call
        if after and first is not None and now - first >= after:
            rate /= 2
        self._level = min(rate, self._level + (now - self._level_at) * rate)
        self._level_at = now
        return rate

    def _take(self) -> bool:
        self._refill()
        if self._level < 1:
            return False
        self._level -= 1
        return True

    def limit_headers(self) -> bytes:
        """The token bucket as OpenAI describes it; empty unless that is wanted."""
        if not (self.behaviour.show_limit and self.behaviour.limit_per_second):
            return b""
        rate = self._refill()
        reset = round((rate - self._level) / rate * 1000)
        return (
            f"x-ratelimit-limit-requests: {rate:.0f}\r\n"
            f"x-ratelimit-remaining-requests: {int(self._level)}\r\n"
            f"x-ratelimit-reset-requests: {reset}ms\r\n"
        ).encode()

    def _draw_error(self) -> str | None:
        drawn = self._random.random()
        for kind in ("429", "500", "hang", "malformed"):
            drawn -= getattr(self.behaviour, f"rate_{kind}")
            if drawn < 0:
                return kind
        return None
