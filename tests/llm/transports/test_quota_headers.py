"""The headers in which providers say what they still accept."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from time import time

import pytest

from penstock.llm.quotas import Quota
from penstock.llm.transports.quota_headers import read_duration, read_quotas


def test_openai_and_groq() -> None:
    quotas = read_quotas({
        "x-ratelimit-limit-requests": "14400",
        "x-ratelimit-remaining-requests": "14370",
        "x-ratelimit-reset-requests": "2m59.56s",
        "x-ratelimit-limit-tokens": "18000",
        "x-ratelimit-remaining-tokens": "17997",
        "x-ratelimit-reset-tokens": "7.66ms",
        "content-type": "application/json",
    })  # fmt: skip

    assert [quota[:3] for quota in quotas] == [("requests", 14400, 14370), ("tokens", 18000, 17997)]
    assert [quota.reset for quota in quotas] == pytest.approx([179.56, 0.00766])


def test_anthropic() -> None:
    reset = (datetime.now(UTC) + timedelta(seconds=30)).strftime("%Y-%m-%dT%H:%M:%SZ")
    quotas = read_quotas({
        "anthropic-ratelimit-requests-limit": "50",
        "anthropic-ratelimit-requests-remaining": "49",
        "anthropic-ratelimit-requests-reset": reset,
        "anthropic-ratelimit-input-tokens-limit": "40000",
        "anthropic-ratelimit-input-tokens-remaining": "39000",
        "anthropic-ratelimit-input-tokens-reset": reset,
    })  # fmt: skip

    assert [quota.unit for quota in quotas] == ["requests", "input-tokens"]
    assert quotas[0][1:3] == (50, 49)
    assert quotas[0].reset == pytest.approx(30, abs=2)


@pytest.mark.parametrize("prefix", ["x-ratelimit-", "ratelimit-"])
def test_headers_without_a_unit_are_for_requests(prefix: str) -> None:
    headers = {f"{prefix}limit": "60", f"{prefix}remaining": "0", f"{prefix}reset": "17"}

    assert read_quotas(headers) == (Quota("requests", 60, 0, 17),)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"x-ratelimit-remaining-requests": "1"},
        {"x-ratelimit-limit": "many", "x-ratelimit-remaining": "1", "x-ratelimit-reset": "1"},
        {"x-ratelimit-limit": "5", "x-ratelimit-remaining": "6", "x-ratelimit-reset": "1"},
        {"x-ratelimit-limit": "5", "x-ratelimit-remaining": "nan", "x-ratelimit-reset": "1"},
        {"x-ratelimit-limit": "5", "x-ratelimit-remaining": "1", "x-ratelimit-reset": "soon"},
        {"x-ratelimit-limit": "5", "x-ratelimit-remaining": "1", "x-ratelimit-reset": "999999999"},
    ],
)
def test_what_cannot_be_used_is_left_out(headers: dict[str, str]) -> None:
    assert read_quotas(headers) == ()


def test_times_in_every_usual_form() -> None:
    assert read_duration("6m0s") == 360
    assert read_duration("1h2m") == 3720
    assert read_duration("20ms") == pytest.approx(0.02)
    assert read_duration("1.5") == 1.5
    assert read_duration(str(int(time()) + 20)) == pytest.approx(20, abs=2)
    assert read_duration(str(int(time() * 1000) + 20_000)) == pytest.approx(20, abs=2)
    assert read_duration("6x") is None
