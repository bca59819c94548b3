"""What the words of refusals mean."""

from __future__ import annotations

import pytest

from penstock.llm.transports.base import Kind
from penstock.llm.transports.error_responses import failure_from_status
from penstock.llm.transports.refusals import find_unsupported, is_vague, read_delay


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (400, "API key not valid. Please pass a valid API key."),
        (400, "Incorrect API key provided: xx"),
        (400, "Your credit balance is too low to access the Anthropic API."),
        (400, "Invalid model name passed in model=x"),
        (400, "Budget has been exceeded! Current cost: 2, Max budget: 1"),
        (402, "anything"),
        (403, "insufficient_user_quota"),
        (404, "The model `x` does not exist or you do not have access to it."),
        (404, "Not Found"),
        (405, "Method Not Allowed"),
        (500, "Insufficient account balance"),
        (200, "insufficient balance"),
    ],
)
def test_what_every_request_would_meet_is_a_problem_of_the_set_up(status: int, message: str) -> None:
    assert failure_from_status(status, message, {}).kind is Kind.SETUP


@pytest.mark.parametrize(
    ("status", "message", "kind"),
    [
        (400, "This model's maximum context length is 4096 tokens.", Kind.REFUSED),
        (403, "The input was flagged by moderation", Kind.REFUSED),
        (404, "No endpoints found that support tool use", Kind.REFUSED),
        (500, "internal error", Kind.TRANSIENT),
        (500, "response_format type must be text", Kind.REFUSED),
    ],
)
def test_what_one_request_meets_is_no_problem_of_the_set_up(status: int, message: str, kind: Kind) -> None:
    assert failure_from_status(status, message, {}).kind is kind


@pytest.mark.parametrize(
    ("message", "retry_after", "kind"),
    [
        ("Rate limit exceeded: free-models-per-day", None, Kind.SETUP),
        ("Rate limit reached on tokens per day (TPD): Limit 100000", None, Kind.SETUP),
        ("Rate limit reached on tokens per day (TPD): Limit 100000", "20", Kind.RATE_LIMITED),
        ("You exceeded your current quota, please check your plan and billing details.", None, Kind.SETUP),
        ("You have reached your monthly usage limit", None, Kind.SETUP),
        ("insufficient_quota", "5", Kind.SETUP),
        ("Rate limit reached on tokens per minute. Upgrade your plan: /billing", None, Kind.RATE_LIMITED),
        ("Resource has been exhausted (e.g. check quota).", None, Kind.RATE_LIMITED),
        ("Too many requests", None, Kind.RATE_LIMITED),
        ("You exceeded your current quota. Please retry in 38.2s.", None, Kind.RATE_LIMITED),
    ],
)
def test_a_429_that_names_a_day_or_a_plan_is_not_waited_for(
    message: str, retry_after: str | None, kind: Kind
) -> None:
    headers = {} if retry_after is None else {"retry-after": retry_after}

    assert failure_from_status(429, message, headers).kind is kind


@pytest.mark.parametrize(
    ("words", "seconds"),
    [
        ("please try again in 6m0s.", 360),
        ("please try again in 1h2m3.5s", 3723.5),
        ("please retry after 20 seconds", 20),
        ('"retrydelay": "38s"', 38),
        ("try again later", None),
        ("no", None),
    ],
)
def test_a_delay_is_read_from_words(words: str, seconds: float | None) -> None:
    assert read_delay(words) == seconds


@pytest.mark.parametrize(
    ("words", "name"),
    [
        ("unsupported parameter: 'temperature' is not supported with this model.", "temperature"),
        ("temperature: extra inputs are not permitted", "temperature"),
        ("unknown field: max_tokens", "max_tokens"),
        ("`temperature` is deprecated for this model", "temperature"),
        ("temperature must be between 0 and 1", None),
        ("max_tokens is too large: 9. this model supports at most 4 completion tokens", None),
        ("this model does not support images", None),
    ],
)
def test_a_parameter_to_leave_out_is_found_and_a_wrong_value_is_not(words: str, name: str | None) -> None:
    assert find_unsupported(words, {"temperature", "max_tokens"}) == name


@pytest.mark.parametrize("words", ["bad request", "no", "", "request contains an invalid argument."])
def test_a_refusal_without_a_reason_is_vague(words: str) -> None:
    assert is_vague(words)
