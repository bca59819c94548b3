"""Circuit breaker: stops a job in which almost everything fails, since continuing would only cost money."""

from __future__ import annotations

from collections import deque

from penstock.entities import ExecutionResult
from penstock.jobs.failures import is_refusal

ERROR_WINDOW = 20
"""The job stops when more than half of this many consecutive records end in errors."""
REFUSAL_WINDOW = 100
"""The job stops when gates refuse this many consecutive records and it has no accepted record."""


class CircuitBreaker:
    """Watches the outcomes of a job's records in the order in which they finish."""

    def __init__(self) -> None:
        self._recent_errors: deque[bool] = deque(maxlen=ERROR_WINDOW)
        self._refusals_in_a_row = 0

    def observe(self, result: ExecutionResult, *, any_accepted: bool) -> str | None:
        """Count an outcome; the reason to stop the job, or None to continue.

        ``any_accepted`` is whether the job has an accepted record, of earlier runs included.
        """
        error = result.error
        refused = error is not None and is_refusal(error.detail)
        self._recent_errors.append(error is not None and not refused)
        if error is None:
            self._refusals_in_a_row = 0
            return None
        self._refusals_in_a_row += refused
        errors = sum(self._recent_errors)
        if len(self._recent_errors) == ERROR_WINDOW and errors > ERROR_WINDOW // 2:
            return f"{errors} of the last {ERROR_WINDOW} records failed; the last one: {error.message}"
        if self._refusals_in_a_row >= REFUSAL_WINDOW and not any_accepted:
            return f"Gates refused {REFUSAL_WINDOW} records in a row; the last one: {error.message}"
        return None
