"""The circuit breaker stops a job in which almost every record fails."""

from __future__ import annotations

import pytest

from penstock.entities import ExecutionResult
from penstock.errors import BlockExecutionError
from penstock.jobs.breaker import ERROR_WINDOW, REFUSAL_WINDOW, CircuitBreaker

ACCEPTED = ExecutionResult({}, [], "trace")
BROKEN = ExecutionResult({}, [], "trace", error=BlockExecutionError("no connection", {"step": 1}))
REFUSED = ExecutionResult({}, [], "trace", error=BlockExecutionError("too short", {"findings": [{}]}))


def observe(*outcomes: ExecutionResult, any_accepted: bool = False) -> list[str | None]:
    """What a new breaker says after each outcome."""
    breaker = CircuitBreaker()
    return [breaker.observe(outcome, any_accepted=any_accepted) for outcome in outcomes]


def test_the_windows_are_those_of_the_documentation() -> None:
    assert (ERROR_WINDOW, REFUSAL_WINDOW) == (20, 100)


def test_eleven_errors_among_twenty_records_stop_the_job() -> None:
    reasons = observe(*[ACCEPTED] * 9, *[BROKEN] * 11)

    assert reasons[:19] == [None] * 19
    assert reasons[19] == "11 of the last 20 records failed; the last one: no connection"


def test_ten_errors_among_twenty_records_do_not() -> None:
    assert observe(*[ACCEPTED] * 10, *[BROKEN] * 10) == [None] * 20


def test_nineteen_errors_are_too_few_records_to_judge_by() -> None:
    reasons = observe(*[BROKEN] * 20)

    assert reasons[:19] == [None] * 19
    assert reasons[19] is not None


def test_only_the_last_twenty_records_count() -> None:
    reasons = observe(*[BROKEN] * 10, *[ACCEPTED] * 20, *[BROKEN] * 10)

    assert reasons == [None] * 40


def test_the_job_goes_on_after_a_record_that_was_accepted() -> None:
    reasons = observe(*[BROKEN] * 19, ACCEPTED, BROKEN)

    assert reasons[19] is None
    assert reasons[20] is not None


def test_refusals_are_no_errors() -> None:
    assert observe(*[REFUSED] * 99) == [None] * 99


def test_a_hundred_refusals_in_a_row_stop_the_job() -> None:
    reasons = observe(*[REFUSED] * 101)

    assert reasons[:99] == [None] * 99
    assert reasons[99] == reasons[100] == "Gates refused 100 records in a row; the last one: too short"


def test_refusals_do_not_stop_a_job_that_has_an_accepted_record() -> None:
    assert observe(*[REFUSED] * 150, any_accepted=True) == [None] * 150


def test_an_accepted_record_starts_the_count_of_refusals_anew() -> None:
    assert observe(*[REFUSED] * 99, ACCEPTED, *[REFUSED] * 99) == [None] * 199


@pytest.mark.parametrize("errors", [1, 9])
def test_an_error_among_refusals_does_not_start_their_count_anew(errors: int) -> None:
    reasons = observe(*[REFUSED] * 50, *[BROKEN] * errors, *[REFUSED] * 50)

    assert reasons[-2] is None
    assert reasons[-1] is not None


def test_errors_reach_the_threshold_even_when_the_last_record_was_refused() -> None:
    reasons = observe(*[BROKEN] * 11, *[REFUSED] * 9)

    assert reasons[18] is None
    assert reasons[19] == "11 of the last 20 records failed; the last one: too short"
