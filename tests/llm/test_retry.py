"""What a provider's refusals mean."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from penstock.llm.retry import Kind, failure_from_status, read_retry_after


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("2", 2), ("0.5", 0.5), ("0", None), ("-3", None), ("soon", None), ("9" * 400, 3600)],
)
def test_retry_after_is_read_as_seconds(value: str, seconds: float | None) -> None:
    assert read_retry_after({"retry-after": value}) == seconds


def test_retry_after_is_read_as_a_date() -> None:
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=100), usegmt=True)

    seconds = read_retry_after({"retry-after": date})

    assert seconds is not None
    assert 90 < seconds <= 100


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (429, "{}", Kind.RATE_LIMITED),
        (429, '{"error": {"code": "insufficient_quota"}}', Kind.REFUSED),
        (500, "<html>oops</html>", Kind.TRANSIENT),
        (529, "", Kind.TRANSIENT),
        (408, "", Kind.TRANSIENT),
        (409, "", Kind.TRANSIENT),
        (400, '{"error": "no"}', Kind.REFUSED),
        (302, "", Kind.REFUSED),
        (422, "[1, 2]", Kind.REFUSED),
    ],
)
def test_a_status_says_whether_to_ask_again(status: int, body: str, kind: Kind) -> None:
    assert failure_from_status(status, body, {}).kind is kind
