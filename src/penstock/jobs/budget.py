"""How much a job may use, and whether one more record may begin."""

from __future__ import annotations

import time

from penstock.entities import Constraints, Usage


class Budget:
    """Admits records so that usage passes a limit by at most what one record uses (contract D7).

    A record begins only while what is spent, and what those in flight are expected to use, stays below every
    limit. What a record uses is taken to be the most that any has used so far; until the first has finished
    nothing is known, so it runs alone, and after that at most as many are in flight as have finished, which
    lets the expectation grow up before it has to bear much.
    """

    def __init__(self, constraints: Constraints, spent: Usage | None = None, seconds: float = 0.0) -> None:
        """Begin with what earlier runs of the job have ``spent``, and the ``seconds`` that they took."""
        self.constraints = constraints
        self.spent = spent or Usage()
        self.in_flight = 0
        self.finished = 0
        self._unlimited = constraints.unlimited
        self._earlier = seconds
        self._started = time.monotonic()
        self._most = Usage()
        self._longest = 0.0
        self._at_start = self._amounts(self.spent, seconds)

    @property
    def seconds(self) -> float:
        """How long the job has been running, earlier runs included."""
        return self._earlier + time.monotonic() - self._started

    def admits(self) -> bool:
        """Whether one more record may begin now; if not, ask again when one has finished."""
        if self._unlimited:
            return True
        if self.in_flight == 0:
            return self.find_exceeded() is None if self.finished else not self._spent_before()
        if self.in_flight >= self.finished:
            return False
        expected = Usage(
            input_tokens=self.spent.input_tokens + self.in_flight * self._most.input_tokens,
            output_tokens=self.spent.output_tokens + self.in_flight * self._most.output_tokens,
            cached_tokens=self.spent.cached_tokens + self.in_flight * self._most.cached_tokens,
            cost=_expected_cost(self.spent, self._most, self.in_flight),
        )
        return self.constraints.find_exceeded(expected, self.seconds + self._longest) is None

    def begin(self) -> None:
        """A record begins."""
        self.in_flight += 1

    def finish(self, usage: Usage) -> str | None:
        """A record has used ``usage``; the name of the limit that is reached now, if one is."""
        self.in_flight -= 1
        self.finished += 1
        self.spent.add(usage)
        if self._unlimited:
            return None
        most = self._most
        most.input_tokens = max(most.input_tokens, usage.input_tokens)
        most.output_tokens = max(most.output_tokens, usage.output_tokens)
        most.cached_tokens = max(most.cached_tokens, usage.cached_tokens)
        if usage.cost is not None:
            most.cost = max(most.cost or 0.0, usage.cost)
        if usage.start_time is not None and usage.end_time is not None:
            self._longest = max(self._longest, usage.end_time - usage.start_time)
        return self.find_exceeded()

    def find_exceeded(self) -> str | None:
        """The first limit that is reached, in the contract's order (A47)."""
        return None if self._unlimited else self.constraints.find_exceeded(self.spent, self.seconds)

    def _spent_before(self) -> bool:
        """Whether earlier runs had reached a limit; a limit of 0 still allows the first record (A46)."""
        return any(self._at_start) and self.find_exceeded() is not None

    @staticmethod
    def _amounts(usage: Usage, seconds: float) -> tuple[float, ...]:
        return (usage.input_tokens, usage.output_tokens, usage.cached_tokens, usage.cost or 0.0, seconds)


def _expected_cost(spent: Usage, most: Usage, in_flight: int) -> float | None:
    return None if spent.cost is None else spent.cost + in_flight * (most.cost or 0.0)
