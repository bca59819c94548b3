"""What is kept of a record's error."""

from __future__ import annotations

from penstock.errors import BlockExecutionError, HealingError
from penstock.jobs.failures import describe_error, is_refusal


def test_an_error_is_kept_with_its_cause_but_without_what_the_trace_has() -> None:
    error = BlockExecutionError("no", {"step": 2, "input": {"n": 1}, "attempts": [1, 2]})
    error.__cause__ = TimeoutError()

    assert describe_error(error, tries=3) == {
        "error": "no",
        "type": "TimeoutError",
        "detail": {"step": 2},
        "tries": 3,
    }


def test_an_error_without_a_cause_has_its_own_type_and_was_not_retried() -> None:
    assert describe_error(HealingError("no")) == {
        "error": "no",
        "type": "HealingError",
        "detail": {},
        "tries": 0,
    }


def test_an_error_with_findings_is_a_refusal_whatever_class_it_has() -> None:
    assert is_refusal({"findings": []})
    assert not is_refusal({"step": 1})
