"""How much a job may use, and whether one more record may begin."""

from __future__ import annotations

import time

from penstock.entities import Constraints, Usage


class Budget:
    """Admits records so that usage exceeds a limit by at most what one record uses (contract D7).

    A record may begin only while what was spent, plus what the records in flight are expected to use, is
    below every limit. Each record in flight is expected to use as much as the largest record so far. Before
    the first record has finished nothing is known, so it runs alone; after that, at most as many records are
    in flight as have finished, so that the estimate is based on as many records as it is applied to.
    """

    def __init__(self, constraints: Constraints, spent: Usage | None = None, seconds: float = 0.0) -> None:
        """Start with what earlier runs of the job have ``spent``, and the ``seconds`` that they took."""
        self.constraints = constraints
        self.spent = spent or Usage()
        self.in_flight = 0
        self.finished = 0
        self._unlimited = constraints.unlimited
        self._earlier_seconds = seconds
        self._started = time.monotonic()
        self._largest = Usage()
        """The most that one record has used, for each kind of usage on its own."""
        self._longest = 0.0
        """Seconds of the slowest record."""
        self._used_before = _is_used(self.spent) or seconds > 0

    @property
    def seconds(self) -> float:
        """How long the job has run, earlier runs included."""
        return self._earlier_seconds + time.monotonic() - self._started

    def admits(self) -> bool:
        """Whether one more record may begin now; if not, ask again when a record has finished."""
        if self._unlimited:
            return True
        if self.in_flight == 0:
            # A limit of 0 still allows the first record (contract A46).
            is_first = self.finished == 0 and not self._used_before
            return is_first or self.find_exceeded() is None
        if self.in_flight >= self.finished:
            return False
        return self.constraints.find_exceeded(self._expect(), self.seconds + self._longest) is None

    def begin(self) -> None:
        """A record begins."""
        self.in_flight += 1

    def finish(self, usage: Usage) -> str | None:
        """A record has used ``usage``; returns the name of a limit that is now reached, or None."""
        self.in_flight -= 1
        self.finished += 1
        self.spent.add(usage)
        if self._unlimited:
            return None
        largest = self._largest
        largest.input_tokens = max(largest.input_tokens, usage.input_tokens)
        largest.output_tokens = max(largest.output_tokens, usage.output_tokens)
        largest.cached_tokens = max(largest.cached_tokens, usage.cached_tokens)
        if usage.cost is not None:
            largest.cost = max(largest.cost or 0.0, usage.cost)
        if usage.start_time is not None and usage.end_time is not None:
            self._longest = max(self._longest, usage.end_time - usage.start_time)
        return self.find_exceeded()

    def find_exceeded(self) -> str | None:
        """The first limit that is reached, in the contract's order (A47)."""
        return None if self._unlimited else self.constraints.find_exceeded(self.spent, self.seconds)

    def _expect(self) -> Usage:
        """What was spent, plus what the records in flight are expected to use."""
        spent, largest, count = self.spent, self._largest, self.in_flight
        return Usage(
            input_tokens=spent.input_tokens + count * largest.input_tokens,
            output_tokens=spent.output_tokens + count * largest.output_tokens,
            cached_tokens=spent.cached_tokens + count * largest.cached_tokens,
            unreported_calls=spent.unreported_calls,
            cost=None if spent.cost is None else spent.cost + count * (largest.cost or 0.0),
        )


def _is_used(usage: Usage) -> bool:
    return any((usage.input_tokens, usage.output_tokens, usage.cached_tokens, usage.cost))
