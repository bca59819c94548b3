"""What a provider's error answers mean."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from penstock.llm.transports.base import Kind
from penstock.llm.transports.error_responses import failure_from_status, read_error, read_retry_after


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("2", 2), ("0.5", 0.5), ("0", None), ("-3", None), ("soon", None), ("9" * 400, 3600), (" 7 ", 7)],
)
def test_retry_after_is_read_as_seconds(value: str, seconds: float | None) -> None:
    assert read_retry_after({"retry-after": value}) == seconds


@pytest.mark.parametrize("usegmt", [True, False], ids=["GMT", "offset"])
def test_retry_after_is_read_as_a_date(usegmt: bool) -> None:
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=100), usegmt=usegmt)

    seconds = read_retry_after({"retry-after": date})

    assert seconds is not None
    assert 90 < seconds <= 100


def test_a_date_without_a_zone_is_in_utc_and_a_past_one_asks_for_no_wait() -> None:
    in_an_hour = datetime.now(UTC) + timedelta(minutes=30)

    seconds = read_retry_after({"retry-after": in_an_hour.strftime("%a, %d %b %Y %H:%M:%S -0000")})

    assert seconds == pytest.approx(1800, abs=10)
    assert read_retry_after({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}) is None


def test_retry_after_is_capped_at_an_hour_and_the_form_in_milliseconds_comes_first() -> None:
    tomorrow = format_datetime(datetime.now(UTC) + timedelta(days=1), usegmt=True)

    assert read_retry_after({"retry-after": tomorrow}) == 3600
    assert read_retry_after({"retry-after": "3601"}) == 3600
    assert read_retry_after({"retry-after-ms": "1500", "retry-after": "9"}) == 1.5
    assert read_retry_after({"retry-after-ms": "many", "retry-after": "9"}) is None
    assert read_retry_after({}) is None


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (429, "{}", Kind.RATE_LIMITED),
        (429, '{"error": {"code": "insufficient_quota"}}', Kind.SETUP),
        (429, '{"error": {"type": "insufficient_quota"}}', Kind.SETUP),
        (499, "", Kind.REFUSED),
        (500, "<html>oops</html>", Kind.TRANSIENT),
        (529, "", Kind.TRANSIENT),
        (408, "", Kind.TRANSIENT),
        (409, "", Kind.TRANSIENT),
        (425, "", Kind.TRANSIENT),
        (400, '{"error": "no"}', Kind.REFUSED),
        (302, "", Kind.SETUP),
        (422, "[1, 2]", Kind.REFUSED),
    ],
)
def test_the_status_decides_whether_to_retry(status: int, body: str, kind: Kind) -> None:
    assert failure_from_status(status, body, {}).kind is kind


@pytest.mark.parametrize(("status", "seconds"), [(429, 7.0), (503, 7.0), (400, None)])
def test_retry_after_is_part_of_a_failure_that_can_be_retried(status: int, seconds: float | None) -> None:
    assert failure_from_status(status, "", {"retry-after": "7"}).retry_after == seconds


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ('{"error": {"message": "m", "code": 1}}', {"message": "m", "code": 1}),
        ('{"error": "m"}', {"message": "m"}),
        ('[{"error": {"message": "m"}}]', {"message": "m"}),
        ('{"message": "m"}', {"message": "m"}),
        ('{"error": null}', {}),
        ("[]", {}),
        ("7", {}),
        ("<html>", {}),
    ],
)
def test_the_error_is_found_in_any_of_the_usual_shapes(body: str, error: dict[str, Any]) -> None:
    assert read_error(body) == error


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ('{"error": {"message": " slow down "}}', "503: slow down"),
        ("<html>oops</html>", "503: <html>oops</html>"),
        ("x" * 300, "503: " + "x" * 200),
        ('{"error": {"message": "%s"}}' % ("x" * 600), "503: " + "x" * 500),
        ("", "503: no reason given"),
    ],
    ids=["message", "plain", "long plain", "long message", "empty"],
)
def test_a_failure_says_the_providers_reason_in_a_bounded_length(body: str, text: str) -> None:
    assert str(failure_from_status(503, body, {})) == text


def test_the_body_is_kept_in_a_bounded_length() -> None:
    failure = failure_from_status(500, "x" * 3000, {})

    assert (failure.status, failure.body) == (500, "x" * 2000)
